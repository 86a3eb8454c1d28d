package replay

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/tenantry/tenantry/projections/readmodel"
)

// begin makes the directory for a generation that is to be built. What a replay that was cut short has
// left is removed: it cannot be gone on with, since the source has gone on, and it may be half written.
func beginBuilding(dir readmodel.Dir, log *slog.Logger) (name string, err error) {
	entries, err := os.ReadDir(string(dir))
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".building") && !strings.HasSuffix(e.Name(), ".removed") {
			continue
		}
		log.Warn("a rebuild before this one was cut short: removing what it has left, and beginning anew", "path", dir.Path(e.Name()))
		if err := dir.Remove(e.Name()); err != nil {
			return "", err
		}
	}
	return dir.Building()
}

// size is how many octets a directory takes.
func size(path string) (octets uint64, err error) {
	err = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // of a generation that is in use, a file may be gone by now
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			octets += uint64(info.Size())
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", path, err)
	}
	return octets, nil
}
