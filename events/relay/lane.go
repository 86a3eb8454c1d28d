package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/crashpoint"
)

// batchBytes bounds one batch of one partition. It stays below what kafka.Producer sends in
// one request, so that a batch is there whole or not at all. Larger ones are no faster, and each
// partition's writer and each of its readers hold some.
const batchBytes = 192 << 10

// errDisturbed: the broker gave a batch another offset than the one after the last record
// that we know of. Somebody else writes to the partition.
var errDisturbed = errors.New("another writer's records are among ours")

// lane writes one partition: what is added is produced in order, one batch in flight, and
// nothing any more after the first error.
type lane struct {
	session   *session
	partition int
	wake      chan struct{} // holds one signal: there may be something to write

	mu        sync.Mutex
	waiting   []events.Event // not yet produced, in the order of their positions
	repeating []*again       // to be published again while nothing waits
	flying    []events.Event // being produced
	marking   mark           // to be written behind all that waits
	sent      time.Time      // when what is in flight was sent; zero: nothing is

	// Only run touches these.
	build    builder
	previous uint64 // position of the partition's last event
	next     int64  // offset that the next record must get; -1: unknown
	fence    mark   // to be written before anything else; time zero: none
	standing mark   // a watermark that is true of all that stands in the partition
}

// add hands events to the lane. They are later than all that it has.
func (l *lane) add(page []events.Event) {
	l.mu.Lock()
	l.waiting = append(l.waiting, page...)
	l.mu.Unlock()
	l.signal()
}

// mark has a watermark written once everything that was added is. One that is not yet
// written gives way to it.
func (l *lane) mark(m mark) {
	l.mu.Lock()
	l.marking = m
	l.mu.Unlock()
	l.signal()
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default: // one is there that has not been seen
	}
}

// run produces until ctx ends, or something fails, or finish is closed and all is written.
func (l *lane) run(ctx context.Context, producer Producer, finish <-chan struct{}) error {
	if err := l.shutOut(ctx, producer); err != nil {
		return err
	}
	for {
		finishing := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-finish:
			finishing = true
		case <-l.wake:
		}
		for {
			more, err := l.produce(ctx, producer)
			if err == nil && !more {
				more, err = l.produceAgain(ctx, producer)
			}
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
		if finishing {
			return nil
		}
	}
}

// produce writes one batch, and tells whether there was one to write.
func (l *lane) produce(ctx context.Context, producer Producer) (bool, error) {
	batch, m := l.take()
	if len(batch) == 0 && m.time.IsZero() {
		return false, nil
	}
	l.build.reset()
	previous := l.previous
	for _, e := range batch {
		l.build.add(events.Record{Event: e, Previous: previous})
		previous = e.Position
	}
	if !m.time.IsZero() {
		l.build.mark(m, previous)
	}
	ctx, end := l.session.relay.tracing.batch(ctx, l.partition, batch)
	began := time.Now()
	crashpoint.Hit(crashpoint.RelayBeforeProduce)
	offset, err := producer.Produce(ctx, l.partition, l.build.records)
	end(err)
	if err != nil {
		return false, failed(causeKafka, fmt.Errorf("publish %s to partition %d: %w", l.describe(batch, m), l.partition, err))
	}
	crashpoint.Hit(crashpoint.RelayAfterProduce)
	if err := l.landed(offset, len(l.build.records)); err != nil {
		return false, err
	}
	l.previous = previous
	switch {
	case !m.time.IsZero():
		l.standing = m
	case len(batch) > 0:
		l.standing.position, l.standing.event = previous, batch[len(batch)-1].ID
	}
	l.land()
	l.session.published(batch, !m.time.IsZero(), time.Since(began))
	return true, nil
}

// take moves the next batch into flight. The mark comes with the batch that ends the queue.
func (l *lane) take() ([]events.Event, mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := fitting(l.waiting, batchBytes)
	l.flying, l.waiting = l.waiting[:n:n], l.waiting[n:]
	var m mark
	if len(l.waiting) == 0 {
		l.waiting = nil // or the array behind it would keep what was published
		m, l.marking = l.marking, mark{}
		// Events that came after the mark was asked for stand before it now. A mark must not
		// say less than the records before it do, for at the next start it is the last
		// record that tells how far the partition is.
		if n > 0 && !m.time.IsZero() && m.position < l.flying[n-1].Position {
			m.position, m.event = l.flying[n-1].Position, l.flying[n-1].ID
		}
	}
	if n > 0 || !m.time.IsZero() {
		l.sent = time.Now()
	}
	return l.flying, m
}

// land takes note that what was in flight is stored.
func (l *lane) land() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flying, l.sent = nil, time.Time{}
}

// oldest is the first event that is not known to be stored.
func (l *lane) oldest() (e events.Event, sent time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.flying) > 0:
		return l.flying[0], l.sent, true
	case len(l.waiting) > 0:
		return l.waiting[0], l.sent, true
	}
	return events.Event{}, l.sent, false
}

func (l *lane) describe(batch []events.Event, m mark) string {
	if len(batch) == 0 {
		return fmt.Sprintf("the watermark of position %d", m.position)
	}
	return fmt.Sprintf("%d events (positions %d to %d)", len(batch), batch[0].Position, batch[len(batch)-1].Position)
}
