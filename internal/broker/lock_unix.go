//go:build unix

package broker

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// dirLock keeps a second process out of the data directory, which kfake itself does not. The
// kernel drops it when the process dies, however it dies.
type dirLock struct{ file *os.File }

func lockDir(path string) (*dirLock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("in use by another process: stop it, or choose another --data-dir")
	} else if err != nil {
		err = fmt.Errorf("lock: %w", err)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &dirLock{file: file}, nil
}

func (l *dirLock) release() error { return l.file.Close() }
