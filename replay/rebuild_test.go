package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// opening is how a rebuild finds the copy of a stopped region.
func opener(dir readmodel.Dir, s Source) Opener {
	return func(context.Context) (Region, error) {
		return OpenStopped(dir, "eu-west", s, slog.New(slog.DiscardHandler))
	}
}

func rebuilding(dir readmodel.Dir, s Source) RebuildConfig {
	return RebuildConfig{Dir: dir, Open: opener(dir, s), Source: s, Partitions: partitions, MaxChange: 0.2, Patience: time.Millisecond}
}

// untouched fails the test where a region's directory is not as it was.
func untouched(t *testing.T, dir readmodel.Dir, generation string) {
	t.Helper()
	if now, err := dir.Current(); err != nil || now != generation {
		t.Errorf("the live generation is %s (%v), and was %s", now, err, generation)
	}
	for _, name := range files(t, dir) {
		if strings.HasPrefix(name, "gen-") && name != generation || strings.HasSuffix(name, ".tmp") {
			t.Errorf("%s is left over", name)
		}
	}
}

func files(t *testing.T, dir readmodel.Dir) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(string(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRebuild_OfAStoppedRegion_MakesWhatTheSourceSays_AndKeepsTheOneBefore(t *testing.T) {
	s := aCatalogue(t, 300, 21)
	dir := aStopped(t, s)
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
		return errors.Join(txn.Delete([]byte("t/ten_00004")), txn.Delete([]byte("h/h0.t5.example")), txn.Set([]byte("t/ten_00006"), []byte{1}), txn.Set([]byte("g/grp_new"), []byte{1}))
	})
	got, err := Rebuild(t.Context(), rebuilding(dir, s))
	if err != nil {
		t.Fatal(err)
	}
	want := Change{Added: 1, Changed: 1, Removed: 1, HostnamesAdded: 1, Streams: 310, AllHostnames: got.Change.AllHostnames}
	if got.Generation != "gen-0002" || got.Before != "gen-0001" || got.Tenants != 300 || got.Position != uint64(len(s.log)) || got.Events != got.Position || *got.Change != want {
		t.Errorf("got %+v with change %+v, want %+v", got, got.Change, want)
	}
	r := openStopped(t, dir, s)
	if report, lines := verified(t, r, s); !report.Equal() || report.Generation != "gen-0002" {
		t.Errorf("after the rebuild: %+v %q", report, lines)
	}
	if to, err := r.Rollback(t.Context()); err != nil || to != "gen-0001" {
		t.Errorf("rollback: got %q, %v", to, err)
	}
	if report, _ := verified(t, r, s); report.Equal() || report.Generation != "gen-0001" {
		t.Errorf("after the rollback: %+v", report)
	}
}

func TestRebuild_Again_KeepsNoMoreThanTheOneBefore(t *testing.T) {
	s := aCatalogue(t, 20, 22)
	dir := aStopped(t, s)
	for range 4 {
		if _, err := Rebuild(t.Context(), rebuilding(dir, s)); err != nil {
			t.Fatal(err)
		}
	}
	var left []string
	for _, name := range files(t, dir) {
		if strings.HasPrefix(name, "gen-") {
			left = append(left, name)
		}
	}
	expect(t, left, "gen-0004", "gen-0005")
}

func TestRebuild_WhereNothingIsLeftOfTheRegion_MakesItAnew(t *testing.T) {
	s := aCatalogue(t, 50, 23)
	for what, dir := range map[string]readmodel.Dir{"no directory": readmodel.Dir(t.TempDir() + "/regions/eu-west"), "an empty one": readmodel.Dir(t.TempDir())} {
		got, err := Rebuild(t.Context(), rebuilding(dir, s))
		if err != nil || got.Generation != "gen-0001" || got.Change != nil {
			t.Errorf("%s: got %+v, %v", what, got, err)
			continue
		}
		if report, lines := verified(t, openStopped(t, dir, s), s); !report.Equal() {
			t.Errorf("%s: after the rebuild: %+v %q", what, report, lines)
		}
	}
}

func TestRebuild_OfAGenerationThatCannotBeOpened_TakesItsPlace(t *testing.T) {
	s := aCatalogue(t, 50, 24)
	dir := aStopped(t, s)
	if err := os.WriteFile(dir.Path("gen-0001/MANIFEST"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Rebuild(t.Context(), rebuilding(dir, s))
	if err != nil || got.Generation != "gen-0002" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if report, lines := verified(t, openStopped(t, dir, s), s); !report.Equal() {
		t.Errorf("after the rebuild: %+v %q", report, lines)
	}
}

// Of a region whose live generation cannot be looked into something else has to say which store it is of.
func TestRebuild_OfADamagedRegion_RefusesAnotherStore_AndKeepsTheGenerationBefore(t *testing.T) {
	s := aCatalogue(t, 50, 1)
	staging := aCatalogue(t, 3, 2)
	staging.id = uuid.New()
	for name, test := range map[string]struct {
		lose  []string
		store uuid.UUID // that is remembered
		want  string    // to go back to, after a rebuild
	}{
		"by the generation before":        {lose: []string{"gen-0002/MANIFEST"}, want: "gen-0001"},
		"with its pointer lost":           {lose: []string{"current"}, want: "gen-0001"},
		"by what is remembered":           {lose: []string{"gen-0001", "gen-0002/MANIFEST"}, store: s.id},
		"by what is remembered, all lost": {lose: []string{"gen-0001", "gen-0002", "current", "previous"}, store: s.id},
	} {
		t.Run(name, func(t *testing.T) {
			dir := aStopped(t, s)
			fill(t, dir, "gen-0002", s, everything(s)) // gen-0001 is the one before
			for _, path := range test.lose {
				if err := os.RemoveAll(dir.Path(path)); err != nil {
					t.Fatal(err)
				}
			}
			kept := func() []string {
				return slices.DeleteFunc(files(t, dir), func(f string) bool { return f == "replay.lock" || f == "holder" })
			}
			before := kept()
			cfg := rebuilding(dir, staging)
			cfg.Store = test.store
			if got, err := Rebuild(t.Context(), cfg); !errors.Is(err, ErrOtherStore) {
				t.Errorf("got %+v, %v, want ErrOtherStore", got, err)
			}
			if after := kept(); !slices.Equal(after, before) {
				t.Errorf("the directory has %v, and had %v", after, before)
			}
			cfg = rebuilding(dir, s)
			cfg.Store = test.store
			if got, err := Rebuild(t.Context(), cfg); err != nil {
				t.Fatalf("from its own store: got %+v, %v", got, err)
			}
			if got, err := dir.Previous(); got != test.want || err != nil && !errors.Is(err, readmodel.ErrNoGeneration) {
				t.Errorf("the one to go back to is %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestRebuild_WhatIsOnlyNewer_IsNoChange(t *testing.T) {
	s := aCatalogue(t, 100, 25)
	dir := readmodel.Dir(t.TempDir())
	fill(t, dir, "gen-0001", s, []uint64{30, 200, 100})
	cfg := rebuilding(dir, s)
	cfg.MaxChange = 0
	got, err := Rebuild(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got.Change.Newer == 0 || got.Change.Added+got.Change.Changed+got.Change.Removed+got.Change.Hostnames != 0 {
		t.Errorf("got %+v", got.Change)
	}
}

func TestRebuild_ThatMayNotBe_ChangesNothing_AndSaysWhatToDo(t *testing.T) {
	s := aCatalogue(t, 100, 26)
	spoilt := aStopped(t, s)
	damage(t, spoilt, "gen-0001", func(txn *badger.Txn) error {
		for i := range 30 {
			if err := txn.Set(fmt.Appendf(nil, "t/ten_%05d", i), []byte{1}); err != nil {
				return err
			}
		}
		return nil
	})
	good := aStopped(t, s)
	other := aCatalogue(t, 120, 27)
	other.id = s.id
	for what, c := range map[string]struct {
		dir    readmodel.Dir
		source *memorySource
		change func(*RebuildConfig)
		want   error
		text   string
	}{
		"too much changes":      {spoilt, s, nil, ErrTooMuchChange, "remove 0 and change 30 of the 110 tenants, databases and groups that the region has"},
		"no events":             {good, &memorySource{id: s.id}, nil, ErrSourceEmpty, "is it the right one?"},
		"no events, forced":     {good, &memorySource{id: s.id}, func(c *RebuildConfig) { c.Force = true }, ErrSourceEmpty, "is it the right one?"},
		"another store":         {good, &memorySource{id: uuid.New(), log: s.log}, nil, ErrOtherStore, "give --force"},
		"another past":          {good, other, nil, ErrOtherStore, "start its catalogue with --accept-restore"},
		"behind the region":     {good, &memorySource{id: s.id, log: s.log[:50]}, nil, ErrSourceBehind, "the source ends at 50"},
		"behind, forced":        {good, &memorySource{id: s.id, log: s.log[:50]}, func(c *RebuildConfig) { c.Force = true }, ErrSourceBehind, "the source ends at 50"},
		"a source that dies":    {good, &memorySource{id: s.id, log: s.log, dies: 20}, nil, events.ErrUnavailable, "the connection is gone"},
		"a source that is away": {good, &memorySource{fails: events.ErrUnavailable}, nil, events.ErrUnavailable, "ask the source"},
		"a disk that is full":   {good, s, func(c *RebuildConfig) { c.FreeSpace = func(string) (uint64, error) { return 5 << 20, nil } }, readmodel.ErrDiskFull, "has 5 MiB free"},
		"no room for the source": {good, s, func(c *RebuildConfig) {
			c.SourceOctets = 1 << 30
			c.FreeSpace = func(string) (uint64, error) { return 10 << 30, nil }
		}, readmodel.ErrDiskFull, "has 10240 MiB free"},
		"stopped by who began it": {good, s, func(c *RebuildConfig) {
			// In the middle of what is built.
			c.Progress = func(string, uint64, uint64) {}
			c.Source = &stopping{memorySource: s}
		}, context.Canceled, ""},
	} {
		t.Run(what, func(t *testing.T) {
			cfg := rebuilding(c.dir, c.source)
			if c.change != nil {
				c.change(&cfg)
			}
			ctx := t.Context()
			if s, ok := cfg.Source.(*stopping); ok {
				ctx, s.cancel = context.WithCancel(ctx)
			}
			_, err := Rebuild(ctx, cfg)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %v and %q in one line", err, c.want, c.text)
			}
			untouched(t, c.dir, "gen-0001")
		})
	}
	cfg := rebuilding(spoilt, s)
	cfg.Force = true
	if got, err := Rebuild(t.Context(), cfg); err != nil || got.Change.Changed != 30 {
		t.Errorf("with --force: got %+v, %v", got, err)
	}
	cfg = rebuilding(good, &memorySource{id: uuid.New(), log: other.log})
	cfg.Force = true
	adopted := []string{}
	forRunning, open := cfg, cfg.Open
	forRunning.Open = func(ctx context.Context) (Region, error) {
		r, err := open(ctx)
		return node{r, &adopted}, err
	}
	forRunning.Progress = func(stage string, _, _ uint64) {
		t.Errorf("another store, with --force, while a node runs: began with %s", stage)
	}
	if _, err := Rebuild(t.Context(), forRunning); !errors.Is(err, ErrOtherStore) || !strings.Contains(err.Error(), "(pid 4711)") || len(adopted) > 0 {
		t.Errorf("another store, with --force, while a node runs: got %v, adopted %v", err, adopted)
	}
	untouched(t, good, "gen-0001")
	if got, err := Rebuild(t.Context(), cfg); err != nil || got.Tenants != 120 {
		t.Errorf("another store, with --force: got %+v, %v", got, err)
	}
}

// The limit is for what a region has and would lose: a source that lacks it is likely to be the wrong one.
func TestRebuild_OfWhatARegionHasLost_NeedsNoForce_AndOfWhatTheSourceLacksItDoes(t *testing.T) {
	s := aCatalogue(t, 100, 32)
	keys := func(txn *badger.Txn, prefix string) (out [][]byte) {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(prefix)})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			out = append(out, it.Item().KeyCopy(nil))
		}
		return out
	}
	lose := func(txn *badger.Txn, prefixes ...string) (err error) {
		for _, prefix := range prefixes {
			for _, key := range keys(txn, prefix) {
				err = errors.Join(err, txn.Delete(key))
			}
		}
		return err
	}
	foreign := func(txn *badger.Txn, ids ...string) (err error) {
		for _, id := range ids {
			err = errors.Join(err, txn.Set([]byte("t/"+id), []byte{1}))
		}
		return err
	}
	for what, test := range map[string]struct {
		damage  func(*badger.Txn) error
		refused bool
		part    float64
	}{
		"most tenants lost": {func(txn *badger.Txn) error {
			return lose(txn, "t/ten_0000", "t/ten_0001", "t/ten_0002", "t/ten_0003", "t/ten_0004", "t/ten_0005", "t/ten_0006")
		}, false, 0},
		"everything lost":    {func(txn *badger.Txn) error { return lose(txn, "t/", "h/", "d/", "g/") }, false, 0},
		"all hostnames lost": {func(txn *badger.Txn) error { return lose(txn, "h/") }, false, 0},
		"one tenant left, which is right": {func(txn *badger.Txn) error {
			return lose(txn, "h/", "d/", "g/", "t/ten_0000", "t/ten_0001", "t/ten_0002", "t/ten_0003", "t/ten_0004", "t/ten_0005", "t/ten_0006", "t/ten_0007", "t/ten_0008",
				"t/ten_00090", "t/ten_00091", "t/ten_00092", "t/ten_00093", "t/ten_00094", "t/ten_00095", "t/ten_00096", "t/ten_00097", "t/ten_00098")
		}, false, 0},
		"one tenant left, which the source does not have": {func(txn *badger.Txn) error {
			return errors.Join(lose(txn, "t/", "h/", "d/", "g/"), foreign(txn, "ten_other"))
		}, true, 1},
		"a few that the source does not have": {func(txn *badger.Txn) error { return foreign(txn, "ten_x", "ten_y", "ten_z") }, false, 3.0 / 113},
		"many more that the source does not have": {func(txn *badger.Txn) error {
			var ids []string
			for i := range 40 {
				ids = append(ids, fmt.Sprintf("ten_x%d", i))
			}
			return foreign(txn, ids...)
		}, true, 40.0 / 150},
	} {
		t.Run(what, func(t *testing.T) {
			dir := aStopped(t, s)
			damage(t, dir, "gen-0001", test.damage)
			r, err := OpenStopped(dir, "eu-west", s, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			report, _ := verified(t, r, s)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if got := report.Change().Part(); got != test.part {
				t.Errorf("got %g of %+v, want %g", got, report.Change(), test.part)
			}
			got, err := Rebuild(t.Context(), rebuilding(dir, s))
			if errors.Is(err, ErrTooMuchChange) != test.refused || err != nil && !test.refused {
				t.Fatalf("got %v, want it refused: %t", err, test.refused)
			}
			if err == nil && *got.Change != report.Change() {
				t.Errorf("did %+v, and a comparison before said %+v", *got.Change, report.Change())
			}
		})
	}
}

func TestReport_OfRandomDamage_SaysWhatARebuildThenChanges(t *testing.T) {
	s := aCatalogue(t, 200, 33)
	for seed := range uint64(10) {
		dir := aStopped(t, s)
		r := rand.New(rand.NewPCG(seed, 4))
		damage(t, dir, "gen-0001", func(txn *badger.Txn) error { return atRandom(txn, r, 30) })
		region, err := OpenStopped(dir, "eu-west", s, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		report, _ := verified(t, region, s)
		if err := region.Close(); err != nil {
			t.Fatal(err)
		}
		cfg := rebuilding(dir, s)
		cfg.MaxChange = 1
		got, err := Rebuild(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if *got.Change != report.Change() {
			t.Errorf("seed %d: did %+v, and a comparison before said %+v", seed, *got.Change, report.Change())
		}
	}
}

// stopping is a source at which somebody stops who reads it.
type stopping struct {
	*memorySource
	cancel context.CancelFunc
}

func (s *stopping) Whole(ctx context.Context) (events.Whole, error) {
	w, err := s.memorySource.Whole(ctx)
	s.cancel()
	return w, err
}

func TestRebuild_ASecondOne_IsRefused_AndToldWhoIsFirst(t *testing.T) {
	s := aCatalogue(t, 20, 28)
	dir := aStopped(t, s)
	unlock, err := dir.ReplayLock()
	if err != nil {
		t.Fatal(err)
	}
	for what, try := range map[string]func() error{
		"rebuild":  func() error { _, err := Rebuild(t.Context(), rebuilding(dir, s)); return err },
		"rollback": func() error { _, err := Rollback(t.Context(), dir, opener(dir, s)); return err },
		"repair": func() error {
			r, err := OpenStopped(dir, "eu-west", s, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			_, err = Repair(t.Context(), VerifyConfig{Region: r, Source: s, Dir: string(dir)})
			return errors.Join(err, r.Close())
		},
	} {
		if err := try(); !errors.Is(err, readmodel.ErrReplaying) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	untouched(t, dir, "gen-0001")
}

func TestRepair_WhileItWorks_RefusesARebuildAndAnotherRepair(t *testing.T) {
	s := aCatalogue(t, 20, 32)
	dir := aStopped(t, s)
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error { return txn.Delete([]byte("t/ten_00001")) })
	r := openStopped(t, dir, s)
	cfg := VerifyConfig{Region: r, Source: s, Dir: string(dir)}
	asked := 0
	cfg.Each = func(Difference) error {
		asked++
		second := cfg
		second.Each = nil
		for what, try := range map[string]func() error{
			"rebuild": func() error { _, err := Rebuild(t.Context(), rebuilding(dir, s)); return err },
			"repair":  func() error { _, err := Repair(t.Context(), second); return err },
		} {
			if err := try(); !errors.Is(err, readmodel.ErrReplaying) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
				t.Errorf("%s: got %v", what, err)
			}
		}
		return nil
	}
	if report, err := Repair(t.Context(), cfg); err != nil || report.Repaired != 1 || asked != 1 {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestRebuild_WhatAKillHasLeft_IsRemovedByTheNext_WhichSaysSo(t *testing.T) {
	s := aCatalogue(t, 20, 29)
	dir := aStopped(t, s)
	left, err := dir.Building()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir.Path(left)+"/00001.sst", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cfg := rebuilding(dir, s)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	got, err := Rebuild(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "cut short") || !strings.Contains(log.String(), left) {
		t.Errorf("logged was %s", log.String())
	}
	for _, name := range files(t, dir) {
		if name == left || strings.HasSuffix(name, ".building") {
			t.Errorf("%s is there still, beside %s", name, got.Generation)
		}
	}
}

func TestRebuild_ANodeThatRefusesTheGeneration_KeepsItsOwn_AndNothingIsLeft(t *testing.T) {
	s := aCatalogue(t, 20, 30)
	dir := aStopped(t, s)
	cfg := rebuilding(dir, s)
	open := cfg.Open
	cfg.Open = func(ctx context.Context) (Region, error) {
		r, err := open(ctx)
		return refusing{r}, err
	}
	if _, err := Rebuild(t.Context(), cfg); !errors.Is(err, errRefused) {
		t.Errorf("got %v, want the node's refusal", err)
	}
	untouched(t, dir, "gen-0001")
}

var errRefused = errors.New("the node refuses")

// refusing is a region that adopts nothing.
type refusing struct{ Region }

func (r refusing) Adopt(context.Context, string) error { return errRefused }

func TestRollback_WithoutAGenerationBefore_SaysSo(t *testing.T) {
	s := aCatalogue(t, 20, 31)
	dir := aStopped(t, s)
	if _, err := Rollback(t.Context(), dir, opener(dir, s)); !errors.Is(err, ErrNothingBefore) || !strings.Contains(err.Error(), "none before gen-0001") {
		t.Errorf("got %v, want ErrNothingBefore", err)
	}
	untouched(t, dir, "gen-0001")
}
