package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events/postgres"
)

// soon is far longer than a hand-over takes, and short enough to end a test that hangs.
const soon = time.Minute

func lead(t *testing.T, s *postgres.Store) (context.Context, func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	t.Cleanup(cancel)
	leading, release, err := s.Lead(ctx)
	if err != nil {
		t.Fatalf("lead: %v", err)
	}
	t.Cleanup(release)
	return leading, release
}

// ends waits until leadership has ended, and returns why.
func ends(leading context.Context, t *testing.T) error {
	t.Helper()
	select {
	case <-leading.Done():
		return context.Cause(leading)
	case <-time.After(soon):
		t.Fatal("it leads on")
		return nil
	}
}

// candidate asks for leadership in the background.
func candidate(t *testing.T, s *postgres.Store) <-chan error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	won := make(chan error, 1)
	go func() {
		_, release, err := s.Lead(ctx)
		if err == nil {
			t.Cleanup(release)
		}
		won <- err
	}()
	return won
}

const sessionsOfLeaders = `SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tenantry leader'`

func TestLead_OneOfTwoLeadsAndTheOtherFollowsWhenItIsReleased(t *testing.T) {
	url := database(t)
	first, second := open(t, patient(url)), open(t, patient(url))
	leading, release := lead(t, first)
	won := candidate(t, second)
	// The other has asked, and was told to wait, when it is connected and the lock has been tried.
	for deadline := time.Now().Add(soon); ask(t, url, sessionsOfLeaders) != "2"; {
		if time.Now().After(deadline) {
			t.Fatal("the second never asked")
		}
	}
	select {
	case err := <-won:
		t.Fatalf("two lead at once (%v)", err)
	default:
	}
	if leading.Err() != nil {
		t.Errorf("the first has lost its leadership: %v", context.Cause(leading))
	}
	release()
	release() // again does nothing
	if err := ends(leading, t); !errors.Is(err, context.Canceled) {
		t.Errorf("cause: got %v, want Canceled", err)
	}
	if err := <-won; err != nil {
		t.Errorf("second: %v", err)
	}
}

func TestLead_SessionIsEndedByTheServer_LeaderKnowsAndAnotherLeads(t *testing.T) {
	url := database(t)
	first, second := open(t, patient(url)), open(t, patient(url))
	leading, _ := lead(t, first)
	won := candidate(t, second)
	exec(t, url, `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	if err := ends(leading, t); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("cause: got %v, want why it was lost", err)
	}
	if err := <-won; err != nil {
		t.Errorf("second: %v", err)
	}
}

func TestLead_ContextOrStoreEnds_SoDoesLeadershipAndTheWaitForIt(t *testing.T) {
	url := database(t)
	first, second := open(t, patient(url)), open(t, patient(url))
	ctx, cancel := context.WithCancel(t.Context())
	leading, release, err := first.Lead(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	waiting, giveUp := context.WithCancel(t.Context())
	lost := make(chan error, 1)
	go func() {
		_, _, err := second.Lead(waiting)
		lost <- err
	}()
	giveUp()
	if err := <-lost; !errors.Is(err, context.Canceled) {
		t.Errorf("who waited: got %v, want Canceled", err)
	}
	cancel()
	if err := ends(leading, t); !errors.Is(err, context.Canceled) {
		t.Errorf("cause: got %v, want Canceled", err)
	}
	leading, release = lead(t, second)
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if err := ends(leading, t); err == nil {
		t.Error("a closed store leads on")
	}
	release()
}

func TestLead_DatabaseIsInRecovery_NobodyLeadsBeforeItsEndAndItIsToldOnce(t *testing.T) {
	server, url := ownServer(t)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	// A standby of nobody: in recovery until it is promoted, as during a restore to the last commit.
	if err := os.WriteFile(filepath.Join(server.Dir(), "standby.signal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	cfg := patient(url)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := open(t, cfg)
	if head, err := s.Head(t.Context()); err != nil || head.Position != 0 {
		t.Errorf("head: got %+v, %v; what there is can be read", head, err)
	}
	won := candidate(t, s)
	// It hangs up each time: by the fourth session it has been refused three times.
	last := ""
	for sessions, deadline := 0, time.Now().Add(soon); sessions < 4; {
		pid := ask(t, url, `SELECT coalesce(max(pid), 0)::text FROM pg_stat_activity WHERE application_name = 'tenantry leader'`)
		if pid != "0" && pid != last {
			sessions, last = sessions+1, pid
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not ask: %s", log.String())
		}
	}
	select {
	case err := <-won:
		t.Fatalf("one leads on a database in recovery (%v)", err)
	default:
	}
	if n := strings.Count(log.String(), "the database is in recovery"); n != 1 {
		t.Errorf("it is told %d times, want once: %s", n, log.String())
	}
	exec(t, url, `SELECT pg_promote()`)
	if err := <-won; err != nil {
		t.Errorf("after the recovery: %v", err)
	}
}
