package readmodel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
	compression "github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
)

// open opens Badger, and makes an error of any damage to its files.
func open(opt badger.Options) (db *badger.DB, err error) {
	if err := checkTables(opt); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("open Badger: %v", p)
		}
	}()
	return badger.Open(opt)
}

// checkTables reads every table and holds it against its checksums. Badger does not look at them
// unless asked, and answers wrongly then; and when it is asked it does so in goroutines of its own,
// where a table that is cut short is a panic that ends the process.
func checkTables(opt badger.Options) error {
	tables, err := filepath.Glob(filepath.Join(opt.Dir, "*.sst"))
	if err != nil {
		return err
	}
	for _, path := range tables {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process has the directory, which Badger will say
		}
		if err == nil {
			err = checkTable(path, b, opt)
		}
		if err != nil && len(b) > 0 {
			// Badger remembers for each table how it was written, and earlier ones were compressed.
			opt := opt.WithCompression(compression.Snappy)
			if checkTable(path, b, opt) == nil {
				err = nil
			}
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", filepath.Base(path), err)
		}
	}
	return nil
}

func checkTable(path string, b []byte, opt badger.Options) (err error) {
	defer func() {
		if p := recover(); p != nil {
			// The first line: what follows are Badger's own notes.
			text, _, _ := strings.Cut(fmt.Sprint(p), "\n")
			err = fmt.Errorf("it is damaged: %s", text)
		}
	}()
	id, ok := table.ParseFileID(filepath.Base(path))
	if !ok {
		return errors.New("its name is not one of Badger's")
	}
	t, err := table.OpenInMemoryTable(b, id, &table.Options{BlockSize: opt.BlockSize, Compression: opt.Compression})
	if err != nil {
		return err
	}
	return t.VerifyChecksum()
}
