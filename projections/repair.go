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
}

// RepairSource is where the truth about single streams is read.
type RepairSource interface {
	Head(ctx context.Context) (events.Head, error)
	Load(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error)
}

// Repair folds streams of the live copy anew from the source, as far as the copy has come, and says
// how many it did before an error. Look-ups and the topic go on meanwhile, and what they see of a
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
	m := mender{update: f.update, source: p.cfg.Source, now: p.cfg.Clock, log: f.log}
	n, err := m.all(ctx, repairs)
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
	mend := mender{update: m.Update, source: source, now: time.Now, log: log}
	return mend.all(ctx, repairs)
}

// mender folds single streams anew.
type mender struct {
	update func(func(*readmodel.Tx) error) error
	source RepairSource
	now    func() time.Time
	log    *slog.Logger

	head events.Head // of the source, before anything was loaded
}

func (m *mender) all(ctx context.Context, repairs []Repair) (n int, err error) {
	if m.head, err = m.source.Head(ctx); err != nil {
		return 0, fmt.Errorf("ask the source of truth for its head: %w", err)
	}
	for _, r := range repairs {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		if err := m.one(ctx, r); err != nil {
			return n, fmt.Errorf("mend %s: %w", r, err)
		}
		n++
		m.log.Info("a stream of this copy was folded anew", "stream", r.Stream, "damaged_entries", len(r.Keys))
	}
	return n, nil
}

func (r Repair) String() string {
	if r.Stream.IsZero() {
		return fmt.Sprintf("entries that cannot be read, %q", r.Keys)
	}
	return r.Stream.String()
}
