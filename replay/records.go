package replay

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// What a copy is made of, and what tells two of them apart; see package readmodel.
type (
	Sums  = readmodel.Sums
	Entry = readmodel.Entry
	KV    = readmodel.KV
)

// Buckets is how many sums a copy is told apart by.
const Buckets = readmodel.Buckets

// claimOf is who a hostname's entry says has it, and since which position; the zero ID where it was let
// go. It says false where the entry is damaged.
func claimOf(kv KV) (position uint64, holder events.StreamID, ok bool) {
	_, claim, ok := kv.Hostname()
	if !ok || !claim.Held {
		return claim.Position, events.StreamID{}, ok
	}
	e, _ := kv.Entry()
	return claim.Position, e.Stream, !e.Stream.IsZero()
}

// described is a record in words, without what only says where it stands; false where it is damaged.
func described(kv KV) (jsontext.Value, bool) {
	v := readmodel.Describe([]KV{kv})
	var d struct {
		Damaged jsontext.Value `json:"damaged"`
		Rest    jsontext.Value `json:",unknown"`
	}
	return v, json.Unmarshal(v, &d) == nil && len(d.Damaged) == 0
}
