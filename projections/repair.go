package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// Repair says what may be wrong in a copy.
type Repair struct {
	// Stream is to be folded anew; zero: none.
	Stream events.StreamID
	// Hostnames are those whose entry here names the stream, rightly or not.
	Hostnames []events.Hostname
	// Keys are of entries that nobody can read, to be removed.
	Keys []string
	// Read is what who compared has read of the stream in the source; nil: nobody has.
	Read *Read
}

// Read is what a stream came to in the source when it was compared. A history that comes to something else as far as that
// is not believed: the source's answer may have been cut short, or be another store's.
type Read struct {
	UpTo   uint64 // the position that it was folded up to
	Digest uint64 // of the record that it made; 0: none
}

// RepairSource is where the truth about single streams is read.
type RepairSource interface {
	Head(ctx context.Context) (events.Head, error)
	After(ctx context.Context, position uint64, limit int) ([]events.Event, error)
	Load(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error)
}

// Repair folds streams of the live copy anew from the source, as far as the copy has come, and says
// how many it did. One that cannot be mended is left as it is, and the others are mended: the error is an
// [UnmendedError] then; any other ends it. Look-ups and the topic go on meanwhile, and what they see of a
// stream is either what was there or the truth. It is harmless for a stream with which nothing is
// wrong. Sums that damage has put out are for Recount of the model to put right.
func (p *Projector) Repair(ctx context.Context, repairs []Repair) (int, error) {
	ctx, end, err := p.turns.task(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	// Not beside a change of generations: what is mended in the one that goes would be lost.
	done, err := p.turns.take(ctx, "mending the live generation", nil)
	if err != nil {
		return 0, fmt.Errorf("mend the live generation: %w", err)
	}
	defer done()
	f := p.current.Load()
	if f == nil {
		return 0, readmodel.ErrNoModel
	}
	n, err := newMender(f.update, p.cfg.Source, p.cfg.Clock, f.log).all(ctx, repairs)
	p.metrics.repaired.Add(float64(n))
	return n, err
}

// Inspect takes a look at the live copy as it is now. Where another generation takes its place the
// inspection ends with readmodel.ErrClosed.
func (p *Projector) Inspect() (*readmodel.Inspection, error) {
	for {
		m := p.live.Model()
		if m == nil {
			return nil, readmodel.ErrNoModel
		}
		in, err := m.Inspect()
		if errors.Is(err, readmodel.ErrClosed) && p.live.Model() != m {
			continue
		}
		return in, err
	}
}

// RepairModel is [Projector.Repair] on the model of a node that does not run.
func RepairModel(ctx context.Context, m *readmodel.Model, source RepairSource, repairs []Repair, log *slog.Logger) (int, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return newMender(m.Update, source, time.Now, log).all(ctx, repairs)
}

var (
	// ErrSourceBehind says that the source has not got all that the copy has, or not yet. Nothing was changed.
	ErrSourceBehind = errors.New("the source is behind the region")
	// errNotBelieved says that a source has not told all of a stream: to go by it would take away what is right. Another
	// answer may be better.
	errNotBelieved = errors.New("the source of truth does not tell all of this stream")
)

// UnmendedError says which streams were not mended, each for a reason of its own.
type UnmendedError struct{ Streams []Unmended }

// Unmended is a stream that was not mended: it is as it was.
type Unmended struct {
	Stream events.StreamID
	Err    error
}

func (e *UnmendedError) Error() string {
	first := fmt.Sprintf("mend %s: %v", e.Streams[0].Stream, e.Streams[0].Err)
	if len(e.Streams) == 1 {
		return first
	}
	return fmt.Sprintf("%d streams were not mended; the first: %s", len(e.Streams), first)
}

// Unwrap are the reasons.
func (e *UnmendedError) Unwrap() []error {
	errs := make([]error, len(e.Streams))
	for i, s := range e.Streams {
		errs[i] = s.Err
	}
	return errs
}

// mender folds single streams anew.
type mender struct {
	update   func(func(*readmodel.Tx) error) error
	source   RepairSource
	now      func() time.Time
	log      *slog.Logger
	patience time.Duration // with a source that is a little behind, as a replica may be

	// at is a position at which the topic has an event of the stream that is to be mended; 0: it is not known to.
	at uint64

	head events.Head // of the source, before anything was loaded
}

const (
	repairPatience = 5 * time.Second
	tellUnmended   = 20 // streams that could not be mended which are logged, of those of one repair
)

func newMender(update func(func(*readmodel.Tx) error) error, source RepairSource, now func() time.Time, log *slog.Logger) *mender {
	return &mender{update: update, source: source, now: now, log: log, patience: repairPatience}
}

func (m *mender) all(ctx context.Context, repairs []Repair) (n int, err error) {
	if m.head, err = m.source.Head(ctx); err != nil {
		return 0, fmt.Errorf("ask the source of truth for its head: %w", err)
	}
	var left []Unmended
	for _, r := range repairs {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		switch err := m.one(ctx, r); {
		case cannotBeStored(err), errors.Is(err, errNotBelieved), errors.Is(err, errGoesOn): // of the others that says nothing
			if left = append(left, Unmended{r.Stream, err}); len(left) > tellUnmended {
				continue // a source that is wrong may be so of all
			}
			m.log.Error("a stream of this copy is to be folded anew, and cannot be: it is left as it is", "stream", r.Stream, "err", err)
			continue
		case err != nil:
			return n, fmt.Errorf("mend %s: %w", r, err)
		}
		n++
		m.log.Info("a stream of this copy was folded anew", "stream", r.Stream, "damaged_entries", len(r.Keys))
	}
	if len(left) > 0 {
		return n, &UnmendedError{left}
	}
	return n, nil
}

func (r Repair) String() string {
	if r.Stream.IsZero() {
		return fmt.Sprintf("entries that cannot be read, %q", r.Keys)
	}
	return r.Stream.String()
}
