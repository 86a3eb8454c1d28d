package readmodel

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
)

// A pointer is a line of names and the checksum of them: a flipped bit must not make it name another generation, which
// may well be there.
//
//	current     the live generation
//	previous    the one that was live before it, and the one before that: while the first of them is the
//	            live one still, since a kill came between the two files, it is the second that can be gone back to

// Current is the live generation, or ErrNoGeneration.
func (d Dir) Current() (string, error) {
	names, err := d.pointer(pointerCurrent)
	if err != nil {
		return "", err
	}
	return d.there(names[0])
}

// Previous is the generation that was live before the current one, and can be again; ErrNoGeneration where there
// is none.
func (d Dir) Previous() (string, error) {
	names, err := d.pointer(pointerPrevious)
	if err != nil {
		return "", err
	}
	if current, err := d.Current(); err == nil && current == names[0] {
		if names = names[1:]; len(names) == 0 || names[0] == current {
			return "", fmt.Errorf("%w: none was live before %s", ErrNoGeneration, current)
		}
	}
	return d.there(names[0])
}

// Candidates are the generations that a node may serve that starts, in the order in which it should try them: the
// live one and the one before. Where the pointer to the live one is lost or damaged, or that to the one before is, all that there are: each of them
// was whole when it got its name. The newest is then the likeliest, but for the one that was live before.
func (d Dir) Candidates() ([]string, error) {
	current, err := d.Current()
	if err != nil && !errors.Is(err, ErrNoGeneration) {
		return nil, err
	}
	previous, err := d.Previous()
	if err != nil && !errors.Is(err, ErrNoGeneration) {
		return nil, err
	}
	names := []string{current}
	if current == "" || d.previousUnknown() {
		all, err := d.list()
		if err != nil {
			return nil, err
		}
		slices.SortFunc(all, func(a, b string) int { return numberOf(b) - numberOf(a) })
		names = append(names, slices.DeleteFunc(all, func(name string) bool { return name == current })...)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == previous || !generationName.MatchString(name) })
	if previous != "" {
		names = append(names, previous)
	}
	return names, nil
}

// previousUnknown tells that there was a generation before the live one, and that it cannot be told which.
func (d Dir) previousUnknown() bool {
	_, err := d.pointer(pointerPrevious)
	return errors.Is(err, errPointerDamaged)
}

// SetCurrent makes a generation the live one, and the one that was live the previous one. After a crash
// the pointer names either the one before or this one, whole.
func (d Dir) SetCurrent(generation string) error {
	return d.point(generation, d.setCurrent(generation))
}

// Replace makes a generation the live one in the place of one that cannot be used: what was live before
// that stays the one that can be gone back to.
func (d Dir) Replace(generation string) error {
	return d.point(generation, d.write(pointerCurrent, pointerTo(generation)))
}

func (d Dir) point(generation string, steps []step) error {
	if err := run(steps); err != nil {
		return fmt.Errorf("point the region to %s: %w", generation, err)
	}
	return nil
}

func (d Dir) setCurrent(generation string) []step {
	var steps []step
	if before, err := d.Current(); err == nil && before != generation {
		names := []string{before}
		if previous, err := d.Previous(); err == nil {
			names = append(names, previous)
		}
		steps = d.write(pointerPrevious, pointerTo(names...)) // first, so that the one before is never without a pointer
	}
	return append(steps, d.write(pointerCurrent, pointerTo(generation))...)
}

var errPointerDamaged = errors.New("is damaged")

func pointerTo(names ...string) string {
	line := strings.Join(names, " ")
	return fmt.Sprintf("%s %08x\n", line, crc32.ChecksumIEEE([]byte(line)))
}

// pointer reads the names that a pointer has: one at least.
func (d Dir) pointer(file string) ([]string, error) {
	b, err := os.ReadFile(d.Path(file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoGeneration
	}
	if err != nil {
		return nil, fmt.Errorf("read the region's pointer: %w", err)
	}
	words := strings.Fields(string(b))
	names := words[:max(0, len(words)-1)]
	bad := slices.ContainsFunc(names, func(name string) bool { return !generationName.MatchString(name) })
	if len(names) == 0 || bad || string(b) != pointerTo(names...) {
		return nil, fmt.Errorf("%w: %s %w: it says %.100q", ErrNoGeneration, d.Path(file), errPointerDamaged, b)
	}
	return names, nil
}

// there makes sure that a generation is.
func (d Dir) there(name string) (string, error) {
	if _, err := os.Stat(d.Path(name)); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s is gone", ErrNoGeneration, d.Path(name))
	}
	return name, nil
}

var anyName = regexp.MustCompile(`gen-[0-9]{4,}`)

// named are the generations that the files beside them name, whether they are there or not, and whether the file is whole or not.
func (d Dir) named() (names []string) {
	for _, file := range []string{pointerCurrent, pointerPrevious, startsFile} {
		b, err := os.ReadFile(d.Path(file))
		if err == nil {
			names = append(names, anyName.FindAllString(string(b), -1)...)
		}
	}
	return names
}
