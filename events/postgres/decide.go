package postgres

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// maxKey is the longest idempotency key, in octets.
const maxKey = 1024

// edge is that one stream refers to another.
type edge struct{ to, from events.StreamID }

// snapshot is what the database held, as of one moment, of all that a group asks for. What is
// not in it was not there.
type snapshot struct {
	streams map[events.StreamID]state
	holders map[events.Hostname]events.StreamID
	edges   map[edge]bool
	keys    map[string]keyRow
}

// state is what a decision needs to know of a stream.
type state struct {
	version   uint64
	position  place
	referrers int64
}

// place is a position: what it is, or while the group is not stored how far behind the end of
// the log it will be.
type place struct{ position, ahead uint64 }

func (p place) after(base uint64) uint64 {
	if p.ahead > 0 {
		return base + p.ahead
	}
	return p.position
}

// keyRow is what an idempotency key is remembered as. The events of the outcome are not in it:
// they are in the log.
type keyRow struct {
	fingerprint [32]byte
	stream      events.StreamID
	version     uint64
	position    uint64
	events      int
}

// guard is for which numbers of referrers the decisions on a stream hold: those of other
// processes may come and go meanwhile, as long as no limit is near.
type guard struct{ least, most int64 }

// group is the batches of one transaction while they are decided: what was read, and over it
// what the batches before have changed. It does no I/O.
type group struct {
	call    uuid.UUID // names the call that stores it
	base    snapshot
	streams map[events.StreamID]state // all that a decision asked for, as they are now
	guards  map[events.StreamID]guard
	holders map[events.Hostname]events.StreamID // the zero stream: free
	edges   map[edge]bool
	keys    map[string]answer // first used in this group
	newKeys []string          // asked for by a batch that did not use them in the end
	runs    []run
	ahead   uint64 // events so far
	batches int
	undo    []func() // what the batch that is being decided has changed
	asked   bool     // it has a key, which is new
}

// run is the events of one batch.
type run struct {
	stream events.StreamID
	events []events.Event
	last   uint64 // ahead
}

// answer is the outcome of a batch that is not stored yet.
type answer struct {
	key      *events.Key
	stream   events.StreamID
	version  uint64
	position place
	events   []events.Event
	dry      bool
	replayed bool
	stored   *keyRow // replayed from before the group; its events are still to be read
}

// outcome is the answer once the group is stored behind a position.
func (a answer) outcome(base uint64) events.Outcome {
	out := events.Outcome{Stream: a.stream, Version: a.version, Position: a.position.after(base), Replayed: a.replayed}
	for i := range a.events {
		e := events.Appended{Type: a.events[i].Type, Version: a.events[i].Version}
		if !a.dry {
			e.Position = out.Position - uint64(len(a.events)-i-1)
		}
		out.Events = append(out.Events, e)
	}
	if a.dry {
		out.Position = 0
	}
	return out
}

func newGroup(base snapshot) *group {
	return &group{
		call:    uuid.New(),
		base:    base,
		streams: make(map[events.StreamID]state),
		guards:  make(map[events.StreamID]guard),
		holders: make(map[events.Hostname]events.StreamID),
		edges:   make(map[edge]bool),
		keys:    make(map[string]answer),
	}
}

// decide checks everything that Append promises to check, in the order that it promises, of a
// batch that checkForm has let pass. One that is accepted and no dry run is part of the group
// then; of any other nothing remains but that it has looked.
func (g *group) decide(b *events.Batch) (answer, error) {
	g.undo, g.asked = g.undo[:0], false
	a, err := g.try(b)
	if err != nil || b.DryRun {
		for _, undo := range slices.Backward(g.undo) {
			undo()
		}
		if b.Key != nil && g.asked {
			g.newKeys = append(g.newKeys, b.Key.Key)
		}
		a.dry = !a.replayed
	}
	return a, err
}

func (g *group) try(b *events.Batch) (answer, error) {
	if b.Key != nil {
		a, seen, err := g.recall(b.Key)
		if seen || err != nil {
			return a, err
		}
		g.asked = true
	}
	if now := g.state(b.Stream); now.version != b.Expected {
		return answer{}, conflict(b.Stream, now.version, b.Expected)
	}
	for _, r := range b.Refer {
		if now := g.state(r.To); now.version != r.Version {
			return answer{}, conflict(r.To, now.version, r.Version)
		}
	}
	if err := g.claim(b); err != nil {
		return answer{}, err
	}
	if err := g.refer(b); err != nil {
		return answer{}, err
	}
	return g.append(b), nil
}

func conflict(id events.StreamID, is, want uint64) error {
	return fmt.Errorf("%w: %s is at version %d, not %d", events.ErrConflict, id, is, want)
}

// checkForm finds the faults of the caller that show in the batch alone. What the database could
// not store must not come as far as there: it would fail the whole group.
func checkForm(b *events.Batch) error {
	if b.Stream.IsZero() {
		return errors.New("append: the batch names no stream")
	}
	for i := range b.Events {
		e := &b.Events[i]
		if e.Stream != b.Stream || e.Version != b.Expected+uint64(i)+1 || e.Version > math.MaxInt64 {
			return fmt.Errorf("append to %s at version %d: event %d is of %s at version %d", b.Stream, b.Expected, i, e.Stream, e.Version)
		}
		if y := e.Time.UTC().Year(); y < 0 || y > 9999 {
			return fmt.Errorf("append to %s at version %d: event %d has a time in the year %d", b.Stream, b.Expected, i, y)
		}
		for _, s := range []string{string(e.Type), e.Actor, e.Reason, e.CorrelationID, e.CausationID, e.Traceparent} {
			if !storable(s) {
				return fmt.Errorf("append to %s at version %d: event %d has a text that is not UTF-8 or has a zero octet: %q", b.Stream, b.Expected, i, s)
			}
		}
		if !utf8.Valid(e.Data) || slices.Contains(e.Data, 0) {
			return fmt.Errorf("append to %s at version %d: event %d has a payload that is not UTF-8 or has a zero octet", b.Stream, b.Expected, i)
		}
	}
	if len(b.Events) == 0 && len(b.Take)+len(b.Release)+len(b.Refer)+len(b.Unrefer) > 0 {
		return fmt.Errorf("append to %s: a batch without events changes nothing, so it cannot change claims or references", b.Stream)
	}
	if b.Key != nil && (b.Key.Key == "" || len(b.Key.Key) > maxKey) {
		return fmt.Errorf("append to %s: an idempotency key has 1 to %d octets, this one %d", b.Stream, maxKey, len(b.Key.Key))
	}
	if b.Key != nil && !storable(b.Key.Key) {
		return fmt.Errorf("append to %s: an idempotency key is UTF-8 without a zero octet, this one is %q", b.Stream, b.Key.Key)
	}
	return nil
}

// storable tells whether PostgreSQL's text can hold a string.
func storable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c == 0 || c >= utf8.RuneSelf {
			return utf8.ValidString(s) && !slices.Contains([]byte(s), 0)
		}
	}
	return true
}

// recall is the outcome that a key already has, in this group or before it.
func (g *group) recall(k *events.Key) (answer, bool, error) {
	if a, ok := g.keys[k.Key]; ok {
		if a.key.Fingerprint != k.Fingerprint {
			return answer{}, false, events.ErrKeyReused
		}
		a.replayed = true
		return a, true, nil
	}
	row, ok := g.base.keys[k.Key]
	if !ok {
		return answer{}, false, nil
	}
	if row.fingerprint != k.Fingerprint {
		return answer{}, false, events.ErrKeyReused
	}
	return answer{stream: row.stream, version: row.version, position: place{position: row.position}, replayed: true, stored: &row}, true, nil
}

// state is a stream as the batches before leave it.
func (g *group) state(id events.StreamID) state {
	now, ok := g.streams[id]
	if !ok {
		now = g.base.streams[id]
		g.streams[id] = now
	}
	return now
}

func (g *group) setState(id events.StreamID, to state) {
	was := g.state(id)
	g.undo = append(g.undo, func() { g.streams[id] = was })
	g.streams[id] = to
}

// bound narrows down for which numbers of referrers, as they are in the database, the decisions hold.
func (g *group) bound(id events.StreamID, least, most int64) {
	b, ok := g.guards[id]
	if !ok {
		b = guard{0, math.MaxInt64}
	}
	g.guards[id] = guard{max(b.least, least), min(b.most, most)}
}

func (g *group) holder(h events.Hostname) events.StreamID {
	id, ok := g.holders[h]
	if !ok {
		id = g.base.holders[h]
		g.holders[h] = id
	}
	return id
}

func (g *group) setHolder(h events.Hostname, to events.StreamID) {
	was := g.holder(h)
	g.undo = append(g.undo, func() { g.holders[h] = was })
	g.holders[h] = to
}

// claim lets hostnames go, and then takes others, so that one can be let go and taken again.
func (g *group) claim(b *events.Batch) error {
	for _, h := range b.Release {
		switch holder := g.holder(h); holder {
		case b.Stream:
			g.setHolder(h, events.StreamID{})
		case events.StreamID{}:
			return fmt.Errorf("release %s: no one holds it", h)
		default:
			return fmt.Errorf("release %s: %s holds it, not %s", h, holder, b.Stream)
		}
	}
	for _, h := range b.Take {
		switch holder := g.holder(h); holder {
		case b.Stream:
		case events.StreamID{}:
			g.setHolder(h, b.Stream)
		default:
			return &events.ClaimedError{Hostname: h, Holder: holder}
		}
	}
	return nil
}

func (g *group) refers(e edge) bool {
	is, ok := g.edges[e]
	if !ok {
		is = g.base.edges[e]
		g.edges[e] = is
	}
	return is
}

func (g *group) setRefers(e edge, to bool) {
	was := g.refers(e)
	g.undo = append(g.undo, func() { g.edges[e] = was })
	g.edges[e] = to
	now := g.state(e.to)
	if to {
		now.referrers++
	} else {
		now.referrers--
	}
	g.setState(e.to, now)
}

// refer ends references, and then begins others. A stream refers to another or does not: a
// second reference to the same one counts once.
func (g *group) refer(b *events.Batch) error {
	for _, to := range b.Unrefer {
		e := edge{to: to, from: b.Stream}
		if !g.refers(e) {
			return fmt.Errorf("end the reference to %s: %s does not refer to it", to, b.Stream)
		}
		g.setRefers(e, false)
	}
	for _, r := range b.Refer {
		e := edge{to: r.To, from: b.Stream}
		refers := g.refers(e)
		if err := g.checkLimit(r, refers); err != nil {
			return err
		}
		if !refers {
			g.setRefers(e, true)
		}
	}
	if now := g.state(b.Stream); b.Unreferred {
		was := g.base.streams[b.Stream].referrers
		g.bound(b.Stream, was, was)
		if now.referrers > 0 {
			return &events.ReferenceError{Reason: events.ErrReferenced, Stream: b.Stream, Count: int(now.referrers)}
		}
	}
	return nil
}

func (g *group) checkLimit(r events.Reference, refers bool) error {
	if r.Limit <= 0 {
		return nil
	}
	count, was := g.state(r.To).referrers, g.base.streams[r.To].referrers
	after := count
	if !refers {
		after++
	}
	limit := int64(r.Limit)
	if after > limit {
		// The error says how many there are: it must be right about that when the group is stored.
		g.bound(r.To, was, was)
		return &events.ReferenceError{Reason: events.ErrFull, Stream: r.To, Count: int(count)}
	}
	g.bound(r.To, 0, was+limit-after)
	return nil
}

// append gives the events their places and remembers the key.
func (g *group) append(b *events.Batch) answer {
	now := g.state(b.Stream)
	if n := uint64(len(b.Events)); n > 0 {
		ahead, runs, batches := g.ahead, len(g.runs), g.batches
		g.undo = append(g.undo, func() { g.ahead, g.runs, g.batches = ahead, g.runs[:runs], batches })
		g.ahead += n
		g.batches++
		now.version, now.position = b.Expected+n, place{ahead: g.ahead}
		g.setState(b.Stream, now)
		g.runs = append(g.runs, run{stream: b.Stream, events: b.Events, last: g.ahead})
	}
	a := answer{key: b.Key, stream: b.Stream, version: now.version, position: now.position, events: b.Events}
	if b.Key == nil {
		return a
	}
	key, batches := b.Key.Key, g.batches
	g.undo = append(g.undo, func() {
		delete(g.keys, key)
		g.batches = batches
	})
	g.keys[key] = a
	if len(b.Events) == 0 {
		g.batches++
	}
	return a
}

// changes tells whether there is anything to store.
func (g *group) changes() bool { return g.batches > 0 }
