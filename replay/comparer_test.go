package replay

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// comparedBy is what a node is told of its live generation.
func comparedBy(t *testing.T, s Source, dir readmodel.Dir) (projections.Comparison, error) {
	t.Helper()
	m, err := readmodel.Open(readmodel.Config{Dir: dir.Path("gen-0001")})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	in, err := m.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Comparer(s, dir, slog.New(slog.DiscardHandler))(t.Context(), in, 0)
	return c, errors.Join(err, in.Close())
}

func TestComparer_TellsANodeWhatToMend(t *testing.T) {
	s := aCatalogue(t, 50, 16)
	dir := aStopped(t, s)
	compared := func() (n int, repairs int) {
		c, err := comparedBy(t, s, dir)
		if err != nil || c.Position != uint64(len(s.log)) || c.Tenants != 50 {
			t.Fatalf("got %+v, %v", c, err)
		}
		return c.Differences, len(c.Repairs)
	}
	if n, repairs := compared(); n != 0 || repairs != 0 {
		t.Errorf("equal: got %d differences and %d repairs", n, repairs)
	}
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
		return errors.Join(txn.Delete([]byte("t/ten_00004")), txn.Set([]byte("h/x.example"), []byte{0xff}))
	})
	if n, repairs := compared(); n != 2 || repairs != 2 {
		t.Errorf("got %d differences and %d repairs, want two", n, repairs)
	}
	untouched(t, dir, "gen-0001")
}

func TestComparer_TellsHowManyTheSourceDoesNotHave(t *testing.T) {
	s := aCatalogue(t, 20, 19)
	dir := aStopped(t, s)
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
		return errors.Join(txn.Delete([]byte("t/ten_00004")), txn.Set([]byte("t/ten_stray"), []byte{0, 1, 1, 0, 0, 0, 0, 0}), txn.Set([]byte("h/x.example"), []byte("\x05ten_astray")))
	})
	c, err := comparedBy(t, s, dir)
	if err != nil || c.Differences != 3 || c.Removed != 2 {
		t.Errorf("got %d differences, %d of them to be removed, %v, want 3 and 2", c.Differences, c.Removed, err)
	}
}
