package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tenantry/tenantry/internal/durable"
)

// format is the version of the layout in doc.go. Raise it with any change that a program
// of before would misread.
const format = 1

// formatFile says in plain text what a directory holds. It is a file and not a key, so that it
// can be read whatever the rest is written with.
const formatFile = "FORMAT"

const formatLine = "tenantry event store, format "

// prepare makes the directory where there is none, and otherwise checks that it holds an
// event store that this program can read.
func prepare(dir string) error {
	if dir == "" {
		return errors.New("open event store: no directory is given")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("open event store: %w", err)
	}
	path := filepath.Join(dir, formatFile)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return mark(dir)
	case err != nil:
		return fmt.Errorf("open event store: %w", err)
	}
	number, ours := strings.CutPrefix(strings.TrimSpace(string(text)), formatLine)
	found, err := strconv.Atoi(number)
	switch {
	case !ours || err != nil || found < 1:
		return damaged(dir, fmt.Errorf("its file %s does not say what it is", formatFile))
	case found > format:
		return fmt.Errorf("%w: %s has format %d, this program reads up to %d: run the newer version again", ErrNewer, dir, found, format)
	}
	return nil
}

// mark writes the format file into an empty directory. It comes before anything else is
// written, and appears whole or not at all, so a crash leaves an empty directory or a
// store without events.
func mark(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("open event store: %w", err)
	}
	for _, e := range entries {
		if e.Name() != formatFile+durable.Suffix {
			return fmt.Errorf("open event store: %s holds other files (%s) and no event store: give an empty directory", dir, e.Name())
		}
	}
	return writeFile(dir, formatFile, fmt.Sprintf("%s%d\n", formatLine, format))
}

// writeFile replaces a file of the directory as a whole and for good.
func writeFile(dir, name, text string) error {
	if err := durable.Replace(filepath.Join(dir, name), []byte(text)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
