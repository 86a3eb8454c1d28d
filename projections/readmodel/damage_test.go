package readmodel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// past is what a model had after each of its updates: by the position that partition 0 was at.
type past map[uint64]Sums

// aPast makes a model of some updates, and returns it open.
func aPast(t *testing.T, dir string, updates int) (*Model, past) {
	t.Helper()
	m, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Begin(uuid.New(), 2); err != nil {
		t.Fatal(err)
	}
	was := past{0: m.Sums()}
	goOn(t, m, was, updates)
	return m, was
}

func goOn(t *testing.T, m *Model, was past, updates int) {
	t.Helper()
	for range updates {
		n := m.Progress().Partitions[0].Position + 1
		if err := m.Update(func(tx *Tx) error {
			for i := range uint64(20) {
				tenant, _ := catalogueTenant(int((n*20 + i) % 700))
				if n%5 == 0 {
					if err := tx.Forget(tenant.ID.Stream()); err != nil {
						return err
					}
					continue
				}
				tenant.Version = n
				if err := tx.PutTenant(tenant); err != nil {
					return err
				}
			}
			tx.Progress().Partitions[0].Position = n
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		was[n] = m.Sums()
	}
}

// check fails unless a directory is refused, or what is in it is what the model had at some time.
func (was past) check(t *testing.T, what, dir string) (refused bool) {
	t.Helper()
	// With so little room no reserve is taken, which would take most of the time here.
	m, err := Open(Config{Dir: dir, FreeSpace: func(string) (uint64, error) { return minFree, nil }})
	if err != nil {
		if !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: got %v, want ErrUnusable", what, err)
		}
		if strings.Contains(err.Error(), "open Badger") {
			t.Errorf("%s: it was left to Badger to see, which leaves goroutines behind: %v", what, err)
		}
		return true
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Errorf("%s: close: %v", what, err)
		}
	}()
	i, err := m.Inspect()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return false
	}
	defer i.Close()
	stored, err := i.Scanned(context.Background(), 0)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return false
	}
	if len(i.Progress().Partitions) == 0 {
		if *stored != (Sums{}) {
			t.Errorf("%s: a model of nothing has records", what)
		}
		return false
	}
	position := i.Progress().Partitions[0].Position
	if want, ok := was[position]; !ok || want != *stored || want != m.Sums() {
		t.Errorf("%s: it is opened at position %d, and does not hold what it held there", what, position)
	}
	return false
}

// files are the contents of a directory.
type files map[string][]byte

func readFiles(t *testing.T, dir string) files {
	t.Helper()
	out := make(files)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if out[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// write makes the directory anew. The zeros at the end of a file take no room.
func (f files) write(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range f {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.TrimRight(b, "\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, int64(len(b))); err != nil {
			t.Fatal(err)
		}
	}
}

// with is the same directory with one file changed; nil: removed.
func (f files) with(name string, b []byte) files {
	out := maps.Clone(f)
	out[name] = b
	if b == nil {
		delete(out, name)
	}
	return out
}

// models are directories of each kind: closed, killed with one log, killed with two, and written at once.
func models(t *testing.T) map[string]struct {
	files files
	was   past
} {
	t.Helper()
	type model = struct {
		files files
		was   past
	}
	out := make(map[string]model)
	dir := t.TempDir()
	m, was := aPast(t, dir, 40)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	goOn(t, m, was, 40)
	killed := readFiles(t, dir)
	delete(killed, reserveFile)
	out["killed"] = model{killed, was}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	out["closed"] = model{readFiles(t, dir), was}

	// The log of the one that was killed, in two.
	var log string
	for name := range killed {
		if strings.HasSuffix(name, logSuffix) {
			log = name
		}
	}
	b := killed[log]
	half := logHeader
	for ends := 0; ends < 20; {
		e, n, err := readLogEntry(b[half:])
		if err != nil || n == 0 {
			t.Fatal("the log of the killed model is too short")
		}
		half += n
		if e.flags&bitFinTxn != 0 {
			ends++
		}
	}
	first := append(append([]byte(nil), b[:half]...), make([]byte, 1000)...)
	second := append(append([]byte(nil), b[:logHeader]...), b[half:]...)
	out["killed with two logs"] = model{killed.with(log, nil).with("00100"+logSuffix, first).with("00101"+logSuffix, second), was}

	written := Config{Dir: filepath.Join(t.TempDir(), "gen")}
	sums := writeMany(t, written, 3000, 2)
	out["written"] = model{readFiles(t, written.Dir), past{0: *sums}}
	return out
}

func TestOpen_OfAnyFileDamaged_IsRefusedOrHoldsWhatTheModelHeld(t *testing.T) {
	const seed = 20261121
	random := rand.New(rand.NewPCG(seed, 5))
	kinds := models(t)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		m := kinds[kind]
		t.Run(kind, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "gen")
			m.files.write(t, dir)
			if m.was.check(t, "undamaged", dir) {
				t.Fatal("what is not damaged is refused")
			}
			refused, trials := 0, 0
			try := func(what string, damaged files) {
				t.Helper()
				damaged.write(t, dir)
				trials++
				if m.was.check(t, what, dir) {
					refused++
				}
			}
			for _, name := range slices.Sorted(maps.Keys(m.files)) {
				b := m.files[name]
				if strings.HasPrefix(kind, "killed") && filepath.Ext(name) != logSuffix {
					continue // as in the one that was closed
				}
				used := len(bytes.TrimRight(b, "\x00")) // of a log most is zeros
				for _, at := range offsets(random, used, len(b)) {
					damaged := append([]byte(nil), b...)
					damaged[at] ^= byte(1 + random.IntN(255))
					try(fmt.Sprintf("%s: octet %d of %d is %#x instead of %#x", name, at, len(b), damaged[at], b[at]), m.files.with(name, damaged))
				}
				for range 2 {
					cut := random.IntN(max(1, used))
					try(fmt.Sprintf("%s: cut at %d of %d", name, cut, len(b)), m.files.with(name, b[:cut:cut]))
				}
				try(name+": all zeros", m.files.with(name, make([]byte, len(b))))
				try(name+": empty", m.files.with(name, []byte{}))
				try(name+": gone", m.files.with(name, nil))
				try(name+": twice as long", m.files.with(name, append(append([]byte(nil), b...), b...)))
				for _, other := range slices.Sorted(maps.Keys(m.files)) {
					if filepath.Ext(other) == filepath.Ext(name) && other != name {
						try(name+": exchanged for "+other, m.files.with(name, m.files[other]))
					}
				}
			}
			for _, extra := range []string{"000099.sst", "00099.mem", "000099.vlog", "stray", "MANIFEST-REWRITE"} {
				try("with "+extra, m.files.with(extra, []byte("stray")))
			}
			t.Logf("%d of %d were refused, with seed %d", refused, trials, seed)
			// The one log of a killed model may be cut anywhere: that is how a kill leaves it.
			if refused == 0 && kind != "killed" {
				t.Error("nothing was refused")
			}
		})
	}
}

// offsets are some of the octets of a file, most of them where it is used.
func offsets(random *rand.Rand, used, size int) []int {
	var out []int
	for range 5 {
		out = append(out, random.IntN(min(size, 40)), size-1-random.IntN(min(size, 20)))
	}
	for range 8 {
		if used > 0 {
			out = append(out, random.IntN(used))
		}
	}
	return out
}

// Badger cuts a log at the first octet that makes no sense. Where there is another one behind it, what it
// cuts off is in the middle.
func TestOpen_WithUpdatesMissingInTheMiddle_IsUnusable(t *testing.T) {
	m := models(t)["killed with two logs"]
	dir := filepath.Join(t.TempDir(), "gen")
	first := m.files["00100"+logSuffix]
	for what, damaged := range map[string]files{
		"the first log is gone":        m.files.with("00100"+logSuffix, nil),
		"the first log is cut":         m.files.with("00100"+logSuffix, first[:len(first)/2]),
		"the first log is damaged":     m.files.with("00100"+logSuffix, append(append([]byte(nil), first[:3000]...), first[3001:]...)),
		"the table before it is gone":  m.files.with("MANIFEST", nil),
		"an entry longer than the log": m.files.with("00101"+logSuffix, append(append([]byte(nil), first[:logHeader]...), 0x40, 0, 20, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0)),
	} {
		damaged.write(t, dir)
		if m, err := Open(Config{Dir: dir}); !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: got %v, want ErrUnusable", what, err)
			if err == nil {
				_ = m.Close()
			}
		}
	}
	id := must(events.ParseTenantID("ten_nobody"))
	m.files.write(t, dir)
	whole, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := whole.Tenant(id); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
	if err := whole.Close(); err != nil {
		t.Error(err)
	}
}
