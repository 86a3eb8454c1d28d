package relay

import (
	"context"
	"fmt"
	"time"
)

// observation is that at a time the store's log ended at a position, or before.
type observation struct {
	time     time.Time
	position uint64
}

// marks is when watermarks are written, and what may be said in them.
//
// What a watermark says has to be true however long the relay was paused between any two of
// its steps. So the clock is read before the store is: what the store then shows as its end
// was its end, or beyond it, at that time.
type marks struct {
	seen   time.Time     // newest time at which nothing was behind the cursor of now; zero: none is known
	ahead  []observation // beyond the cursor: they become true to say when it has passed them
	round  time.Time     // when those behind were told last
	full   time.Time     // when all were
	looked time.Time     // when the end of the log was looked up for a watermark
}

// maxAhead bounds the observations that are kept during a long catch-up.
const maxAhead = 64

// expect takes an observation that the cursor has perhaps not passed yet.
func (m *marks) expect(o observation) {
	if !o.time.IsZero() && len(m.ahead) < maxAhead {
		m.ahead = append(m.ahead, o)
	}
}

// passed says that the cursor is at position now.
func (m *marks) passed(position uint64) {
	left := m.ahead[:0]
	for _, o := range m.ahead {
		switch {
		case o.position > position:
			left = append(left, o)
		case o.time.After(m.seen):
			m.seen = o.time
		}
	}
	m.ahead = left
}

// mark gives watermarks to the lanes when it is time to: to those that are behind at most
// every MarkEvery, and to all once every IdleEvery, or now with force.
func (s *session) mark(ctx context.Context, force bool) error {
	m, config, now := &s.marks, &s.relay.config, time.Now()
	full := force || now.Sub(m.full) >= config.IdleEvery
	if !full && (now.Sub(m.round) < config.MarkEvery || !s.behind()) {
		return nil
	}
	// While many events flow the reader never finds the end of the log, so it is asked for,
	// to be said when the cursor has passed it. And it is asked for now and then in any case,
	// since that is what tells a store that was replaced under our feet.
	stale := len(m.ahead) == 0 && now.Sub(m.seen) >= config.MarkEvery/2
	if (full || stale) && now.Sub(m.looked) >= config.MarkEvery {
		m.looked = now
		if err := s.observe(ctx); err != nil {
			return err
		}
	}
	if m.seen.IsZero() {
		return nil // Catching up: there is no time at which all that is published was all.
	}
	for partition, l := range s.lanes {
		if told := s.told[partition]; told < s.cursor || full && told == s.cursor {
			l.mark(mark{position: s.cursor, event: s.cursorID, time: m.seen})
			s.told[partition] = s.cursor
		}
	}
	m.round = now
	if full {
		m.full = now
	}
	return nil
}

// behind tells whether a lane was last told of an earlier position than the cursor's.
func (s *session) behind() bool {
	for _, told := range s.told {
		if told < s.cursor {
			return true
		}
	}
	return false
}

// due is when mark has something to do at the latest, if no event comes.
func (s *session) due() time.Time {
	due := s.marks.full.Add(s.relay.config.IdleEvery)
	if soon := s.marks.round.Add(s.relay.config.MarkEvery); s.behind() && soon.Before(due) {
		return soon
	}
	return due
}

// observe looks up the end of the log.
func (s *session) observe(ctx context.Context) error {
	now := time.Now()
	head, err := s.relay.config.Store.Head(ctx)
	if err != nil {
		return failed(causeStore, fmt.Errorf("read the end of the log: %w", err))
	}
	if head.StoreID != s.store || head.Position < s.cursor {
		return failed(causeStore, fmt.Errorf("%w: it was store %s at position %d, and is store %s at position %d",
			errOtherStore, s.store, s.cursor, head.StoreID, head.Position))
	}
	s.sawHead(head.Position)
	s.marks.expect(observation{time: truncate(now), position: head.Position})
	s.marks.passed(s.cursor)
	return nil
}
