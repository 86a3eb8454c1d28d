package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
)

func open(t *testing.T, cfg embedded.Config) *embedded.Store {
	t.Helper()
	cfg.Logger = quiet()
	s, err := embedded.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t *testing.T, s *embedded.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// wantRefusal wants Open to fail with one line that an operator can act on.
func wantRefusal(t *testing.T, cfg embedded.Config, want error, words ...string) {
	t.Helper()
	cfg.Logger = quiet()
	s, err := embedded.Open(t.Context(), cfg)
	if err == nil {
		closeStore(t, s)
		t.Fatal("open: got a store, want an error")
	}
	if want != nil && !errors.Is(err, want) {
		t.Errorf("open: got %q, want %q", err, want)
	}
	for _, w := range append(words, cfg.Dir) {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("open: the error %q does not name %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("open: the error has more than one line:\n%s", err)
	}
}

func TestOpen_DirectoryInUse_SaysSoInOneLineAndHarmsNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, embedded.Config{Dir: dir})
	fill(t, s, 10)
	wantRefusal(t, embedded.Config{Dir: dir}, embedded.ErrInUse, "stop that process")
	if _, err := s.Append(t.Context(), registration(t, 10)); err != nil {
		t.Errorf("append while another wanted the directory: %v", err)
	}
	closeStore(t, s)
	open(t, embedded.Config{Dir: dir})
}

func TestOpen_DirectoryOfANewerVersion_IsRefusedAndLeftAsItIs(t *testing.T) {
	dir := t.TempDir()
	closeStore(t, open(t, embedded.Config{Dir: dir}))
	path := filepath.Join(dir, "FORMAT")
	current, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(current), "tenantry event store, format 1\n"; got != want {
		t.Fatalf("FORMAT: got %q, want %q", got, want)
	}
	if err := os.WriteFile(path, []byte("tenantry event store, format 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := contents(t, dir)
	wantRefusal(t, embedded.Config{Dir: dir}, embedded.ErrNewer, "format 2", "newer version")
	if after := contents(t, dir); after != before {
		t.Errorf("the directory changed from\n%s\nto\n%s", before, after)
	}
	if err := os.WriteFile(path, current, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, embedded.Config{Dir: dir})
}

// contents lists a directory's files with their sizes.
func contents(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, e.Name(), info.Size())
	}
	return b.String()
}

func TestOpen_DirectoryWithOtherFiles_IsRefusedAndLeftAsItIs(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "holiday.jpg"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, embedded.Config{Dir: dir}, nil, "holiday.jpg", "empty directory")
	if got, want := contents(t, dir), "holiday.jpg 1\n"; got != want {
		t.Errorf("directory: got %q, want %q", got, want)
	}
}

func TestOpen_NoDirectoryOrAFile_IsRefused(t *testing.T) {
	wantRefusal(t, embedded.Config{}, nil, "no directory")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, embedded.Config{Dir: file}, nil)
}

func TestOpen_ContextThatHasEnded_OpensNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := embedded.Open(ctx, embedded.Config{Dir: dir, Logger: quiet()}); !errors.Is(err, context.Canceled) {
		t.Errorf("open: got %v, want the context's error", err)
	}
	if got := contents(t, dir); got != "" {
		t.Errorf("directory: got %q", got)
	}
}

func TestOpen_CrashBeforeTheFirstCommit_OpensAnEmptyStore(t *testing.T) {
	for _, left := range []map[string]string{
		{"FORMAT.new": "tenantry ev"},
		{"FORMAT": "tenantry event store, format 1\n"},
		{"FORMAT": "tenantry event store, format 1\n", "FORMAT.new": ""},
	} {
		dir := t.TempDir()
		for name, text := range left {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		head, err := open(t, embedded.Config{Dir: dir}).Head(t.Context())
		if err != nil || head.Position != 0 {
			t.Errorf("%v: head: got %+v, %v", left, head, err)
		}
	}
}

// TestOpen_DamagedDirectory_IsRefused spoils one file after the other of a store that was
// closed. None may open as if all were well.
func TestOpen_DamagedDirectory_IsRefused(t *testing.T) {
	whole := t.TempDir()
	s := open(t, embedded.Config{Dir: whole})
	fill(t, s, 2000)
	closeStore(t, s)
	s = open(t, embedded.Config{Dir: whole}) // so that there are two tables
	for _, r := range s.AppendAll(t.Context(), []events.Batch{registration(t, 2000), registration(t, 2001)}) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	closeStore(t, s)

	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 0x40
		return b
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	for _, c := range []struct {
		name, files string
		spoil       func([]byte) []byte // nil: remove
	}{
		{"a table is missing", "*.sst", nil},
		{"a table is cut", "*.sst", half},
		{"a table is empty", "*.sst", func([]byte) []byte { return nil }},
		{"a bit of a table is flipped", "*.sst", flip},
		{"the list of tables is missing", "MANIFEST", nil},
		{"the list of tables is cut", "MANIFEST", half},
		{"the list of tables is empty", "MANIFEST", func([]byte) []byte { return nil }},
		{"a bit of the list of tables is flipped", "MANIFEST", flip},
		{"the list of tables is no such list", "MANIFEST", func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) }},
		{"the format is garbage", "FORMAT", flip},
		{"the format is empty", "FORMAT", func([]byte) []byte { return nil }},
		{"the witness is garbage", "HEAD", func([]byte) []byte { return []byte("x") }},
		{"the witness is another store's", "HEAD", func([]byte) []byte {
			return []byte("store 6ba7b810-9dad-11d1-80b4-00c04fd430c8 has events up to position 1\n")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			names, err := filepath.Glob(filepath.Join(whole, c.files))
			if err != nil || len(names) == 0 {
				t.Fatalf("no file %s: %v", c.files, err)
			}
			for _, name := range names { // one at a time
				dir := filepath.Join(t.TempDir(), "copy")
				if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, filepath.Base(name))
				if c.spoil == nil {
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
				} else {
					text, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, c.spoil(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				wantRefusal(t, embedded.Config{Dir: dir}, embedded.ErrDamaged, "backup")
			}
		})
	}
}
