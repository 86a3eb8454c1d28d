package replay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"github.com/tenantry/tenantry/projections/readmodel"
)

const (
	socketFile = "control.sock"
	// maxSocketPath is the longest path that a socket can have anywhere.
	maxSocketPath = 100
)

// socket is the control socket of a node, with the lock that says that it is this node's.
type socket struct {
	path     string
	listener net.Listener
	unlock   func() error
}

// listen takes the socket of a region's directory. It is made where nobody else can look, and moved
// into place when only this user can connect to it.
func listen(dir readmodel.Dir) (_ *socket, err error) {
	if err := os.MkdirAll(string(dir), 0o750); err != nil {
		return nil, fmt.Errorf("make the region's directory: %w", err)
	}
	unlock, err := dir.ControlLock()
	if err != nil {
		return nil, fmt.Errorf("the control socket of %s: %w", dir, err)
	}
	s := &socket{path: dir.Path(socketFile), unlock: unlock}
	making := dir.Path(socketFile + ".new")
	defer func() {
		err = errors.Join(err, os.RemoveAll(making))
		if err != nil {
			err = errors.Join(err, unlock())
		}
	}()
	if err := os.RemoveAll(making); err != nil {
		return nil, err
	}
	if err := os.Mkdir(making, 0o700); err != nil {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	err = onShortPath(making, func(short string) error {
		ln, err := new(net.ListenConfig).Listen(context.Background(), "unix", filepath.Join(short, socketFile))
		if err != nil {
			return err
		}
		if unix, ok := ln.(*net.UnixListener); ok {
			unix.SetUnlinkOnClose(false) // it is not where it was made
		}
		s.listener = ln
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	at := filepath.Join(making, socketFile)
	if err := errors.Join(os.Chmod(at, 0o600), os.Rename(at, s.path)); err != nil {
		return nil, errors.Join(fmt.Errorf("make the control socket: %w", err), s.listener.Close())
	}
	return s, nil
}

// close removes the socket. The listener is closed by the server that has it.
func (s *socket) close() error {
	err := os.Remove(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // somebody has deleted the directory
	}
	return errors.Join(err, s.unlock())
}

// dial connects to the control socket of a region's directory.
func dial(ctx context.Context, dir readmodel.Dir) (conn net.Conn, err error) {
	err = onShortPath(string(dir), func(short string) error {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", filepath.Join(short, socketFile))
		return err
	})
	return conn, err
}

// onShortPath calls do with a path of a directory that leaves room for a socket's name: a socket has
// 108 octets for all of it, and a directory may be deeper.
func onShortPath(dir string, do func(short string) error) error {
	if len(dir)+1+len(socketFile) <= maxSocketPath {
		return do(dir)
	}
	if runtime.GOOS == "linux" {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		return errors.Join(do(fmt.Sprintf("/proc/self/fd/%d", f.Fd())), f.Close())
	}
	return fmt.Errorf("the path of %s is longer than a socket's may be: use a shorter data directory", dir)
}
