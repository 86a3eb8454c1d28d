package commands

import (
	"context"
	"errors"
	"fmt"

	"github.com/tenantry/tenantry/events"
)

// ImportStatus is what became of one line of an import.
type ImportStatus string

// The statuses of an import's lines.
const (
	ImportCreated   ImportStatus = "created"
	ImportUnchanged ImportStatus = "unchanged" // it exists, and all that the line gives is so
	ImportConflict  ImportStatus = "conflict"  // it exists with other content, or a hostname is another's
	ImportInvalid   ImportStatus = "invalid"   // the line is at fault
	// ImportFailed: the store could not take the line. The outcome is unknown ([events.ErrUnknownOutcome]
	// says so), unless Err is an [events.ErrUnavailable]; the same line may be imported again.
	ImportFailed ImportStatus = "failed"
)

// ImportResult is what became of one line. Err is nil for created and unchanged, the store's
// error for failed, and else a [*Refusal].
type ImportResult struct {
	ID     events.StreamID
	Status ImportStatus
	Err    error
}

// importChunk is how many lines are appended at once: enough for a store to group them in
// one commit, few enough to cost little memory.
const importChunk = 512

// ImportAll carries out many [RegisterTenant], [RegisterDatabase] and [CreateGroup], in this
// order: a later line sees what an earlier one did. It has one result a line. A line that is
// refused takes nothing. meta is for all of them.
//
// Between two lines others may change the catalogue. A line that has to be decided anew for
// that reason is carried out after the others of its chunk.
func (h *Handler) ImportAll(ctx context.Context, meta events.Metadata, lines []Command) []ImportResult {
	results := make([]ImportResult, len(lines))
	for i, c := range lines {
		results[i].ID = c.Target()
	}
	if err := checkRequest(Request{Meta: meta}); err != nil {
		for i := range results {
			results[i].settle(err)
		}
	} else {
		run := importing{h: h, meta: meta, known: make(map[events.StreamID]state), ours: make(map[events.StreamID]bool)}
		for start := 0; start < len(lines); start += importChunk {
			end := min(start+importChunk, len(lines))
			run.chunk(ctx, lines[start:end], results[start:end])
		}
	}
	return results
}

// importing is one call of ImportAll.
type importing struct {
	h    *Handler
	meta events.Metadata
	// known are the databases and groups that lines refer to, as they were when first looked
	// at, or as they will be once the lines before have been appended. That they still are
	// is for the store to check, when a tenant is appended that refers to them.
	known map[events.StreamID]state
	// ours are those of known that lines of this import register. Whether they could be, and
	// whether a second line for one agrees, the store has the last word.
	ours map[events.StreamID]bool
}

// chunk imports lines, and fills in their results.
func (run *importing) chunk(ctx context.Context, lines []Command, results []ImportResult) {
	batches := make([]events.Batch, 0, len(lines))
	index := make([]int, 0, len(lines)) // of a batch's line
	for i, c := range lines {
		b, err := run.prepare(ctx, c)
		if err != nil {
			results[i].settle(err)
			continue
		}
		batches, index = append(batches, b), append(index, i)
	}
	if len(batches) == 0 {
		return
	}
	for n, r := range run.h.store.AppendAll(ctx, batches) {
		i := index[n]
		err := r.Err
		if err != nil {
			if errors.Is(err, events.ErrConflict) {
				err = run.again(ctx, lines[i])
			} else {
				err = refused(lines[i], err)
			}
		}
		results[i].settle(err)
	}
}

// errSame says that a line's stream exists, and that all is as the line says.
var errSame = errors.New("all is so already")

// prepare is what a line appends. It is decided as if its tenant did not exist, which the
// store will deny if it does: most lines of most imports are new, and this spares them a
// read.
func (run *importing) prepare(ctx context.Context, line Command) (events.Batch, error) {
	c, ok := line.(founder)
	if !ok {
		return events.Batch{}, &Refusal{Code: Invalid, Detail: fmt.Sprintf("a %s cannot be imported: import tenants, databases and groups", line.name())}
	}
	if err := Check(c); err != nil {
		return events.Batch{}, err
	}
	s := state{id: c.Target()}
	// Databases and groups are few, and the tenants behind them in the input refer to them, so
	// of those that exist we have to know it.
	ground := s.id.Kind() != events.KindTenant
	if ground && !run.ours[s.id] {
		now, err := run.look(ctx, s.id)
		if err != nil {
			return events.Batch{}, err
		}
		if now.version() > 0 {
			return events.Batch{}, conflictWith(c, now)
		}
	}
	f := facts{homeRegions: run.h.homeRegions, others: run.known}
	for _, id := range refersTo(c) {
		if _, err := run.look(ctx, id); err != nil {
			return events.Batch{}, err
		}
	}
	payloads, err := decide(c, s, f)
	if CodeOf(err) != "" {
		// What is not possible any more may have been possible when this tenant was registered.
		if now, loadErr := run.h.folds.load(ctx, s.id); loadErr != nil {
			return events.Batch{}, loadErr
		} else if now.version() > 0 {
			return events.Batch{}, conflictWith(c, now)
		}
	}
	if err != nil {
		return events.Batch{}, err
	}
	b, after, err := run.h.batch(s, f, run.meta, payloads)
	if err != nil {
		return events.Batch{}, fmt.Errorf("%s of %s: %w", c.name(), s.id, err)
	}
	if ground && !run.ours[s.id] {
		run.known[s.id], run.ours[s.id] = after, true
	}
	return b, nil
}

// look is a database or group as this import knows it.
func (run *importing) look(ctx context.Context, id events.StreamID) (state, error) {
	if s, ok := run.known[id]; ok {
		return s, nil
	}
	s, err := run.h.folds.load(ctx, id)
	if err == nil && s.version() > 0 { // one that is missing may come to be meanwhile
		run.known[id] = s
	}
	return s, err
}

// again carries out a line whose stream exists, or whose database or group has moved on. The
// error is nil where it was created.
func (run *importing) again(ctx context.Context, line Command) error {
	c, ok := line.(founder)
	if !ok {
		return fmt.Errorf("import %s: a %s founds nothing", line.Target(), line.name())
	}
	for _, id := range refersTo(c) {
		delete(run.known, id)
	}
	s, err := run.h.folds.load(ctx, c.Target())
	if err != nil {
		return err
	}
	if s.version() == 0 {
		_, err := run.h.carryOut(ctx, Request{Command: c, Meta: run.meta})
		if CodeOf(err) != Exists {
			return err
		}
		if s, err = run.h.folds.load(ctx, c.Target()); err != nil {
			return err
		}
	}
	return conflictWith(c, s)
}

// conflictWith compares a line with the stream that exists: errSame, or a refusal.
func conflictWith(c founder, s state) error {
	detail := c.differs(s)
	if detail == "" {
		return errSame
	}
	return &Refusal{Code: Exists, Stream: s.id, Detail: detail}
}

// settle fills in what an error means for a line; nil: created.
func (r *ImportResult) settle(err error) {
	switch code := CodeOf(err); {
	case err == nil:
		r.Status = ImportCreated
		return
	case errors.Is(err, errSame):
		r.Status = ImportUnchanged
		return
	case code == Exists, code == HostnameTaken:
		r.Status = ImportConflict
	case code != "":
		r.Status = ImportInvalid
	default:
		r.Status = ImportFailed
	}
	r.Err = err
}
