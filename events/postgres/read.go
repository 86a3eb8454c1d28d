package postgres

import (
	"context"
	"fmt"
	"math"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/events"
)

// readAtOnce is how many events one statement asks for by their positions. With them the planner
// sees which partitions they are in, and touches no other; with too many it would look at each.
const readAtOnce = 1000

const (
	eventColumns   = `position, stream, version, id, type, time, actor, reason, correlation_id, causation_id, traceparent, data`
	selectRuns     = `SELECT stream, version, position, events::bigint FROM tenantry.runs WHERE stream = $1 AND version > $2 ORDER BY version LIMIT $3`
	selectEventsAt = `SELECT ` + eventColumns + ` FROM tenantry.events WHERE position = ANY($1) ORDER BY position`
	selectAfter    = `SELECT ` + eventColumns + ` FROM tenantry.events WHERE position > $1 AND position <= $2 ORDER BY position`
)

// asEvent reads a row of eventColumns.
func asEvent(row [][]byte) (events.Event, error) {
	stream, err := events.ParseStreamID(string(row[1]))
	if err != nil {
		return events.Event{}, fmt.Errorf("event at position %d: %w", asInt(row[0]), err)
	}
	return events.Event{
		Position: uint64(asInt(row[0])), Stream: stream, Version: uint64(asInt(row[2])), ID: uuid.UUID(row[3]),
		Type: events.Type(row[4]), Time: asTime(row[5]), Actor: string(row[6]), Reason: string(row[7]),
		CorrelationID: string(row[8]), CausationID: string(row[9]), Traceparent: string(row[10]), Data: append([]byte(nil), row[11]...),
	}, nil
}

// stretch is where the events of one batch are.
type stretch struct {
	stream  string
	version uint64 // of the last
	last    uint64
	events  uint64
}

func asStretch(row [][]byte) stretch {
	return stretch{stream: string(row[0]), version: uint64(asInt(row[1])), last: uint64(asInt(row[2])), events: uint64(asInt(row[3]))}
}

// Load is the stream's events after a version, in order.
func (s *Store) Load(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	out, err := s.history(ctx, id, after, math.MaxInt)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", id, err)
	}
	return out, nil
}

// History is up to limit of the stream's events after a version, in order.
func (s *Store) History(ctx context.Context, id events.StreamID, after uint64, limit int) ([]events.Event, error) {
	out, err := s.history(ctx, id, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read the history of %s: %w", id, err)
	}
	return out, nil
}

func (s *Store) history(ctx context.Context, id events.StreamID, after uint64, limit int) ([]events.Event, error) {
	var out []events.Event
	err := s.read(ctx, s.cfg.AnswerTimeout, func(ctx context.Context, conn *pgconn.PgConn) error {
		out = nil
		if after > math.MaxInt64 || limit <= 0 {
			return nil
		}
		p := new(params).text(id.String()).int8(int64(after)).int8(int64(limit))
		var where []uint64
		err := query(ctx, conn, selectRuns, p,
			func(row [][]byte) error {
				r := asStretch(row)
				// The first may begin at or before the version.
				skip := max(r.version-r.events, after) - (r.version - r.events)
				for i := skip; i < r.events && len(where) < limit; i++ {
					where = append(where, r.last-r.events+1+i)
				}
				return nil
			})
		if err != nil {
			return err
		}
		out, err = eventsAt(ctx, conn, where)
		return err
	})
	return out, err
}

// eventsAt are the events at positions, which ascend.
func eventsAt(ctx context.Context, conn *pgconn.PgConn, positions []uint64) ([]events.Event, error) {
	if len(positions) == 0 {
		return nil, nil
	}
	out := make([]events.Event, 0, len(positions))
	for len(positions) > 0 {
		n := min(len(positions), readAtOnce)
		want := int8s()
		for _, at := range positions[:n] {
			want.int8(int64(at))
		}
		had := len(out)
		err := query(ctx, conn, selectEventsAt, new(params).arrays(want),
			func(row [][]byte) error {
				e, err := asEvent(row)
				out = append(out, e)
				return err
			})
		if err != nil {
			return nil, err
		}
		for i, at := range positions[:n] {
			if had+i >= len(out) || out[had+i].Position != at {
				return nil, fmt.Errorf("the event log is damaged: position %d is missing", at)
			}
		}
		positions = positions[n:]
	}
	return out, nil
}

// Streams is the whole of up to limit streams of a kind, in the order of their IDs, after the
// ID given.
func (s *Store) Streams(ctx context.Context, k events.Kind, after events.StreamID, limit int) ([][]events.Event, error) {
	if !after.IsZero() && after.Kind() != k {
		return nil, fmt.Errorf("list streams of kind %s after %s: that is another kind", k, after)
	}
	var out [][]events.Event
	err := s.read(ctx, s.cfg.StatementTimeout, func(ctx context.Context, conn *pgconn.PgConn) (err error) {
		out, err = streams(ctx, conn, k, after, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list streams of kind %s: %w", k, err)
	}
	return out, nil
}

func streams(ctx context.Context, conn *pgconn.PgConn, k events.Kind, after events.StreamID, limit int) ([][]events.Event, error) {
	if limit <= 0 {
		return nil, nil
	}
	from, end := idsOfKind(k)
	if !after.IsZero() {
		from = after.String()
	}
	ids := texts()
	err := query(ctx, conn, `SELECT stream FROM tenantry.streams WHERE stream > $1 AND stream < $2 AND version > 0 ORDER BY stream LIMIT $3`,
		new(params).text(from).text(end).int8(int64(limit)),
		func(row [][]byte) error {
			ids.bytes(row[0])
			return nil
		})
	if err != nil || ids.n == 0 {
		return nil, err
	}
	// Many streams lie between each other, so the log is read in its own order.
	var where []uint64
	var wholes [][]uint64
	last := ""
	err = query(ctx, conn, `SELECT stream, version, position, events::bigint FROM tenantry.runs WHERE stream = ANY($1::text[] COLLATE "C") ORDER BY stream, version`,
		new(params).arrays(ids),
		func(row [][]byte) error {
			r := asStretch(row)
			if r.stream != last {
				last = r.stream
				wholes = append(wholes, nil)
			}
			for at := r.last - r.events + 1; at <= r.last; at++ {
				where = append(where, at)
				wholes[len(wholes)-1] = append(wholes[len(wholes)-1], at)
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	return assemble(ctx, conn, wholes, where)
}

// idsOfKind is what is before and after every ID of a kind.
func idsOfKind(k events.Kind) (from, end string) {
	prefix := map[events.Kind]string{events.KindTenant: "ten", events.KindDatabase: "db", events.KindGroup: "grp"}[k]
	return prefix + "_", prefix + "`" // the next octet
}
