package readmodel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

const startsFile = "starts"

// Started counts a start on a generation, and says how many there were in a row, with this one, after none of which
// the node has come to rest: see [Dir.Settled]. Three mean that it is the generation that ends the process.
func (d Dir) Started(generation string) (int, error) {
	n, err := d.starts(generation)
	if err == nil {
		n++
		err = run(d.write(startsFile, fmt.Sprintf("%s %d\n", generation, n)))
	}
	if err != nil {
		return 0, fmt.Errorf("count the starts on %s: %w", generation, err)
	}
	return n, nil
}

// Settled notes that a node has come to rest on a generation: the next start is the first again.
func (d Dir) Settled(generation string) error {
	n, err := d.starts(generation)
	if err == nil && n > 0 {
		err = run(d.write(startsFile, generation+" 0\n"))
	}
	if err != nil {
		return fmt.Errorf("note that %s has settled: %w", generation, err)
	}
	return nil
}

// starts is what the file says of a generation. Of another one, or damaged, it says nothing.
func (d Dir) starts(generation string) (int, error) {
	b, err := os.ReadFile(d.Path(startsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var name string
	var n int
	if read, _ := fmt.Sscanf(string(b), "%s %d\n", &name, &n); read == 2 && name == generation && n >= 0 && n < 1000 {
		return n, nil
	}
	return 0, nil
}
