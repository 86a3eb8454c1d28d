package testservers

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Database is the URL of an empty database on [Postgres], which is dropped when the test has ended,
// whoever is still connected.
func Database(tb testing.TB) string {
	tb.Helper()
	server := Postgres(tb)
	u, err := url.Parse(server)
	if err != nil {
		tb.Fatal(err)
	}
	name := "t" + uuid.NewString()
	onServer(tb, server, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	tb.Cleanup(func() { onServer(tb, server, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)") })
	u.Path = "/" + name
	return u.String()
}

// onServer runs a statement as the superuser.
func onServer(tb testing.TB, server, statement string) {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context()) // also in a cleanup
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() {
		if err := conn.Close(ctx); err != nil {
			tb.Error(err)
		}
	}()
	if _, err := conn.Exec(ctx, statement); err != nil {
		tb.Fatalf("%s: %v", statement, err)
	}
}

// CopyDatabase is the URL of a copy of a database as it is now, as a backup is that was restored.
// Nobody may be connected to the original. It is dropped when the test has ended.
func CopyDatabase(tb testing.TB, original string) string {
	tb.Helper()
	u, err := url.Parse(original)
	if err != nil {
		tb.Fatal(err)
	}
	server, name := Postgres(tb), "t"+uuid.NewString()
	onServer(tb, server, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE "+pgx.Identifier{strings.TrimPrefix(u.Path, "/")}.Sanitize())
	tb.Cleanup(func() { onServer(tb, server, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)") })
	u.Path = "/" + name
	return u.String()
}
