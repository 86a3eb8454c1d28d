package embedded

import (
	"bytes"
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/tenantry/tenantry/events"
)

// Load is the stream's events after a version, in order.
func (s *Store) Load(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	v, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer v.done()
	out, err := load(v.Txn, id, after)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", id, err)
	}
	return out, nil
}

func load(txn *badger.Txn, id events.StreamID, after uint64) ([]events.Event, error) {
	now, err := readState(txn, id)
	if err != nil || now.version <= after {
		return nil, err
	}
	prefix := keysOfStream(id)
	it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	out := make([]events.Event, 0, now.version-after)
	for it.Seek(keyStream(id, after+1)); it.Valid(); it.Next() {
		if out, err = loadRun(txn, out, it.Item()); err != nil {
			return nil, err
		}
	}
	// The first run may begin at or before the version.
	for len(out) > 0 && out[0].Version <= after {
		out = out[1:]
	}
	if uint64(len(out)) != now.version-after {
		return nil, fmt.Errorf("%w: %d events after version %d of %d", errRecord, len(out), after, now.version)
	}
	return out, nil
}

// loadRun appends the events of the run that an entry of the stream index names.
func loadRun(txn *badger.Txn, out []events.Event, entry *badger.Item) ([]events.Event, error) {
	var last uint64
	err := entry.Value(func(value []byte) (err error) {
		last, err = number(value)
		return err
	})
	if err != nil {
		return nil, err
	}
	value, found, err := get(txn, keyRun(last))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("%w: no run ends at position %d", errRecord, last)
	}
	return decodeRun(out, value, last)
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
		// Behind every version of it: the octet that ends its ID, and one higher.
		from = keysOfStream(after)
		from[len(from)-1]++
	}
	it := v.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	var (
		out    [][]events.Event
		stream []byte // the index prefix of the last of out
	)
	for it.Seek(from); it.Valid(); it.Next() {
		key := it.Item().Key()
		if len(out) == 0 || !bytes.Equal(key[:len(key)-8], stream) {
			if len(out) >= limit {
				break
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			stream = append(stream[:0], key[:len(key)-8]...)
			out = append(out, nil)
		}
		last := &out[len(out)-1]
		if *last, err = loadRun(v.Txn, *last, it.Item()); err != nil {
			return nil, fmt.Errorf("list streams of kind %s: %w", k, err)
		}
	}
	return out, nil
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
	it := v.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixRun}})
	defer it.Close()
	out := make([]events.Event, 0, min(uint64(limit), v.position-position))
	next := position + 1
	for it.Seek(keyRun(next)); it.Valid() && len(out) < limit; it.Next() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		last, err := number(it.Item().Key()[1:])
		if err != nil {
			return nil, fmt.Errorf("read after position %d: %w", position, err)
		}
		value, err := it.Item().ValueCopy(nil)
		if err != nil {
			return nil, fmt.Errorf("read after position %d: %w", position, err)
		}
		had := len(out)
		if out, err = decodeRun(out, value, last); err != nil {
			return nil, fmt.Errorf("read after position %d: %w", position, err)
		}
		if had == 0 {
			// The first run may begin at or before the position.
			for len(out) > 0 && out[0].Position < next {
				out = out[1:]
			}
		}
		if out[had].Position != next {
			return nil, fmt.Errorf("read after position %d: %w: position %d follows %d", position, errRecord, out[had].Position, next-1)
		}
		next = last + 1
	}
	return out[:min(len(out), limit)], nil
}

// Recall is the outcome that an idempotency key already has.
func (s *Store) Recall(ctx context.Context, k events.Key) (events.Outcome, bool, error) {
	v, err := s.begin(ctx)
	if err != nil {
		return events.Outcome{}, false, err
	}
	defer v.done()
	return recall(v.Txn, &k)
}

// recall makes the outcome anew from the log, which has kept the events as they were.
func recall(txn *badger.Txn, k *events.Key) (events.Outcome, bool, error) {
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
	stream, err := load(txn, record.stream, record.version-record.count)
	if err != nil {
		return events.Outcome{}, false, fmt.Errorf("recall the events of %s: %w", record.stream, err)
	}
	for _, e := range stream[:min(record.count, uint64(len(stream)))] {
		out.Events = append(out.Events, events.Appended{Type: e.Type, Version: e.Version, Position: e.Position})
	}
	return out, true, nil
}
