package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/appendqueue"
)

func openIn(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func tenantBatch(t *testing.T, name string, version uint64, payloads ...events.Payload) events.Batch {
	t.Helper()
	id, err := events.ParseTenantID("ten_" + name)
	if err != nil {
		t.Fatal(err)
	}
	list, err := events.New(id.Stream(), version, events.Metadata{Time: time.Now()}, payloads...)
	if err != nil {
		t.Fatal(err)
	}
	return events.Batch{Stream: id.Stream(), Expected: version, Events: list}
}

func TestOpen_SyncsEachCommitAndHasRoomForALargeBatch(t *testing.T) {
	s := openIn(t, t.TempDir())
	if !s.db.Opts().SyncWrites {
		t.Error("Badger is opened without SyncWrites: an answer would come before the disk has it")
	}
	if got := s.db.Opts().ValueThreshold; got != maxValue {
		t.Errorf("value threshold: got %d, want %d", got, maxValue)
	}
}

func TestAppend_CommitFails_NothingIsAnsweredAndNoneIsTakenUntilItIsOpenedAnew(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	if _, err := s.Append(t.Context(), tenantBatch(t, "before", 0, events.TenantActivated{})); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("input/output error")
	s.writing.Lock()
	commit := s.commit
	s.commit = func(*badger.Txn, uint64) error { return broken }
	s.writing.Unlock()

	lost := tenantBatch(t, "lost", 0, events.TenantActivated{})
	results := s.AppendAll(t.Context(), []events.Batch{lost, lost, tenantBatch(t, "before", 0, events.TenantActivated{})})
	for i, r := range results {
		// Not even the second's conflict is answered: it is with what was not stored.
		if !errors.Is(r.Err, broken) || !errors.Is(r.Err, events.ErrUnknownOutcome) || r.Outcome.Version != 0 {
			t.Errorf("result %d: got %+v, want the error of the commit", i, r)
		}
	}
	s.writing.Lock()
	s.commit = commit
	s.writing.Unlock()
	if _, err := s.Append(t.Context(), lost); !errors.Is(err, events.ErrUnavailable) || !errors.Is(err, broken) {
		t.Errorf("append after a failed commit: got %v, want ErrUnavailable with the cause", err)
	}
	if _, err := s.DropKeys(t.Context(), time.Now()); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("drop keys after a failed commit: got %v, want ErrUnavailable", err)
	}
	if got, err := s.After(t.Context(), 0, 10); err != nil || len(got) != 1 {
		t.Errorf("after: got %d events, %v, want the one from before", len(got), err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	s = openIn(t, dir)
	out, err := s.Append(t.Context(), lost)
	if err != nil || out.Position != 2 {
		t.Errorf("append when opened anew: got %+v, %v", out, err)
	}
}

func TestAppend_WaitingBatchesShareACommitAndTheRefusedDropOutAlone(t *testing.T) {
	s := openIn(t, t.TempDir())
	type commit struct{ batches, events int }
	var commits []commit
	s.writing.Lock()
	s.committed = func(batches, events int, took time.Duration) {
		if took <= 0 {
			t.Errorf("a commit took %v", took)
		}
		commits = append(commits, commit{batches, events})
	}
	s.writing.Unlock()
	// What the appender does with forty callers that wait, of whom half come too late.
	const n = 40
	var reqs []*appendqueue.Request
	for i := range n {
		b := tenantBatch(t, fmt.Sprint("t", i%(n/2)), 0, events.TenantActivated{}, events.TenantSuspended{})
		reqs = append(reqs, appendqueue.NewRequest(t.Context(), []events.Batch{b}))
	}
	s.appendTaken(reqs)
	for i, r := range reqs {
		<-r.Answered()
		if late := i >= n/2; errors.Is(r.Results[0].Err, events.ErrConflict) != late || (r.Results[0].Err != nil) != late {
			t.Errorf("request %d: got %+v", i, r.Results[0])
		}
	}
	if want := []commit{{n / 2, n}}; !slices.Equal(commits, want) {
		t.Errorf("commits: got %+v, want %+v", commits, want)
	}
}

func TestAppend_ContextEndsWhileTheBatchWaits_IsAnsweredAtOnceAndNotStored(t *testing.T) {
	s := openIn(t, t.TempDir())
	s.writing.Lock()
	first := appendqueue.NewRequest(t.Context(), []events.Batch{tenantBatch(t, "first", 0, events.TenantActivated{})})
	if !s.queue.Put(first) {
		t.Fatal("the queue is closed")
	}
	for !first.Taken() {
		runtime.Gosched() // until the appender has taken it, and waits for its turn to write
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan []events.Result)
	go func() {
		waiting <- s.AppendAll(ctx, []events.Batch{tenantBatch(t, "second", 0, events.TenantActivated{}), tenantBatch(t, "third", 0, events.TenantActivated{})})
	}()
	cancel()
	for i, r := range <-waiting {
		if !errors.Is(r.Err, context.Canceled) {
			t.Errorf("result %d: got %+v, want the context's error", i, r)
		}
	}
	s.writing.Unlock()
	<-first.Answered()
	if got, err := s.After(t.Context(), 0, 10); err != nil || len(got) != 1 {
		t.Errorf("after: got %d events, %v, want the first alone", len(got), err)
	}
}

func TestAppend_ContextEndsBeforeTheBatchIsDecided_IsNotStored(t *testing.T) {
	s := openIn(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	r := appendqueue.NewRequest(ctx, []events.Batch{tenantBatch(t, "a", 0, events.TenantActivated{}), tenantBatch(t, "b", 0, events.TenantActivated{})})
	cancel()
	s.appendTaken([]*appendqueue.Request{r})
	<-r.Answered()
	for i, result := range r.Results {
		if !errors.Is(result.Err, context.Canceled) {
			t.Errorf("result %d: got %+v, want the context's error", i, result)
		}
	}
	if got, err := s.After(t.Context(), 0, 10); err != nil || len(got) != 0 {
		t.Errorf("after: got %d events, %v, want none", len(got), err)
	}
}

func TestAppend_LargestBatchOfACommandFits(t *testing.T) {
	// A body of 1 MiB, as many hostnames as a tenant may have and of the greatest length, and
	// the rest in products; the longest ID, key, actor and reason.
	const body = 1 << 20
	b := tenantBatch(t, strings.Repeat("t", 63), 0)
	payloads := []events.Payload{events.TenantRegistered{Name: strings.Repeat("界", 200), HomeRegion: "eu"}}
	size := 0
	for i := range 500 {
		name := fmt.Sprintf("%s.%s.%s.%03d.example", strings.Repeat("a", 63), strings.Repeat("b", 63), strings.Repeat("c", 63), i)
		name = strings.Repeat("d", 253-len(name)-1) + "." + name
		h, err := events.ParseHostname(name)
		if err != nil {
			t.Fatal(err)
		}
		b.Take = append(b.Take, h)
		payloads = append(payloads, events.HostnameAttached{Hostname: h})
		size += len(name) + 3
	}
	for i := range 200 {
		payloads = append(payloads, events.ConfigSet{Key: fmt.Sprintf("%0128d", i), Value: []byte(`"` + strings.Repeat("v", 600) + `"`)})
		size += 128 + 600
	}
	features := make([]string, 100)
	for i := range 100 {
		for j := range features {
			features[j] = strings.Repeat("f", (body-size)/100/100-4)
		}
		payloads = append(payloads, events.ProductActivated{Name: fmt.Sprintf("%063d", i), Product: events.Product{Plan: strings.Repeat("p", 64), Features: features}})
	}
	payloads = append(payloads, events.TenantActivated{}, events.TenantSuspended{})
	var err error
	if b.Events, err = events.New(b.Stream, 0, events.Metadata{
		Time: time.Now(), Actor: strings.Repeat("界", 500), Reason: strings.Repeat("界", 500),
		CorrelationID: strings.Repeat("c", 255), CausationID: strings.Repeat("c", 255), Traceparent: strings.Repeat("0", 55),
	}, payloads...); err != nil {
		t.Fatal(err)
	}
	b.Key = &events.Key{Key: strings.Repeat("k", 255), Time: time.Now()}
	s := openIn(t, t.TempDir())
	out, err := s.Append(t.Context(), b)
	if err != nil || len(out.Events) != len(payloads) {
		t.Fatalf("append: got %d events, %v", len(out.Events), err)
	}
	got, err := s.Load(t.Context(), b.Stream, 0)
	if err != nil || len(got) != len(payloads) {
		t.Errorf("load: got %d events, %v", len(got), err)
	}
}

func TestAppend_MoreThanATransactionHolds_IsRefusedAsTooLarge(t *testing.T) {
	s := openIn(t, t.TempDir())
	value := func(n int) events.ConfigSet {
		return events.ConfigSet{Key: "k", Value: []byte(`"` + strings.Repeat("v", n) + `"`)}
	}
	large := tenantBatch(t, "large", 0, value(900<<10), value(900<<10), value(900<<10))
	one := tenantBatch(t, "one", 0, value(1<<20))
	fits := tenantBatch(t, "fits", 0, value(900<<10))
	results := s.AppendAll(t.Context(), []events.Batch{large, fits, one, tenantBatch(t, "next", 0, value(900<<10)), tenantBatch(t, "last", 0, value(900<<10))})
	for i, r := range results {
		if wantErr := i == 0 || i == 2; errors.Is(r.Err, ErrTooLarge) != wantErr || (r.Err != nil) != wantErr {
			t.Errorf("result %d: got %v", i, r.Err)
		}
	}
	large.DryRun = true
	if _, err := s.Append(t.Context(), large); !errors.Is(err, ErrTooLarge) {
		t.Errorf("dry run: got %v, want ErrTooLarge", err)
	}
	got, err := s.After(t.Context(), 0, 10)
	if err != nil || len(got) != 3 {
		t.Fatalf("after: got %d events, %v, want 3", len(got), err)
	}
	for i, e := range got {
		if e.Position != uint64(i)+1 || e.ID == uuid.Nil {
			t.Errorf("event %d: got %+v", i, e.ID)
		}
	}
}

func TestClose_DiskHasNoRoomForIt_LeavesAllThatWasAnsweredToTheNextOpen(t *testing.T) {
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	var full atomic.Bool
	s, err := Open(t.Context(), Config{Dir: dir, Logger: slog.New(slog.DiscardHandler), FreeSpace: func(string) (uint64, error) {
		if full.Load() {
			return 1 << 20, nil
		}
		return 1 << 40, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), tenantBatch(t, "a", 0, events.TenantActivated{})); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	if err := s.Close(); !errors.Is(err, events.ErrUnavailable) || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("close: got %v, want ErrUnavailable that says disk full", err)
	}
	if _, err := s.Head(t.Context()); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("head of a store that was left: got %v, want ErrUnavailable", err)
	}
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Close(); err != nil { // in place of the end of the process
		t.Errorf("close Badger: %v", err)
	}
	if got, err := openIn(t, copied).After(t.Context(), 0, 10); err != nil || len(got) != 1 {
		t.Errorf("after: got %d events, %v, want what was answered", len(got), err)
	}
}
