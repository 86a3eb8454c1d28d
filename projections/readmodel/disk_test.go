package readmodel

import (
	"errors"
	"testing"

	"github.com/google/uuid"
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
