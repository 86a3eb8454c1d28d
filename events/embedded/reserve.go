package embedded

import (
	"fmt"
	"path/filepath"

	"github.com/tenantry/tenantry/internal/diskspace"
)

// reserveFile keeps the room that Badger needs to write its memtables when the store is closed.
// Appends stop long before the disk is full, but others may fill the rest of it; a store that
// then could not be closed would keep its lock and its goroutines until the process ends.
const reserveFile = "RESERVE"

// reserve takes the room for Close while there is plenty. It is no fault where that cannot be: a
// store without it is closed all the same while the disk has room.
func (s *Store) reserve() {
	err := s.disk.roomToReserve(s.tables())
	if err == nil {
		err = diskspace.Reserve(filepath.Join(s.dir, reserveFile), int64(s.disk.reserve()))
	}
	if err != nil {
		s.log.Debug("event store has no reserve to be closed with", "dir", s.dir, "err", err)
	}
}

// release gives the reserved room back.
func (s *Store) release() error { return diskspace.Release(filepath.Join(s.dir, reserveFile)) }

// closeDisk closes the database, with the reserve where the disk is full.
func (s *Store) closeDisk() error {
	if err := s.release(); err != nil {
		s.log.Warn("event store keeps room on the disk that it does not need any more", "dir", s.dir, "err", err)
	}
	head, _ := s.tail.end()
	if err := (witness{s.id, head}).write(s.dir); err != nil {
		s.log.Warn("event store keeps an older witness of its head", "dir", s.dir, "position", head, "err", err)
	}
	if err := s.disk.roomToClose(); err != nil {
		return fmt.Errorf("close event store %s: left as after a kill, without loss: %w", s.dir, err)
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close event store %s: %w", s.dir, err)
	}
	return nil
}
