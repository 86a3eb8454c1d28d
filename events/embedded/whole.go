package embedded

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// Whole is all that the store holds now. It is one snapshot of Badger: appends go on, and what
// they replace stays on the disk until it is closed. Close it before the store, which waits for it.
func (s *Store) Whole(ctx context.Context) (events.Whole, error) {
	v, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the whole log: %w", err)
	}
	return &wholeLog{store: s, view: v}, nil
}

type wholeLog struct {
	store   *Store
	view    view
	mu      sync.RWMutex // held by who reads, so that Close does not take the snapshot from under them
	closed  bool
	closing sync.Once
}

func (w *wholeLog) Head() events.Head {
	return events.Head{Position: w.view.position, StoreID: w.store.id}
}

// Close waits for who still reads.
func (w *wholeLog) Close() error {
	w.closing.Do(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.closed = true
		w.view.done()
	})
	return nil
}

// read runs do while the snapshot stands.
func (w *wholeLog) read(do func() error) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return errClosed
	}
	return do()
}

// Parts go through the states of all streams, which say how many events each has.
func (w *wholeLog) Parts(ctx context.Context, n int) ([]events.Part, error) {
	var parts []events.Part
	err := w.read(func() error {
		ends, err := w.cut(ctx, uint64(max(n, 1)))
		if err != nil {
			return err
		}
		tally := events.NewTally(w.view.position, len(ends))
		from := []byte{prefixState}
		for _, end := range ends {
			parts = append(parts, &part{whole: w, tally: tally, from: from, end: end})
			from = end
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the whole log: %w", err)
	}
	return parts, nil
}

// cut is the keys of states before which each part ends; the last is behind all.
func (w *wholeLog) cut(ctx context.Context, n uint64) ([][]byte, error) {
	var ends [][]byte
	share := w.view.position/n + 1
	seen := uint64(0)
	err := w.states(ctx, []byte{prefixState}, []byte{prefixState + 1}, func(item *badger.Item, now state) error {
		if seen >= share*uint64(len(ends)+1) {
			ends = append(ends, item.KeyCopy(nil))
		}
		seen += now.version
		return nil
	})
	return append(ends, []byte{prefixState + 1}), err
}

// states calls each with the states of the streams that exist, from a key to before another.
func (w *wholeLog) states(ctx context.Context, from, end []byte, each func(*badger.Item, state) error) error {
	it := w.view.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixState}})
	defer it.Close()
	for it.Seek(from); it.Valid(); it.Next() {
		item := it.Item()
		if bytes.Compare(item.Key(), end) >= 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var now state
		if err := item.Value(func(value []byte) (err error) {
			now, err = decodeState(value)
			return err
		}); err != nil {
			return err
		}
		if now.version == 0 {
			continue // it is referred to and does not exist
		}
		if err := each(item, now); err != nil {
			return err
		}
	}
	return nil
}

// part is the streams whose states stand from a key to before another.
type part struct {
	whole     *wholeLog
	tally     *events.Tally
	from, end []byte
}

// yielded is an error of who reads, which is passed through as it is.
type yielded struct{ error }

func (p *part) Streams(ctx context.Context, yield func(stream []events.Event) error) error {
	err := p.whole.read(func() error {
		var one reader
		count := uint64(0)
		err := p.whole.states(ctx, p.from, p.end, func(item *badger.Item, now state) error {
			_, id, _ := bytes.Cut(item.Key(), []byte{0})
			stream, err := one.read(p.whole, id, now)
			if err != nil {
				return err
			}
			count += uint64(len(stream))
			if err := yield(stream); err != nil {
				return &yielded{err}
			}
			return nil
		})
		if err != nil {
			return err
		}
		return p.tally.Done(count)
	})
	if own, ok := err.(*yielded); ok { //nolint:errorlint // it is made above, and wrapped nowhere
		return own.error
	}
	if err != nil {
		return fmt.Errorf("read the whole log: %w", err)
	}
	return nil
}

// reader reads one stream after the other into memory that it uses again.
type reader struct {
	back   []span // the stream's runs, from the last to the first
	values []byte
	events []events.Event
}

// span is a run: where its value stands in reader.values, and the position of its last event.
type span struct {
	from, to int
	last     uint64
}

func (r *reader) read(w *wholeLog, name []byte, now state) ([]events.Event, error) {
	id, err := events.ParseStreamID(string(name))
	if err != nil {
		return nil, fmt.Errorf("%w: state of a stream: %w", errRecord, err)
	}
	r.back, r.values, r.events = r.back[:0], r.values[:0], r.events[:0]
	for position := now.position; position > 0; {
		item, err := w.view.Get(keyRun(position))
		if err != nil {
			return nil, fmt.Errorf("%w: no run ends at position %d: %w", errRecord, position, err)
		}
		from := len(r.values)
		if r.values, err = appendValue(r.values, item); err != nil {
			return nil, err
		}
		r.back = append(r.back, span{from: from, to: len(r.values), last: position})
		if position, err = previousOf(r.values[from:], position); err != nil {
			return nil, err
		}
	}
	for _, s := range slices.Backward(r.back) {
		if r.events, err = appendEvents(r.events, r.values[s.from:s.to], id, name, s.last); err != nil {
			return nil, err
		}
	}
	if uint64(len(r.events)) != now.version {
		return nil, fmt.Errorf("%w: %s has %d events and is at version %d", errRecord, id, len(r.events), now.version)
	}
	return r.events, events.CheckStream(r.events, w.Head())
}

func appendValue(b []byte, item *badger.Item) ([]byte, error) {
	err := item.Value(func(value []byte) error {
		b = append(b, value...)
		return nil
	})
	return b, err
}

// previousOf is where the stream's run before ends; 0: this is the first.
func previousOf(value []byte, last uint64) (uint64, error) {
	c := cursor{rest: value}
	c.format()
	previous := c.uvarint()
	if c.bad || previous >= last {
		return 0, fmt.Errorf("%w: run that ends at position %d", errRecord, last)
	}
	return previous, nil
}

// appendEvents adds what folding needs of a run's events. They share memory with its value.
func appendEvents(out []events.Event, value []byte, id events.StreamID, name []byte, last uint64) ([]events.Event, error) {
	c := cursor{rest: value}
	c.format()
	c.uvarint() // the run before
	version, count := c.uvarint(), c.uvarint()
	at := time.UnixMicro(c.varint()).UTC()
	stream := c.take(c.uvarint())
	for range 5 { // actor, reason, correlation, causation, traceparent
		c.take(c.uvarint())
	}
	if c.bad || count == 0 || count > last || count > uint64(len(value)) || !bytes.Equal(stream, name) {
		return out, fmt.Errorf("%w: run of %s that ends at position %d", errRecord, id, last)
	}
	for i := range count {
		e := events.Event{Stream: id, Version: version + i, Position: last - count + 1 + i, Time: at}
		e.ID = uuid.UUID(c.take(16))
		e.Type = events.TypeOf(c.take(c.uvarint()))
		e.Data = c.take(c.uvarint())
		if c.bad {
			return out, fmt.Errorf("%w: run of %s that ends at position %d", errRecord, id, last)
		}
		out = append(out, e)
	}
	return out, nil
}
