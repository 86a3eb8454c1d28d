package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// What a Config has where it says nothing.
const (
	DefaultMaxConns         = 10
	DefaultAnswerTimeout    = 900 * time.Millisecond
	DefaultStatementTimeout = 5 * time.Second
	DefaultLockTimeout      = 2 * time.Second
)

// Config is how to reach a store. Only URL has no default.
type Config struct {
	// URL is a connection URL as PostgreSQL's own programs take it, or its key=value form, with
	// sslmode, sslrootcert, target_session_attrs and so on. What it leaves out comes from the
	// usual environment variables (PGPASSWORD, PGSSLMODE …). Never log it: it may hold a password.
	URL string
	// PasswordFile, where not empty, has the password as its first line. It is read at each new
	// connection, so that a password can be changed while the program runs.
	PasswordFile string
	// LeadURL is where Lead connects, where URL leads to a pooler; "": URL. The same password file
	// is used.
	LeadURL string
	// ReadOnly is for a role that may read the log and no more (MigrateConfig.Reader): Open does not ask
	// for the rights to append.
	ReadOnly bool
	// MaxConns is how many connections there are at most, two at least; Lead takes one more.
	MaxConns int
	// AnswerTimeout is how long the server may take to let us in, and to answer a question that a
	// command waits for. Past it, the store is unavailable.
	AnswerTimeout time.Duration
	// StatementTimeout is how long any other statement may take.
	StatementTimeout time.Duration
	// LockTimeout is how long an append may wait for that of another process.
	LockTimeout time.Duration
	// TempDir is where Whole puts the log into the order of streams; "": the system's directory for
	// temporary files.
	TempDir string
	Logger  *slog.Logger // nil: slog.Default()
	// Committed, where not nil, is told of every commit: how many batches and events it had, and
	// how long it took. It is called on the path of each append, so it must be quick.
	Committed func(batches, events int, took time.Duration)
}

func (c Config) withDefaults() Config {
	if c.MaxConns == 0 {
		c.MaxConns = DefaultMaxConns
	}
	if c.AnswerTimeout == 0 {
		c.AnswerTimeout = DefaultAnswerTimeout
	}
	if c.StatementTimeout == 0 {
		c.StatementTimeout = DefaultStatementTimeout
	}
	if c.LockTimeout == 0 {
		c.LockTimeout = DefaultLockTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Committed == nil {
		c.Committed = func(int, int, time.Duration) {}
	}
	return c
}

// pool is a configuration for a pool of that many connections. What it says in errors and logs
// is free of passwords.
func (c Config) pool(conns int) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, refuseURL(c.URL, err)
	}
	c.prepare(cfg.ConnConfig)
	cfg.MaxConns = int32(conns)
	cfg.MinConns, cfg.MinIdleConns = 0, 0
	cfg.HealthCheckPeriod = 30 * time.Second
	cfg.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error { return c.readPassword(conn) }
	return cfg, nil
}

// conn is a configuration for a connection of its own.
func (c Config) conn(url string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, refuseURL(url, err)
	}
	c.prepare(cfg)
	return cfg, c.readPassword(cfg)
}

func (c Config) prepare(conn *pgx.ConnConfig) {
	if conn.ConnectTimeout == 0 || conn.ConnectTimeout > c.AnswerTimeout {
		conn.ConnectTimeout = c.AnswerTimeout
	}
	// A server that has gone without a word is noticed by the statements' own time limits; this is
	// for connections on which nothing happens.
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	conn.DialFunc = dialer.DialContext
	// Nothing may be prepared, nor described: behind a pooler the next statement goes elsewhere.
	conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn.StatementCacheCapacity, conn.DescriptionCacheCapacity = 0, 0
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "tenantry"
	}
}

// limits are what the server itself is told to keep to. Most poolers refuse to be told.
func (c Config) limits() map[string]string {
	ms := func(d time.Duration) string { return fmt.Sprint(max(1, d.Milliseconds())) }
	return map[string]string{
		"statement_timeout":                   ms(c.StatementTimeout),
		"lock_timeout":                        ms(c.LockTimeout),
		"idle_in_transaction_session_timeout": ms(c.StatementTimeout),
		"jit":                                 "off", // it takes longer than any of our statements
	}
}

// isPooler tells from the error of a connection whether the other side is a pooler that takes
// none of our limits.
func isPooler(err error) bool {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.Contains(refusal.Message, "unsupported startup parameter")
}

func (c Config) readPassword(conn *pgx.ConnConfig) error {
	if c.PasswordFile == "" {
		return nil
	}
	text, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return fmt.Errorf("read the database's password: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	conn.Password = strings.TrimRight(line, "\r")
	return nil
}

// refuseURL says that a URL is wrong, without the URL: pgx masks a password only where it finds
// it, and not in what it fails to take apart.
func refuseURL(url string, err error) error {
	if url == "" {
		return errors.New("no database URL is given: say postgres://USER@HOST/DATABASE")
	}
	reason := err.Error()
	// "cannot parse `…`: reason", and the reason may quote what it does not like.
	if i := strings.LastIndex(reason, "`: "); i >= 0 {
		reason = reason[i+3:]
	}
	for _, secret := range append(secretsOf(url), url) {
		if secret != "" && strings.Contains(reason, secret) {
			reason = "it cannot be taken apart; is a / ? # @ % in the password percent-encoded?"
		}
	}
	return fmt.Errorf("database URL is not valid: %s", reason)
}

// secretsOf is all in a URL that could be a password or a part of one.
func secretsOf(url string) []string {
	rest := url
	if _, after, ok := strings.Cut(url, "://"); ok {
		rest = after
	}
	var out []string
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		if _, password, ok := strings.Cut(rest[:i], ":"); ok {
			out = append(out, strings.FieldsFunc(password, func(r rune) bool { return strings.ContainsRune("/?#@:%", r) })...)
		}
	}
	if i := strings.Index(rest, "password="); i >= 0 {
		out = append(out, strings.FieldsFunc(rest[i+len("password="):], func(r rune) bool { return strings.ContainsRune("& '", r) })...)
	}
	return out
}
