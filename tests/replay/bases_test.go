package replay

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
	compression "github.com/dgraph-io/badger/v4/options"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// base is a region's directory that every round begins with a copy of.
type base struct {
	name    string
	files   map[string]file
	records map[string]string // of its generation, every one
}

// file is one of a directory: its octets, and the zeros that follow them. Badger's logs are mostly those.
type file struct {
	octets []byte
	size   int64
}

const partitions = 4

// bases are the same region as it comes about in three ways.
func (c *catalogue) bases() []*base {
	return []*base{
		c.base("built from the store", func(dir readmodel.Dir) (file func()) {
			c.build(dir)
			return func() {}
		}),
		c.base("folded event by event", func(dir readmodel.Dir) func() {
			m := c.folded(dir, c.log)
			if err := m.Close(); err != nil {
				c.t.Fatal(err)
			}
			return func() {}
		}),
		// What a node leaves that was killed: the tail is in Badger's log, and in no table.
		c.base("killed while it folded", func(dir readmodel.Dir) func() {
			m := c.folded(dir, c.log[:len(c.log)/2])
			if err := m.Close(); err != nil {
				c.t.Fatal(err)
			}
			if m = c.open(dir.Path("gen-0001")); m != nil {
				c.foldInto(m, c.log)
			}
			return func() {
				if err := m.Close(); err != nil {
					c.t.Fatal(err)
				}
			}
		}),
	}
}

func (c *catalogue) base(name string, build func(readmodel.Dir) func()) *base {
	c.t.Helper()
	dir := readmodel.Dir(c.t.TempDir())
	done := build(dir)
	if err := dir.SetCurrent("gen-0001"); err != nil {
		c.t.Fatal(err)
	}
	b := &base{name: name, files: read(c.t, string(dir))}
	done()
	again := readmodel.Dir(c.t.TempDir())
	b.write(c.t, string(again))
	b.records = records(c.t, again.Path("gen-0001"))
	return b
}

func (c *catalogue) build(dir readmodel.Dir) {
	c.t.Helper()
	if _, err := projections.Build(c.t.Context(), projections.BuildConfig{
		Source: c.store.Whole, Dir: dir.Path("gen-0001"), Partitions: partitions, Workers: 2,
	}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *catalogue) open(path string) *readmodel.Model {
	c.t.Helper()
	m, err := readmodel.Open(readmodel.Config{Dir: path, CacheBytes: 1 << 20})
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// folded is an open model that came about as a node makes it.
func (c *catalogue) folded(dir readmodel.Dir, log []events.Event) *readmodel.Model {
	c.t.Helper()
	head, err := c.store.Head(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	m := c.open(dir.Path("gen-0001"))
	if err := m.Begin(head.StoreID, partitions); err != nil {
		c.t.Fatal(err)
	}
	c.foldInto(m, log)
	return m
}

// foldInto folds what a model does not have yet of a log.
func (c *catalogue) foldInto(m *readmodel.Model, log []events.Event) {
	c.t.Helper()
	if err := catchUp(m, log); err != nil {
		c.t.Fatal(err)
	}
}

func catchUp(m *readmodel.Model, log []events.Event) error {
	end := uint64(len(log))
	for batch := range slices.Chunk(log, 50) {
		if err := m.Update(func(tx *readmodel.Tx) error {
			for _, e := range batch {
				part := &tx.Progress().Partitions[events.Partition(e.Stream.String(), partitions)]
				if e.Position <= part.Position {
					continue
				}
				if err := fold(tx, e); err != nil {
					return err
				}
				part.Applied(e)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return m.Update(func(tx *readmodel.Tx) error {
		tx.Progress().Complete = true
		for i := range tx.Progress().Partitions {
			part := &tx.Progress().Partitions[i]
			part.Position = max(part.Position, end)
		}
		return nil
	})
}

func fold(tx *readmodel.Tx, e events.Event) error {
	if id, ok := e.Stream.Database(); ok {
		d, err := tx.Database(id)
		if err == nil {
			d, err = d.Apply(e)
		}
		if err == nil {
			tx.PutDatabase(d)
		}
		return err
	}
	if id, ok := e.Stream.Group(); ok {
		g, err := tx.Group(id)
		if err == nil {
			g, err = g.Apply(e)
		}
		if err == nil {
			tx.PutGroup(g)
		}
		return err
	}
	id, _ := e.Stream.Tenant()
	t, err := tx.Tenant(id)
	if err == nil {
		t, err = t.Apply(e)
	}
	if err == nil {
		err = tx.PutTenant(t)
	}
	return err
}

// read reads a directory with all that is below it.
func read(t *testing.T, dir string) map[string]file {
	t.Helper()
	files := make(map[string]file)
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		size := int64(len(b))
		for len(b) > 0 && b[len(b)-1] == 0 {
			b = b[:len(b)-1]
		}
		files[name] = file{octets: slices.Clone(b), size: size}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return files
}

// keep has a file of a directory in all copies that are made from now on.
func (b *base) keep(t *testing.T, dir, name string) {
	t.Helper()
	f, there := read(t, dir)[name]
	if !there {
		t.Fatalf("%s has no %s", dir, name)
	}
	b.files[name] = f
}

// write makes a copy of the directory, with holes where there are zeros.
func (b *base) write(t *testing.T, dir string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		f, path := b.files[name], filepath.Join(dir, name)
		if err := errors.Join(
			os.MkdirAll(filepath.Dir(path), 0o700),
			os.WriteFile(path, f.octets, 0o600),
			os.Truncate(path, f.size),
		); err != nil {
			t.Fatal(err)
		}
	}
}

// raw opens a generation's Badger behind the back of package readmodel.
func raw(t *testing.T, path string) *badger.DB {
	t.Helper()
	db, err := badger.Open(badger.DefaultOptions(path).WithLogger(nil).WithCompression(compression.None).
		WithMemTableSize(5 << 20).WithValueThreshold(700 << 10).WithValueLogFileSize(16 << 20).WithDetectConflicts(false).
		WithBlockCacheSize(0).WithNumMemtables(1).WithNumCompactors(2).WithMetricsEnabled(false))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// records are all that a generation holds.
func records(t *testing.T, path string) map[string]string {
	t.Helper()
	db := raw(t, path)
	all, err := recordsOf(db)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return all
}

func recordsOf(db *badger.DB) (map[string]string, error) {
	all := make(map[string]string)
	err := db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			value, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			all[string(it.Item().Key())] = string(value)
		}
		return nil
	})
	return all, err
}
