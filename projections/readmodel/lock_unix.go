//go:build unix

package readmodel

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Lock takes the directory for this process until the function that it returns is called, or the
// process ends; else ErrInUse. A generation has Badger's own lock besides, but what stands
// beside it, and a build that is not finished, has only this.
func (d Dir) Lock() (unlock func() error, err error) {
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
		return nil, errors.Join(inUse(string(d)), f.Close())
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
