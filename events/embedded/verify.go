package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// verify reads every table before Badger does. Badger opens tables in goroutines of its own, where
// an assertion that damage meets ends the process; here it becomes an error. It also refuses
// a directory that has Badger's files but not their list, for which Badger would begin a new
// list, and delete every file that is not in it.
func verify(dir string) error {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return noData(dir)
	}
	if err != nil {
		return fmt.Errorf("open event store: %w", err)
	}
	defer f.Close() // it was only read
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir))
	if err != nil {
		return damaged(dir, fmt.Errorf("%s: %w", badger.ManifestFilename, err))
	}
	for id := range manifest.Tables {
		if err := verifyTable(table.NewFilename(id, dir)); err != nil {
			return damaged(dir, fmt.Errorf("%s: %w", table.IDToFilename(id), err))
		}
	}
	return nil
}

func noData(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("open event store: %w", err)
	}
	for _, e := range entries {
		if slices.Contains([]string{".sst", ".mem", ".vlog"}, filepath.Ext(e.Name())) {
			return damaged(dir, fmt.Errorf("its file %s is missing, but not %s", badger.ManifestFilename, e.Name()))
		}
	}
	return nil
}

// verifyTable reads all entries of a table, each block against its checksum.
func verifyTable(path string) (err error) {
	file, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it cannot be read: %.60s", strings.TrimSpace(fmt.Sprint(p)))
		}
		err = errors.Join(err, file.Close(-1)) // -1: leave its size
	}()
	t, err := table.OpenTable(file, table.Options{
		ReadOnly: true, BlockSize: 4 << 10, Compression: options.Snappy, ChkMode: options.OnBlockRead,
	})
	if err != nil {
		return err
	}
	it := t.NewIterator(table.NOCACHE)
	defer func() { err = errors.Join(err, it.Close()) }()
	var n uint32
	for it.Rewind(); it.Valid(); it.Next() {
		n++
	}
	// An iterator ends at a block that it cannot read as it does behind the last one.
	if n != t.KeyCount() {
		return fmt.Errorf("%d of its %d entries can be read", n, t.KeyCount())
	}
	return nil
}
