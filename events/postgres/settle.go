package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// settleAgain is the pause between two tries to ask a server that is not back yet.
const settleAgain = 20 * time.Millisecond

// errAway is why a write was cut off: the server answers nobody.
var errAway = errors.New("PostgreSQL does not answer")

// write stores the group. Where the answer is lost, it finds out what became of it, if the server can
// be asked soon enough.
func (s *Store) write(conn *pgxpool.Conn, g *group) (base uint64, err error) {
	began := time.Now()
	ctx, stop := s.whileAlive()
	base, identity, err := g.write(ctx, conn.Conn().PgConn())
	away := errors.Is(context.Cause(ctx), errAway)
	stop()
	if err == nil {
		s.know(identity, began)
		return base, nil
	}
	s.identity.Store(&identified{}) // the server that comes back may be another one
	err = s.writeFault(err)
	if !errors.Is(err, ErrUnknownOutcome) || away {
		return 0, err
	}
	conn.Release() // there is but one
	return s.settle(g, began, err)
}

// whileAlive is a context for a write. One that is on its way is worth waiting for, since giving up
// leaves its outcome unknown: for as long as a statement may take, provided that the server answers
// others meanwhile. stop ends what it has started.
func (s *Store) whileAlive() (_ context.Context, stop func()) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.StatementTimeout)
	ctx, cut := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	half := s.cfg.AnswerTimeout / 2
	// A write that takes no longer starts nothing.
	ask := time.AfterFunc(half, func() {
		defer close(ended)
		next := time.NewTicker(half)
		defer next.Stop()
		for {
			err := s.read(ctx, half, func(ctx context.Context, conn *pgconn.PgConn) error {
				return query(ctx, conn, `SELECT 1`, new(params), func([][]byte) error { return nil })
			})
			if err != nil {
				cut(errAway) // too late where ctx has ended
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-next.C:
			}
		}
	})
	return ctx, func() {
		cancel()
		cut(nil)
		if !ask.Stop() {
			<-ended
		}
	}
}

// settle finds out whether a group is stored whose answer was lost. If it is not, it will not be:
// the group is stale, and may be decided anew.
func (s *Store) settle(g *group, began time.Time, lost error) (base uint64, err error) {
	patience := max(time.Until(began.Add(s.cfg.AnswerTimeout)), s.cfg.AnswerTimeout/3)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		base, stored, err := s.settleOnce(ctx, g)
		switch {
		case err == nil && stored:
			s.log.Info("a connection was lost while a group was stored: it is stored", "batches", g.batches, "position", base+g.ahead, "err", lost)
			return base, nil
		case err == nil:
			s.log.Info("a connection was lost while a group was stored: it is not, and is decided again", "batches", g.batches, "err", lost)
			return 0, fmt.Errorf("%w: %s", errStale, plain(lost))
		}
		if refusal := lacksRight(err); refusal != nil { // which no retry gets
			return 0, fmt.Errorf("%w, and then %s", lost, plain(s.forbidden(refusal)))
		}
		again := time.NewTimer(settleAgain)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return 0, fmt.Errorf("%w, and then %s", lost, plain(err))
		}
	}
}

// settleOnce asks once. A group without events is never found: keys are all that it stores, and
// whoever decides it anew finds them.
func (s *Store) settleOnce(ctx context.Context, g *group) (base uint64, stored bool, err error) {
	conn, err := s.writer.Acquire(ctx)
	if err != nil {
		return 0, false, err
	}
	defer conn.Release()
	p, ahead := new(params).uuid(g.call), uint64(0)
	if len(g.runs) > 0 {
		r := g.runs[0]
		e := &r.events[len(r.events)-1]
		ahead = r.last
		p.text(e.Stream.String()).int8(int64(e.Version)).uuid(e.ID)
	} else {
		p.text("").int8(0).uuid(g.call)
	}
	var at uint64
	err = query(ctx, conn.Conn().PgConn(), `SELECT tenantry.settle($1, $2, $3, $4)`, p, func(row [][]byte) error {
		at = uint64(asInt(row[0]))
		return nil
	})
	return at - ahead, at > 0, err
}
