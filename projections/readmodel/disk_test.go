package readmodel

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/tenantry/tenantry/events"
)

func TestModel_OnAFullDisk_ChangesNothing_AndGoesOnOnceThereIsRoom(t *testing.T) {
	free := uint64(1 << 40)
	cfg := Config{Dir: t.TempDir(), FreeSpace: func(string) (uint64, error) { return free, nil }}
	m, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Begin(uuid.New(), 2); err != nil {
		t.Fatal(err)
	}
	advance := func(tx *Tx) error {
		tx.Progress().Partitions[0].Offset++
		return nil
	}
	before := m.Progress()
	free = minFree - 1
	if err := m.Update(advance); !errors.Is(err, ErrDiskFull) {
		t.Errorf("got %v, want ErrDiskFull", err)
	}
	if m.Progress() != before {
		t.Error("an update that failed is visible")
	}
	free = minFree
	if err := m.Update(advance); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if got, want := m.Progress().Partitions[0].Offset, before.Partitions[0].Offset+1; got != want {
		t.Errorf("got offset %d, want %d", got, want)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	free = minFree/2 - 1
	if _, err := Open(cfg); !errors.Is(err, ErrDiskFull) {
		t.Errorf("open: got %v, want ErrDiskFull", err)
	}
}

// Others have filled the disk to the last octet: the reserve is what closing takes.
func TestModel_ClosedOnAFullDisk_GivesEverythingBack(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can reserve room without writing it")
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	full := false
	cfg := Config{Dir: t.TempDir(), FreeSpace: func(dir string) (uint64, error) {
		if !full {
			return 1 << 40, nil
		}
		if info, err := os.Stat(filepath.Join(dir, reserveFile)); err == nil {
			if info.Size() < minFree/2 {
				t.Errorf("the reserve has %d octets", info.Size())
			}
			return 0, nil
		}
		return reserved, nil
	}}
	m, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Begin(uuid.New(), 2); err != nil {
		t.Fatal(err)
	}
	full = true
	if err := m.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	full = false
	if m, err = Open(cfg); err != nil {
		t.Fatalf("the directory is still held: %v", err)
	}
	if got := len(m.Progress().Partitions); got != 2 {
		t.Errorf("got %d partitions, want 2: what was committed is lost", got)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, reserveFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a closed model keeps its reserve: %v", err)
	}
}

func TestModel_ClosedWithoutRoomAndReserve_SaysSo(t *testing.T) {
	free := uint64(minFree) // too little for a reserve beside what is kept free
	cfg := Config{Dir: t.TempDir(), FreeSpace: func(string) (uint64, error) { return free, nil }}
	m, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.db.Close() }) // what the model has left open
	if _, err := os.Stat(filepath.Join(cfg.Dir, reserveFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a reserve was taken from a disk that is nearly full: %v", err)
	}
	free = 0
	if err := m.Close(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("got %v, want ErrDiskFull", err)
	}
	if _, err := m.Lookup(events.Hostname{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a look-up: got %v, want ErrClosed", err)
	}
}

func TestOpen_OfWhatCannotBeUsed_LeavesNothingRunning(t *testing.T) {
	dir := t.TempDir()
	db, err := badger.Open(badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(txn *badger.Txn) error { return txn.Set([]byte(keyMeta), []byte(`{"schema":99}`)) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for range 2 { // the second finds the directory given up
		if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrUnusable) {
			t.Errorf("got %v, want ErrUnusable", err)
		}
	}
}
