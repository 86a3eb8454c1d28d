// Package durable writes small files so that they are there after a power cut.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Suffix is of a file that is not whole yet: see [Replace].
const Suffix = ".new"

// Replace makes content that of the file at path, which only its owner can read: a crash leaves the one before or this one,
// whole, and maybe another beside it whose name has the Suffix. When it returns nil it stays.
func Replace(path string, content []byte) error {
	if err := Write(path+Suffix, content); err != nil {
		return err
	}
	if err := os.Rename(path+Suffix, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Write writes a file through to the disk. Its name is there for good after [SyncDir]; a crash before may leave
// part of it.
func Write(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// SyncDir makes it last what names a directory has.
func SyncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
