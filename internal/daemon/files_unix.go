//go:build unix

package daemon

import (
	"errors"
	"os"
	"syscall"
)

// lockFile locks a file until it is closed, and says whether it did: somebody else may have it.
func lockFile(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// openFiles is how many files this process may have open. Go has raised it to the hard limit.
func openFiles() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return usualFiles
	}
	return uint64(l.Cur) //nolint:unconvert // it is signed on some systems
}
