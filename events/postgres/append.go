package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/appendqueue"
	"github.com/tenantry/tenantry/internal/crashpoint"
)

// A group is what one transaction stores: at most so many batches, and so many octets of payload
// unless it is one batch. Past some hundreds a commit is shared by so many that it costs nothing,
// and another process must wait for all of it.
const (
	maxGroup      = 256
	maxGroupBytes = 4 << 20
)

// maxStale is how often a group is decided anew because another process has changed what it was
// decided on. Each time at least one batch has met its end, so more than a few is a fault.
const maxStale = 50

// Append stores all events of the batch or none, and returns when they are durable.
func (s *Store) Append(ctx context.Context, b events.Batch) (events.Outcome, error) {
	r := s.AppendAll(ctx, []events.Batch{b})[0]
	return r.Outcome, r.Err
}

// AppendAll appends each batch on its own, in this order. A context that ends withdraws what the
// appender has not come to yet, as does a server that does not answer any more.
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
	look := time.NewTimer(s.cfg.AnswerTimeout)
	defer look.Stop()
	for {
		select {
		case <-r.Answered():
			return r.Results
		case <-ctx.Done():
			r.Withdraw(ctx.Err())
			<-r.Answered() // where the appender has it, one commit away
			return r.Results
		case <-look.C:
			// Still in the queue is no fault while the queue moves.
			if stuck := time.Since(s.progress.Load()); stuck < s.cfg.AnswerTimeout {
				look.Reset(s.cfg.AnswerTimeout - stuck)
			} else {
				r.Withdraw(fmt.Errorf("%w: PostgreSQL has not answered for %v", events.ErrUnavailable, stuck.Round(time.Millisecond)))
				<-r.Answered()
				return r.Results
			}
		}
	}
}

// item is a batch on its way.
type item struct {
	ctx    context.Context
	batch  *events.Batch
	result *events.Result
}

func (i item) refuse(err error) { *i.result = events.Result{Err: err} }

// appendAll is the appender: the one goroutine that decides and stores, until the queue is closed.
func (s *Store) appendAll() {
	defer close(s.appended)
	for {
		taken, open := s.queue.Take()
		s.progress.Store(time.Now())
		if !open {
			for _, r := range taken {
				r.Refuse(errClosed)
			}
			return
		}
		if err := s.appendTaken(taken); errors.Is(err, events.ErrUnavailable) {
			// Who came meanwhile has waited as long as one should.
			for _, r := range s.queue.Drain() {
				r.Refuse(err)
			}
		}
	}
}

// appendTaken stores the batches of all requests in their order, in as few groups as they fit
// in, and answers the requests. Once the server is away the rest is refused as well; its error is
// what is returned.
func (s *Store) appendTaken(reqs []*appendqueue.Request) error {
	var items []item
	var away error
	bytes := 0
	flush := func() {
		if away == nil {
			away = s.appendGroup(items)
		} else {
			refuse(items, away)
		}
		items, bytes = items[:0], 0
	}
	for _, r := range reqs {
		for i := range r.Batches {
			it := item{ctx: r.Ctx, batch: &r.Batches[i], result: &r.Results[i]}
			if err := checkForm(it.batch); err != nil {
				it.refuse(err)
				continue
			}
			size := 0
			for j := range it.batch.Events {
				size += len(it.batch.Events[j].Data)
			}
			if len(items) == maxGroup || (len(items) > 0 && bytes+size > maxGroupBytes) {
				flush()
			}
			items, bytes = append(items, it), bytes+size
		}
	}
	flush()
	for _, r := range reqs {
		r.Answer()
	}
	return away
}

func refuse(items []item, err error) {
	for _, it := range items {
		it.refuse(fmt.Errorf("append to %s: %w", it.batch.Stream, err))
	}
}

// appendGroup stores the batches in one transaction, without those that are refused. It returns
// an error, which all of them have, if the server is away.
func (s *Store) appendGroup(items []item) error {
	began := time.Now()
	for stale := 0; ; {
		if items = withdraw(items); len(items) == 0 {
			return nil
		}
		g, err := s.tryGroup(items)
		switch {
		case err == nil:
			if g.changes() {
				s.cfg.Committed(g.batches, int(g.ahead), time.Since(began))
			}
			return nil
		case errors.Is(err, errStale) && stale < maxStale:
			stale++
			s.log.Debug("another process was faster: deciding again", "batches", len(items), "err", err)
			continue
		case errors.Is(err, errStale):
			err = fmt.Errorf("%w: other processes change the same streams all the time: %w", events.ErrUnavailable, err)
		}
		refuse(items, err)
		switch {
		case errors.Is(err, events.ErrUnavailable):
			return err
		case errors.Is(err, ErrUnknownOutcome): // of these; the next are not even tried
			return fmt.Errorf("%w: the connection to PostgreSQL is lost", events.ErrUnavailable)
		}
		return nil
	}
}

// withdraw answers those whose context has ended, and returns the others.
func withdraw(items []item) []item {
	left := make([]item, 0, len(items))
	for _, it := range items {
		if err := it.ctx.Err(); err != nil {
			it.refuse(err)
		} else {
			left = append(left, it)
		}
	}
	return left
}

// tryGroup reads, decides and stores, and answers the batches unless it returns an error; then
// none of them is stored, unless that is ErrUnknownOutcome.
func (s *Store) tryGroup(items []item) (*group, error) {
	conn, snap, err := s.readFor(items)
	if err != nil {
		return nil, s.readFault(context.Background(), err)
	}
	defer conn.Release()
	s.progress.Store(time.Now())
	g := newGroup(snap)
	answers := make([]answer, len(items))
	refusals := make([]error, len(items))
	for i, it := range items {
		answers[i], refusals[i] = g.decide(it.batch)
	}
	var base uint64
	if g.changes() {
		crashpoint.Hit(crashpoint.StoreBeforeCommit)
		if base, err = s.store(conn, g); err != nil {
			return nil, err
		}
		crashpoint.Hit(crashpoint.StoreAfterCommit)
		s.tail.publish(base + g.ahead)
	}
	for i, it := range items {
		switch a := answers[i]; {
		case refusals[i] != nil:
			it.refuse(refusals[i])
		case a.stored != nil:
			out, err := s.replay(context.Background(), a.stored)
			if err != nil {
				// It was stored long ago, which no error of the contract may deny.
				out, err = events.Outcome{}, fmt.Errorf("%w: recall what its key has stored: %s", ErrUnknownOutcome, plain(err))
			}
			*it.result = events.Result{Outcome: out, Err: err}
		default:
			*it.result = events.Result{Outcome: a.outcome(base)}
		}
	}
	return g, nil
}

// readFor reads what the batches will ask for, on a connection that the caller gives back. A
// connection that has died since it was last used is no reason to give up.
func (s *Store) readFor(items []item) (*pgxpool.Conn, snapshot, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.AnswerTimeout)
	defer cancel()
	batches := make([]*events.Batch, len(items))
	for i, it := range items {
		batches[i] = it.batch
	}
	for tries := 0; ; tries++ {
		conn, err := s.writer.Acquire(ctx)
		if err != nil {
			return nil, snapshot{}, err
		}
		snap, err := readState(ctx, conn.Conn().PgConn(), batches)
		if err == nil {
			return conn, snap, nil
		}
		dead := conn.Conn().IsClosed()
		conn.Release()
		if !dead || tries > 0 || ctx.Err() != nil {
			return nil, snapshot{}, err
		}
	}
}

// store writes the group, and makes room for its events where there is none. It may give the
// connection back.
func (s *Store) store(conn *pgxpool.Conn, g *group) (base uint64, err error) {
	if err := s.makeRoom(conn.Conn().PgConn(), g.ahead); err != nil {
		if refusal := lacksRight(err); refusal != nil {
			return 0, fmt.Errorf("make room in the log: %w", s.forbidden(refusal))
		}
		return 0, fmt.Errorf("%w: make room in the log: %s", events.ErrUnavailable, plain(err))
	}
	base, err = s.write(conn, g)
	if errors.Is(err, errNoPartition) {
		s.parts.forget()
		return 0, fmt.Errorf("%w: %w", errStale, err)
	}
	if err == nil {
		s.parts.reached(base + g.ahead)
	}
	return base, err
}

func (s *Store) makeRoom(conn *pgconn.PgConn, events uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.AnswerTimeout)
	defer cancel()
	return s.parts.prepare(ctx, conn, events)
}
