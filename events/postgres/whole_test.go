package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/postgres"
	"github.com/tenantry/tenantry/internal/testservers"
)

// all reads a whole log in two parts, one after the other, and says how many events it has.
func all(ctx context.Context, s *postgres.Store, each func()) (count uint64, err error) {
	w, err := s.Whole(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	parts, err := w.Parts(ctx, 2)
	if err != nil {
		return 0, err
	}
	for _, p := range parts {
		if err := p.Streams(ctx, func(stream []events.Event) error {
			count += uint64(len(stream))
			each()
			return nil
		}); err != nil {
			return count, err
		}
	}
	return count, nil
}

// longLog has more than the buffers between us and the server take.
func longLog(t *testing.T, s *postgres.Store) (count uint64) {
	t.Helper()
	const streams, each = 200, 50
	var batches []events.Batch
	for i := range streams {
		payloads := make([]events.Payload, each)
		for j := range payloads {
			payloads[j] = events.TenantRenamed{Name: strings.Repeat("long ", 200) + fmt.Sprint(j)}
		}
		id := tenant(t, fmt.Sprintf("t%d", i))
		made, err := events.New(id, 0, events.Metadata{Time: time.Now()}, payloads...)
		if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, events.Batch{Stream: id, Events: made})
	}
	for _, r := range s.AppendAll(t.Context(), batches) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return streams * each
}

func TestWhole_IsForReadersToo(t *testing.T) {
	_, writer, reader := roles(t)
	want := longLog(t, open(t, patient(writer)))
	for _, url := range []string{writer, reader} {
		if got, err := all(t.Context(), open(t, patient(url)), func() {}); err != nil || got != want {
			t.Errorf("got %d events, %v, want %d", got, err, want)
		}
	}
}

func TestWhole_ThroughAPooler_IsWholeAsWell(t *testing.T) {
	s := open(t, patient(testservers.PgBouncer(t, database(t))))
	want := longLog(t, s)
	if got, err := all(t.Context(), s, func() {}); err != nil || got != want {
		t.Errorf("got %d events, %v, want %d", got, err, want)
	}
}

// The limits of a statement are those of a question, and a rebuild is none.
func TestWhole_TakesLongerThanAStatementMay(t *testing.T) {
	url := database(t)
	s := open(t, patient(url))
	want := longLog(t, s)
	exec(t, url, `ALTER DATABASE `+ask(t, url, `SELECT current_database()::text`)+` SET statement_timeout = '500ms'`)
	slow := false
	got, err := all(t.Context(), s, func() {
		if !slow {
			slow = true // while the server has more to send
			exec(t, url, `SET statement_timeout = 0; SELECT pg_sleep(0.7)`)
		}
	})
	if err != nil || got != want {
		t.Errorf("got %d events, %v, want %d", got, err, want)
	}
}

func TestWhole_ServerThatDiesHalfWay_IsAnErrorAndNoShortResult(t *testing.T) {
	url := database(t)
	s := open(t, patient(url))
	want := longLog(t, s)
	killed := false
	got, err := all(t.Context(), s, func() {
		if !killed {
			killed = true
			exec(t, url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		}
	})
	if !errors.Is(err, events.ErrUnavailable) || got >= want {
		t.Errorf("got %d of %d events, %v, want ErrUnavailable before the end", got, want, err)
	}
	if got, err := all(t.Context(), s, func() {}); err != nil || got != want {
		t.Errorf("once more: got %d events, %v, want %d", got, err, want)
	}
}

// The log is for ever, but disks and superusers are not.
func TestWhole_LogWithAHole_IsAnErrorAndNoShortResult(t *testing.T) {
	for name, hole := range map[string]string{
		"in the middle of a stream": `version = 7 AND stream = 'ten_t3'`,
		"at the end of a stream":    `version = 50 AND stream = 'ten_t3'`,
		"of a whole stream":         `stream = 'ten_t3'`,
		"of everything":             `true`,
	} {
		t.Run(name, func(t *testing.T) {
			url := database(t)
			s := open(t, patient(url))
			longLog(t, s)
			exec(t, url, `SET session_replication_role = replica`+`; DELETE FROM tenantry.events WHERE `+hole)
			if got, err := all(t.Context(), s, func() {}); err == nil || errors.Is(err, events.ErrUnavailable) || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("got %d events, %v, want an error that says that the log is damaged", got, err)
			}
		})
	}
}
