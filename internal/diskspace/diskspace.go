package diskspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ErrFull says that a disk has too little room. Nothing was written. Retry: somebody may make
// room.
var ErrFull = errors.New("disk full")

// CompactionRoom is the most that Badger needs to write tables anew beside the old ones; it is
// never more than all tables have. Measured with 1 GiB of payloads that do not compress, after
// the last commit: 52 MiB.
const CompactionRoom = 128 << 20

// Need returns nil where the disk of a directory has so many octets free, and ErrFull where it
// has not. free is [Free], or a test's own.
func Need(free func(dir string) (uint64, error), dir string, need uint64) error {
	has, err := free(dir)
	if err != nil {
		return fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	if has < need {
		return fmt.Errorf("%w: %s has %d MiB free and needs %d MiB: make room", ErrFull, dir, has>>20, need>>20)
	}
	return nil
}

// Reserve makes a file that takes so many octets of the disk, for [Release] to give back.
func Reserve(path string, octets int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("reserve room on the disk: %w", err)
	}
	if err := errors.Join(allocate(f, octets), f.Close()); err != nil {
		return fmt.Errorf("reserve room on the disk: %w", errors.Join(err, Release(path)))
	}
	return nil
}

// Release removes what [Reserve] made, if it is there.
func Release(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("release room on the disk: %w", err)
	}
	return nil
}
