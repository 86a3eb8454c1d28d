package embedded

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/tenantry/tenantry/events"
)

// writes is what is to become of keys; nil deletes.
type writes map[string][]byte

// group is the batches of one transaction while they are decided: what the store holds, and
// over it what the batches before have written.
type group struct {
	base   *badger.Txn
	writes writes
	head   uint64
	size   int64
	keys   map[string]remembered // first used in this group

	batches, events int
}

// remembered is the outcome of a key whose batch is not committed yet, so that its events cannot
// be read back.
type remembered struct {
	fingerprint [32]byte
	outcome     events.Outcome
}

func newGroup(base *badger.Txn, head uint64) *group {
	return &group{base: base, writes: make(writes), head: head, keys: make(map[string]remembered)}
}

// plan is what a batch will do when it is stored.
type plan struct {
	group   *group
	writes  writes
	outcome events.Outcome
	key     *events.Key // to be remembered
	events  int
	size    int64
}

// decide checks everything that Append promises to check, in the order that it promises. It
// changes nothing: apply does.
func (g *group) decide(b *events.Batch) (*plan, error) {
	if err := checkForm(b); err != nil {
		return nil, err
	}
	p := &plan{group: g, writes: make(writes, 8)}
	if b.Key != nil {
		outcome, seen, err := g.recall(b.Key)
		if err != nil {
			return nil, err
		}
		if seen {
			p.outcome = outcome
			return p, nil
		}
	}
	now, err := p.state(b.Stream)
	if err != nil {
		return nil, err
	}
	if now.version != b.Expected {
		return nil, conflict(b.Stream, now.version, b.Expected)
	}
	for _, r := range b.Refer {
		to, err := p.state(r.To)
		if err != nil {
			return nil, err
		}
		if to.version != r.Version {
			return nil, conflict(r.To, to.version, r.Version)
		}
	}
	if err := p.claim(b); err != nil {
		return nil, err
	}
	if err := p.refer(b); err != nil {
		return nil, err
	}
	if err := p.append(b); err != nil {
		return nil, err
	}
	p.size = p.writes.size()
	return p, nil
}

func conflict(id events.StreamID, is, want uint64) error {
	return fmt.Errorf("%w: %s is at version %d, not %d", events.ErrConflict, id, is, want)
}

// checkForm finds the faults of the caller that show in the batch alone.
func checkForm(b *events.Batch) error {
	if b.Stream.IsZero() {
		return errors.New("append: the batch names no stream")
	}
	for i := range b.Events {
		e := &b.Events[i]
		if e.Stream != b.Stream || e.Version != b.Expected+uint64(i)+1 {
			return fmt.Errorf("append to %s at version %d: event %d is of %s at version %d", b.Stream, b.Expected, i, e.Stream, e.Version)
		}
	}
	if len(b.Events) == 0 && len(b.Take)+len(b.Release)+len(b.Refer)+len(b.Unrefer) > 0 {
		return fmt.Errorf("append to %s: a batch without events changes nothing, so it cannot change claims or references", b.Stream)
	}
	if b.Key != nil && (b.Key.Key == "" || len(b.Key.Key) > maxKey) {
		return fmt.Errorf("append to %s: an idempotency key has 1 to %d octets, this one %d", b.Stream, maxKey, len(b.Key.Key))
	}
	return nil
}

// recall is the outcome that a key already has, in this group or before it.
func (g *group) recall(k *events.Key) (events.Outcome, bool, error) {
	r, ok := g.keys[k.Key]
	if !ok {
		return recall(context.Background(), g.base, k) // short: the events of one batch
	}
	if r.fingerprint != k.Fingerprint {
		return events.Outcome{}, false, events.ErrKeyReused
	}
	r.outcome.Replayed = true
	r.outcome.Events = slices.Clone(r.outcome.Events) // two callers get it
	return r.outcome, true, nil
}

// claim lets hostnames go, and then takes others, so that one can be let go and taken again.
func (p *plan) claim(b *events.Batch) error {
	for _, h := range b.Release {
		key := keyHostname(h)
		holder, held, err := p.get(key)
		switch {
		case err != nil:
			return err
		case !held:
			return fmt.Errorf("release %s: no one holds it", h)
		case string(holder) != b.Stream.String():
			return fmt.Errorf("release %s: %s holds it, not %s", h, holder, b.Stream)
		}
		p.writes[string(key)] = nil
	}
	for _, h := range b.Take {
		key := keyHostname(h)
		holder, held, err := p.get(key)
		if err != nil {
			return err
		}
		if held && string(holder) != b.Stream.String() {
			id, err := events.ParseStreamID(string(holder))
			if err != nil {
				return fmt.Errorf("%w: holder of %s: %w", errRecord, h, err)
			}
			return &events.ClaimedError{Hostname: h, Holder: id}
		}
		p.writes[string(key)] = []byte(b.Stream.String())
	}
	return nil
}

// refer ends references, and then begins others. A stream refers to another or does not: a
// second reference to the same one counts once.
func (p *plan) refer(b *events.Batch) error {
	for _, to := range b.Unrefer {
		_, refers, err := p.get(keyReferrer(to, b.Stream))
		if err != nil {
			return err
		}
		if !refers {
			return fmt.Errorf("end the reference to %s: %s does not refer to it", to, b.Stream)
		}
		if err := p.setReferrer(to, b.Stream, nil, -1); err != nil {
			return err
		}
	}
	for _, r := range b.Refer {
		_, refers, err := p.get(keyReferrer(r.To, b.Stream))
		if err != nil {
			return err
		}
		now, err := p.state(r.To)
		if err != nil {
			return err
		}
		after := now.referrers
		if !refers {
			after++
		}
		if r.Limit > 0 && after > uint64(r.Limit) {
			return &events.ReferenceError{Reason: events.ErrFull, Stream: r.To, Count: int(now.referrers)}
		}
		if refers {
			continue
		}
		if err := p.setReferrer(r.To, b.Stream, []byte{}, 1); err != nil {
			return err
		}
	}
	if !b.Unreferred {
		return nil
	}
	now, err := p.state(b.Stream)
	if err == nil && now.referrers > 0 {
		err = &events.ReferenceError{Reason: events.ErrReferenced, Stream: b.Stream, Count: int(now.referrers)}
	}
	return err
}

func (p *plan) setReferrer(to, from events.StreamID, value []byte, change int) error {
	now, err := p.state(to)
	if err != nil {
		return err
	}
	now.referrers += uint64(change)
	p.writes[string(keyReferrer(to, from))] = value
	p.writes[string(keyState(to))] = now.encode()
	return nil
}

// append gives the events their positions and puts them in the log.
func (p *plan) append(b *events.Batch) error {
	now, err := p.state(b.Stream)
	if err != nil {
		return err
	}
	p.outcome = events.Outcome{Stream: b.Stream}
	position, previous := p.group.head, now.position
	for _, run := range runs(b.Events) {
		value := encodeRun(run, previous)
		position += uint64(len(run))
		previous = position
		if len(value) >= maxValue {
			return fmt.Errorf("%w: append to %s: an event with %d octets, at most %d are stored", ErrTooLarge, b.Stream, len(value), maxValue)
		}
		p.writes[string(keyRun(position))] = value
	}
	for i := range b.Events {
		p.outcome.Events = append(p.outcome.Events, events.Appended{
			Type: b.Events[i].Type, Version: b.Events[i].Version, Position: p.group.head + uint64(i) + 1,
		})
	}
	if p.events = len(b.Events); p.events > 0 {
		now.version, now.position = b.Expected+uint64(p.events), position
		p.writes[string(keyState(b.Stream))] = now.encode()
	}
	p.outcome.Version, p.outcome.Position = now.version, now.position
	if b.Key == nil {
		return nil
	}
	p.key = b.Key
	record := keyRecord{
		fingerprint: b.Key.Fingerprint, time: b.Key.Time,
		stream: b.Stream, version: now.version, position: now.position, count: uint64(p.events),
	}
	p.writes[string(keyKey(b.Key.Key))] = record.encode()
	p.writes[string(keyKeyTime(b.Key.Time, b.Key.Key))] = []byte{}
	return nil
}

// get is the value of a key as this batch, the ones before it in the group, or the store left it.
func (p *plan) get(key []byte) ([]byte, bool, error) {
	if value, ok := p.writes[string(key)]; ok {
		return value, value != nil, nil
	}
	if value, ok := p.group.writes[string(key)]; ok {
		return value, value != nil, nil
	}
	return get(p.group.base, key)
}

func (p *plan) state(id events.StreamID) (state, error) {
	value, found, err := p.get(keyState(id))
	if err != nil || !found {
		return state{}, err
	}
	return decodeState(value)
}

// dry is the outcome of a batch that is only tried.
func (p *plan) dry() events.Outcome {
	if p.outcome.Replayed {
		return p.outcome
	}
	p.outcome.Position = 0
	for i := range p.outcome.Events {
		p.outcome.Events[i].Position = 0
	}
	return p.outcome
}

// apply makes the batch part of the group.
func (g *group) apply(p *plan) {
	maps.Copy(g.writes, p.writes)
	g.size += p.size
	g.head += uint64(p.events)
	g.events += p.events
	if len(p.writes) > 0 {
		g.batches++
	}
	if p.key != nil {
		g.keys[p.key.Key] = remembered{fingerprint: p.key.Fingerprint, outcome: p.outcome}
	}
}

// size is at least what Badger will count for the entries of a transaction.
func (w writes) size() int64 {
	var n int64
	for k, v := range w {
		n += int64(len(k)+len(v)) + 24
	}
	return n
}
