package replay

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections"
)

// Kind is how a copy differs from the source.
type Kind string

// What a copy can have wrong of a stream.
const (
	Missing   Kind = "missing"   // the source has it, and the copy does not
	Extra     Kind = "extra"     // the copy has it, and the source does not
	Different Kind = "different" // both have it, and not the same
	Damaged   Kind = "damaged"   // an entry of which nobody can say whose it is
)

// Difference is what a copy has wrong of one stream: a tenant, a database or a group.
type Difference struct {
	Stream events.StreamID `json:"stream,omitzero"`
	Kind   Kind            `json:"kind"`
	// Purged: the source has purged this tenant, and the copy has not.
	Purged bool `json:"purged,omitzero"`
	// Fields are what differs in the record. They are told of the first [VerifyConfig.Details] streams.
	Fields    []FieldDifference    `json:"fields,omitempty"`
	Hostnames []HostnameDifference `json:"hostnames,omitempty"`
	Keys      []Key                `json:"keys,omitempty"` // that cannot be read

	held   []events.Hostname // all hostnames whose entry here names this stream
	record bool              // the record differs, and not only hostnames
	astray bool              // the key is of an entry that decides no answer
	read   *projections.Read // what the source has said of the stream; nil: it was not asked
}

// Key is a key of the copy, which may be any octets where it is damaged.
type Key string

// MarshalText writes what is no text as it is shown in Go.
func (k Key) MarshalText() ([]byte, error) { return []byte(readableKey(string(k))), nil }

// FieldDifference is a member of a document that differs. Where one side has none, it is empty.
type FieldDifference struct {
	Field  string         `json:"field"`
	Here   jsontext.Value `json:"here,omitempty"`
	Source jsontext.Value `json:"source,omitempty"`
}

// HostnameDifference is a hostname that is answered wrongly: with the wrong tenant, with none, or with one
// where there should be none.
type HostnameDifference struct {
	Hostname string          `json:"hostname"`
	Here     events.StreamID `json:"here,omitzero"`   // zero: unknown here
	Source   events.StreamID `json:"source,omitzero"` // zero: nobody's

	unreadable bool // there is an entry here, and it says nothing
}

// repair is what to mend it with.
func (d *Difference) repair() projections.Repair {
	r := projections.Repair{Stream: d.Stream, Hostnames: d.held, Read: d.read}
	for _, k := range d.Keys {
		r.Keys = append(r.Keys, string(k))
	}
	return r
}

// Report is what a comparison found.
type Report struct {
	Region     string    `json:"region"`
	Generation string    `json:"generation,omitzero"`
	StoreID    uuid.UUID `json:"store_id"`
	// Position is up to which everything was compared. Partitions may be further, and are compared
	// as far as each had come.
	Position uint64 `json:"position"`
	Source   uint64 `json:"source_position"` // where the source ended
	// ReadAt is when the source's whole log was read: now, or before, where its sums were at hand.
	ReadAt  time.Time `json:"log_read_at,omitzero"`
	Tenants uint64    `json:"tenants"` // that the source has, purged ones included
	Streams uint64    `json:"streams"` // and databases and groups
	Entries uint64    `json:"entries"` // of the copy that were read

	Missing   int `json:"missing"`
	Extra     int `json:"extra"`
	Different int `json:"different"`
	Damaged   int `json:"damaged"`
	Hostnames int `json:"hostnames"` // that are answered wrongly
	// WrongSums are the buckets whose sums, as the copy keeps them, are not what is in it. Nothing is answered
	// wrongly for it.
	WrongSums int `json:"wrong_sums"`

	change Change // without how many there are

	Took time.Duration `json:"-"`
}

// Differences is how many streams and entries differ.
func (r *Report) Differences() int { return r.Missing + r.Extra + r.Different + r.Damaged }

// Equal tells that the copy is what the source says.
func (r *Report) Equal() bool { return r.Differences() == 0 && r.WrongSums == 0 }

func (r *Report) count(d *Difference) {
	switch d.Kind {
	case Missing:
		r.Missing++
	case Extra:
		r.Extra++
	case Different:
		r.Different++
	case Damaged:
		r.Damaged++
	}
	r.Hostnames += len(d.Hostnames)
	d.countTo(&r.change)
}
