package embedded

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/diskspace"
)

// DefaultMinFree is enough for what Badger has taken and not yet put into tables: two memtables
// and their logs.
const DefaultMinFree = 64 << 20

// disk watches the free space.
type disk struct {
	dir     string
	minFree uint64
	free    func(dir string) (uint64, error)
}

func newDisk(cfg Config) disk {
	d := disk{dir: cfg.Dir, minFree: cfg.MinFree, free: cfg.FreeSpace}
	if d.minFree == 0 {
		d.minFree = DefaultMinFree
	}
	if d.free == nil {
		d.free = diskspace.Free
	}
	return d
}

// room returns nil where an append may be taken by a store with tables of that size.
func (d disk) room(tables uint64) error { return d.atLeast(d.minFree, tables) }

// roomToOpen asks for half, so that a store that has refused appends can be opened and read.
func (d disk) roomToOpen() error { return d.atLeast(d.minFree/2, d.tables()) }

// roomToClose asks for what Badger writes when it is closed: its memtables, as tables.
func (d disk) roomToClose() error { return d.atLeast(d.minFree/2, 0) }

// reserve is what makes room to close: some more, for what the file system keeps beside it.
func (d disk) reserve() uint64 { return d.minFree/2 + 1<<20 }

// roomToReserve asks for as much beside the reserve as an open store may write unasked.
func (d disk) roomToReserve(tables uint64) error {
	return d.atLeast(d.minFree/2+d.reserve(), tables)
}

func (d disk) atLeast(minFree, tables uint64) error {
	if err := diskspace.Need(d.free, d.dir, minFree+min(tables, diskspace.CompactionRoom)); err != nil {
		return fmt.Errorf("%w: %w", events.ErrUnavailable, err)
	}
	return nil
}

// tables is the size of those of a database that is not open.
func (d disk) tables() uint64 {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return 0 // opening it will say so
	}
	var size uint64
	for _, e := range entries {
		if info, err := e.Info(); err == nil && filepath.Ext(e.Name()) == ".sst" {
			size += uint64(info.Size())
		}
	}
	return size
}

// Room is nil where an append finds the room on the disk that it needs; else it says how much is
// missing, as ErrUnavailable.
func (s *Store) Room(ctx context.Context) error {
	v, err := s.begin(ctx) // keeps the database open meanwhile
	if err != nil {
		return err
	}
	defer v.done()
	return s.disk.room(s.tables())
}

// tables is the size of those that Badger has now.
func (s *Store) tables() uint64 {
	var size uint64
	for _, level := range s.db.Levels() {
		size += uint64(level.Size)
	}
	return size
}
