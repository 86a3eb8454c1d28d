//go:build linux || darwin

package embedded

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the lock that Badger takes of a directory, until the function that it returns is
// called. Badger takes it itself when it opens, but what is done before must not meet a
// directory at work.
func lock(dir string) (unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open event store: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case err == nil:
		return f.Close, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, errors.Join(inUse(dir), f.Close())
	default:
		return nil, errors.Join(fmt.Errorf("lock event store %s: %w", dir, err), f.Close())
	}
}
