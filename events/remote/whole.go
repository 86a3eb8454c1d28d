package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tenantry/tenantry/events"
)

// ErrRestored says that the catalogue's store was restored to another past while it was read. Read it
// anew.
var ErrRestored = errors.New("the catalogue has another history than before")

// Whole reads all of the log, in the order of its positions, and sorts it by stream in a temporary
// file in Config.TempDir, which takes about as much room as the log itself and is gone when the
// whole is closed, or the process ends. An answer that breaks off is gone on with where it broke
// off; a catalogue that is away is waited for as long as Config.Patience. [events.WithReading] is told how far it is.
func (l *Log) Whole(ctx context.Context) (events.Whole, error) {
	w, err := l.whole(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the whole log: %w", err)
	}
	return w, nil
}

func (l *Log) whole(ctx context.Context) (*whole, error) {
	head, err := l.Head(ctx)
	if err != nil {
		return nil, err
	}
	sorter, err := newSorter(l.tempDir)
	if err != nil {
		return nil, err
	}
	told := events.Reading(ctx)
	told(0, head.Position) // so that the rate is right from the first that comes
	err = l.readPatiently(ctx, head, func(e events.Event) error {
		if e.Position%tellEvery == 0 || e.Position == head.Position {
			told(e.Position, head.Position)
		}
		return sorter.add(&e)
	})
	if err == nil {
		err = l.sameHistory(ctx, head)
	}
	if err == nil {
		err = sorter.finish()
	}
	if err != nil {
		return nil, errors.Join(err, sorter.close())
	}
	return &whole{head: head, sorter: sorter}, nil
}

// tellEvery is after how many events it is told how far the reading is.
const tellEvery = 10_000

// sameHistory asks whether the log still has all that it had when it ended at head.
func (l *Log) sameHistory(ctx context.Context, head events.Head) error {
	now, err := l.Head(ctx)
	if err != nil {
		return err
	}
	if now.StoreID != head.StoreID || now.Position < head.Position {
		return fmt.Errorf("%w: it was store %s up to position %d, and is store %s up to %d", ErrRestored, head.StoreID, head.Position, now.StoreID, now.Position)
	}
	return nil
}

// readPatiently calls each with all events up to head, and waits for a catalogue that is away until it
// has given nothing for as long as our patience.
func (l *Log) readPatiently(ctx context.Context, head events.Head, each func(events.Event) error) error {
	position, since := uint64(0), time.Now()
	for {
		began := position
		err := l.Read(ctx, position, head.Position, func(e events.Event) error {
			position = e.Position
			return each(e)
		})
		if position > began {
			since = time.Now()
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		if restored := l.sameHistory(ctx, head); errors.Is(restored, ErrRestored) {
			return restored // what was asked for never comes
		}
		if !errors.Is(err, events.ErrUnavailable) || time.Since(since) > l.patience {
			return err
		}
	}
}

// whole is a log that was read to its end and sorted.
type whole struct {
	head   events.Head
	mu     sync.RWMutex // held by who reads, so that Close does not take the file from under them
	sorter *sorter      // nil: closed
}

func (w *whole) Head() events.Head { return w.head }

// Close waits for who still reads.
func (w *whole) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sorter == nil {
		return nil
	}
	err := w.sorter.close()
	w.sorter = nil
	return err
}

var errClosed = errors.New("the whole log was closed")

func (w *whole) Parts(ctx context.Context, n int) ([]events.Part, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.sorter == nil {
		return nil, errClosed
	}
	ends := w.sorter.cut(max(n, 1))
	tally := events.NewTally(w.head.Position, len(ends))
	parts := make([]events.Part, len(ends))
	from := ""
	for i, end := range ends {
		parts[i] = &part{whole: w, tally: tally, from: from, end: end, ahead: readAhead / len(ends)}
		from = end
	}
	return parts, nil
}

// part is the streams from one to before another ("": no bound).
type part struct {
	whole     *whole
	tally     *events.Tally
	from, end string
	ahead     int // octets to read ahead
}

func (p *part) Streams(ctx context.Context, yield func(stream []events.Event) error) error {
	w := p.whole
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.sorter == nil {
		return errClosed
	}
	count := uint64(0)
	err := w.sorter.merge(ctx, p.from, p.end, p.ahead, func(stream []events.Event) error {
		if err := events.CheckStream(stream, w.head); err != nil {
			return err
		}
		count += uint64(len(stream))
		return yield(stream)
	})
	if err != nil {
		return err
	}
	return p.tally.Done(count)
}
