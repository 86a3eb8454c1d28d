package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// The errors of Replay that callers branch on.
var (
	// ErrNotLeading: another process publishes, or none does. Ask the one that leads.
	ErrNotLeading = errors.New("this process does not publish: another one leads, or its relay is not running")
	// ErrReplaying: one replay at a time. Wait for the other to end, or stop it.
	ErrReplaying = errors.New("another replay of the topic is under way")
)

// errSessionEnded: the session ended before a batch was stored, or before it was known to be.
var errSessionEnded = errors.New("the relay began anew")

// Replay says which events to publish again.
type Replay struct {
	After uint64 // the position behind which it begins
	UpTo  uint64 // the last position; 0: what is the end of the log when Replay is called
	// Of reads up to limit of the events to publish, after a position and in order of positions,
	// none when there are no more; nil: all of the log.
	Of func(ctx context.Context, after uint64, limit int) ([]events.Event, error)
	// Rate is how many events a second are published at most; 0: as fast as it goes.
	Rate int
	// Progress is told, page by page, how far everything is stored. An error ends the replay. nil: nobody.
	Progress func(ctx context.Context, p ReplayProgress) error
}

// ReplayProgress is how far a replay has come.
type ReplayProgress struct {
	After    uint64 `json:"after"`    // where it began
	Position uint64 `json:"position"` // all that is to be published up to there is stored
	UpTo     uint64 `json:"up_to"`    // where it ends
	Events   uint64 `json:"events"`   // that were published again
}

// Replay publishes events of the store again, in the order of positions within each partition, behind
// what the topic holds, and each with ce_replayed. It returns once all are stored.
//
// It is the relay that leads which does it, between its own batches: so there is one writer, no
// new event waits for more than a batch, and what tells a stopped relay how far a partition is stays
// true, since each batch ends with a watermark that says it again:
//
//	e12 e15 W15 │ e12r e15r W15 │ e18 │ e20 W21 │ e18r W21 │
//
// Where the session ends (a broker away, the lead lost and won again) it goes on behind what it knows
// to be stored, and may so publish up to a page once more. Without the lead it ends with ErrNotLeading.
func (r *Relay) Replay(ctx context.Context, what Replay) (ReplayProgress, error) {
	p := ReplayProgress{After: what.After, Position: what.After, UpTo: what.UpTo}
	if !r.replaying.TryLock() {
		return p, ErrReplaying
	}
	defer r.replaying.Unlock()
	head, err := r.config.Store.Head(ctx)
	if err != nil {
		return p, fmt.Errorf("read the end of the log: %w", err)
	}
	if p.UpTo == 0 || p.UpTo > head.Position {
		p.UpTo = head.Position
	}
	if !r.Status().Leading {
		return p, ErrNotLeading
	}
	if what.Progress != nil { // before what may take a while: the relay may be publishing all that there is
		if err := what.Progress(ctx, p); err != nil {
			return p, err
		}
	}
	for p.Position < p.UpTo {
		s, err := r.reached(ctx, head.StoreID, p.UpTo)
		if err != nil {
			return p, err
		}
		one := replay{session: s, what: what, told: &p}
		if err := one.run(ctx); err != nil && !errors.Is(err, errSessionEnded) {
			return p, err
		}
	}
	return p, nil
}

// reachedEvery is how often a replay looks whether the relay has come to where it may begin.
const reachedEvery = 20 * time.Millisecond

// reached waits for a session that has published everything up to a position: a replay must not
// overtake what it repeats.
func (r *Relay) reached(ctx context.Context, store uuid.UUID, position uint64) (*session, error) {
	tick := time.NewTicker(reachedEvery)
	defer tick.Stop()
	for {
		r.mu.Lock()
		k := r.status
		r.mu.Unlock()
		if s := k.current; s != nil {
			if s.store != store {
				return nil, fmt.Errorf("%w: it was store %s, and is %s", errOtherStore, store, s.store)
			}
			if published, _, _ := s.progress(); published >= position {
				return s, nil
			}
		}
		if !k.leading {
			return nil, ErrNotLeading
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// replay is a replay within one session.
type replay struct {
	session *session
	what    Replay
	told    *ReplayProgress

	chain map[int]uint64 // of the whole log: a partition's event before the next one
	began time.Time
	count int // events since then
}

// paceEvery is how many pages a second a slow replay is cut into.
const paceEvery = 5

func (p *replay) run(ctx context.Context) error {
	p.chain, p.began = make(map[int]uint64), time.Now()
	limit := p.limit(pageEvents, nil)
	read := p.what.Of
	if read == nil {
		read = p.session.relay.config.Store.After
	}
	var flying []*again
	next := *p.told
	for {
		page, err := read(ctx, next.Position, limit)
		if err != nil {
			return fmt.Errorf("read the events after position %d: %w", next.Position, err)
		}
		for len(page) > 0 && page[len(page)-1].Position > next.UpTo {
			page = page[:len(page)-1]
		}
		records, err := p.records(ctx, page)
		if err != nil {
			return err
		}
		limit = p.limit(limit, page)
		// One page is on its way while the next is read.
		if err := p.landed(ctx, flying, next); err != nil {
			return err
		}
		if len(page) == 0 {
			next.Position = next.UpTo
			return p.landed(ctx, nil, next)
		}
		if err := p.pace(ctx, len(page)); err != nil {
			return err
		}
		flying = p.send(records)
		next.Position, next.Events = page[len(page)-1].Position, next.Events+uint64(len(page))
	}
}

// limit is how many events to read next, after a page.
func (p *replay) limit(limit int, page []events.Event) int {
	total := 0
	for i := range page {
		total += weight(&page[i])
	}
	if total > 0 {
		limit = max(1, min(pageEvents, pageBytes*len(page)/total))
	}
	if p.what.Rate > 0 {
		limit = max(1, min(limit, p.what.Rate/paceEvery))
	}
	return limit
}

// send hands records to their lanes, in batches.
func (p *replay) send(records [][]events.Record) (flying []*again) {
	for partition, of := range records {
		for len(of) > 0 {
			n, size := 0, 0
			for n < len(of) && (n == 0 || size+weight(&of[n].Event) <= batchBytes) {
				size += weight(&of[n].Event)
				n++
			}
			a := &again{records: of[:n], stored: make(chan struct{})}
			p.session.lanes[partition].repeat(a)
			flying, of = append(flying, a), of[n:]
		}
	}
	return flying
}

// landed waits until batches are stored, and tells how far everything is then.
func (p *replay) landed(ctx context.Context, flying []*again, at ReplayProgress) error {
	for _, a := range flying {
		select {
		case <-a.stored:
		case <-p.session.ended:
			return errSessionEnded
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if at == *p.told && len(flying) == 0 && at.Position < at.UpTo {
		return nil
	}
	*p.told = at
	if p.what.Progress == nil {
		return nil
	}
	return p.what.Progress(ctx, at)
}

// pace waits until n more events are within the rate.
func (p *replay) pace(ctx context.Context, n int) error {
	if p.what.Rate <= 0 {
		return nil
	}
	due := p.began.Add(time.Duration(p.count) * time.Second / time.Duration(p.what.Rate))
	p.count += n
	early := time.Until(due)
	if early <= 0 {
		return nil
	}
	timer := time.NewTimer(early)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.session.ended:
		return errSessionEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// records are a page's, by partition, each with the event before it in its partition.
func (p *replay) records(ctx context.Context, page []events.Event) ([][]events.Record, error) {
	out := make([][]events.Record, len(p.session.lanes))
	for _, e := range page {
		partition := events.Partition(e.Stream.String(), len(out))
		previous, known := p.chain[partition]
		if !known {
			var err error
			if previous, err = p.session.before(ctx, partition, e.Position); err != nil {
				return nil, err
			}
		}
		if p.what.Of == nil { // of some events only, the one before in the page says nothing
			p.chain[partition] = e.Position
		}
		out[partition] = append(out[partition], events.Record{Event: e, Previous: previous})
	}
	return out, nil
}

// before is the position of a partition's event before a position; 0: there is none.
func (s *session) before(ctx context.Context, partition int, position uint64) (uint64, error) {
	for end, size := position-1, uint64(8*len(s.lanes)); end > 0; size *= 4 {
		size = min(size, end, pageEvents)
		page, err := s.relay.config.Store.After(ctx, end-size, int(size))
		if err == nil && (uint64(len(page)) != size || page[0].Position != end-size+1) {
			err = errHole
		}
		if err != nil {
			return 0, fmt.Errorf("read the events before position %d: %w", position, err)
		}
		for _, e := range slices.Backward(page) {
			if events.Partition(e.Stream.String(), len(s.lanes)) == partition {
				return e.Position, nil
			}
		}
		end -= size
	}
	return 0, nil
}

// again is a batch of events to be published once more.
type again struct {
	records []events.Record
	stored  chan struct{} // closed when they are
}

// repeat has events published again when there is nothing new to publish.
func (l *lane) repeat(a *again) {
	l.mu.Lock()
	l.repeating = append(l.repeating, a)
	l.mu.Unlock()
	l.signal()
}

// produceAgain writes one batch of those, and tells whether there was one.
//
// What it ends with says no more than what stands in the partition already: a look at the last
// record has to find how far the partition is, wherever its relay was killed.
func (l *lane) produceAgain(ctx context.Context, producer Producer) (bool, error) {
	a := l.takeAgain()
	if a == nil {
		return false, nil
	}
	l.build.reset()
	for _, r := range a.records {
		r.Replayed = l.standing.position
		l.build.add(r)
	}
	l.build.mark(l.standing, l.previous)
	now := time.Now()
	for i := range l.build.records {
		l.build.records[i].Time = now // Kafka's retention goes by it.
	}
	offset, err := producer.Produce(ctx, l.partition, l.build.records)
	if err != nil {
		return false, failed(causeKafka, fmt.Errorf("publish %d events again to partition %d: %w", len(a.records), l.partition, err))
	}
	if err := l.landed(offset, len(l.build.records)); err != nil {
		return false, err
	}
	l.land()
	l.session.relay.metrics.again(len(a.records), time.Since(now))
	l.session.relay.acknowledged()
	close(a.stored)
	return true, nil
}

func (l *lane) takeAgain() *again {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.repeating) == 0 {
		return nil
	}
	a := l.repeating[0]
	if l.repeating = l.repeating[1:]; len(l.repeating) == 0 {
		l.repeating = nil
	}
	l.sent = time.Now()
	return a
}
