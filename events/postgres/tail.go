package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/events"
)

// How often the head is asked for while somebody waits. After each event of another process the
// poller asks again soon, since more may follow, and then less and less often: a store on which nothing
// happens costs eleven small queries a second, whoever and however many wait.
const (
	pollSoonest = 2 * time.Millisecond
	pollLatest  = 90 * time.Millisecond
)

// tail is the end of the log as far as this process knows.
type tail struct {
	mu       sync.Mutex
	position uint64
	changes  uint64        // of position
	moved    chan struct{} // closed when position has changed, and replaced
	waiting  int
	awaited  chan struct{} // has an element when somebody has begun to wait
	closed   chan struct{}
}

func (t *tail) init(position uint64) {
	t.position = position
	t.moved = make(chan struct{})
	t.awaited = make(chan struct{}, 1)
	t.closed = make(chan struct{})
}

func (t *tail) close() { close(t.closed) }

func (t *tail) isClosed() bool {
	select {
	case <-t.closed:
		return true
	default:
		return false
	}
}

// publish says that the log is at least so long, and wakes those who wait.
func (t *tail) publish(position uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if position > t.position {
		t.set(position)
	}
}

func (t *tail) set(position uint64) {
	t.position = position
	t.changes++
	close(t.moved)
	t.moved = make(chan struct{})
}

func (t *tail) now() (position, changes uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.position, t.changes
}

// observed takes over what the database said after now() was at changes. A log that has become
// shorter is another one: it was restored to an earlier past.
func (t *tail) observed(position, changes uint64) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if position > t.position || (position < t.position && t.changes == changes) {
		t.set(position)
		return true
	}
	return false
}

// Wait returns nil once there is an event after position, or the context's error. While the
// server is away it goes on waiting.
func (s *Store) Wait(ctx context.Context, position uint64) error {
	t := &s.tail
	for {
		if t.isClosed() {
			return errClosed
		}
		t.mu.Lock()
		there, moved := t.position > position, t.moved
		if !there {
			if t.waiting++; t.waiting == 1 {
				select {
				case t.awaited <- struct{}{}:
				default: // the poller has not come to the last one yet
				}
			}
		}
		t.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return err
		}
		if there {
			return nil
		}
		var err error
		select {
		case <-moved:
		case <-t.closed:
			err = errClosed
		case <-ctx.Done():
			err = ctx.Err()
		}
		t.mu.Lock()
		t.waiting--
		t.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// poll asks for the head on behalf of all who wait, until the store is closed.
func (s *Store) poll() {
	defer close(s.polled)
	t := &s.tail
	interval := pollSoonest
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		t.mu.Lock()
		idle := t.waiting == 0
		t.mu.Unlock()
		if idle {
			select {
			case <-t.awaited:
			case <-t.closed:
				return
			}
		}
		timer.Reset(interval)
		select {
		case <-timer.C:
		case <-t.closed:
			return
		}
		_, changes := t.now()
		head, err := s.pollOnce()
		switch {
		case err != nil:
			interval = pollLatest
			s.log.Debug("event store cannot be asked for its head", "err", err)
		case t.observed(head.Position, changes):
			interval = pollSoonest
		default:
			interval = min(2*interval, pollLatest)
		}
	}
}

func (s *Store) pollOnce() (head events.Head, err error) {
	err = s.read(context.Background(), s.cfg.AnswerTimeout, func(ctx context.Context, conn *pgconn.PgConn) error {
		head, err = readHead(ctx, conn)
		return err
	})
	return head, err
}
