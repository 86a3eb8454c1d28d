package embedded

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/tenantry/tenantry/events"
)

// Load is the stream's events after a version, in order.
func (s *Store) Load(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	return s.stream(ctx, id, after, math.MaxUint64)
}

// History is up to limit of the stream's events after a version, in order.
func (s *Store) History(ctx context.Context, id events.StreamID, after uint64, limit int) ([]events.Event, error) {
	return s.stream(ctx, id, after, uint64(max(limit, 0)))
}

func (s *Store) stream(ctx context.Context, id events.StreamID, after, limit uint64) ([]events.Event, error) {
	v, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer v.done()
	now, err := readState(v.Txn, id)
	var out []events.Event
	if err == nil {
		out, err = load(ctx, v.Txn, id, now, after, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", id, err)
	}
	return out, nil
}

// load is up to limit of the events after a version of a stream in this state. Each run says
// where the one before it ends, so it reads from the end as far back as it must, and keeps what
// it was asked for.
func load(ctx context.Context, txn *badger.Txn, id events.StreamID, now state, after, limit uint64) ([]events.Event, error) {
	if now.version <= after || limit == 0 {
		return nil, nil
	}
	last := after + min(limit, now.version-after) // the version of the last event wanted
	var back []run
	for first, position := now.version+1, now.position; first > after+1; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		value, found, err := get(txn, keyRun(position))
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, fmt.Errorf("%w: no run ends at position %d", errRecord, position)
		}
		r, err := openRun(value, position)
		if err != nil {
			return nil, err
		}
		if r.common.Stream != id || r.version+r.count != first {
			return nil, fmt.Errorf("%w: position %d ends a run of %s at version %d, not %d", errRecord, position, r.common.Stream, r.version+r.count-1, first-1)
		}
		if r.version <= last {
			back = append(back, r)
		}
		first, position = r.version, r.previous
	}
	out := make([]events.Event, 0, back[0].version+back[0].count-back[len(back)-1].version)
	for _, r := range slices.Backward(back) {
		var err error
		if out, err = r.events(out); err != nil {
			return nil, err
		}
	}
	// The first run may begin at or before the version, and the last one end behind what is wanted.
	from := after + 1 - out[0].Version
	to := last + 1 - out[0].Version
	return out[from:to:to], nil
}

// Streams is the whole of up to limit streams of a kind, in the order of their IDs, after the
// ID given.
func (s *Store) Streams(ctx context.Context, k events.Kind, after events.StreamID, limit int) ([][]events.Event, error) {
	if !after.IsZero() && after.Kind() != k {
		return nil, fmt.Errorf("list streams of kind %s after %s: that is another kind", k, after)
	}
	v, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer v.done()
	prefix := keysOfKind(k)
	from := prefix
	if !after.IsZero() {
		from = append(keyState(after), 0) // the next key there can be
	}
	it := v.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	var out [][]events.Event
	for it.Seek(from); it.Valid() && len(out) < limit; it.Next() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		stream, err := whole(ctx, v.Txn, it.Item(), len(prefix))
		if err != nil {
			return nil, fmt.Errorf("list streams of kind %s: %w", k, err)
		}
		if len(stream) > 0 { // one may be referred to and not exist
			out = append(out, stream)
		}
	}
	return out, nil
}

// whole is the stream whose state an item holds, with its ID behind a prefix of the key.
func whole(ctx context.Context, txn *badger.Txn, item *badger.Item, prefix int) ([]events.Event, error) {
	id, err := events.ParseStreamID(string(item.Key()[prefix:]))
	if err != nil {
		return nil, fmt.Errorf("%w: state of a stream: %w", errRecord, err)
	}
	var now state
	err = item.Value(func(value []byte) (err error) {
		now, err = decodeState(value)
		return err
	})
	if err != nil {
		return nil, err
	}
	return load(ctx, txn, id, now, 0, math.MaxUint64)
}

// References is how many streams refer to this one.
func (s *Store) References(ctx context.Context, id events.StreamID) (int, error) {
	v, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer v.done()
	now, err := readState(v.Txn, id)
	if err != nil {
		return 0, fmt.Errorf("count references to %s: %w", id, err)
	}
	return int(now.referrers), nil
}

func readState(txn *badger.Txn, id events.StreamID) (state, error) {
	value, found, err := get(txn, keyState(id))
	if err != nil || !found {
		return state{}, err
	}
	return decodeState(value)
}

// After is up to limit events after a position, in order and without a hole: commits are
// ordered as their positions are, and a snapshot holds all of one or nothing.
func (s *Store) After(ctx context.Context, position uint64, limit int) ([]events.Event, error) {
	v, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer v.done()
	if limit <= 0 || position >= v.position {
		return nil, nil
	}
	out, err := after(ctx, v, position, limit)
	if err != nil {
		return nil, fmt.Errorf("read after position %d: %w", position, err)
	}
	return out, nil
}

func after(ctx context.Context, v view, position uint64, limit int) ([]events.Event, error) {
	it := v.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixRun}})
	defer it.Close()
	want := min(uint64(limit), v.position-position)
	out := make([]events.Event, 0, want)
	for it.Seek(keyRun(position + 1)); it.Valid() && uint64(len(out)) < want; it.Next() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		last, err := number(it.Item().Key()[1:])
		if err != nil {
			return nil, err
		}
		value, err := it.Item().ValueCopy(nil)
		if err != nil {
			return nil, err
		}
		r, err := openRun(value, last)
		if err != nil {
			return nil, err
		}
		had := len(out)
		if out, err = r.events(out); err != nil {
			return nil, err
		}
		if had == 0 {
			// The first run may begin at or before the position.
			out = out[min(position-min(position, out[0].Position-1), uint64(len(out))):]
		}
		if len(out) <= had || out[had].Position != position+uint64(had)+1 {
			return nil, fmt.Errorf("%w: the run that ends at position %d does not follow position %d", errRecord, last, position+uint64(had))
		}
	}
	// Badger's iterator ends at a block that it cannot read as it does at the last one.
	if uint64(len(out)) < want {
		return nil, fmt.Errorf("%w: position %d is missing", errRecord, position+uint64(len(out))+1)
	}
	return out[:want:want], nil
}

// Recall is the outcome that an idempotency key already has.
func (s *Store) Recall(ctx context.Context, k events.Key) (events.Outcome, bool, error) {
	v, err := s.begin(ctx)
	if err != nil {
		return events.Outcome{}, false, err
	}
	defer v.done()
	return recall(ctx, v.Txn, &k)
}

// recall makes the outcome anew from the log, which has kept the events as they were.
func recall(ctx context.Context, txn *badger.Txn, k *events.Key) (events.Outcome, bool, error) {
	value, found, err := get(txn, keyKey(k.Key))
	if err != nil || !found {
		return events.Outcome{}, false, err
	}
	record, err := decodeKeyRecord(value)
	if err != nil {
		return events.Outcome{}, false, err
	}
	if record.fingerprint != k.Fingerprint {
		return events.Outcome{}, false, events.ErrKeyReused
	}
	out := events.Outcome{Stream: record.stream, Version: record.version, Position: record.position, Replayed: true}
	if record.count == 0 {
		return out, true, nil
	}
	then := state{version: record.version, position: record.position}
	stream, err := load(ctx, txn, record.stream, then, record.version-record.count, record.count)
	if err != nil {
		return events.Outcome{}, false, fmt.Errorf("recall the events of %s: %w", record.stream, err)
	}
	for _, e := range stream {
		out.Events = append(out.Events, events.Appended{Type: e.Type, Version: e.Version, Position: e.Position})
	}
	return out, true, nil
}
