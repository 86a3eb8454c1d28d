package readmodel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
)

// Streams are folded in any order among each other, which moves hostnames back and forth, and all
// that can happen to a copy happens to it between.
func TestSums_AfterAnyUpdates_AreThoseOfWhatIsStored(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRegion(rt, t.TempDir(), eventstest.Log(60).Draw(rt, "log"), 3)
		defer func() {
			if err := r.model.Close(); err != nil {
				rt.Fatal(err)
			}
		}()
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			stream := rapid.SampledFrom(r.ids).Draw(rt, "stream")
			what := rapid.SampledFrom([]string{"fold", "fold", "fold", "fold two", "quarantine", "clear", "forget", "anew", "sweep", "reopen", "recount", "fail"}).Draw(rt, "what")
			switch what {
			case "fold":
				n := rapid.IntRange(1, 12).Draw(rt, "events")
				r.update(func(tx *Tx) error { return r.fold(tx, stream, n) })
			case "fold two":
				other := rapid.SampledFrom(r.ids).Draw(rt, "other")
				r.update(func(tx *Tx) error { return errors.Join(r.fold(tx, stream, 9), r.fold(tx, other, 9)) })
			case "quarantine":
				r.update(func(tx *Tx) error { return tx.SetQuarantine(Quarantine{Stream: stream, Error: "test"}) })
			case "clear":
				r.update(func(tx *Tx) error { return errors.Join(r.fold(tx, stream, 3), tx.ClearQuarantine(stream)) })
			case "forget":
				r.folded[stream] = 0
				r.update(func(tx *Tx) error { return tx.Forget(stream) })
			case "anew":
				r.update(func(tx *Tx) error {
					if err := r.fold(tx, stream, 2); err != nil {
						return err
					}
					r.folded[stream] = 0
					return errors.Join(tx.Forget(stream), r.fold(tx, stream, 100))
				})
			case "sweep":
				r.update(func(tx *Tx) error {
					for i := range tx.Progress().Partitions {
						tx.Progress().Partitions[i].Position = rapid.Uint64Range(0, 60).Draw(rt, "position")
					}
					return nil
				})
				if _, err := r.model.Sweep(5); err != nil {
					rt.Fatal(err)
				}
			case "reopen":
				r.reopen()
			case "recount":
				if err := r.model.Recount(t.Context()); err != nil {
					rt.Fatal(err)
				}
			case "fail":
				before := r.folded[stream]
				boom := errors.New("boom")
				if err := r.model.Update(func(tx *Tx) error { return errors.Join(r.fold(tx, stream, 9), boom) }); !errors.Is(err, boom) {
					rt.Fatalf("got %v, want %v", err, boom)
				}
				r.folded[stream] = before
			}
			r.check(what)
		}
	})
}

func TestEntriesOf_AreTheRecordsThatUpdatesWrite(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRegion(rt, t.TempDir(), eventstest.Log(80).Draw(rt, "log"), 2)
		defer func() {
			if err := r.model.Close(); err != nil {
				rt.Fatal(err)
			}
		}()
		quarantined := make(map[events.StreamID]bool)
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			stream := rapid.SampledFrom(r.ids).Draw(rt, "stream")
			n := rapid.IntRange(1, 10).Draw(rt, "events")
			r.update(func(tx *Tx) error {
				if quarantined[stream] {
					return nil
				}
				if err := r.fold(tx, stream, n); err != nil {
					return err
				}
				if rapid.IntRange(0, 9).Draw(rt, "quarantined at 0") == 0 {
					quarantined[stream] = true
					return tx.SetQuarantine(Quarantine{Stream: stream, Error: "test"})
				}
				return nil
			})
		}
		// What is in quarantine has not let go of what a later event of its own would: the claims of
		// all streams decide together, whatever of each was folded.
		if diff := cmp.Diff(r.wanted(quarantined), counted(all(rt, r.model))); diff != "" {
			rt.Fatalf("records (-by the encoder +by updates):\n%s", diff)
		}
	})
}

func TestSums_TellWhereTwoCopiesDiffer(t *testing.T) {
	m := emptyModel(t)
	put := func(id string, version uint64) {
		t.Helper()
		tenant, err := events.ParseTenantID(id)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Update(func(tx *Tx) error {
			return tx.PutTenant(events.Tenant{ID: tenant, Version: version, Position: version})
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		put(fmt.Sprintf("ten_%d", i), 1)
	}
	before := m.Sums()
	put("ten_42", 2)
	after := m.Sums()
	id, err := events.ParseStreamID("ten_42")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := before.Differing(&after), []int{BucketOf(id)}; !cmp.Equal(got, want) {
		t.Errorf("got buckets %v, want %v", got, want)
	}
	if before.Root() == after.Root() {
		t.Error("the roots of two sums are the same")
	}
	put("ten_42", 1)
	if again := m.Sums(); again != before {
		t.Error("the same records have other sums")
	}
}

func emptyModel(t *testing.T) *Model {
	t.Helper()
	m, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := m.Begin(uuid.New(), 2); err != nil {
		t.Fatal(err)
	}
	return m
}

// many puts n tenants, each with a hostname.
func many(t fatal, m *Model, n int) {
	t.Helper()
	for from := 0; from < n; from += 500 {
		if err := m.Update(func(tx *Tx) error {
			for i := from; i < min(n, from+500); i++ {
				id, err := events.ParseTenantID(fmt.Sprintf("ten_%06d", i))
				if err != nil {
					return err
				}
				h, err := events.ParseHostname(fmt.Sprintf("h%06d.example", i))
				if err != nil {
					return err
				}
				if err := tx.PutTenant(events.Tenant{ID: id, Version: 1, Position: uint64(i + 1), Name: fmt.Sprintf("Tenant %d", i), Hostnames: []events.Hostname{h}, Primary: h}); err != nil {
					return err
				}
			}
			tx.Progress().Partitions[0].Position = uint64(min(n, from+500))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInspection_IsOfOneMoment_WhateverIsWrittenMeanwhile(t *testing.T) {
	m := emptyModel(t)
	many(t, m, 3000)
	i, err := m.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	var scanned Sums
	entries, changed := 0, false
	if err := i.Scan(t.Context(), 0, func(e Entry) error {
		scanned.Add(e)
		if entries++; !changed {
			changed = true
			return m.Update(func(tx *Tx) error {
				tx.Progress().Partitions[0].Position = 9999
				id, _ := events.ParseTenantID("ten_002999")
				return tx.PutTenant(events.Tenant{ID: id, Version: 2, Position: 9999})
			})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if entries != 6000 {
		t.Errorf("got %d entries, want 6000", entries)
	}
	if got := i.Progress().Partitions[0].Position; got != 3000 {
		t.Errorf("got position %d, want that of the inspection, 3000", got)
	}
	if maintained := i.Maintained(); maintained != scanned {
		t.Error("what was scanned is not what the sums of that moment say")
	}
	if now := m.Sums(); now == scanned {
		t.Error("the update does not show in the model")
	}
}

func TestInspection_OfAModelThatIsClosed_HoldsUpNobody(t *testing.T) {
	m, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Begin(uuid.New(), 2); err != nil {
		t.Fatal(err)
	}
	many(t, m, 2000)
	i, err := m.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	first, closed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var scan sync.WaitGroup
	scan.Go(func() {
		err := i.Scan(context.Background(), 0, func(Entry) error {
			once.Do(func() { close(first) })
			<-closed // whoever compares takes his time
			return nil
		})
		if !errors.Is(err, ErrClosed) {
			t.Errorf("the scan: got %v, want ErrClosed", err)
		}
	})
	<-first
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	close(closed)
	scan.Wait()
	if _, err := i.Record("t/ten_000001"); !errors.Is(err, ErrClosed) {
		t.Errorf("a record: got %v, want ErrClosed", err)
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	if _, err := m.Inspect(); !errors.Is(err, ErrClosed) {
		t.Errorf("another inspection: got %v, want ErrClosed", err)
	}
}

func TestInspection_ScanAtARate_TakesItsTime_AndEndsWithItsContext(t *testing.T) {
	m := emptyModel(t)
	many(t, m, 500)
	i, err := m.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	began := time.Now()
	if _, err := i.Scanned(t.Context(), 5000); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 190*time.Millisecond {
		t.Errorf("1000 records at 5000 a second took %v, want 200ms", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	err = i.Scan(ctx, 1, func(Entry) error {
		if seen++; seen == 1 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || seen > 1 {
		t.Errorf("got %v after %d records, want the context's error after 1", err, seen)
	}
}

func TestInspection_DocumentIsReadable(t *testing.T) {
	m := emptyModel(t)
	many(t, m, 2)
	i, err := m.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	stream, err := events.ParseStreamID("ten_000001")
	if err != nil {
		t.Fatal(err)
	}
	got, err := i.Document(stream, "h/h000000.example", "h/nobody.example")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "stream": "ten_000001",
  "version": 1,
  "position": 2,
  "primary_hostname": "h000001.example",
  "context": {
    "tenant_id": "ten_000001",
    "name": "Tenant 1",
    "status": "",
    "hostnames": [
      "h000001.example"
    ],
    "primary_hostname": "h000001.example",
    "home_region": "",
    "products": {},
    "config": {},
    "version": 1
  },
  "hostname_entries": [
    {
      "hostname": "h000000.example",
      "tenant": "ten_000000",
      "position": 1
    },
    {
      "hostname": "h000001.example",
      "tenant": "ten_000001",
      "position": 2
    }
  ]
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	damaged := string(Describe([]KV{{Key: "t/ten_a", Value: []byte("\xff\xff")}, {Key: "h/\xffx.example"}, {}}))
	if !strings.Contains(damaged, `"octets": "ffff"`) || strings.Count(damaged, `"key"`) != 3 {
		t.Errorf("damaged records: got %s", damaged)
	}
	none, err := events.ParseStreamID("ten_nobody")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := i.Document(none); err != nil || string(got) != "{}" {
		t.Errorf("of nobody: got %s, %v, want {}", got, err)
	}
}
