//go:build !unix

package broker

// dirLock does nothing where there is no flock: two processes on one data directory are the
// user's mistake there, and the embedded store's own lock usually finds it first.
type dirLock struct{}

func lockDir(string) (*dirLock, error) { return &dirLock{}, nil }

func (*dirLock) release() error { return nil }
