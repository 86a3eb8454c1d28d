package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/postgres"
	"github.com/tenantry/tenantry/internal/testservers"
)

// all reads a whole log in two parts, one after the other, and says how many events it has.
func all(ctx context.Context, s *postgres.Store) (count uint64, err error) {
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
	for _, cfg := range []postgres.Config{patient(writer), readOnly(reader)} {
		if got, err := all(t.Context(), open(t, cfg)); err != nil || got != want {
			t.Errorf("got %d events, %v, want %d", got, err, want)
		}
	}
}

func TestWhole_ThroughAPooler_IsWholeAsWell(t *testing.T) {
	s := open(t, patient(testservers.PgBouncer(t, database(t))))
	want := longLog(t, s)
	if got, err := all(t.Context(), s); err != nil || got != want {
		t.Errorf("got %d events, %v, want %d", got, err, want)
	}
}

// blocked opens a whole log, and asks for its parts while nobody may read the events; meanwhile is called when
// the server has begun to.
func blocked(t *testing.T, s *postgres.Store, url string, meanwhile func()) (uint64, error) {
	t.Helper()
	lock, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := lock.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	w, err := s.Whole(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := lock.Exec(t.Context(), `SET statement_timeout = 0; BEGIN; LOCK TABLE tenantry.events IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		parts []events.Part
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		parts, err := w.Parts(t.Context(), 2)
		answers <- answer{parts, err}
	}()
	for ask(t, url, `SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%' AND wait_event_type = 'Lock'`) != "2" {
		if t.Context().Err() != nil {
			t.Fatal("nobody waits for the lock")
		}
	}
	meanwhile()
	if _, err := lock.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	a := <-answers
	if a.err != nil {
		return 0, a.err
	}
	count := uint64(0)
	for _, p := range a.parts {
		if err := p.Streams(t.Context(), func(stream []events.Event) error {
			count += uint64(len(stream))
			return nil
		}); err != nil {
			return count, err
		}
	}
	return count, nil
}

// The limits of a statement are those of a question, and a rebuild is none.
func TestWhole_TakesLongerThanAStatementMay(t *testing.T) {
	url := database(t)
	s := open(t, patient(url))
	want := longLog(t, s)
	exec(t, url, `ALTER DATABASE `+ask(t, url, `SELECT current_database()::text`)+` SET statement_timeout = '500ms'`)
	got, err := blocked(t, s, url, func() { exec(t, url, `SET statement_timeout = 0; SELECT pg_sleep(0.7)`) })
	if err != nil || got != want {
		t.Errorf("got %d events, %v, want %d", got, err, want)
	}
}

func TestWhole_ServerThatDiesHalfWay_IsAnErrorAndNoShortResult(t *testing.T) {
	url := database(t)
	s := open(t, patient(url))
	want := longLog(t, s)
	got, err := blocked(t, s, url, func() {
		exec(t, url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%'`)
	})
	if !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("got %d of %d events, %v, want ErrUnavailable", got, want, err)
	}
	if got, err := all(t.Context(), s); err != nil || got != want {
		t.Errorf("once more: got %d events, %v, want %d", got, err, want)
	}
}

// What was killed leaves no file behind.
func TestWhole_ThatIsOpen_HasNoFileInItsDirectory(t *testing.T) {
	cfg := patient(database(t))
	cfg.TempDir = t.TempDir()
	s := open(t, cfg)
	want := longLog(t, s)
	w, err := s.Whole(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Parts(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(cfg.TempDir); err != nil || len(left) > 0 {
		t.Errorf("got %v, %v, want no file that a kill would leave", left, err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	cfg.TempDir += "/none"
	if got, err := all(t.Context(), open(t, cfg)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %d of %d events, %v, want an error for a directory that is not there", got, want, err)
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
			if got, err := all(t.Context(), s); err == nil || errors.Is(err, events.ErrUnavailable) || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("got %d events, %v, want an error that says that the log is damaged", got, err)
			}
		})
	}
}

func TestWhole_TellsHowMuchOfTheLogItHasRead(t *testing.T) {
	s := open(t, patient(database(t)))
	longLog(t, s)
	var last, total uint64
	var times int
	ctx := events.WithReading(t.Context(), func(done, all uint64) {
		if (done == 0) != (times == 0) || done < last {
			t.Errorf("told %d after %d", done, last)
		}
		last, total = done, all
		times++
	})
	count, err := all(ctx, s)
	if err != nil || last != count || total != count {
		t.Errorf("told %d of %d, %v, want %d of it", last, total, err, count)
	}
}
