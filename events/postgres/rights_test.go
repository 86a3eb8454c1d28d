package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/postgres"
)

// lockedBuffer is a log that several goroutines write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// nameIn is the role in a URL.
func nameIn(t *testing.T, of string) string {
	t.Helper()
	u, err := url.Parse(of)
	if err != nil {
		t.Fatal(err)
	}
	return u.User.Username()
}

// forbids wants an error that says which right is missing, and what grants it.
func forbids(t *testing.T, what string, err error, says ...string) {
	t.Helper()
	if !errors.Is(err, events.ErrForbidden) || !errors.Is(err, events.ErrUnavailable) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: got %v, want ErrForbidden in one line", what, err)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%s: got %q, which does not say %q", what, err, s)
		}
	}
}

func TestOpen_RoleLacksARight_IsRefusedWithTheRightAndTheMigrateThatGrantsIt(t *testing.T) {
	owner, writer, reader := roles(t)
	admin := nameIn(t, writer)
	for _, c := range []struct {
		name, revoke, grant string
		cfg                 postgres.Config
		says                []string
	}{
		{"a function", "REVOKE EXECUTE ON FUNCTION tenantry.drop_keys FROM " + admin, "", patient(writer), []string{"EXECUTE on drop_keys", "tenantry migrate --writer-role " + admin}},
		{"a table", "REVOKE SELECT ON tenantry.runs FROM " + admin, "", patient(writer), []string{"SELECT on runs", "tenantry migrate --writer-role " + admin}},
		{"the table that it asks first", "REVOKE SELECT ON tenantry.schema_versions FROM " + admin, "", patient(writer), []string{"schema_versions", "tenantry migrate --writer-role " + admin}},
		{"the schema", "REVOKE USAGE ON SCHEMA tenantry FROM " + nameIn(t, reader), "", readOnly(reader), []string{"schema tenantry", "tenantry migrate --reader-role " + nameIn(t, reader)}},
		{"a reader that shall write", "", "", patient(reader), []string{"EXECUTE on append", "tenantry migrate --writer-role " + nameIn(t, reader)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.revoke != "" {
				exec(t, owner, c.revoke)
			}
			s, err := postgres.Open(t.Context(), c.cfg)
			if err == nil {
				t.Fatalf("open: got a store (close: %v)", s.Close())
			}
			forbids(t, "open", err, c.says...)
			// What it says helps.
			migrate(t, postgres.MigrateConfig{Config: patient(owner), Writer: admin, Reader: nameIn(t, reader)})
			if c.revoke == "" {
				return
			}
			open(t, c.cfg)
		})
	}
}

func TestOpen_RoleMayNotConnect_SaysWhatToGrant(t *testing.T) {
	owner, writer, _ := roles(t)
	exec(t, owner, `REVOKE ALL ON DATABASE `+ask(t, owner, `SELECT current_database()::text`)+` FROM PUBLIC`)
	_, err := postgres.Open(t.Context(), patient(writer))
	forbids(t, "open", err, "GRANT CONNECT ON DATABASE", nameIn(t, writer))
}

// A right that is taken away while the store is in use is the operator's to give back: nobody who
// commands can do anything about it, nor is it a fault of this program.
func TestRightIsTakenAway_CallsAreUnavailable_TheLogSaysOnceWhat_AndTheyGoOnWhenItIsBack(t *testing.T) {
	owner, writer, reader := roles(t)
	admin := nameIn(t, writer)
	for _, c := range []struct {
		name, revoke string
		call         func(ctx context.Context, s *postgres.Store) error
	}{
		{"to append", "EXECUTE ON FUNCTION tenantry.append", func(ctx context.Context, s *postgres.Store) error {
			_, err := s.Append(ctx, registration(t, 1))
			return err
		}},
		{"to read what a decision needs", "EXECUTE ON FUNCTION tenantry.read_state", func(ctx context.Context, s *postgres.Store) error {
			_, err := s.Append(ctx, registration(t, 2))
			return err
		}},
		{"to make room", "EXECUTE ON FUNCTION tenantry.make_partitions", func(ctx context.Context, s *postgres.Store) error {
			_, err := s.Append(ctx, registration(t, 3))
			return err
		}},
		{"to read the log", "SELECT ON tenantry.events", func(ctx context.Context, s *postgres.Store) error {
			_, err := s.After(ctx, 0, 1)
			return err
		}},
		{"to read its head", "SELECT ON tenantry.log_head", func(ctx context.Context, s *postgres.Store) error {
			_, err := s.Head(ctx)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log lockedBuffer
			cfg := patient(writer)
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			s := open(t, cfg)
			if c.name == "to read the log" { // it must not be empty, or nothing is read
				if _, err := s.Append(t.Context(), registration(t, 4)); err != nil {
					t.Fatal(err)
				}
			}
			exec(t, owner, "REVOKE "+c.revoke+" FROM "+admin)
			for range 3 {
				forbids(t, "the call", c.call(t.Context(), s), "permission denied", "tenantry migrate --writer-role "+admin)
			}
			if got := strings.Count(log.String(), "lacks a right"); got != 1 {
				t.Errorf("the log says it %d times, want once: %s", got, log.String())
			}
			migrate(t, postgres.MigrateConfig{Config: patient(owner), Writer: admin, Reader: nameIn(t, reader)})
			if err := c.call(t.Context(), s); err != nil {
				t.Errorf("once it is granted: %v", err)
			}
		})
	}
}
