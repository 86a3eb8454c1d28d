//go:build unix

package readmodel

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Lock takes the directory for this process until the function that it returns is called, or the
// process ends; else ErrInUse, which says who has it. A generation has Badger's own lock besides, but what stands
// beside it, and a build that is not finished, has only this.
func (d Dir) Lock(by Holder) (unlock func() error, err error) {
	if err := d.make(); err != nil {
		return nil, err
	}
	f, err := os.Open(string(d))
	if err != nil {
		return nil, fmt.Errorf("lock the region's directory: %w", err)
	}
	switch taken, err := flock(f); {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock the region's directory %s: %w", string(d), err), f.Close())
	case !taken:
		return nil, errors.Join(d.heldBy(), f.Close())
	}
	// Who comes second before this is written is told of the holder before.
	who := fmt.Sprintf("%s, process %d, since %s\n", by, os.Getpid(), time.Now().UTC().Format(time.RFC3339))
	if err := os.WriteFile(d.Path(holderFile), []byte(who), 0o600); err != nil && !errors.Is(err, unix.ENOSPC) {
		return nil, errors.Join(fmt.Errorf("lock the region's directory %s: %w", string(d), err), f.Close())
	}
	return f.Close, nil
}

// flock locks a file until it is closed, and says whether it did: somebody else may have it.
func flock(f *os.File) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
