package readmodel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// ErrNoGeneration says that a region's directory points to no generation: it is new, or was
// emptied. Build one from the store.
var ErrNoGeneration = errors.New("the region has no read model yet")

// Dir is a region's directory: its generations, gen-0001, gen-0002 …, and the file "current",
// which names the live one. Each is a complete build of the read model; a build that has not
// become current was not finished.
type Dir string

const pointer = "current"

var generationName = regexp.MustCompile(`^gen-([0-9]{4,})$`)

// Path is where a generation is.
func (d Dir) Path(generation string) string { return filepath.Join(string(d), generation) }

// Current is the live generation, or ErrNoGeneration.
func (d Dir) Current() (string, error) {
	b, err := os.ReadFile(d.Path(pointer))
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoGeneration
	}
	if err != nil {
		return "", fmt.Errorf("read the region's pointer: %w", err)
	}
	name := strings.TrimSpace(string(b))
	if !generationName.MatchString(name) {
		return "", fmt.Errorf("%w: %s says %q", ErrNoGeneration, d.Path(pointer), name)
	}
	if _, err := os.Stat(d.Path(name)); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s is gone", ErrNoGeneration, d.Path(name))
	}
	return name, nil
}

// SetCurrent makes a generation the live one. After a crash the pointer names either the one
// before or this one, whole.
func (d Dir) SetCurrent(generation string) error {
	tmp := d.Path(pointer + ".new")
	if err := writeSynced(tmp, generation+"\n"); err != nil {
		return fmt.Errorf("point the region to %s: %w", generation, err)
	}
	if err := os.Rename(tmp, d.Path(pointer)); err != nil {
		return fmt.Errorf("point the region to %s: %w", generation, err)
	}
	return syncDir(string(d))
}

// Next is the name for a new generation: one more than the highest there is.
func (d Dir) Next() (string, error) {
	names, err := d.generations()
	if err != nil {
		return "", err
	}
	highest := 0
	for _, name := range names {
		n, err := strconv.Atoi(generationName.FindStringSubmatch(name)[1])
		if err == nil {
			highest = max(highest, n)
		}
	}
	return fmt.Sprintf("gen-%04d", highest+1), nil
}

// Clean removes every generation but those named: what a build that was cut short or
// replaced has left.
func (d Dir) Clean(keep ...string) error {
	names, err := d.generations()
	if err != nil {
		return err
	}
	for _, name := range names {
		kept := false
		for _, k := range keep {
			kept = kept || k == name
		}
		if kept {
			continue
		}
		if err := os.RemoveAll(d.Path(name)); err != nil {
			return fmt.Errorf("remove the old generation %s: %w", name, err)
		}
	}
	return nil
}

func (d Dir) make() error {
	if err := os.MkdirAll(string(d), 0o750); err != nil {
		return fmt.Errorf("make the region's directory: %w", err)
	}
	return nil
}

func (d Dir) generations() ([]string, error) {
	if err := d.make(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, fmt.Errorf("list the region's generations: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && generationName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func writeSynced(path, content string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// syncDir makes a rename in the directory durable.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
