package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/postgres"
	"github.com/tenantry/tenantry/internal/testservers"
)

// ownServer is a server that the test may stop.
func ownServer(t *testing.T) (*testservers.PostgresServer, string) {
	t.Helper()
	testservers.Postgres(t) // skips where there is none
	server, err := testservers.StartPostgres(t.Context(), testservers.PostgresConfig{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	url := server.URL()
	migrate(t, postgres.MigrateConfig{Config: patient(url)})
	return server, url
}

// brief gives up soon.
func brief(url string) postgres.Config {
	cfg := patient(url)
	cfg.AnswerTimeout, cfg.StatementTimeout = 300*time.Millisecond, time.Second
	return cfg
}

// unavailable wants every method that needs the server to say that it is away.
func unavailable(t *testing.T, s *postgres.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for name, call := range map[string]func() error{
		"Append":     func() error { _, err := s.Append(ctx, registration(t, 1000)); return err },
		"Recall":     func() error { _, _, err := s.Recall(ctx, events.Key{Key: "k"}); return err },
		"Load":       func() error { _, err := s.Load(ctx, tenant(t, "acme"), 0); return err },
		"Streams":    func() error { _, err := s.Streams(ctx, events.KindTenant, events.StreamID{}, 1); return err },
		"References": func() error { _, err := s.References(ctx, tenant(t, "acme")); return err },
		"After":      func() error { _, err := s.After(ctx, 0, 1); return err },
		"Head":       func() error { _, err := s.Head(ctx); return err },
		"DropKeys":   func() error { _, err := s.DropKeys(ctx, time.Now()); return err },
	} {
		if err := call(); !errors.Is(err, events.ErrUnavailable) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want ErrUnavailable in one line", name, err)
		}
	}
}

func TestServerIsKilled_CallsAreRefusedAndGoOnByThemselvesWhenItIsBackWithAllThatWasAnswered(t *testing.T) {
	server, url := ownServer(t)
	s := open(t, brief(url))
	if _, err := s.Append(t.Context(), registration(t, 1)); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- s.Wait(t.Context(), 5) }()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	unavailable(t, s)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "append", func() error {
		_, err := s.Append(t.Context(), registration(t, 2))
		return err
	})
	if err := <-waited; err != nil {
		t.Errorf("wait: %v", err)
	}
	if got := len(sound(t, s)); got != 10 {
		t.Errorf("events in the log: got %d, want 10", got)
	}
}

// eventually tries until there is no error.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// freeze stops all processes of the server in the middle of what they do, as a cut of the
// network would, and returns what lets them go on.
func freeze(t *testing.T, server *testservers.PostgresServer) (thaw func()) {
	t.Helper()
	pids := server.PIDs()
	signal := func(sig syscall.Signal) {
		for _, pid := range pids {
			if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Errorf("signal %d: %v", pid, err)
			}
		}
	}
	signal(syscall.SIGSTOP)
	var once sync.Once
	thaw = func() { once.Do(func() { signal(syscall.SIGCONT) }) }
	t.Cleanup(thaw)
	return thaw
}

func TestServerDoesNotAnswer_CallsAreRefusedAndGoOnWhenItDoes(t *testing.T) {
	server, url := ownServer(t)
	s := open(t, brief(url))
	if _, err := s.Append(t.Context(), registration(t, 1)); err != nil {
		t.Fatal(err)
	}
	thaw := freeze(t, server)
	unavailable(t, s)
	// Those who wait behind one that is stuck are refused as well, each by itself.
	race(8, func(w int) {
		if _, err := s.Append(t.Context(), registration(t, uint64(w)+100)); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("append: got %v, want ErrUnavailable", err)
		}
	})
	thaw()
	eventually(t, "append", func() error {
		_, err := s.Append(t.Context(), registration(t, 2))
		return err
	})
	if got := len(sound(t, s)); got != 10 {
		t.Errorf("events in the log: got %d, want 10: what was refused is not stored", got)
	}
}

func TestOpen_ServerIsAway_SaysSoAndTellsNoPassword(t *testing.T) {
	for _, url := range []string{
		"postgres://user:hunter2@127.0.0.1:1/db?sslmode=disable",
		"host=127.0.0.1 port=1 user=user password=hunter2 sslmode=disable",
	} {
		var logged bytes.Buffer
		cfg := brief(url)
		cfg.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		_, err := postgres.Open(t.Context(), cfg)
		if !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("open: got %v, want ErrUnavailable", err)
		}
		if text := err.Error() + logged.String(); strings.Contains(text, "hunter2") {
			t.Errorf("the password is told: %s", text)
		}
	}
}
