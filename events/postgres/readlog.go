package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/events"
)

// assemble reads the events at all positions, in the order of the log, and puts each stream
// together.
func assemble(ctx context.Context, conn *pgconn.PgConn, wholes [][]uint64, where []uint64) ([][]events.Event, error) {
	slices.Sort(where)
	all, err := eventsAt(ctx, conn, where)
	if err != nil {
		return nil, err
	}
	out := make([][]events.Event, len(wholes))
	for i, positions := range wholes {
		out[i] = make([]events.Event, len(positions))
		for j, at := range positions {
			k, _ := slices.BinarySearch(where, at)
			out[i][j] = all[k]
		}
	}
	return out, nil
}

// After is up to limit events after a position, in order and without a hole: whoever appends
// holds the lock on the head until its commit is visible, so a snapshot that has an event has all
// before it.
func (s *Store) After(ctx context.Context, position uint64, limit int) ([]events.Event, error) {
	var out []events.Event
	known, changes := s.tail.now()
	err := s.read(ctx, s.cfg.StatementTimeout, func(ctx context.Context, conn *pgconn.PgConn) (err error) {
		out, err = after(ctx, conn, position, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read after position %d: %w", position, err)
	}
	if len(out) == 0 && limit > 0 && known > position {
		// The log has become shorter, and Wait must not say again and again that there is more.
		s.tail.observed(position, changes)
	}
	return out, nil
}

func after(ctx context.Context, conn *pgconn.PgConn, position uint64, limit int) ([]events.Event, error) {
	if limit <= 0 || position >= math.MaxInt64 {
		return nil, nil
	}
	// With both ends the planner sees which partitions it needs.
	end := min(position+uint64(limit), math.MaxInt64)
	if end < position {
		end = math.MaxInt64
	}
	out := make([]events.Event, 0, min(limit, 1024))
	err := query(ctx, conn, selectAfter,
		new(params).int8(int64(position)).int8(int64(end)),
		func(row [][]byte) error {
			e, err := asEvent(row)
			if err == nil && e.Position != position+uint64(len(out))+1 {
				err = fmt.Errorf("the event log is damaged: position %d is missing", position+uint64(len(out))+1)
			}
			out = append(out, e)
			return err
		})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// References is how many streams refer to this one.
func (s *Store) References(ctx context.Context, id events.StreamID) (int, error) {
	count := 0
	err := s.read(ctx, s.cfg.AnswerTimeout, func(ctx context.Context, conn *pgconn.PgConn) error {
		count = 0
		return query(ctx, conn, `SELECT referrers FROM tenantry.streams WHERE stream = $1`, new(params).text(id.String()), func(row [][]byte) error {
			count = int(asInt(row[0]))
			return nil
		})
	})
	if err != nil {
		return 0, fmt.Errorf("count references to %s: %w", id, err)
	}
	return count, nil
}

// Recall is the outcome that an idempotency key already has.
func (s *Store) Recall(ctx context.Context, k events.Key) (events.Outcome, bool, error) {
	if k.Key == "" || len(k.Key) > maxKey || !storable(k.Key) {
		return events.Outcome{}, false, nil // no batch with such a key was ever stored
	}
	var snap snapshot
	err := s.read(ctx, s.cfg.AnswerTimeout, func(ctx context.Context, conn *pgconn.PgConn) error {
		snap = snapshot{keys: make(map[string]keyRow)}
		p := new(params).arrays(texts(), texts(), texts(), texts(), texts(k.Key))
		return query(ctx, conn, `SELECT * FROM tenantry.read_state($1, $2, $3, $4, $5)`, p, snap.take)
	})
	if err != nil {
		return events.Outcome{}, false, fmt.Errorf("recall an idempotency key: %w", err)
	}
	row, known := snap.keys[k.Key]
	if !known {
		return events.Outcome{}, false, nil
	}
	if row.fingerprint != k.Fingerprint {
		return events.Outcome{}, false, events.ErrKeyReused
	}
	out, err := s.replay(ctx, &row)
	if err != nil {
		return events.Outcome{}, false, fmt.Errorf("recall an idempotency key: %w", err)
	}
	return out, true, nil
}

// replay makes a key's outcome anew from the log, which has kept the events as they were.
func (s *Store) replay(ctx context.Context, k *keyRow) (events.Outcome, error) {
	out := events.Outcome{Stream: k.stream, Version: k.version, Position: k.position, Replayed: true}
	if k.events == 0 {
		return out, nil
	}
	err := s.read(ctx, s.cfg.AnswerTimeout, func(ctx context.Context, conn *pgconn.PgConn) error {
		out.Events = nil
		p := new(params).int8(int64(k.position) - int64(k.events)).int8(int64(k.position))
		err := query(ctx, conn, `SELECT position, version, type FROM tenantry.events WHERE position > $1 AND position <= $2 ORDER BY position`, p,
			func(row [][]byte) error {
				out.Events = append(out.Events, events.Appended{Type: events.Type(row[2]), Version: uint64(asInt(row[1])), Position: uint64(asInt(row[0]))})
				return nil
			})
		if err == nil && len(out.Events) != k.events {
			err = errors.New("the event log is damaged: events of an idempotency key are missing")
		}
		return err
	})
	if err != nil {
		return events.Outcome{}, err
	}
	return out, nil
}
