//go:build unix

package replay

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tenantry/tenantry/projections/readmodel"
)

// lock takes a file for this process until the function that it returns is called, or the process
// ends; else it is a [readmodel.ErrInUse].
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case err == nil:
		return f.Close, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, errors.Join(fmt.Errorf("%w: a node answers there", readmodel.ErrInUse), f.Close())
	}
	return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
}
