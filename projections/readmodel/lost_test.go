package readmodel_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tenantry/tenantry/projections/readmodel"
)

func TestModel_WhoseFilesAreDeletedWhileItIsOpen_SaysWhich(t *testing.T) {
	for name, lose := range map[string]func(dir string) error{
		"a table": func(dir string) error {
			tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
			if err != nil || len(tables) == 0 {
				return errors.Join(err, errors.New("there is no table"))
			}
			return os.Remove(tables[0])
		},
		"the manifest": func(dir string) error { return os.Remove(filepath.Join(dir, "MANIFEST")) },
		"all":          os.RemoveAll,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := open(t, dir)
			update(t, m, func(tx *readmodel.Tx) error {
				tx.Progress().Partitions = make([]readmodel.Partition, 1)
				return nil
			})
			if err := m.Close(); err != nil { // which writes a table
				t.Fatal(err)
			}
			m, err := readmodel.Open(readmodel.Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Lost(); err != nil {
				t.Errorf("while all is there: %v", err)
			}
			update(t, m, func(tx *readmodel.Tx) error { tx.Progress().Complete = true; return nil }) // to be written at the end
			if err := lose(dir); err != nil {
				t.Fatal(err)
			}
			if err := m.Lost(); !errors.Is(err, readmodel.ErrLost) {
				t.Errorf("got %v, want ErrLost", err)
			}
			if err := m.Close(); errors.Is(err, readmodel.ErrLost) != (name == "all") {
				t.Errorf("close: got %v", err)
			}
			if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) != (name == "all") {
				t.Errorf("closing it has left or removed the directory: %v", err)
			}
		})
	}
}

func TestModel_WhoseDirectoryIsAnothersByNow_WritesNothingIntoIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gen-0001")
	m := open(t, dir)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := m.Update(func(*readmodel.Tx) error { return nil }); !errors.Is(err, readmodel.ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("there are %v in it, %v", left, err)
	}
	if err := errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)); err != nil { // so that it can be closed
		t.Fatal(err)
	}
}
