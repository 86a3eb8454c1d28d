package readmodel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"

	"github.com/tenantry/tenantry/internal/giveway"
)

// open opens Badger, and makes an error of any damage to its files.
//
// Badger looks at few of its checksums unless asked, and answers wrongly then; and when it is asked it does so in
// goroutines of its own, where a table that is cut short is a panic that ends the process. What it finds
// damaged in its manifest and in its logs it takes for the end of them, and deletes the tables that
// it does not know then. So the files are held against their checksums before.
func open(opt badger.Options) (db *badger.DB, err error) {
	if err := checkFiles(opt); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("open Badger: %v", p)
		}
	}()
	if db, err = badger.Open(opt); err != nil {
		return nil, fmt.Errorf("open Badger: %w", err)
	}
	return db, nil
}

// checkFiles returns nil where all is whole, and where there is nothing yet.
func checkFiles(opt badger.Options) (err error) {
	dir, err := os.Open(opt.Dir)
	if err != nil {
		return err
	}
	// The lock is Badger's own: what another process writes now would look damaged.
	taken, err := flock(dir)
	defer func() { err = errors.Join(err, dir.Close()) }()
	if err != nil || !taken {
		return err // Badger will say so
	}
	if err := checkRegistry(opt.Dir); err != nil {
		return err
	}
	manifest, err := readManifest(opt)
	if err != nil {
		return err
	}
	newest, err := checkTables(opt, manifest)
	if err != nil {
		return err
	}
	return checkLogs(opt.Dir, newest)
}

// registryText is what Badger writes behind 16 octets into a registry of keys that has none.
const registryText = "Hello Badger"

// checkRegistry makes sure that the registry of keys is that of a model, which is not encrypted.
func checkRegistry(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, badger.KeyRegistryFileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Badger makes a new one
	}
	if err == nil && (len(b) != 16+len(registryText) || string(b[16:]) != registryText) {
		err = errors.New("the registry of keys is damaged")
	}
	return err
}

// readManifest is the list of tables, which must be whole to its last octet.
func readManifest(opt badger.Options) (badger.Manifest, error) {
	path := filepath.Join(opt.Dir, badger.ManifestFilename)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return badger.Manifest{}, checkNothing(opt.Dir)
	}
	if err != nil {
		return badger.Manifest{}, err
	}
	defer f.Close()
	m, end, err := badger.ReplayManifestFile(f, opt.ExternalMagicVersion, opt)
	if err != nil {
		return m, fmt.Errorf("the manifest: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil && size != end {
		err = fmt.Errorf("the manifest is damaged at octet %d of %d", end, size)
	}
	return m, err
}

// checkNothing makes sure that a directory without a manifest has nothing that one would tell of:
// Badger would delete it.
func checkNothing(dir string) error {
	for _, pattern := range []string{"*.sst", "*" + logSuffix} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return errors.New("the manifest is gone")
		}
	}
	return nil
}

// checkTables reads every table of the manifest and holds it against its checksums; none may be
// there twice, which is one that stands in the place of another. Other tables were left by a
// compaction that was cut short, and Badger removes them. It returns the highest version in any.
func checkTables(opt badger.Options, manifest badger.Manifest) (newest uint64, err error) {
	ids := make(chan uint64)
	var mu sync.Mutex
	var failure error
	seen := make(map[uint64]uint64) // tables by the hash of their octets
	var readers sync.WaitGroup
	for range 2 { // as many as it takes to keep the disk busy while the other counts
		readers.Go(func() {
			var b []byte
			bulk := giveway.Begin()
			for id := range ids {
				var version uint64
				var err error
				b, version, err = checkTable(opt, id, manifest.Tables[id], b)
				sum := xxhash.Sum64(b)
				mu.Lock()
				newest = max(newest, version)
				if other, ok := seen[sum]; ok && err == nil {
					err = fmt.Errorf("it is the same as table %d", other)
				}
				seen[sum] = id
				if err != nil && failure == nil {
					failure = fmt.Errorf("table %s: %w", filepath.Base(table.NewFilename(id, "")), err)
				}
				mu.Unlock()
				bulk.Pause(context.Background())
			}
		})
	}
	for id := range manifest.Tables {
		mu.Lock()
		failed := failure != nil
		mu.Unlock()
		if failed {
			break
		}
		ids <- id
	}
	close(ids)
	readers.Wait()
	return newest, failure
}

// checkTable reads into a buffer, and returns it to be used again.
func checkTable(opt badger.Options, id uint64, tm badger.TableManifest, buf []byte) (b []byte, newest uint64, err error) {
	b, err = readInto(buf, table.NewFilename(id, opt.Dir))
	if err != nil {
		return buf, 0, err
	}
	defer func() {
		if p := recover(); p != nil {
			// The first line: what follows are Badger's own notes.
			text, _, _ := strings.Cut(fmt.Sprint(p), "\n")
			err = fmt.Errorf("it is damaged: %s", text)
		}
	}()
	t, err := table.OpenInMemoryTable(b, id, &table.Options{BlockSize: opt.BlockSize, Compression: tm.Compression})
	if err != nil {
		return b, 0, err
	}
	return b, t.MaxVersion(), t.VerifyChecksum()
}

// readInto reads a whole file, into a buffer if it is large enough.
func readInto(buf []byte, path string) (b []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := int(info.Size())
	if size > cap(buf) {
		buf = make([]byte, size+size/8)
	}
	_, err = io.ReadFull(f, buf[:size])
	return buf[:size], err
}
