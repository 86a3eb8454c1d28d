package replay

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/internal/diskspace"
	"github.com/tenantry/tenantry/projections/readmodel"
)

func snapshotOf(t *testing.T, r Region) []byte {
	t.Helper()
	var out bytes.Buffer
	got, err := Snapshot(t.Context(), r, &out)
	if err != nil {
		t.Fatal(err)
	}
	if got.Octets != uint64(out.Len()) || got.Records == 0 || got.Region != "eu-west" {
		t.Errorf("got %+v of %d octets", got, out.Len())
	}
	return out.Bytes()
}

func restoring(dir readmodel.Dir, b []byte) RestoreConfig {
	return RestoreConfig{Dir: dir, Open: opener(dir, nil), Region: "eu-west", From: bytes.NewReader(b), Octets: uint64(len(b))}
}

func closed(t *testing.T, r Region) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// aSnapshot is a copy of a region of its own, and what it was made from.
func aSnapshot(t *testing.T, tenants int, seed uint64) (*memorySource, []byte) {
	t.Helper()
	s := aCatalogue(t, tenants, seed)
	r, err := OpenStopped(aStopped(t, s), "eu-west", s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, r)
	return s, snapshotOf(t, r)
}

func TestRestore_OfASnapshot_IsARegionThatIsEqualToTheSource(t *testing.T) {
	s, b := aSnapshot(t, 100, 31)
	for what, dir := range map[string]readmodel.Dir{"no directory": readmodel.Dir(t.TempDir() + "/regions/eu-west"), "an empty one": readmodel.Dir(t.TempDir())} {
		told := uint64(0)
		cfg := restoring(dir, b)
		cfg.Progress = func(records uint64) { told = records }
		got, err := Restore(t.Context(), cfg)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got.Generation != "gen-0001" || got.Position != uint64(len(s.log)) || got.StoreID != s.id || got.Octets != uint64(len(b)) || got.Records != told || got.PID != 0 {
			t.Errorf("%s: got %+v", what, got)
		}
		if report, lines := verified(t, openStopped(t, dir, s), s); !report.Equal() {
			t.Errorf("%s: after the restore: %+v %q", what, report, lines)
		}
	}
}

func TestSnapshot_OfANodeThatRuns_ComesOverItsSocket(t *testing.T) {
	s := aCatalogue(t, 100, 32)
	nodes, other := aStopped(t, s), readmodel.Dir(t.TempDir())
	r := openStopped(t, nodes, s) // what a node has
	control(t, nodes, r, time.Minute)
	b := snapshotOf(t, client(t, nodes))
	if !bytes.Equal(afterHeader(t, b), afterHeader(t, snapshotOf(t, r))) {
		t.Error("the copy over the socket is another")
	}
	if _, err := Restore(t.Context(), restoring(other, b)); err != nil {
		t.Fatal(err)
	}
	if report, lines := verified(t, openStopped(t, other, s), s); !report.Equal() {
		t.Errorf("after the restore: %+v %q", report, lines)
	}
}

// afterHeader is a copy without what says when it was made, and the checksum of that.
func afterHeader(t *testing.T, b []byte) []byte {
	t.Helper()
	_, rest, ok := bytes.Cut(b, []byte("}}"))
	end := bytes.LastIndex(rest, []byte(`"sha256"`))
	if !ok || end < 0 {
		t.Fatalf("this is no copy: %.100q", b)
	}
	return rest[:end]
}

func TestSnapshot_OfADamagedRegion_IsRefused_AlsoOverTheSocket(t *testing.T) {
	s := aCatalogue(t, 100, 33)
	dir := aStopped(t, s)
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error { return txn.Set([]byte("t/ten_00006"), []byte{1}) })
	r := openStopped(t, dir, s)
	control(t, dir, r, time.Minute)
	for what, region := range map[string]Region{"directory": r, "node": client(t, dir)} {
		var out bytes.Buffer
		if _, err := Snapshot(t.Context(), region, &out); !errors.Is(err, readmodel.ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", what, err)
		}
		other := readmodel.Dir(t.TempDir())
		if _, err := Restore(t.Context(), restoring(other, out.Bytes())); !errors.Is(err, readmodel.ErrBadCopy) {
			t.Errorf("%s: the restore of what was written: %v, want ErrBadCopy", what, err)
		}
	}
}

func TestSnapshot_WhereThereIsNoCopy_SaysSo(t *testing.T) {
	if _, err := Snapshot(t.Context(), openStopped(t, readmodel.Dir(t.TempDir()), nil), new(bytes.Buffer)); !errors.Is(err, readmodel.ErrNoGeneration) {
		t.Errorf("got %v, want ErrNoGeneration", err)
	}
}

// node is a region whose node runs, with a process ID, for what only running nodes are refused.
type node struct {
	Region
	adopted *[]string
}

func (n node) Info(ctx context.Context) (Info, error) {
	info, err := n.Region.Info(ctx)
	info.PID = 4711
	return info, err
}

func (n node) Adopt(ctx context.Context, generation string) error {
	*n.adopted = append(*n.adopted, generation)
	return n.Region.Adopt(ctx, generation)
}

func TestRestore_UnderANodeThatRuns_HasItAdoptTheCopy(t *testing.T) {
	s, b := aSnapshot(t, 50, 34)
	dir := aStopped(t, s)
	var adopted []string
	cfg := restoring(dir, b)
	cfg.Force = true
	cfg.Open = func(ctx context.Context) (Region, error) {
		r, err := opener(dir, s)(ctx)
		return node{r, &adopted}, err
	}
	got, err := Restore(t.Context(), cfg)
	if err != nil || got.PID != 4711 || len(adopted) != 1 || adopted[0] != "gen-0002" {
		t.Errorf("got %+v, %v, adopted %q", got, err, adopted)
	}
}

func TestRestore_WhatIsRefused_LeavesTheRegionAsItWas(t *testing.T) {
	s, mine := aSnapshot(t, 50, 35)
	_, others := aSnapshot(t, 50, 36) // of another store
	dir := aStopped(t, s)
	altered := bytes.Clone(mine)
	altered[len(altered)/2] ^= 1
	running := func(ctx context.Context) (Region, error) {
		r, err := opener(dir, s)(ctx)
		return node{r, new([]string)}, err
	}
	for what, c := range map[string]struct {
		change func(*RestoreConfig)
		want   error
		says   string
	}{
		"a copy that is there":       {func(*RestoreConfig) {}, ErrHasCopy, "--force"},
		"another region":             {func(c *RestoreConfig) { c.Region = "us-east" }, ErrOtherRegion, "of eu-west"},
		"another store":              {func(c *RestoreConfig) { c.From = bytes.NewReader(others) }, ErrCopyOfOtherStore, "--force"},
		"another store under a node": {func(c *RestoreConfig) { c.From, c.Open, c.Force = bytes.NewReader(others), running, true }, ErrCopyOfOtherStore, "pid 4711"},
		"altered":                    {func(c *RestoreConfig) { c.From, c.Force = bytes.NewReader(altered), true }, readmodel.ErrBadCopy, ""},
		"cut short":                  {func(c *RestoreConfig) { c.From, c.Force = bytes.NewReader(mine[:len(mine)-30]), true }, readmodel.ErrBadCopy, "cut short"},
		"something else":             {func(c *RestoreConfig) { c.From = strings.NewReader("PK\x03\x04 something else") }, readmodel.ErrBadCopy, ""},
		"no room": {func(c *RestoreConfig) {
			c.Force, c.FreeSpace = true, func(string) (uint64, error) { return 1 << 20, nil }
		}, diskspace.ErrFull, "make room"},
		"an end": {func(c *RestoreConfig) { c.Force, c.Progress = true, func(uint64) {} }, context.Canceled, ""},
	} {
		t.Run(what, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cfg := restoring(dir, mine)
			c.change(&cfg)
			if cfg.Progress != nil {
				cancel()
			}
			if _, err := Restore(ctx, cfg); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v that says %q", err, c.want, c.says)
			}
			untouched(t, dir, "gen-0001")
		})
	}
	t.Run("a rebuild under way", func(t *testing.T) {
		unlock, err := dir.ReplayLock()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unlock() }()
		cfg := restoring(dir, mine)
		cfg.Force = true
		if _, err := Restore(t.Context(), cfg); !errors.Is(err, readmodel.ErrReplaying) {
			t.Errorf("got %v, want ErrReplaying", err)
		}
	})
	if report, lines := verified(t, openStopped(t, dir, s), s); !report.Equal() {
		t.Errorf("after all that: %+v %q", report, lines)
	}
}

func TestRestore_IntoARegionThatHasLostItsCopy_RefusesThatOfAnotherStore(t *testing.T) {
	s, copied := aSnapshot(t, 10, 46)
	cfg := restoring(readmodel.Dir(t.TempDir()), copied)
	cfg.Store = uuid.New()
	if got, err := Restore(t.Context(), cfg); !errors.Is(err, ErrCopyOfOtherStore) {
		t.Errorf("got %+v, %v, want ErrCopyOfOtherStore", got, err)
	}
	cfg = restoring(cfg.Dir, copied)
	cfg.Store = s.id
	if _, err := Restore(t.Context(), cfg); err != nil {
		t.Error(err)
	}
}

func TestRestore_ForcedOverAnotherStore_TakesItsPlace_AndKeepsTheOneBefore(t *testing.T) {
	s, b := aSnapshot(t, 50, 37)
	dir := aStopped(t, aCatalogue(t, 20, 38))
	cfg := restoring(dir, b)
	cfg.Force = true
	got, err := Restore(t.Context(), cfg)
	if err != nil || got.Generation != "gen-0002" || got.StoreID == uuid.Nil {
		t.Fatalf("got %+v, %v", got, err)
	}
	if report, lines := verified(t, openStopped(t, dir, s), s); !report.Equal() {
		t.Errorf("after the restore: %+v %q", report, lines)
	}
	if before, err := dir.Previous(); err != nil || before != "gen-0001" {
		t.Errorf("the one before: got %s, %v", before, err)
	}
}
