package readmodel

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/tenantry/tenantry/internal/diskspace"
)

// ErrDiskFull says that the disk has too little room for the model to be written. Nothing was
// changed, and look-ups go on. Retry: somebody may make room.
var ErrDiskFull = diskspace.ErrFull

const (
	// minFree is enough for what Badger has taken and not yet put into tables: three memtables
	// and their logs. A commit wants it; opening and closing, which write less, want half.
	minFree = 64 << 20
	// reserved is what makes room to close: some more, for what the file system keeps beside it.
	reserved = minFree/2 + 1<<20
	// reserveFile stands in the directory of an open model, and takes that room.
	reserveFile = "RESERVE"
)

// room returns nil where the disk has that much free.
func room(cfg Config, need uint64) error { return diskspace.Need(cfg.FreeSpace, cfg.Dir, need) }

// roomToCommit returns nil where an update may be committed.
func (m *Model) roomToCommit() error {
	if err := m.inPlace(); err != nil {
		return err
	}
	var tables uint64
	for _, level := range m.db.Levels() {
		tables += uint64(level.Size)
	}
	return room(m.cfg, minFree+min(tables, diskspace.CompactionRoom))
}

// reserve takes the room that Close needs, while there is plenty. A model without it is closed all
// the same while the disk has room.
func (m *Model) reserve() {
	err := room(m.cfg, minFree/2+reserved)
	if err == nil {
		err = diskspace.Reserve(filepath.Join(m.cfg.Dir, reserveFile), reserved)
	}
	if err != nil {
		m.cfg.Logger.Debug("the read model has no reserve to be closed with", "dir", m.cfg.Dir, "err", err)
	}
}

// closeDatabase closes Badger, with the reserve where the disk is full.
func (m *Model) closeDatabase() error {
	released := diskspace.Release(filepath.Join(m.cfg.Dir, reserveFile))
	if err := room(m.cfg, minFree/2); errors.Is(err, ErrDiskFull) {
		return fmt.Errorf("read model left as after a kill, without loss: %w", errors.Join(err, released))
	}
	return errors.Join(m.closeBadger(), released)
}
