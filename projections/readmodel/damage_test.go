package readmodel

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

func TestOpen_AnyOctetOfATableIsDamaged_IsUnusableAndNoPanic(t *testing.T) {
	dir := t.TempDir()
	db, err := open(options(Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)}))
	if err != nil {
		t.Fatal(err)
	}
	m, err := encodeMeta(new(Progress), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(txn *badger.Txn) error { return txn.Set([]byte(keyMeta), m) }); err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		if err := db.Update(func(txn *badger.Txn) error {
			return txn.Set(fmt.Appendf(nil, "t/ten_%05d", i), fmt.Appendf(nil, `{"name":"tenant %d","n":%d}`, i, i*i))
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) != 1 {
		t.Fatalf("got tables %v, %v, want one", tables, err)
	}
	whole, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(tables[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Open(Config{Dir: dir})
		if !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: got %v, want ErrUnusable", what, err)
		}
		if err == nil {
			_ = m.Close()
		}
	}
	for i := 0; i < len(whole); i += 97 {
		b := append([]byte(nil), whole...)
		b[i] ^= 0x10
		refused(fmt.Sprintf("octet %d of %d is another", i, len(b)), b)
	}
	for i := 0; i < len(whole); i += 997 {
		refused(fmt.Sprintf("cut at %d of %d", i, len(whole)), whole[:i])
	}
	refused("all zeros", make([]byte, len(whole)))

	if err := os.WriteFile(tables[0], whole, 0o600); err != nil {
		t.Fatal(err)
	}
	model, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatalf("the whole table: %v", err)
	}
	if err := model.Close(); err != nil {
		t.Error(err)
	}
}
