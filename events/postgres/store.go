package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/appendqueue"
)

// Store is an [events.Store] in one PostgreSQL database.
type Store struct {
	cfg Config
	log *slog.Logger
	// role is who we are to the server; told is when the log said which right it lacks, by the server's words.
	role string
	told sync.Map
	// reader is for everything but the appender, which has a pool of one for itself: readers that
	// use up all connections must not keep it waiting.
	reader, writer *pgxpool.Pool

	queue    *appendqueue.Queue
	parts    partitions
	identity atomic.Pointer[identified]
	progress instant       // when the appender last came forward
	appended chan struct{} // closed when the appender has ended

	tail    tail
	polled  chan struct{} // closed when the poller has ended
	leaders sync.WaitGroup
	closing sync.Once
}

var _ events.Store = (*Store)(nil)

// instant is a time that goroutines share.
type instant struct{ p atomic.Pointer[time.Time] }

func (i *instant) Store(t time.Time) { i.p.Store(&t) }
func (i *instant) Load() time.Time   { return *i.p.Load() }

// Open opens the store in a database that has the schema of this program. The caller closes it.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if cfg.MaxConns < 2 {
		return nil, fmt.Errorf("open the event store: it needs 2 connections at least, not %d", cfg.MaxConns)
	}
	reader, err := cfg.pool(cfg.MaxConns - 1)
	if err != nil {
		return nil, err
	}
	writer, err := cfg.pool(1)
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, log: cfg.Logger, role: reader.ConnConfig.User, appended: make(chan struct{}), polled: make(chan struct{})}
	s.parts.log = cfg.Logger
	limits, head, err := s.examine(ctx, reader.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("open the event store: %w", err)
	}
	maps.Copy(reader.ConnConfig.RuntimeParams, limits)
	maps.Copy(writer.ConnConfig.RuntimeParams, limits)
	// The pools connect when they are asked to, so neither of these can fail for the server.
	if s.reader, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), reader); err != nil {
		return nil, fmt.Errorf("open the event store: %w", err)
	}
	if s.writer, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), writer); err != nil {
		s.reader.Close()
		return nil, fmt.Errorf("open the event store: %w", err)
	}
	s.progress.Store(time.Now())
	s.tail.init(head.Position)
	s.identity.Store(&identified{head.StoreID, time.Now()})
	s.queue = appendqueue.New(maxGroup)
	go s.appendAll()
	go s.poll()
	s.log.Info("event store opened", "host", reader.ConnConfig.Host, "database", reader.ConnConfig.Database, "store_id", head.StoreID, "position", head.Position)
	return s, nil
}

// examine connects once, and finds out whether the server takes our limits and what they are
// then, and whether the database is one that we can use.
func (s *Store) examine(ctx context.Context, shape *pgx.ConnConfig) (map[string]string, events.Head, error) {
	cfg := shape.Copy()
	if err := s.cfg.readPassword(cfg); err != nil {
		return nil, events.Head{}, err
	}
	limits := s.cfg.limits()
	maps.Copy(cfg.RuntimeParams, limits)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if isPooler(err) {
		s.log.Info("a pooler is before PostgreSQL: time limits are kept on our side only", "host", cfg.Host)
		for name := range limits {
			delete(cfg.RuntimeParams, name)
		}
		limits = nil
		conn, err = pgx.ConnectConfig(ctx, cfg)
	}
	if err != nil {
		if refusal := lacksRight(err); refusal != nil {
			return nil, events.Head{}, forbidden(s.role, s.cfg.ReadOnly, refusal)
		}
		return nil, events.Head{}, connectFault(ctx, err)
	}
	head, err := s.inspect(ctx, conn.PgConn())
	return limits, head, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// inspect finds the end of the log, and tells the operator what he should know of the server.
func (s *Store) inspect(ctx context.Context, conn *pgconn.PgConn) (events.Head, error) {
	err := checkSchema(ctx, conn)
	if err == nil {
		err = checkRights(ctx, conn, s.role, s.cfg.ReadOnly)
	}
	if refusal := lacksRight(err); refusal != nil {
		err = forbidden(s.role, s.cfg.ReadOnly, refusal)
	}
	if err != nil {
		return events.Head{}, err
	}
	const about = `SELECT current_setting('server_version_num')::bigint, current_setting('fsync'), current_setting('full_page_writes'),
		current_user::text, (has_table_privilege('tenantry.events', 'UPDATE') OR has_table_privilege('tenantry.events', 'DELETE')
			OR has_table_privilege('tenantry.events', 'TRUNCATE'))::text`
	var tooOld error
	err = query(ctx, conn, about, new(params), func(row [][]byte) error {
		if version := asInt(row[0]); version < 140000 {
			tooOld = fmt.Errorf("the server is PostgreSQL %d: it must be 14 or later", version/10000)
		}
		if string(row[1]) == "off" || string(row[2]) == "off" {
			s.log.Warn("this PostgreSQL can lose or spoil the event log when it crashes", "fsync", string(row[1]), "full_page_writes", string(row[2]))
		}
		if string(row[4]) == "true" {
			s.log.Info("the database role could alter the event log: a role that cannot is made by tenantry migrate --writer-role", "role", string(row[3]))
		}
		return nil
	})
	if err := errors.Join(err, tooOld); err != nil {
		return events.Head{}, err
	}
	return readHead(ctx, conn)
}

// connectFault says that the server cannot be reached, as what the contract calls it.
func connectFault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return fmt.Errorf("%w: %w", events.ErrUnavailable, err)
}

func readHead(ctx context.Context, conn *pgconn.PgConn) (events.Head, error) {
	var head events.Head
	err := query(ctx, conn, `SELECT position, store_id FROM tenantry.log_head`, new(params), func(row [][]byte) error {
		head.Position = uint64(asInt(row[0]))
		head.StoreID = uuid.UUID(row[1])
		return nil
	})
	if err == nil && head.StoreID == uuid.Nil {
		err = errors.New("the event log has no head: the database is damaged")
	}
	return head, err
}

// Close refuses what waits to be appended, waits for what is being appended and read, and closes
// all connections. A second Close does nothing.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.queue.Close()
		<-s.appended
		s.tail.close()
		<-s.polled
		s.leaders.Wait()
		s.reader.Close()
		s.writer.Close()
	})
	return nil
}

// Head is the end of the log and the identity of the store.
func (s *Store) Head(ctx context.Context) (events.Head, error) {
	var head events.Head
	began := time.Now()
	err := s.read(ctx, s.cfg.AnswerTimeout, func(ctx context.Context, conn *pgconn.PgConn) (err error) {
		head, err = readHead(ctx, conn)
		return err
	})
	if err != nil {
		return events.Head{}, fmt.Errorf("read the head: %w", err)
	}
	s.know(head.StoreID, began)
	return head, nil
}

// identified is an identity, and when it was the store's.
type identified struct {
	id uuid.UUID
	at time.Time
}

// knownFor is how long an identity is taken for the store's.
const knownFor = time.Second

// know takes over an identity, unless a later one is known.
func (s *Store) know(id uuid.UUID, at time.Time) {
	for known := s.identity.Load(); !known.at.After(at); known = s.identity.Load() {
		if s.identity.CompareAndSwap(known, &identified{id, at}) {
			return
		}
	}
}

// StoreID is the identity of the store, as it was at the last append or less than a second ago: each
// command's answer names it, and asking for it would cost half as much as the command.
func (s *Store) StoreID(ctx context.Context) (uuid.UUID, error) {
	if known := s.identity.Load(); time.Since(known.at) < knownFor && !s.tail.isClosed() {
		return known.id, nil
	}
	head, err := s.Head(ctx)
	return head.StoreID, err
}

// MintStoreID gives the store another identity, so that nobody takes what it says from now on
// for the continuation of what it said before: for a database that was restored to an earlier
// past. It does so only while the identity is the one that the caller knows, so that of several who
// find out one changes it, and returns the one that the store has then. lost, where not zero, is an
// identity that the store had been given, and does not know of, since it was restored to before that.
func (s *Store) MintStoreID(ctx context.Context, was, lost uuid.UUID) (uuid.UUID, error) {
	if lost == uuid.Nil {
		lost = was
	}
	var id uuid.UUID
	err := s.read(ctx, s.cfg.StatementTimeout, func(ctx context.Context, conn *pgconn.PgConn) error {
		return query(ctx, conn, `SELECT tenantry.mint_store_id($1, $2)`, new(params).uuid(was).uuid(lost), func(row [][]byte) error {
			id = uuid.UUID(row[0])
			return nil
		})
	})
	if err != nil {
		return uuid.Nil, fmt.Errorf("mint a store ID: %w", err)
	}
	s.know(id, time.Now())
	s.log.Warn("the event store has a new identity", "was", was, "store_id", id)
	return id, nil
}

// WasStoreID tells whether the store had an identity until [Store.MintStoreID] gave it another, or noted it as lost.
func (s *Store) WasStoreID(ctx context.Context, id uuid.UUID) (bool, error) {
	was := false
	err := s.read(ctx, s.cfg.AnswerTimeout, func(ctx context.Context, conn *pgconn.PgConn) error {
		was = false
		return query(ctx, conn, `SELECT 1 FROM tenantry.former_store_ids WHERE store_id = $1`, new(params).uuid(id), func([][]byte) error {
			was = true
			return nil
		})
	})
	if err != nil {
		return false, fmt.Errorf("look for a former store ID: %w", err)
	}
	return was, nil
}

// read runs what may be run twice on a connection of the pool, again on another one where that
// one turns out to be dead.
func (s *Store) read(ctx context.Context, limit time.Duration, do func(ctx context.Context, conn *pgconn.PgConn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.tail.isClosed() {
		return errClosed
	}
	for tries := 0; ; tries++ {
		dead, err := s.readOnce(ctx, limit, do)
		if err == nil {
			return nil
		}
		if !dead || tries > 0 || ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
			return s.readFault(ctx, err)
		}
		// Its neighbours were made at the same time, and are likely to be dead as well.
		s.reader.Reset()
	}
}

func (s *Store) readOnce(ctx context.Context, limit time.Duration, do func(ctx context.Context, conn *pgconn.PgConn) error) (dead bool, err error) {
	ctx, cancelAll := context.WithTimeout(ctx, limit)
	defer cancelAll()
	// A connection is to be had soon, or the server is away, or all are in use.
	soon, cancel := context.WithTimeout(ctx, s.cfg.AnswerTimeout)
	conn, err := s.reader.Acquire(soon)
	cancel()
	if err != nil {
		return false, err
	}
	defer conn.Release()
	err = do(ctx, conn.Conn().PgConn())
	return conn.Conn().IsClosed(), err
}
