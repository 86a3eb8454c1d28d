package readmodel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
)

// copyOf is a copy of a model as it is now.
func copyOf(t fatal, m *Model) []byte {
	t.Helper()
	i, err := m.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	var out bytes.Buffer
	if _, err := i.WriteCopy(context.Background(), &out, "eu-west"); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// restored is what becomes of a copy in a directory that is not there yet.
func restored(dir string, b []byte) error {
	c, err := OpenCopy(bytes.NewReader(b))
	if err != nil {
		return err
	}
	_, err = c.Restore(context.Background(), Config{Dir: dir}, nil)
	return err
}

// A copy may be of a moment at which some partitions are behind others, so that releases of hostnames
// are still needed.
func TestCopy_IsTheModelInEveryKey_AndGoesOnAsItWould(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := eventstest.Log(80).Draw(rt, "log")
		r := newRegion(rt, t.TempDir(), log, 3)
		defer func() {
			if err := r.model.Close(); err != nil {
				rt.Fatal(err)
			}
		}()
		for _, id := range r.ids {
			n := rapid.IntRange(0, len(r.streams[id])).Draw(rt, "events")
			bad := rapid.IntRange(0, 4).Draw(rt, "quarantined at 0") == 0
			r.update(func(tx *Tx) error {
				if err := r.fold(tx, id, n); err != nil || !bad {
					return err
				}
				return tx.SetQuarantine(Quarantine{Stream: id, Position: 7, Error: "test\xff"})
			})
		}
		r.update(func(tx *Tx) error {
			tx.Progress().Complete = true
			for i := range tx.Progress().Partitions {
				tx.Progress().Partitions[i].Position = rapid.Uint64Max(uint64(len(log))).Draw(rt, "position")
				tx.Progress().Partitions[i].Offset = int64(i)
			}
			return nil
		})
		dir := filepath.Join(t.TempDir(), "gen-0001.building")
		if err := restored(dir, copyOf(rt, r.model)); err != nil {
			rt.Fatal(err)
		}
		m, err := Open(Config{Dir: dir})
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
			rt.Fatalf("records (-model +copy):\n%s", diff)
		}
		if diff := cmp.Diff(r.model.Progress(), m.Progress()); diff != "" {
			rt.Fatalf("progress (-model +copy):\n%s", diff)
		}
		// And it goes on: whatever comes next makes of both the same.
		both := map[*Model]*region{r.model: r, m: {t: rt, model: m, partitions: 3, streams: r.streams, ids: r.ids, folded: make(map[events.StreamID]int)}}
		maps.Copy(both[m].folded, r.folded)
		for _, id := range r.ids {
			n := rapid.IntRange(0, len(r.streams[id])-r.folded[id]).Draw(rt, "more events")
			for _, one := range []*region{r, both[m]} {
				one.update(func(tx *Tx) error { return one.fold(tx, id, n) })
			}
		}
		if a, b := r.model.Sums(), m.Sums(); a != b {
			rt.Fatal("the copy went another way than the model that it is of")
		}
		both[m].check("gone on")
	})
}

// aModel is a complete model of some tenants.
func aModel(t *testing.T, tenants int) *Model {
	t.Helper()
	m := emptyModel(t)
	many(t, m, tenants)
	if err := m.Update(func(tx *Tx) error { tx.Progress().Complete = true; return nil }); err != nil {
		t.Fatal(err)
	}
	return m
}

func wantGone(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there (%v)", dir, err)
	}
}

func TestCopy_CutShortAnywhere_IsRefusedAndLeavesNothing(t *testing.T) {
	whole := copyOf(t, aModel(t, 20))
	parent := t.TempDir()
	for n := range whole {
		if n > 200 && n < len(whole)-20 && n%173 != 0 { // of the records some: each makes a model
			continue
		}
		dir := filepath.Join(parent, fmt.Sprint(n))
		if err := restored(dir, whole[:n]); !errors.Is(err, ErrBadCopy) {
			t.Errorf("the first %d of %d octets: got %v, want ErrBadCopy", n, len(whole), err)
		}
		wantGone(t, dir)
	}
}

func TestCopy_WithAnyOctetAltered_IsRefusedAndLeavesNothing(t *testing.T) {
	whole := copyOf(t, aModel(t, 20))
	parent := t.TempDir()
	for n := range whole {
		if n > 200 && n%131 != 0 { // of the records some: each makes a model
			continue
		}
		altered := bytes.Clone(whole)
		altered[n] ^= 0x15
		dir := filepath.Join(parent, fmt.Sprint(n))
		if err := restored(dir, altered); !errors.Is(err, ErrBadCopy) && !errors.Is(err, ErrOtherSchema) {
			t.Errorf("octet %d of %d altered (%q): got %v, want it refused", n, len(whole), whole[n], err)
		}
		wantGone(t, dir)
	}
}

func TestCopy_SaysWhatItIsOf_BeforeAnythingIsWritten(t *testing.T) {
	m := aModel(t, 3)
	c, err := OpenCopy(bytes.NewReader(copyOf(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	if h := c.Header; h.Region != "eu-west" || h.StoreID() != m.Progress().StoreID || h.Schema != Schema || h.Made.IsZero() {
		t.Errorf("got %+v", h)
	}
	if diff := cmp.Diff(m.Progress(), c.Header.Progress); diff != "" {
		t.Errorf("progress (-model +header):\n%s", diff)
	}
}

func TestCopy_IntoADirectoryThatHasSomething_IsRefusedAndLeavesThat(t *testing.T) {
	b := copyOf(t, aModel(t, 3))
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := restored(dir, b); err == nil {
		t.Error("a copy was written into a directory that is not empty")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestWriteCopy_OfWhatMustNotBeCopied_IsRefused(t *testing.T) {
	incomplete := emptyModel(t)
	i, err := incomplete.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if _, err := i.WriteCopy(t.Context(), new(bytes.Buffer), "eu-west"); !errors.Is(err, ErrNoModel) {
		t.Errorf("of an incomplete model: got %v, want ErrNoModel", err)
	}

	m := aModel(t, 20)
	if err := m.Update(func(tx *Tx) error {
		return tx.txn.Set([]byte(prefixTenant+"ten_000007"), []byte("damage")) // behind the sums' back
	}); err != nil {
		t.Fatal(err)
	}
	damaged, err := m.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	defer damaged.Close()
	var out bytes.Buffer
	if _, err := damaged.WriteCopy(t.Context(), &out, "eu-west"); !errors.Is(err, ErrDamaged) {
		t.Errorf("of a damaged model: got %v, want ErrDamaged", err)
	}
	if err := restored(filepath.Join(t.TempDir(), "x"), out.Bytes()); !errors.Is(err, ErrBadCopy) {
		t.Errorf("what was written of a damaged model: got %v, want ErrBadCopy", err)
	}
}

func TestWriteCopy_WhileTheModelIsWritten_IsOfOneMoment(t *testing.T) {
	m := aModel(t, 3000)
	i, err := m.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	want := m.Sums()
	var out writing
	out.then = func() { // in the midst of it
		if err := m.Update(func(tx *Tx) error {
			id, err := events.ParseTenantID("ten_zzz")
			if err != nil {
				return err
			}
			return tx.PutTenant(events.Tenant{ID: id, Version: 1, Position: 9000, Name: "Late"})
		}); err != nil {
			t.Error(err)
		}
	}
	if _, err := i.WriteCopy(t.Context(), &out, "eu-west"); err != nil {
		t.Fatal(err)
	}
	c, err := OpenCopy(&out.Buffer)
	if err != nil {
		t.Fatal(err)
	}
	sums, err := c.Restore(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "x")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *sums != want || m.Sums() == want {
		t.Error("the copy is not of the moment at which it was begun")
	}
}

// writing is a buffer that does something at the first write.
type writing struct {
	bytes.Buffer
	then func()
}

func (w *writing) Write(b []byte) (int, error) {
	if w.then != nil {
		w.then()
		w.then = nil
	}
	return w.Buffer.Write(b)
}

// BenchmarkCopy makes a copy of a million tenants, and a model of the copy.
func BenchmarkCopy(b *testing.B) {
	const tenants = 1_000_000
	dir := b.TempDir()
	cfg := Config{Dir: filepath.Join(dir, "model")}
	writeMany(b, cfg, tenants, 2)
	m, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	file := filepath.Join(dir, "copy")
	b.Run("write", func(b *testing.B) {
		for range b.N {
			i, err := m.Inspect()
			if err != nil {
				b.Fatal(err)
			}
			f, err := os.Create(file)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := i.WriteCopy(b.Context(), f, "eu-west"); err != nil {
				b.Fatal(err)
			}
			if info, err := f.Stat(); err == nil {
				b.SetBytes(info.Size())
			}
			f.Close()
			i.Close()
		}
	})
	n := 0
	b.Run("restore", func(b *testing.B) {
		for range b.N {
			n++
			f, err := os.Open(file)
			if err != nil {
				b.Fatal(err)
			}
			c, err := OpenCopy(f)
			if err != nil {
				b.Fatal(err)
			}
			into := filepath.Join(dir, fmt.Sprint("restored", n))
			if _, err := c.Restore(b.Context(), Config{Dir: into}, nil); err != nil {
				b.Fatal(err)
			}
			f.Close()
			if err := os.RemoveAll(into); err != nil {
				b.Fatal(err)
			}
		}
	})
}
