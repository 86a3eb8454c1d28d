package embedded

import (
	"fmt"

	"github.com/tenantry/tenantry/events"
)

// DefaultMinFree is what Badger may write by itself after the last commit that was taken: the
// memtables that it has yet to flush, and a compaction's output beside its input.
const DefaultMinFree = 128 << 20

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

// room returns nil where an append may be taken.
func (d disk) room() error { return d.atLeast(d.minFree) }

// roomToOpen asks for half, so that a store that has refused appends can still be opened and read.
func (d disk) roomToOpen() error { return d.atLeast(d.minFree / 2) }

func (d disk) atLeast(need uint64) error {
	free, err := d.free(d.dir)
	if err != nil {
		return fmt.Errorf("%w: ask for the free space of %s: %w", events.ErrUnavailable, d.dir, err)
	}
	if free < need {
		return fmt.Errorf("%w: disk full: %s has %d MiB free and needs %d MiB: make room", events.ErrUnavailable, d.dir, free>>20, need>>20)
	}
	return nil
}
