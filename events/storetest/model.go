package storetest

import (
	"errors"
	"maps"
	"slices"

	"github.com/tenantry/tenantry/events"
)

// errFault stands for each error that is the caller's fault and has no name.
var errFault = errors.New("a fault of the caller")

// model is the contract of Append in the fewest lines: what a store must answer, and what it holds
// afterwards. It has no use but to be compared with.
type model struct {
	log     []logged
	version map[events.StreamID]uint64
	holder  map[events.Hostname]events.StreamID
	refers  map[[2]events.StreamID]bool // from, to
	keys    map[string]used
}

type logged struct {
	stream  events.StreamID
	version uint64
}

type used struct {
	fingerprint [32]byte
	outcome     events.Outcome
}

func newModel() *model {
	return &model{
		version: map[events.StreamID]uint64{},
		holder:  map[events.Hostname]events.StreamID{},
		refers:  map[[2]events.StreamID]bool{},
		keys:    map[string]used{},
	}
}

func (m *model) clone() *model {
	return &model{
		log: slices.Clip(m.log), version: maps.Clone(m.version), holder: maps.Clone(m.holder),
		refers: maps.Clone(m.refers), keys: maps.Clone(m.keys),
	}
}

func (m *model) referrers(id events.StreamID) int {
	n := 0
	for edge := range m.refers {
		if edge[1] == id {
			n++
		}
	}
	return n
}

// position is that of a stream's last event.
func (m *model) position(id events.StreamID) uint64 {
	for i, e := range slices.Backward(m.log) {
		if e.stream == id {
			return uint64(i) + 1
		}
	}
	return 0
}

// append is what Append must answer. The model is changed only where the batch is stored.
func (m *model) append(b events.Batch) (events.Outcome, error) {
	if b.Key != nil {
		if k, ok := m.keys[b.Key.Key]; ok {
			if k.fingerprint != b.Key.Fingerprint {
				return events.Outcome{}, events.ErrKeyReused
			}
			k.outcome.Replayed = true
			return k.outcome, nil
		}
	}
	if m.version[b.Stream] != b.Expected {
		return events.Outcome{}, events.ErrConflict
	}
	for _, r := range b.Refer {
		if m.version[r.To] != r.Version {
			return events.Outcome{}, events.ErrConflict
		}
	}
	next := m.clone()
	for _, h := range b.Release {
		if next.holder[h] != b.Stream {
			return events.Outcome{}, errFault
		}
		delete(next.holder, h)
	}
	for _, h := range b.Take {
		if by, held := next.holder[h]; held && by != b.Stream {
			return events.Outcome{}, &events.ClaimedError{Hostname: h, Holder: by}
		}
		next.holder[h] = b.Stream
	}
	for _, to := range b.Unrefer {
		edge := [2]events.StreamID{b.Stream, to}
		if !next.refers[edge] {
			return events.Outcome{}, errFault
		}
		delete(next.refers, edge)
	}
	for _, r := range b.Refer {
		was := next.referrers(r.To)
		next.refers[[2]events.StreamID{b.Stream, r.To}] = true
		if r.Limit > 0 && next.referrers(r.To) > r.Limit {
			return events.Outcome{}, &events.ReferenceError{Reason: events.ErrFull, Stream: r.To, Count: was}
		}
	}
	if n := next.referrers(b.Stream); b.Unreferred && n > 0 {
		return events.Outcome{}, &events.ReferenceError{Reason: events.ErrReferenced, Stream: b.Stream, Count: n}
	}
	out := events.Outcome{Stream: b.Stream}
	for _, e := range b.Events {
		next.log = append(next.log, logged{b.Stream, e.Version})
		next.version[b.Stream] = e.Version
		out.Events = append(out.Events, events.Appended{Type: e.Type, Version: e.Version, Position: uint64(len(next.log))})
	}
	out.Version, out.Position = next.version[b.Stream], next.position(b.Stream)
	if b.DryRun {
		out.Position = 0
		for i := range out.Events {
			out.Events[i].Position = 0
		}
		return out, nil
	}
	if b.Key != nil {
		next.keys[b.Key.Key] = used{b.Key.Fingerprint, out}
	}
	*m = *next
	return out, nil
}
