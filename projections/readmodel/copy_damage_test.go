package readmodel_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/tenantry/tenantry/projections/readmodel"
)

// Only damage makes a key that is longer than any hostname is.
func TestWriteCopy_OfARecordThatNobodyCouldReadBack_SaysThatItIsDamaged(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir)
	update(t, m, func(tx *readmodel.Tx) error {
		tx.Progress().Complete, tx.Progress().Partitions = true, make([]readmodel.Partition, 1)
		return nil
	})
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := badger.Open(badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	long := []byte("x/" + strings.Repeat("x", 1100))
	if err := errors.Join(db.Update(func(txn *badger.Txn) error { return txn.Set(long, nil) }), db.Close()); err != nil {
		t.Fatal(err)
	}
	m = open(t, dir)
	in, err := m.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.WriteCopy(t.Context(), io.Discard, "eu-west"); !errors.Is(err, readmodel.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}
