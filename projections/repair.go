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

// one mends one stream in one update. What it has to know for that it learns as it goes: events that
// the source has got meanwhile, and other streams that an entry names.
func (m *mender) one(ctx context.Context, r Repair) error {
	logs := make(map[events.StreamID][]events.Event)
	if !r.Stream.IsZero() {
		if err := m.load(ctx, r.Stream, logs); err != nil {
			return err
		}
	}
	for {
		var wanted []events.StreamID
		err := m.update(func(tx *readmodel.Tx) (err error) {
			progress := tx.Progress()
			if progress.StoreID != m.head.StoreID {
				return fmt.Errorf("%w: it is %s, the copy was made from %s", errOtherStore, m.head.StoreID, progress.StoreID)
			}
			if wanted, err = m.mend(tx, r, logs); err != nil {
				return err
			}
			if len(wanted) > 0 {
				return errWanted // so that nothing is committed
			}
			return nil
		})
		if !errors.Is(err, errWanted) {
			return err
		}
		if m.head, err = m.source.Head(ctx); err != nil {
			return err
		}
		for _, stream := range wanted {
			if err := m.load(ctx, stream, logs); err != nil {
				return err
			}
		}
	}
}

var errWanted = errors.New("more has to be read first")

func (m *mender) load(ctx context.Context, stream events.StreamID, logs map[events.StreamID][]events.Event) error {
	log, err := m.source.Load(ctx, stream, 0)
	if err != nil {
		return fmt.Errorf("read it from the source of truth: %w", err)
	}
	logs[stream] = log
	return nil
}

// mend does it in an update, or says which streams have to be read before. Then nothing may be
// committed.
func (m *mender) mend(tx *readmodel.Tx, r Repair, logs map[events.StreamID][]events.Event) (wanted []events.StreamID, err error) {
	for _, key := range r.Keys {
		if err := tx.Drop(key); err != nil {
			return nil, err
		}
	}
	if r.Stream.IsZero() {
		return nil, nil
	}
	f, known, err := m.fold(tx, r.Stream, logs)
	if err != nil {
		return nil, err
	}
	if !known {
		return []events.StreamID{r.Stream}, nil
	}
	says := make(map[events.Hostname]readmodel.Claim) // what the stream says about hostnames
	for _, kv := range f.entries {
		if h, claim, ok := kv.Hostname(); ok {
			says[h] = claim
		}
	}
	for _, h := range r.Hostnames {
		if holder, position, err := tx.Holder(h); err == nil && holder.Stream() == r.Stream && says[h] != (readmodel.Claim{Position: position, Held: true}) {
			if err := tx.Drop(readmodel.HostnameKey(h)); err != nil {
				return nil, err
			}
		} else if err != nil && !errors.Is(err, readmodel.ErrDamaged) {
			return nil, err
		}
	}
	for h, claim := range says {
		if !claim.Held {
			continue
		}
		wrong, of, err := m.usurped(tx, h, r.Stream, claim, logs)
		switch {
		case err != nil:
			return nil, err
		case !of.IsZero():
			wanted = append(wanted, of)
		case wrong:
			if err := tx.Drop(readmodel.HostnameKey(h)); err != nil {
				return nil, err
			}
		}
	}
	if len(wanted) > 0 {
		return wanted, nil
	}
	if f.last == nil {
		return nil, tx.Remove(r.Stream)
	}
	return nil, tx.Replace(r.Stream, f.entries, f.quarantine)
}

// fold folds a stream as far as its partition has come here; false where its log has to be read again,
// for it may lack something of that.
func (m *mender) fold(tx *readmodel.Tx, stream events.StreamID, logs map[events.StreamID][]events.Event) (f foldedStream, known bool, err error) {
	log, known := logs[stream]
	partitions := tx.Progress().Partitions
	upTo := partitions[events.Partition(stream.String(), len(partitions))].Position
	if !known || upTo > m.head.Position {
		return f, false, nil
	}
	if len(log) == 0 {
		return foldedStream{id: stream}, true, nil
	}
	f, err = foldStream(log, upTo, m.now)
	return f, true, err
}

// usurped tells that an entry keeps a stream from a hostname that is its own, and that the stream
// which it names does not say so: of is that stream where it has to be read first.
func (m *mender) usurped(tx *readmodel.Tx, h events.Hostname, stream events.StreamID, claim readmodel.Claim, logs map[events.StreamID][]events.Event) (wrong bool, of events.StreamID, err error) {
	holder, position, err := tx.Holder(h)
	switch {
	case errors.Is(err, readmodel.ErrDamaged):
		return true, of, nil
	case err != nil:
		return false, of, err
	case position < claim.Position:
		return false, of, nil // this stream's claim is the later one
	case holder.IsZero():
		// Somebody else had it and let it go since, and so this stream has let it go before: which it would
		// say, if that is as far as its partition has come. And nobody has done so yet at a position that is not there.
		partitions := tx.Progress().Partitions
		upTo := partitions[events.Partition(stream.String(), len(partitions))].Position
		return position <= upTo || position > m.head.Position, of, nil
	case holder.Stream() == stream:
		return position != claim.Position, of, nil
	}
	f, known, err := m.fold(tx, holder.Stream(), logs)
	if err != nil {
		return false, of, err
	}
	if !known {
		return false, holder.Stream(), nil
	}
	for _, kv := range f.entries {
		if named, c, ok := kv.Hostname(); ok && named == h {
			return c != readmodel.Claim{Position: position, Held: true}, of, nil
		}
	}
	return true, of, nil
}
