package readmodel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

var (
	// ErrLost says that files of an open model are gone from its directory. It answers what it has open, and cannot be opened
	// again: build another one before the process ends.
	ErrLost = errors.New("files of the read model are gone from its directory")
	// ErrNotClosed says that Badger was left as a kill would leave it, with what it holds of memory and files until the
	// process ends. What was committed since the last table was written may be lost, and is read again.
	ErrNotClosed = errors.New("the read model was not closed")
)

// closeTime is how long Badger may take to close: it writes one small table. It tries for ever where it cannot.
const closeTime = 20 * time.Second

// Lost holds the directory against what the model has open: nil, or ErrLost with what is gone. It reads no file.
func (m *Model) Lost() error {
	m.open.RLock()
	defer m.open.RUnlock()
	if m.closed {
		return ErrClosed
	}
	lost := m.gone()
	if len(lost) > 0 {
		// A compaction may have removed a table since it was listed.
		again := m.gone()
		lost = slices.DeleteFunc(lost, func(name string) bool { return !slices.Contains(again, name) })
	}
	if len(lost) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s lacks %s, %d in all", ErrLost, m.cfg.Dir, lost[0], len(lost))
}

// gone are the files that are not there.
func (m *Model) gone() (names []string) {
	paths := []string{filepath.Join(m.cfg.Dir, badger.ManifestFilename)}
	for _, t := range m.db.Tables() {
		paths = append(paths, table.NewFilename(t.ID, m.cfg.Dir))
	}
	for _, path := range paths {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			names = append(names, filepath.Base(path))
		}
	}
	return names
}

// inPlace is nil while the model's directory is the one that it was opened in. Badger goes by its path, and would write
// into whatever generation has taken the name.
func (m *Model) inPlace() error {
	info, err := os.Stat(m.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(info, m.dir) {
		return fmt.Errorf("%w: %s was deleted while it was open", ErrLost, m.cfg.Dir)
	}
	return err
}

// closeBadger closes it, unless that cannot end: what it has in memory it tries to write for ever. Where its
// directory was deleted it gets another one for that long.
func (m *Model) closeBadger() error {
	lost := m.inPlace()
	if errors.Is(lost, ErrLost) {
		region := filepath.Dir(m.cfg.Dir)
		_, gone := os.Stat(region)
		if err := os.MkdirAll(region, 0o750); err != nil {
			return fmt.Errorf("%w: %w: %w", ErrNotClosed, lost, err)
		}
		if err := os.Mkdir(m.cfg.Dir, 0o700); err != nil { // it may be another's by now
			return fmt.Errorf("%w: %w: %w", ErrNotClosed, lost, err)
		}
		defer func() {
			_ = os.RemoveAll(m.cfg.Dir) // nobody needs it; the next start removes what is left
			if gone != nil {
				_ = os.Remove(region)
			}
		}()
	}
	closed := make(chan error, 1)
	go func() { closed <- m.db.Close() }()
	select {
	case err := <-closed:
		if lost != nil {
			return lost // what it says besides is that it misses its files
		}
		return err
	case <-time.After(closeTime):
		return fmt.Errorf("%w: %s cannot be written, for %s now", ErrNotClosed, m.cfg.Dir, closeTime)
	}
}
