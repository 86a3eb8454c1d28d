package readmodel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tenantry/tenantry/internal/durable"
)

// ErrNoGeneration says that a region's directory points to no generation: it is new, or was
// emptied. Build one from the store.
var ErrNoGeneration = errors.New("the region has no read model yet")

// Dir is a region's directory. It has
//
//	gen-0001/ …           generations: each a complete build of the read model
//	gen-0002.building/    one that is being built; the name can never be the pointer's
//	gen-0003.removed/     one that is being removed
//	current, previous     which generation is the live one, and which was it before: see pointer.go
//	starts                how often the live one was opened in a row without coming to rest
//	replay.lock           locked by whoever builds a generation: see [Dir.ReplayLock]
//	holder                who took the directory last: see [Dir.Lock]
//
// Whoever changes anything here holds [Dir.Lock], or, for what is being built, [Dir.ReplayLock].
// A kill between any two steps leaves what the next start understands, and [Dir.Tidy] removes what is
// not needed.
type Dir string

const (
	pointerCurrent  = "current"
	pointerPrevious = "previous"

	suffixBuilding = ".building"
	suffixRemoved  = ".removed"
	suffixNew      = ".new" // of a file that takes the place of another
)

var (
	generationName = regexp.MustCompile(`^gen-([0-9]{4,})$`)
	buildingName   = regexp.MustCompile(`^gen-([0-9]{4,})\.building$`)
	removedName    = regexp.MustCompile(`^gen-([0-9]{4,})(\.building)?\.removed$`)
)

// Path is where a generation is.
func (d Dir) Path(generation string) string { return filepath.Join(string(d), generation) }

// Next is the name for a new generation: one more than the highest that there is, is being built, or is named by
// what stands beside. One that was deleted may be open in a node all the same, which would take another of its name for it.
func (d Dir) Next() (string, error) {
	entries, err := d.list()
	if err != nil {
		return "", err
	}
	highest := 0
	for _, name := range append(entries, d.named()...) {
		highest = max(highest, numberOf(name))
	}
	return fmt.Sprintf("gen-%04d", highest+1), nil
}

// Building makes an empty directory for a generation that is to be built, and says its name. Hold
// [Dir.ReplayLock] until it is promoted or removed.
func (d Dir) Building() (string, error) {
	next, err := d.Next()
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(d.Path(next+suffixBuilding), 0o700); err != nil {
		return "", fmt.Errorf("make the directory of a new generation: %w", err)
	}
	return next + suffixBuilding, nil
}

// Promote makes what was built a generation, which can become the current one. It must be closed and durable.
func (d Dir) Promote(building string) (generation string, err error) {
	if !buildingName.MatchString(building) {
		return "", fmt.Errorf("promote %q: this is not being built", building)
	}
	generation = strings.TrimSuffix(building, suffixBuilding)
	if err := run(d.promote(building, generation)); err != nil {
		return "", fmt.Errorf("promote %s: %w", building, err)
	}
	return generation, nil
}

func (d Dir) promote(building, generation string) []step {
	return []step{
		func() error { return os.Rename(d.Path(building), d.Path(generation)) },
		func() error { return durable.SyncDir(string(d)) },
	}
}

// Remove removes a generation, or one that was being built. Nobody may have it open. A crash leaves
// it whole, or under a name that no pointer can have.
func (d Dir) Remove(name string) error {
	if !generationName.MatchString(name) && !buildingName.MatchString(name) && !removedName.MatchString(name) {
		return fmt.Errorf("remove %q: this is no name of a generation", name)
	}
	if err := run(d.remove(name)); err != nil {
		return fmt.Errorf("remove the generation %s: %w", name, err)
	}
	return nil
}

func (d Dir) remove(name string) []step {
	if removedName.MatchString(name) {
		return []step{func() error { return os.RemoveAll(d.Path(name)) }}
	}
	removed := d.Path(name + suffixRemoved)
	return []step{
		func() error { return os.RemoveAll(removed) }, // of one of the same name that was cut short
		func() error {
			err := os.Rename(d.Path(name), removed)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		},
		func() error { return os.RemoveAll(removed) },
	}
}

// Clean removes every generation but those named: what a build that was cut short or
// replaced has left. What is being built it leaves alone.
func (d Dir) Clean(keep ...string) error {
	entries, err := d.list()
	if err != nil {
		return err
	}
	for _, name := range entries {
		if buildingName.MatchString(name) || slices.Contains(keep, name) {
			continue
		}
		if err := d.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// Tidy removes what no pointer names, and says what: what was left by a process that was killed, and
// generations that were replaced. The current and the previous one stay, and all where it is not known which these
// are. While somebody holds [Dir.ReplayLock], what
// is being built stays too, and any generation newer than the current one, which is about to be that.
func (d Dir) Tidy() (removed []string, err error) {
	entries, err := d.list()
	if err != nil {
		return nil, err
	}
	// Where a pointer cannot be read nothing may be removed that it might name.
	current, err := d.Current()
	if err != nil && !errors.Is(err, ErrNoGeneration) {
		return nil, err
	}
	previous, err := d.Previous()
	if err != nil && !errors.Is(err, ErrNoGeneration) {
		return nil, err
	}
	building := true
	unlock, err := d.ReplayLock()
	switch {
	case err == nil:
		building = false
		defer func() { err = errors.Join(err, unlock()) }()
	case !errors.Is(err, ErrReplaying):
		return nil, err
	}
	unknown := current == "" || d.previousUnknown()
	for _, name := range entries {
		newer := buildingName.MatchString(name) || numberOf(name) > numberOf(current)
		if name == current || name == previous || unknown && generationName.MatchString(name) || building && newer && !removedName.MatchString(name) {
			continue
		}
		if err := d.Remove(name); err != nil {
			return removed, err
		}
		removed = append(removed, name)
	}
	for _, pointer := range []string{pointerCurrent, pointerPrevious, startsFile} {
		if err := os.Remove(d.Path(pointer + suffixNew)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("tidy the region's directory: %w", err)
		}
	}
	return removed, nil
}

func (d Dir) make() error {
	if err := os.MkdirAll(string(d), 0o750); err != nil {
		return fmt.Errorf("make the region's directory: %w", err)
	}
	return nil
}

// list is every generation, in whatever state, by name.
func (d Dir) list() ([]string, error) {
	if err := d.make(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, fmt.Errorf("list the region's generations: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && numberOf(e.Name()) > 0 {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// numberOf is the number of a generation, 0 of what is none.
func numberOf(name string) int {
	for _, pattern := range []*regexp.Regexp{generationName, buildingName, removedName} {
		if m := pattern.FindStringSubmatch(name); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

// step is one change of the directory that a kill comes before or after. Operations are lists
// of them, so that a test can end after each.
type step func() error

func run(steps []step) error {
	for _, s := range steps {
		if err := s(); err != nil {
			return err
		}
	}
	return nil
}

// write puts a file in the place of another, if there is one, whole and durable.
func (d Dir) write(name, content string) []step {
	path := d.Path(name)
	return []step{
		func() error { return durable.Write(path+suffixNew, []byte(content)) },
		func() error { return os.Rename(path+suffixNew, path) },
		func() error { return durable.SyncDir(string(d)) },
	}
}
