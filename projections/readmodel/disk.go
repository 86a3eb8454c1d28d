package readmodel

import (
	"errors"
	"fmt"
)

// ErrDiskFull says that the disk has too little room for the model to be written. Nothing was
// changed, and look-ups go on. Retry: somebody may make room.
var ErrDiskFull = errors.New("disk full")

const (
	// minFree is enough for what Badger has taken and not yet put into tables: three memtables
	// and their logs. A commit wants it; opening and closing, which write less, want half.
	minFree = 64 << 20
	// compactionRoom is the most that Badger needs besides, to write tables anew beside the old
	// ones; it is never more than all tables have.
	compactionRoom = 128 << 20
)

// room returns nil where the disk has that much free. On a full one Badger returns no error: a
// page of a memory map that cannot be written is a SIGBUS, and the end of the process.
func room(cfg Config, need uint64) error {
	free, err := cfg.FreeSpace(cfg.Dir)
	if err != nil {
		return fmt.Errorf("ask for the free space of %s: %w", cfg.Dir, err)
	}
	if free < need {
		return fmt.Errorf("%w: %s has %d MiB free and needs %d MiB: make room", ErrDiskFull, cfg.Dir, free>>20, need>>20)
	}
	return nil
}

// roomToCommit returns nil where an update may be committed.
func (m *Model) roomToCommit() error {
	var tables uint64
	for _, level := range m.db.Levels() {
		tables += uint64(level.Size)
	}
	return room(m.cfg, minFree+min(tables, compactionRoom))
}
