package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/events"
)

// Whole is all that the store holds now: one snapshot of the server, which a connection of its own
// holds and exports, so that several read it. The first call of Parts reads it, and puts it in the order
// of streams in a temporary file in Config.TempDir, which takes about as much room as the log itself and
// is gone when the whole is closed, or the process ends. [events.WithReading] is told how far it is. While it is open the
// server keeps what is vacuumed otherwise, of which the log has next to nothing.
//
// All that it does a reader may do (MigrateConfig.Reader), and a pooler in transaction mode may stand
// before the server.
func (s *Store) Whole(ctx context.Context) (events.Whole, error) {
	if s.tail.isClosed() {
		return nil, errClosed
	}
	w := &whole{store: s}
	err := w.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the whole log: %w", s.readFault(ctx, err))
	}
	return w, nil
}

// whole is an open snapshot.
type whole struct {
	store    *Store
	head     events.Head
	snapshot string // its name, for the connections of the parts

	mu   sync.Mutex // held while conn is used
	conn *pgx.Conn  // nil: closed

	reading sync.RWMutex // held by who reads, so that Close does not take the file from under them
	spread  *spread      // nil: not read yet, or closed
}

// The statements of a transaction that reads the whole log. Its limits are not those of a question.
const (
	beginWhole  = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`
	shareWhole  = `SELECT pg_export_snapshot()`
	limitsWhole = `SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL jit = off`
)

func (w *whole) begin(ctx context.Context) error {
	conn, err := w.store.connect(ctx)
	if err != nil {
		return err
	}
	err = carryOut(ctx, conn.PgConn(), beginWhole, limitsWhole)
	if err == nil {
		err = query(ctx, conn.PgConn(), shareWhole, new(params), func(row [][]byte) error {
			w.snapshot = string(row[0])
			return nil
		})
	}
	if err == nil {
		w.head, err = readHead(ctx, conn.PgConn())
	}
	if err != nil {
		hangUp(conn)
		return err
	}
	w.conn = conn
	return nil
}

// connect makes a connection that is of nobody else's pool.
func (s *Store) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := s.cfg.conn(s.cfg.URL)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, cfg)
}

// carryOut carries out statements that return nothing.
func carryOut(ctx context.Context, conn *pgconn.PgConn, statements ...string) error {
	for _, s := range statements {
		if err := conn.Exec(ctx, s).Close(); err != nil {
			return err
		}
	}
	return nil
}

func (w *whole) Head() events.Head { return w.head }

// Close waits for who still reads.
func (w *whole) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	hangUp(w.conn)
	w.conn = nil
	w.reading.Lock()
	defer w.reading.Unlock()
	if w.spread == nil {
		return nil
	}
	err := w.spread.file.Close()
	w.spread = nil
	return err
}

// Parts has about the same number of octets in each.
func (w *whole) Parts(ctx context.Context, n int) ([]events.Part, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn == nil {
		return nil, fmt.Errorf("read the whole log: %w", errClosed)
	}
	n = max(n, 1)
	if w.spread == nil {
		if err := w.read(ctx, n); err != nil {
			return nil, fmt.Errorf("read the whole log: %w", err)
		}
	}
	total := int64(0)
	for _, r := range w.spread.ranges {
		total += r.octets
	}
	parts := []*part{{whole: w}}
	seen := int64(0)
	for _, r := range w.spread.ranges {
		last := parts[len(parts)-1]
		if len(last.ranges) > 0 && seen*int64(n) >= total*int64(len(parts)) {
			last = &part{whole: w}
			parts = append(parts, last)
		}
		last.ranges = append(last.ranges, r)
		seen += r.octets
	}
	tally := events.NewTally(w.head.Position, len(parts))
	out := make([]events.Part, len(parts))
	for i, p := range parts {
		p.tally = tally
		out[i] = p
	}
	return out, nil
}

// read reads the log into a file.
func (w *whole) read(ctx context.Context, connections int) error {
	starts, err := cut(ctx, w.conn.PgConn(), int(min(w.head.Position/rangeEvents+1, mostRanges)))
	if err != nil {
		return w.store.readFault(ctx, err)
	}
	s, err := newSpread(w.store.cfg.TempDir, starts)
	if err != nil {
		return err
	}
	if err := s.read(ctx, w, connections); err != nil {
		return errors.Join(err, s.file.Close())
	}
	w.spread = s
	return nil
}

// sampleOf is how many streams are asked at most how long they are.
const sampleOf = 20_000

// selectSample has the bounds of ranges with about the same number of events each.
const selectSample = `SELECT stream, version FROM tenantry.streams TABLESAMPLE BERNOULLI (
		(SELECT CASE WHEN c.reltuples > $1::bigint THEN 100.0 * $1::bigint / c.reltuples ELSE 100 END FROM pg_class c WHERE c.oid = 'tenantry.streams'::regclass)
	) WHERE version > 0 ORDER BY stream`

// cut is where each of n ranges of streams begins; the first with "".
func cut(ctx context.Context, conn *pgconn.PgConn, n int) ([]string, error) {
	var streams []string
	var upTo []int64 // events of the sample up to each stream
	total := int64(0)
	err := query(ctx, conn, selectSample, new(params).int8(sampleOf), func(row [][]byte) error {
		total += asInt(row[1])
		streams, upTo = append(streams, string(row[0])), append(upTo, total)
		return nil
	})
	if err != nil {
		return nil, err
	}
	starts := []string{""}
	for i := range streams {
		if len(starts) < n && i > 0 && upTo[i-1]*int64(n) >= total*int64(len(starts)) {
			starts = append(starts, streams[i])
		}
	}
	return starts, nil
}
