package embedded

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/tenantry/tenantry/events"
)

// DefaultMinFree is enough for what Badger has taken and not yet put into tables: two memtables
// and their logs.
const DefaultMinFree = 64 << 20

// compactionRoom is the most that Badger needs besides, to write tables anew beside the old
// ones; it is never more than all tables have. Measured with 1 GiB of payloads that do not
// compress, after the last commit: 52 MiB.
const compactionRoom = 128 << 20

// disk watches the free space, since Badger on a full disk does not return an error: a page of
// a memory map that cannot be written is a SIGBUS, and the end of the process.
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
		d.free = freeSpace
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
	need := minFree + min(tables, compactionRoom)
	free, err := d.free(d.dir)
	if err != nil {
		return fmt.Errorf("%w: ask for the free space of %s: %w", events.ErrUnavailable, d.dir, err)
	}
	if free < need {
		return fmt.Errorf("%w: disk full: %s has %d MiB free and needs %d MiB: make room", events.ErrUnavailable, d.dir, free>>20, need>>20)
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

// tables is the size of those that Badger has now.
func (s *Store) tables() uint64 {
	var size uint64
	for _, level := range s.db.Levels() {
		size += uint64(level.Size)
	}
	return size
}
