package readmodel

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// ErrReplaying says that somebody else builds a generation of this region, or mends the live one. The error names the process.
var ErrReplaying = errors.New("the region is being rebuilt or repaired already")

// Holder is what a process is that has a region's directory.
type Holder string

// Who may have a directory.
const (
	ByNode   Holder = "a node"
	ByReplay Holder = "a replay"
)

// ErrHeldByReplay is ErrInUse where a replay has the directory of a stopped region. It gives way to a node.
var ErrHeldByReplay = fmt.Errorf("%w: a replay has it", ErrInUse)

// heldBy says who has the directory.
func (d Dir) heldBy() error {
	who := holder(d.Path(holderFile))
	if process, ok := strings.CutPrefix(who, string(ByReplay)+", "); ok {
		return fmt.Errorf("%w: %s, on %s: wait until it has ended, or stop it", ErrHeldByReplay, process, d)
	}
	return fmt.Errorf("%w: %s has %s: stop it, or give this one another data directory", ErrInUse, who, d)
}

const (
	holderFile  = "holder"
	replayLock  = "replay.lock"
	controlLock = "control.lock"
)

// ReplayLock makes this process the one that builds generations of the region, or mends the live one, until the function that it returns is
// called or the process ends, however it does; else ErrReplaying. The node that serves the region
// need not have it, and holds [Dir.Lock], which is another.
func (d Dir) ReplayLock() (unlock func() error, err error) {
	if err := d.make(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.Path(replayLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the region for a rebuild: %w", err)
	}
	switch taken, err := flock(f); {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock the region for a rebuild: %w", err), f.Close())
	case !taken:
		return nil, errors.Join(fmt.Errorf("%w by %s", ErrReplaying, holder(f.Name())), f.Close())
	}
	// Whoever is told of it may have read the one before: then he is told of a process that has
	// ended a moment ago.
	who := fmt.Sprintf("process %d, since %s\n", os.Getpid(), time.Now().UTC().Format(time.RFC3339))
	if err := errors.Join(f.Truncate(0), writeAt(f, who)); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the region for a rebuild: %w", err), f.Close())
	}
	return f.Close, nil
}

// ControlLock makes this process the one that answers a replay for the region, until the function
// that it returns is called or the process ends; else ErrInUse.
func (d Dir) ControlLock() (unlock func() error, err error) {
	f, err := os.OpenFile(d.Path(controlLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	switch taken, err := flock(f); {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	case !taken:
		return nil, errors.Join(fmt.Errorf("%w: a node answers there", ErrInUse), f.Close())
	}
	return f.Close, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// holder is what the one who has the lock says of himself.
func holder(path string) string {
	b, err := os.ReadFile(path)
	if who := strings.TrimSpace(string(b)); err == nil && who != "" {
		return who
	}
	return "another process"
}
