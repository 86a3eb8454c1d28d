package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/events"
)

// The times of leadership. A leader asks the server every leadInterval. It gives up by its own
// clock leadLost after it began the last question that was answered, and the server ends its
// session leadSession after the last question that it got: so a leader that was paused, or cut off,
// has given up before another can lead, or does so as the first thing when it goes on.
const (
	leadInterval = 500 * time.Millisecond
	leadLost     = 1400 * time.Millisecond
	leadSession  = 1800 * time.Millisecond
)

// leadLock is the key of the advisory lock that the leader holds, in each database.
const leadLock = 0x74656e616e747279 // "tenantry"

// ErrPooled says that what holds a session cannot go through a pooler.
var ErrPooled = errors.New("leadership needs a session of its own on PostgreSQL, which a pooler such as pgbouncer does not give: name the server itself in the URL for it")

// errInRecovery keeps a leader from a log that does not end yet where it will: what leads there would take a restore
// that is under way, or a standby that is behind, for one that went back to the past.
var errInRecovery = fmt.Errorf("%w: the database is in recovery, a standby or a restore that is under way: it may not have all that was committed", events.ErrUnavailable)

// errLeadLost is why a leader's context has ended.
var errLeadLost = errors.New("leadership is lost")

// Lead waits until this process leads, which one does at a time of all that use the database,
// and returns a context that ends when it leads no more: because it has called release, because the
// parent has ended, or because the server has not answered for 1.4 s; then its cause says so. Another
// leads within 3 s after the leader was killed, paused or cut off. A leader that goes on after
// a pause may have a moment before its context ends, so what it does must be fenced elsewhere as well.
//
// The lock belongs to a connection that is used for nothing else. It must go to PostgreSQL itself:
// in a pooler's transaction mode the lock would stay with some connection of the pooler's. What tries
// so gets ErrPooled.
func (s *Store) Lead(ctx context.Context) (leading context.Context, release func(), err error) {
	var conn *pgx.Conn
	defer func() {
		if err != nil {
			hangUp(conn)
		}
	}()
	var told string
	for waiting := false; ; {
		var led bool
		conn, led, err = s.tryLead(ctx, conn)
		switch {
		case led:
			return s.lead(ctx, conn)
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case errors.Is(err, ErrPooled):
			return nil, nil, err
		case err != nil:
			if told != err.Error() { // twice a second would fill the log of a long night
				told = err.Error()
				s.log.Warn("cannot lead now: trying again", "err", err)
			}
			hangUp(conn)
			conn = nil
		case !waiting || told != "":
			s.log.Info("another process leads: waiting")
			waiting, told = true, ""
		}
		again := time.NewTimer(leadInterval)
		select {
		case <-again.C:
		case <-s.tail.closed:
			again.Stop()
			return nil, nil, errClosed
		case <-ctx.Done():
			again.Stop()
			return nil, nil, ctx.Err()
		}
	}
}

// hangUp closes a connection, if there is one. An error changes nothing: the server ends the
// session by itself.
func hangUp(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leadInterval)
	defer cancel()
	_ = conn.Close(ctx)
}

// tryLead asks for the lock on a connection, which it makes where there is none.
func (s *Store) tryLead(ctx context.Context, conn *pgx.Conn) (_ *pgx.Conn, led bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, leadLost)
	defer cancel()
	if conn == nil {
		if conn, err = s.connectToLead(ctx); err != nil {
			return nil, false, err
		}
	}
	var answer int64
	err = query(ctx, conn.PgConn(), `SELECT CASE WHEN pg_is_in_recovery() THEN -1 ELSE pg_try_advisory_lock($1)::int END::bigint`, new(params).int8(leadLock), func(row [][]byte) error {
		answer = asInt(row[0])
		return nil
	})
	switch {
	case err != nil:
		return conn, false, fmt.Errorf("%w: %s", events.ErrUnavailable, plain(err))
	case answer < 0:
		return conn, false, errInRecovery
	}
	return conn, answer == 1, nil
}

func (s *Store) connectToLead(ctx context.Context) (*pgx.Conn, error) {
	url := s.cfg.LeadURL
	if url == "" {
		url = s.cfg.URL
	}
	cfg, err := s.cfg.conn(url)
	if err != nil {
		return nil, err
	}
	session := strconv.FormatInt(leadSession.Milliseconds(), 10)
	maps.Copy(cfg.RuntimeParams, map[string]string{
		"application_name":     "tenantry leader",
		"statement_timeout":    strconv.FormatInt(leadLost.Milliseconds(), 10),
		"idle_session_timeout": session,
		// For a host that has gone without a word.
		"tcp_keepalives_idle": "1", "tcp_keepalives_interval": "1", "tcp_keepalives_count": "1", "tcp_user_timeout": session,
	})
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if isPooler(err) {
		return nil, ErrPooled
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", events.ErrUnavailable, plain(err))
	}
	// A pooler that ignores what it does not know has let us in, and does not show what we asked for.
	var shown string
	err = query(ctx, conn.PgConn(), `SELECT setting FROM pg_settings WHERE name = 'idle_session_timeout'`, new(params), func(row [][]byte) error {
		shown = string(row[0])
		return nil
	})
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %s", events.ErrUnavailable, plain(err))
	case shown != session:
		err = ErrPooled
	default:
		return conn, nil
	}
	hangUp(conn)
	return nil, err
}

// lead keeps the session alive until it is released or lost.
func (s *Store) lead(ctx context.Context, conn *pgx.Conn) (leading context.Context, release func(), err error) {
	leading, end := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	s.leaders.Go(func() {
		defer close(ended)
		s.keepLead(leading, conn, end)
	})
	s.log.Info("this process leads", "backend", conn.PgConn().PID())
	return leading, func() {
		end(context.Canceled)
		<-ended
	}, nil
}

// keepLead asks the server again and again until leadership has ended, and gives the lock back
// with the session.
func (s *Store) keepLead(leading context.Context, conn *pgx.Conn, end context.CancelCauseFunc) {
	defer hangUp(conn)
	// By the clock, not by the answer: a question may hang.
	expiry := time.AfterFunc(leadLost, func() {
		end(fmt.Errorf("%w: PostgreSQL has not answered for %v", errLeadLost, leadLost))
	})
	defer expiry.Stop()
	tick := time.NewTicker(leadInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.tail.closed:
			end(fmt.Errorf("%w: %w", errLeadLost, errClosed))
			return
		case <-leading.Done():
			if err := context.Cause(leading); errors.Is(err, errLeadLost) {
				s.log.Warn("this process leads no more", "err", err)
			}
			return
		case <-tick.C:
		}
		began := time.Now()
		err := query(leading, conn.PgConn(), `SELECT 1::bigint`, new(params), func([][]byte) error { return nil })
		if err != nil {
			end(fmt.Errorf("%w: %s", errLeadLost, plain(err))) // unless it has ended for another reason
			continue
		}
		expiry.Reset(leadLost - time.Since(began))
	}
}
