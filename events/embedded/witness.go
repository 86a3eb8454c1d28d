package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
)

// witnessFile says how far the log has been at least, and whose it is. Badger takes damage at
// the end of one of its logs for a write that a crash tore, and goes on without what stood behind it; a
// store that has become shorter or empty in that way must not open as if all were well.
const witnessFile = "HEAD"

const witnessForm = "store %s has events up to position %d\n"

type witness struct {
	id       uuid.UUID
	position uint64
}

// readWitness is the zero witness where there is none yet.
func readWitness(dir string) (witness, error) {
	text, err := os.ReadFile(filepath.Join(dir, witnessFile))
	if errors.Is(err, fs.ErrNotExist) {
		return witness{}, nil
	}
	if err != nil {
		return witness{}, fmt.Errorf("open event store: %w", err)
	}
	var id string
	var w witness
	if _, err = fmt.Sscanf(string(text), witnessForm, &id, &w.position); err == nil {
		w.id, err = uuid.Parse(id)
	}
	if err != nil {
		return witness{}, damaged(dir, fmt.Errorf("its file %s: %w", witnessFile, err))
	}
	return w, nil
}

func (w witness) write(dir string) error {
	return writeFile(dir, witnessFile, fmt.Sprintf(witnessForm, w.id, w.position))
}
