package replay

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/tenantry/tenantry/projections/readmodel"
)

// atHand verifies with the sums at hand, and says whether the log was read for it.
func atHand(t *testing.T, r Region, s *memorySource, keep string) (report *Report, read bool) {
	t.Helper()
	before := s.whole
	report, err := Verify(t.Context(), VerifyConfig{Region: r, Source: s, Dir: keep, AtHand: true})
	if err != nil {
		t.Fatal(err)
	}
	return report, s.whole > before
}

func TestVerify_WithSumsAtHand_ReadsOnlyWhatHasChangedSince(t *testing.T) {
	s := aCatalogue(t, 200, 41)
	keep := t.TempDir()
	// A copy that comes further, each partition at its own pace.
	end := uint64(len(s.log))
	for i, upTo := range [][]uint64{{end / 2, end / 3, end / 2}, {end / 2, end/3 + 20, end/2 + 7}, {end, end, end - 3}, {end, end, end}, {end, end, end}} {
		dir := readmodel.Dir(t.TempDir())
		fill(t, dir, "gen-0001", s, upTo)
		s.reads = 0
		report, read := atHand(t, openStopped(t, dir, s), s, keep)
		if !report.Equal() || read != (i == 0) {
			t.Errorf("the copy at %v: equal %t, the log was read: %t", upTo, report.Equal(), read)
		}
		if i == 4 && s.reads > 0 {
			t.Errorf("nothing has changed, and %d streams were read", s.reads)
		}
		full, _ := verified(t, openStoppedAgain(t, dir, s), s)
		if report.Tenants != full.Tenants || report.Streams != full.Streams || report.Entries != full.Entries || report.Position != full.Position {
			t.Errorf("the copy at %v: got %+v with sums at hand, and %+v without", upTo, report, full)
		}
	}
}

// openStoppedAgain is for a directory that a test has open already.
func openStoppedAgain(t *testing.T, dir readmodel.Dir, s Source) Region {
	t.Helper()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(string(dir))); err != nil {
		t.Fatal(err)
	}
	return openStopped(t, readmodel.Dir(copied), s)
}

func TestVerify_WithSumsAtHandThatShowADifference_ReadsTheLog_AndNamesIt(t *testing.T) {
	s := aCatalogue(t, 100, 42)
	dir, keep := aStopped(t, s), t.TempDir()
	r := openStopped(t, dir, s)
	if report, read := atHand(t, r, s, keep); !report.Equal() || !read {
		t.Errorf("at first: %+v, the log was read: %t", report, read)
	}
	if err := r.closeModel(); err != nil {
		t.Fatal(err)
	}
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error { return txn.Delete([]byte("t/ten_00004")) })
	if report, read := atHand(t, r, s, keep); report.Missing != 1 || !read {
		t.Errorf("with one missing: %+v, the log was read: %t", report, read)
	}
}

func TestVerify_SumsAtHandThatAreNotOfThisHistory_AreNotUsed(t *testing.T) {
	s := aCatalogue(t, 60, 43)
	other := aCatalogue(t, 60, 44)
	keep := t.TempDir()
	full := aStopped(t, s)
	atHand(t, openStopped(t, full, s), s, keep)
	path := filepath.Join(keep, baselineFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for what, c := range map[string]struct {
		file   []byte
		source *memorySource
	}{
		"of another store": {good, other},
		"of another past":  {good, &memorySource{id: s.id, log: other.log}},
		"damaged":          {flipped, s},
		"cut off":          {good[:len(good)/2], s},
		"empty":            {nil, s},
	} {
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		if report, read := atHand(t, openStopped(t, aStopped(t, c.source), c.source), c.source, keep); !read || !report.Equal() {
			t.Errorf("%s: equal %t, the log was read: %t", what, report.Equal(), read)
		}
	}
	// A copy that went back, as by a rollback.
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	back := readmodel.Dir(t.TempDir())
	fill(t, back, "gen-0001", s, []uint64{50, 50, 50})
	if report, read := atHand(t, openStopped(t, back, s), s, keep); !read || !report.Equal() {
		t.Errorf("a copy that went back: equal %t, the log was read: %t", report.Equal(), read)
	}
}
