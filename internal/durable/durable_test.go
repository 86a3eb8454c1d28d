package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestReplace_LeavesTheNewContentAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, content := range []string{"long, and then shorter", "short", ""} {
		if err := Replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("got %q, %v, want %q", got, err, content)
		}
	}
	// One that a crash left half written is no hindrance.
	if err := os.WriteFile(path+Suffix, []byte("much longer than what is written over it"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("beside it there are %v, %v", entries, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != 3 || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want 3 octets that only the owner can read", info, err)
	}
}

func TestReplace_ThatCannotBeDone_LeavesTheOneBefore(t *testing.T) {
	if err := Replace(filepath.Join(t.TempDir(), "none", "file"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v", err)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := Replace(path, []byte("before")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(path+Suffix, 0o700); err != nil { // it cannot be written there
		t.Fatal(err)
	}
	if err := Replace(path, []byte("after")); err == nil {
		t.Error("no error")
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "before" {
		t.Errorf("got %q, %v", got, err)
	}
}
