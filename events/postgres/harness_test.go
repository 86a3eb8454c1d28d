package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/events/postgres"
	"github.com/tenantry/tenantry/internal/testservers"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// patient is a configuration for tests that do not ask how soon a store gives up.
func patient(url string) postgres.Config {
	return postgres.Config{
		URL: url, Logger: quiet(), MaxConns: 6,
		AnswerTimeout: 30 * time.Second, StatementTimeout: time.Minute, LockTimeout: 30 * time.Second,
	}
}

// run names what this process makes on a server that others use as well.
var run = "t" + uuid.NewString()[:8]

var made atomic.Int64

// withDatabase is a server's URL with another database.
func withDatabase(tb testing.TB, server, name string) string {
	tb.Helper()
	u, err := url.Parse(server)
	if err != nil {
		tb.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// exec runs SQL as the server's superuser.
func exec(tb testing.TB, url string, statements ...string) {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context()) // also in a cleanup
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() {
		if err := conn.Close(ctx); err != nil {
			tb.Error(err)
		}
	}()
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			tb.Fatalf("%s: %v", s, err)
		}
	}
}

// ask is the one value that a statement returns, as text.
func ask(tb testing.TB, url, statement string) string {
	tb.Helper()
	ctx := tb.Context()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() {
		if err := conn.Close(ctx); err != nil {
			tb.Error(err)
		}
	}()
	var out string
	if err := conn.QueryRow(ctx, statement).Scan(&out); err != nil {
		tb.Fatalf("%s: %v", statement, err)
	}
	return out
}

// emptyDatabase is the URL of a database without any schema, which the test drops.
func emptyDatabase(tb testing.TB) string {
	tb.Helper()
	return createDatabase(tb, testservers.Postgres(tb), "")
}

// database is the URL of a database with the store's schema.
func database(tb testing.TB) string {
	tb.Helper()
	server := testservers.Postgres(tb)
	return createDatabase(tb, server, "TEMPLATE "+template(tb, server))
}

func createDatabase(tb testing.TB, server, options string) string {
	tb.Helper()
	name := fmt.Sprintf("%s_%d", run, made.Add(1))
	exec(tb, server, "CREATE DATABASE "+name+" "+options)
	tb.Cleanup(func() { exec(tb, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	return withDatabase(tb, server, name)
}

var templated atomic.Bool

// template is a database that was migrated once, to be copied. It goes with the last test; the server
// of a run of all tests is thrown away with all in it.
func template(tb testing.TB, server string) string {
	tb.Helper()
	name := run + "_template"
	if templated.CompareAndSwap(false, true) {
		exec(tb, server, "CREATE DATABASE "+name)
		migrate(tb, postgres.MigrateConfig{Config: patient(withDatabase(tb, server, name))})
	}
	return name
}

func migrate(tb testing.TB, cfg postgres.MigrateConfig) []postgres.Step {
	tb.Helper()
	steps, err := postgres.Migrate(tb.Context(), cfg)
	if err != nil {
		tb.Fatalf("migrate: %v", err)
	}
	return steps
}

func open(tb testing.TB, cfg postgres.Config) *postgres.Store {
	tb.Helper()
	s, err := postgres.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return s
}
