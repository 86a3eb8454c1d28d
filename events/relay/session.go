package relay

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/crashpoint"
)

const (
	// pageEvents is how many events are read at a time, and pageBytes about how many bytes,
	// once the sizes of the events before are known.
	pageEvents = 2000
	pageBytes  = 2 << 20

	// pendingBytes bounds what was read and is not yet stored by the broker.
	pendingBytes = 8 << 20

	// lookEvery is how often the end of the log is looked up while the broker takes nothing,
	// so that the lag that is shown grows as the true one does.
	lookEvery = time.Second
)

// errHole: the store's pages are not contiguous, which it promises that they are.
var errHole = errors.New("the store's log has a hole")

// errOtherStore: the store has another identity, or an earlier end, than when the session began.
var errOtherStore = errors.New("the store was replaced or restored")

// session is one producer's life: from a look at what the topic holds to the first error.
type session struct {
	relay *Relay
	store uuid.UUID
	lanes []*lane
	room  *semaphore.Weighted
	ended chan struct{} // closed when it has
	head  atomic.Uint64 // as last seen
	read  atomic.Uint64 // everything up to there is in the lanes, or in the topic

	// Only the reading goroutine touches these.
	cursor   uint64    // what read says
	cursorID uuid.UUID // of the event there
	skip     []uint64  // a partition: its events up to there are in the topic
	told     []uint64  // a partition: the position of what was handed to its lane last
	routed   [][]events.Event
	limit    int // events in a page
	marks    marks
}

// open looks at topic and store and gets a producer.
func (r *Relay) open(ctx context.Context) (*session, Producer, error) {
	at, err := r.look(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.SurveyTimeout)
	defer cancel()
	producer, err := r.config.Topic.NewProducer(ctx)
	if err != nil {
		return nil, nil, failed(causeKafka, fmt.Errorf("get a producer: %w", err))
	}
	fences := false
	if p, ok := producer.(interface{ Fences() bool }); ok {
		fences = p.Fences()
	}
	n := len(at.partitions)
	s := &session{
		relay:    r,
		store:    at.head.StoreID,
		ended:    make(chan struct{}),
		room:     semaphore.NewWeighted(pendingBytes),
		cursor:   at.start,
		cursorID: at.ids[at.start],
		skip:     make([]uint64, n),
		told:     make([]uint64, n),
		routed:   make([][]events.Event, n),
		limit:    pageEvents,
	}
	s.head.Store(at.head.Position)
	s.read.Store(at.start)
	for partition, f := range at.partitions {
		s.skip[partition], s.told[partition] = f.complete, f.complete
		s.lanes = append(s.lanes, &lane{
			session: s, partition: partition, wake: make(chan struct{}, 1),
			build:    builder{storeID: s.store, partition: partition, partitions: n},
			previous: f.previous, next: f.next,
			standing: mark{position: f.complete, event: at.ids[f.complete], time: anyTime},
		})
		if !f.marked.IsZero() {
			s.lanes[partition].standing.time = f.marked
		}
		if fences {
			s.lanes[partition].fence = fenceMark(f, at.ids)
		}
	}
	s.marks.expect(at.marked)
	s.marks.expect(observation{time: at.at, position: at.head.Position})
	return s, producer, nil
}

// run publishes until ctx ends or something fails; with once, until all is published that
// the store held when the session began.
func (s *session) run(ctx context.Context, producer Producer, once bool) error {
	group, ctx := errgroup.WithContext(ctx)
	finish := make(chan struct{})
	for _, l := range s.lanes {
		group.Go(func() error { return l.run(ctx, producer, finish) })
	}
	group.Go(func() error {
		if err := s.feed(ctx, once); err != nil {
			return err
		}
		close(finish)
		return nil
	})
	return group.Wait()
}

// feed reads the log and hands its events, and the watermarks, to the lanes. While the lanes
// produce one page it reads the next.
func (s *session) feed(ctx context.Context, once bool) error {
	until := s.head.Load()
	for {
		now := time.Now()
		page, err := s.relay.config.Store.After(ctx, s.cursor, s.limit)
		if err != nil {
			return failed(causeStore, fmt.Errorf("read the events after position %d: %w", s.cursor, err))
		}
		if len(page) > 0 {
			if err := s.route(ctx, page); err != nil {
				return err
			}
			s.marks.passed(s.cursor)
		} else {
			s.marks.seen = truncate(now) // Nothing was behind the cursor then.
		}
		finished := once && s.cursor >= until
		if err := s.mark(ctx, finished); err != nil {
			return err
		}
		switch {
		case finished:
			return nil
		case len(page) > 0:
			continue
		}
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
}

// route hands a page to the lanes, as far at a time as there is room for it.
func (s *session) route(ctx context.Context, page []events.Event) error {
	total := 0
	for i := range page {
		if page[i].Position != s.cursor+uint64(i)+1 {
			return failed(causeStore, fmt.Errorf("read the events after position %d: number %d is of position %d: %w",
				s.cursor, i+1, page[i].Position, errHole))
		}
		total += weight(&page[i])
	}
	s.limit = max(1, min(pageEvents, pageBytes*len(page)/total))
	s.sawHead(page[len(page)-1].Position)
	for len(page) > 0 {
		n := fitting(page, pageBytes)
		if err := s.routePart(ctx, page[:n]); err != nil {
			return err
		}
		page = page[n:]
	}
	return nil
}

func (s *session) routePart(ctx context.Context, part []events.Event) error {
	size := 0
	for i := range part {
		e := &part[i]
		partition := events.Partition(e.Stream.String(), len(s.lanes))
		if e.Position > s.skip[partition] {
			s.routed[partition] = append(s.routed[partition], *e)
			size += weight(e)
		}
	}
	if err := s.reserve(ctx, int64(size)); err != nil {
		return err
	}
	for partition, of := range s.routed {
		if len(of) == 0 {
			continue
		}
		s.lanes[partition].add(of)
		crashpoint.Hit(crashpoint.RelayMidBatch)
		s.told[partition] = of[len(of)-1].Position
		clear(of)
		s.routed[partition] = of[:0]
	}
	end := part[len(part)-1]
	s.cursor, s.cursorID = end.Position, end.ID
	s.read.Store(end.Position)
	return nil
}

// reserve waits until what is pending leaves room for so many bytes more.
func (s *session) reserve(ctx context.Context, size int64) error {
	if s.room.TryAcquire(size) {
		return nil
	}
	for {
		limited, cancel := context.WithTimeout(ctx, lookEvery)
		err := s.room.Acquire(limited, size)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if err := s.observe(ctx); err != nil {
			return err
		}
	}
}

// wait returns when there are more events, or a watermark is due.
func (s *session) wait(ctx context.Context) error {
	limited, cancel := context.WithDeadline(ctx, s.due())
	defer cancel()
	err := s.relay.config.Store.Wait(limited, s.cursor)
	switch {
	case err == nil, limited.Err() != nil && ctx.Err() == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return failed(causeStore, fmt.Errorf("wait for an event after position %d: %w", s.cursor, err))
	}
}

func (s *session) sawHead(position uint64) {
	if position > s.head.Load() {
		s.head.Store(position)
	}
}

// published counts what a lane has had acknowledged, and makes room for more.
func (s *session) published(batch []events.Event, marked bool, took time.Duration) {
	s.relay.metrics.batch(len(batch), marked, took)
	s.relay.acknowledged()
	size := 0
	for i := range batch {
		size += weight(&batch[i])
	}
	s.room.Release(int64(size))
}
