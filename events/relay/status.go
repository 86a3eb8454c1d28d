package relay

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// State is what a relay is about.
type State string

// The states of a relay.
const (
	StateStopped    State = "stopped"    // neither Run nor RunOnce is running
	StateStandby    State = "standby"    // another process leads, or it is being found out
	StateStarting   State = "starting"   // it is finding out what the topic holds
	StatePublishing State = "publishing" // all is well
	StateStalled    State = "stalled"    // the broker owes an answer; the same batch is sent again until it comes
	StateFailing    State = "failing"    // store or broker are away, or answer with an error; tried again
	StateRefused    State = "refused"    // Run returned ErrForeignRecords or ErrPartitions
)

// stallAfter is how long the broker may take to answer before the relay counts as stalled.
const stallAfter = 3 * time.Second

// Status is a relay at one moment.
type Status struct {
	State   State     `json:"state"`
	Since   time.Time `json:"since"`           // of that state
	Error   string    `json:"error,omitempty"` // of StateStalled, StateFailing and StateRefused
	Leading bool      `json:"leading"`         // this process is the one that publishes

	// Known tells whether the topic was ever looked at; until then Published and the lag
	// mean nothing.
	Known     bool      `json:"known"`
	StoreID   uuid.UUID `json:"store_id"`
	Published uint64    `json:"published"` // every event up to this position is in the topic
	Head      uint64    `json:"head"`      // end of the log, as last seen
	Lag       uint64    `json:"lag"`       // events
	// Age is how long ago the oldest unpublished event happened; 0: there is none.
	Age time.Duration `json:"age"` // in nanoseconds
}

// state is what is kept between sessions, and around the current one.
type state struct {
	State   State
	Since   time.Time
	err     error
	leading bool

	known     bool
	storeID   uuid.UUID
	published uint64
	head      uint64
	oldest    time.Time // of the oldest unpublished event; zero: none, or not known

	current *session
	acked   bool // something was stored in the current session
}

// Status is the relay now. It does no I/O.
func (r *Relay) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := &r.status
	s := Status{State: k.State, Since: k.Since, Leading: k.leading, Known: k.known, StoreID: k.storeID}
	if k.err != nil {
		s.Error = k.err.Error()
	}
	published, head, oldest := k.published, k.head, k.oldest
	if k.current != nil {
		var sent time.Time
		published, oldest, sent = k.current.progress()
		head = k.current.head.Load()
		if waited := time.Since(sent); !sent.IsZero() && waited > stallAfter && k.State == StatePublishing {
			s.State, s.Since = StateStalled, sent
			s.Error = fmt.Sprintf("kafka has not answered for %s", waited.Round(time.Second))
		}
	}
	s.Published, s.Head = published, max(head, published)
	if s.Known {
		s.Lag = s.Head - s.Published
	}
	if !oldest.IsZero() {
		s.Age = max(0, time.Since(oldest))
	}
	return s
}

// progress is how far everything is published, the time of the oldest event that is not,
// and when the longest unanswered batch was sent; zero: none is.
func (s *session) progress() (published uint64, oldest, sent time.Time) {
	published = s.read.Load() // before the lanes: what is read meanwhile is in them, or beyond it
	first := uint64(0)
	for _, l := range s.lanes {
		e, at, ok := l.oldest()
		if ok && (first == 0 || e.Position < first) {
			first, oldest = e.Position, e.Time
		}
		if !at.IsZero() && (sent.IsZero() || at.Before(sent)) {
			sent = at
		}
	}
	if first > 0 {
		published = min(published, first-1)
	}
	return published, oldest, sent
}

func (r *Relay) enter(s State, err error) {
	if r.status.State != s {
		r.status.State, r.status.Since = s, time.Now()
	}
	r.status.err = err
}

// starting looks how far behind we are before the broker is asked, which may be away for
// long.
func (r *Relay) starting(ctx context.Context) error {
	r.mu.Lock()
	if r.status.State != StateFailing { // that ends with the first batch that is stored
		r.enter(StateStarting, nil)
	}
	r.status.leading = true
	known, published, aged := r.status.known, r.status.published, !r.status.oldest.IsZero()
	r.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, r.config.SurveyTimeout)
	defer cancel()
	head, err := r.config.Store.Head(ctx)
	if err != nil {
		return failed(causeStore, fmt.Errorf("read the end of the log: %w", err))
	}
	var oldest time.Time
	if known && !aged && head.Position > published {
		page, err := r.config.Store.After(ctx, published, 1)
		if err != nil {
			return failed(causeStore, fmt.Errorf("read the event after position %d: %w", published, err))
		}
		if len(page) > 0 {
			oldest = page[0].Time
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.head, r.status.storeID = head.Position, head.StoreID
	if !oldest.IsZero() {
		r.status.oldest = oldest
	}
	return nil
}

// began is told of a session whose look at the topic is done.
func (r *Relay) began(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := &r.status
	k.current, k.acked, k.known, k.storeID = s, false, true, s.store
	from, head := s.cursor, s.head.Load()
	if k.State == StateStarting {
		r.enter(StatePublishing, nil)
		r.log.Info("relay publishes", "store", s.store, "from", from, "head", head, "partitions", len(s.lanes))
	} else {
		r.log.Debug("relay begins again", "from", from, "head", head)
	}
}

// ended freezes how far the session came, and tells whether anything was stored in it.
func (r *Relay) ended(s *session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := &r.status
	close(s.ended)
	k.published, k.oldest, _ = s.progress()
	k.head = s.head.Load()
	k.current = nil
	return k.acked
}

// acknowledged is told that the broker stored something.
func (r *Relay) acknowledged() {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := &r.status
	k.acked = true
	if k.State == StateFailing {
		r.log.Info("relay publishes again", "position", k.published, "head", k.head, "after", time.Since(k.Since).Round(time.Millisecond))
		r.enter(StatePublishing, nil)
	}
}

// failing takes an error after which the relay tries again. Only the first of an outage is
// worth a line.
func (r *Relay) failing(err error) {
	r.metrics.failed(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.State == StateFailing {
		r.log.Debug("relay still cannot publish", "err", err)
	} else {
		r.log.Warn("relay cannot publish, and tries again until it can", "published", r.status.published, "head", r.status.head, "err", err)
	}
	r.enter(StateFailing, err)
}

func (r *Relay) refusing(err error) {
	r.metrics.failed(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enter(StateRefused, err)
	r.status.leading = false
}

// standby forgets how far this relay was: another has gone on since.
func (r *Relay) standby() {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := &r.status
	if k.State != StateFailing { // which the operator has to see until we lead again
		r.enter(StateStandby, nil)
	}
	k.leading, k.known, k.oldest, k.current = false, false, time.Time{}, nil
}

// fenced takes the news that another relay publishes.
func (r *Relay) fenced(err error) {
	r.metrics.failed(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.Warn("another relay has taken over; this one asks for the lead again", "err", err)
	r.enter(StateStandby, nil)
}

// follows says that this relay no longer leads.
func (r *Relay) follows() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.leading = false
}

func (r *Relay) stopped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enter(StateStopped, nil)
	r.status.leading = false
}
