package embedded

import (
	"context"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/appendqueue"
	"github.com/tenantry/tenantry/internal/crashpoint"
)

// maxTake is how many batches the appender takes at a time, where more wait. Past some
// hundreds an fsync is shared by so many that it costs nothing.
const maxTake = 512

// Append stores all events of the batch or none, and returns when they are on the disk.
func (s *Store) Append(ctx context.Context, b events.Batch) (events.Outcome, error) {
	r := s.AppendAll(ctx, []events.Batch{b})[0]
	return r.Outcome, r.Err
}

// AppendAll appends each batch on its own, in this order. A context that ends withdraws what
// the appender has not come to yet.
func (s *Store) AppendAll(ctx context.Context, batches []events.Batch) []events.Result {
	r := appendqueue.NewRequest(ctx, batches)
	if err := ctx.Err(); err != nil {
		r.Refuse(err)
		return r.Results
	}
	if len(batches) == 0 {
		return r.Results
	}
	if !s.queue.Put(r) {
		r.Refuse(errClosed)
		return r.Results
	}
	select {
	case <-r.Answered():
	case <-ctx.Done():
		r.Withdraw(ctx.Err())
		<-r.Answered() // where the appender has it, one commit away
	}
	return r.Results
}

// appendAll is the appender: the one goroutine that decides and commits, until the queue is closed.
func (s *Store) appendAll() {
	defer close(s.stopped)
	for {
		taken, open := s.queue.Take()
		if open {
			s.appendTaken(taken)
		} else {
			for _, r := range taken {
				r.Refuse(errClosed)
			}
			return
		}
	}
}

// appendTaken decides the batches of all requests in their order, in as few transactions as
// they fit in, and answers the requests.
func (s *Store) appendTaken(reqs []*appendqueue.Request) {
	s.writing.Lock()
	defer s.writing.Unlock()
	c := s.newCommit()
	for _, r := range reqs {
		for i := range r.Batches {
			if err := r.Ctx.Err(); err != nil {
				r.Results[i] = events.Result{Err: err}
				continue
			}
			c = s.appendOne(c, &r.Batches[i], &r.Results[i])
		}
	}
	s.finish(c)
	for _, r := range reqs {
		r.Answer()
	}
}

// commit is a group and who waits for it.
type commit struct {
	*group
	began   time.Time
	results []*events.Result
}

func (s *Store) newCommit() *commit {
	head, ts := s.tail.end()
	return &commit{group: newGroup(s.db.NewTransactionAt(ts, false), head), began: time.Now()}
}

// appendOne decides a batch as one of the commit, or of the next where it does not fit any more;
// it returns the commit that goes on.
func (s *Store) appendOne(c *commit, b *events.Batch, result *events.Result) *commit {
	if s.broken != nil {
		*result = events.Result{Err: s.broken}
		return c
	}
	p, err := c.decide(b)
	if err == nil && !s.fits(p.size, len(p.writes)) {
		err = fmt.Errorf("%w: append to %s: %d events with %d octets are more than one transaction holds", ErrTooLarge, b.Stream, p.events, p.size)
	}
	if err == nil && !b.DryRun && !s.fits(c.size+p.size, len(c.writes)+len(p.writes)) {
		s.finish(c)
		return s.appendOne(s.newCommit(), b, result)
	}
	switch {
	case err != nil:
		*result = events.Result{Err: err}
	case b.DryRun:
		*result = events.Result{Outcome: p.dry()}
	default:
		*result = events.Result{Outcome: p.outcome}
		c.apply(p)
	}
	c.results = append(c.results, result)
	return c
}

// fits tells whether a transaction holds that much, with some to spare for the head and for
// Badger's own mark at the end.
func (s *Store) fits(size int64, entries int) bool {
	return size < s.db.MaxBatchSize()-1024 && int64(entries) < s.db.MaxBatchCount()-8
}

// finish commits the group. Where that fails nobody gets the answer that was decided, not even
// a refusal: it may have been for what a batch of this group did.
func (s *Store) finish(c *commit) {
	defer c.base.Discard()
	if len(c.writes) == 0 {
		return
	}
	err := s.write(c.group)
	crashpoint.Hit(crashpoint.StoreAfterCommit)
	if err != nil {
		for _, r := range c.results {
			*r = events.Result{Err: err}
		}
		return
	}
	s.committed(c.batches, c.events, time.Since(c.began))
}

// write stores what the group writes in one transaction, and lets readers see it.
func (s *Store) write(g *group) error {
	if err := s.disk.room(s.tables()); err != nil {
		return err
	}
	head, ts := s.tail.end()
	ts++
	txn := s.db.NewTransactionAt(ts, true)
	defer txn.Discard()
	if g.head != head {
		g.writes[string(keyHead())] = keyRun(g.head)[1:]
	}
	for k, v := range g.writes {
		if err := set(txn, k, v); err != nil {
			return fmt.Errorf("collect a commit: %w", err)
		}
	}
	crashpoint.Hit(crashpoint.StoreBeforeCommit)
	if err := s.commit(txn, ts); err != nil {
		// What is on the disk is not known now, and an fsync that is repeated may say yes to what
		// the failed one lost. Only reading it all again can tell.
		s.broken = fmt.Errorf("%w: a commit failed (%w): open the store again", events.ErrUnavailable, err)
		s.log.Error("event store takes no more appends", "dir", s.dir, "position", head, "err", err)
		return fmt.Errorf("commit to event store %s: %w: %w", s.dir, events.ErrUnknownOutcome, err)
	}
	s.tail.publish(g.head, ts)
	return nil
}

func set(txn *badger.Txn, key string, value []byte) error {
	if value == nil {
		return txn.Delete([]byte(key))
	}
	return txn.Set([]byte(key), value)
}
