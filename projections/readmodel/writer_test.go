package readmodel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
)

func TestWriter_MakesTheModelThatUpdatesMake_InEveryKey(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := eventstest.Log(80).Draw(rt, "log")
		r := newRegion(rt, t.TempDir(), log, 3)
		defer func() {
			if err := r.model.Close(); err != nil {
				rt.Fatal(err)
			}
		}()
		quarantined := make(map[events.StreamID]bool)
		for _, id := range r.ids {
			quarantined[id] = rapid.IntRange(0, 4).Draw(rt, "quarantined at 0") == 0
			n := len(r.streams[id])
			if quarantined[id] {
				n = rapid.IntRange(0, n).Draw(rt, "events")
			}
			r.update(func(tx *Tx) error {
				if err := r.fold(tx, id, n); err != nil || !quarantined[id] {
					return err
				}
				return tx.SetQuarantine(Quarantine{Stream: id, Position: 7, Error: "test\xff"})
			})
		}
		r.update(func(tx *Tx) error {
			tx.Progress().Complete = true
			for i := range tx.Progress().Partitions {
				tx.Progress().Partitions[i].Position = uint64(len(log))
			}
			return nil
		})
		if _, err := r.model.Sweep(1000); err != nil {
			rt.Fatal(err)
		}

		cfg := Config{Dir: filepath.Join(t.TempDir(), "gen-0001.building")}
		w, err := Create(cfg)
		if err != nil {
			rt.Fatal(err)
		}
		// The parts are ranges of IDs, begun in any order.
		var parts [][]events.StreamID
		for rest := r.ids; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "streams of a part")
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		var list []Quarantine
		for _, i := range rapid.Permutation(numbers(len(parts))).Draw(rt, "order") {
			p := w.Part(i)
			for _, id := range parts[i] {
				if err := p.Put(r.entriesOf(id, r.folded[id], quarantined[id])); err != nil {
					rt.Fatal(err)
				}
				if quarantined[id] {
					list = append(list, Quarantine{Stream: id, Position: 7, Error: "test\xff"})
				}
			}
			if err := p.Close(); err != nil {
				rt.Fatal(err)
			}
		}
		sums, err := w.Finish(t.Context(), r.model.Progress(), list)
		if err != nil {
			rt.Fatal(err)
		}
		if now := r.model.Sums(); *sums != now {
			rt.Fatal("the writer's sums are not those of the model")
		}
		m, err := Open(cfg)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() {
			if err := m.Close(); err != nil {
				rt.Fatal(err)
			}
		}()
		want := all(rt, r.model)
		for page := range pageCount { // updates keep a page that has become empty
			if want[pageKey(page)] == string(new(Sums).encodePage(page)) {
				delete(want, pageKey(page))
			}
		}
		if diff := cmp.Diff(want, all(rt, m)); diff != "" {
			rt.Fatalf("records (-updates +writer):\n%s", diff)
		}
		if diff := cmp.Diff(r.model.Progress(), m.Progress()); diff != "" {
			rt.Fatalf("progress (-updates +writer):\n%s", diff)
		}
		written := &region{t: rt, model: m}
		written.check("written")
		// And it is one that goes on.
		if err := m.Update(func(tx *Tx) error { return tx.Forget(r.ids[0]) }); err != nil {
			rt.Fatal(err)
		}
		written.check("updated")
	})
}

func numbers(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// tenantRecords are those of one tenant with one hostname.
func tenantRecords(t fatal, i int) []KV {
	t.Helper()
	id := must(events.ParseTenantID(fmt.Sprintf("ten_%07d", i)))
	h := must(events.ParseHostname(fmt.Sprintf("%07d.tenants.example", i*7919%10_000_000))) // in no order
	kvs, err := EntriesOfTenant(events.Tenant{
		ID: id, Version: 2, Position: uint64(i + 1), Name: fmt.Sprintf("Tenant %d", i), Status: events.StatusActive,
		HomeRegion: "eu-west", Hostnames: []events.Hostname{h}, Primary: h,
	}, Claims{h: {Position: uint64(i + 1), Held: true}}, false)
	if err != nil {
		t.Fatal(err)
	}
	return kvs
}

// writeMany writes a model of n tenants in some parts.
func writeMany(t fatal, cfg Config, n, parts int) *Sums {
	t.Helper()
	w, err := Create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, parts)
	for part := range parts {
		go func() {
			p := w.Part(part)
			err := error(nil)
			for i := n * part / parts; i < n*(part+1)/parts && err == nil; i++ {
				err = p.Put(tenantRecords(t, i))
			}
			failed <- errors.Join(err, p.Close())
		}()
	}
	for range parts {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	sums, err := w.Finish(context.Background(), &Progress{StoreID: uuid.New(), Complete: true, Partitions: make([]Partition, 4)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func TestWriter_OfMoreHostnamesThanFitIntoMemory_SortsThemOnDisk(t *testing.T) {
	const n = 300_000
	cfg := Config{Dir: filepath.Join(t.TempDir(), "gen-0001.building")}
	sums := writeMany(t, cfg, n, 2)
	if _, err := os.Stat(filepath.Join(cfg.Dir, sorting)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the sorted runs were left there: %v", err)
	}
	m, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	i, err := m.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	scanned, err := i.Scanned(t.Context(), 0)
	if err != nil || *scanned != *sums || *sums != m.Sums() {
		t.Errorf("the sums of what is stored are not those of the writer, or %v", err)
	}
	for _, i := range []int{0, 1, n / 2, n - 1} {
		kvs := tenantRecords(t, i)
		h, _, _ := kvs[1].Hostname()
		if doc, err := m.Lookup(h); err != nil || doc.Tenant.String() != fmt.Sprintf("ten_%07d", i) {
			t.Errorf("hostname %s: got %v, %v", h, doc, err)
		}
	}
}

func TestWriter_RefusesWhatWouldEndTheProcessOrMakeAWrongModel(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := filepath.Join(t.TempDir(), "gen-0001.building")
	w, err := Create(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(Config{Dir: dir}); err == nil {
		t.Error("two writers have one directory")
	}
	p := w.Part(0)
	if err := p.Put(tenantRecords(t, 5)); err != nil {
		t.Fatal(err)
	}
	for what, kvs := range map[string][]KV{
		"the same again":    tenantRecords(t, 5),
		"an earlier ID":     tenantRecords(t, 4),
		"no stream's":       {{Key: "m", Value: []byte("x")}},
		"one that is empty": {{}},
	} {
		if err := p.Put(kvs); err == nil {
			t.Errorf("%s: it was taken", what)
		}
	}
	if err := p.Put([]KV{{Key: "t/ten_9", Value: bytes.Repeat([]byte{1}, 1<<20)}}); !errors.Is(err, ErrTooBig) {
		t.Errorf("a record that no update could store: got %v, want ErrTooBig", err)
	}
	if _, err := w.Finish(t.Context(), new(Progress), nil); err == nil {
		t.Error("it was finished with a part open")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was aborted is still there: %v", err)
	}
}

func TestWriter_ThatWasKilled_HasMadeNoModel(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(Config{Dir: filepath.Join(dir, "a")})
	if err != nil {
		t.Fatal(err)
	}
	p := w.Part(0)
	for i := range 20_000 {
		if err := p.Put(tenantRecords(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	// What a kill leaves is what the files hold now.
	if err := os.CopyFS(filepath.Join(dir, "b"), os.DirFS(filepath.Join(dir, "a"))); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	m, err := Open(Config{Dir: filepath.Join(dir, "b")})
	if err == nil {
		t.Errorf("it was opened, complete: %t", m.Progress().Complete)
		_ = m.Close()
	}
	if !errors.Is(err, ErrUnusable) {
		t.Errorf("got %v, want ErrUnusable", err)
	}
}
