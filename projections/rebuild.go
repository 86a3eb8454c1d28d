package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/crashpoint"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// rebuild builds a generation from the source of truth, turns look-ups to it, and removes the
// others. Until it is whole the one before goes on serving. Where there is none, a generation that
// is handed over meanwhile is as good, and comes in its place.
func (p *Projector) rebuild(ctx context.Context) error {
	before := p.current.Load()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	yields := cancel
	if before != nil {
		yields = nil
	}
	done, err := p.turns.take(ctx, "building a generation from the source of truth", yields)
	if err != nil {
		return err
	}
	defer done()
	if p.current.Load() != before {
		return nil // another one has come meanwhile
	}
	err = p.rebuildNow(ctx)
	if errors.Is(context.Cause(ctx), errYielded) {
		p.log.Info("gave up building a generation", "reason", errYielded)
		return nil
	}
	return err
}

func (p *Projector) rebuildNow(ctx context.Context) error {
	p.metrics.rebuilds.Inc()
	name, err := p.cfg.Dir.Next()
	if err != nil {
		return err
	}
	if p.live.Model() == nil {
		p.setBuilding("the region's read model is being built from the source of truth")
	}
	// Whatever fails leaves nothing behind: what it took may be the room that the next try needs.
	m, err := p.openModel(name)
	if err != nil {
		return errors.Join(err, p.remove(name))
	}
	f := p.newFollower(name, m)
	err = p.bootstrap(ctx, f)
	if err == nil {
		crashpoint.Hit(crashpoint.RebuildBeforeCurrent)
		err = p.cfg.Dir.SetCurrent(name)
		crashpoint.Hit(crashpoint.RebuildAfterCurrent)
	}
	if err != nil {
		if closeErr := m.Close(); closeErr != nil {
			return errors.Join(err, fmt.Errorf("%w: %w", errNotClosed, closeErr))
		}
		return errors.Join(err, p.remove(name))
	}
	if err := p.discard(p.use(f), name); err != nil {
		p.log.Error("the generation before was not removed", "err", err) // the next start does it
	}
	return nil
}

// discard closes a model that is not served any more, and removes all generations but one. What
// could not be closed stays until the next start: Badger must not lose its files while it has
// them open.
func (p *Projector) discard(m *readmodel.Model, keep string) error {
	if m != nil {
		if err := m.Close(); err != nil {
			return fmt.Errorf("close a generation that is not needed any more: %w", err)
		}
	}
	return p.cfg.Dir.Clean(keep)
}

// bootstrap fills an empty model with everything that the source holds now. Kafka's
// offsets are found afterwards, by position.
func (p *Projector) bootstrap(ctx context.Context, f *follower) error {
	var head events.Head
	var partitions int
	var asked time.Time // at which the log ended at head, or before it
	err := patiently(ctx, p.log, "read the source of truth and the topic for a new read model", func() (err error) {
		asked = p.cfg.Clock().UTC().Truncate(time.Microsecond) // what a checkpoint keeps
		if head, err = p.cfg.Source.Head(ctx); err != nil {
			return err
		}
		partitions, err = p.cfg.Cluster.Partitions(ctx, p.cfg.Topic)
		return err
	})
	if err != nil {
		return err
	}
	if err := f.model.Begin(head.StoreID, partitions); err != nil {
		return err
	}
	for position := uint64(0); position < head.Position; {
		var batch []events.Event
		if err := patiently(ctx, p.log, "read the source of truth", func() (err error) {
			batch, err = p.cfg.Source.After(ctx, position, readLimit)
			return err
		}); err != nil {
			return err
		}
		if len(batch) == 0 {
			return fmt.Errorf("the source of truth ends at position %d, and said that it has %d", position, head.Position)
		}
		_, _, hole, err := f.foldLog(batch)
		if err == nil && hole != (gap{}) {
			err = fmt.Errorf("the source of truth has %s without version %d", hole.stream, hole.upTo)
		}
		if err != nil {
			return err
		}
		position = batch[len(batch)-1].Position
		crashpoint.Hit(crashpoint.RebuildMid)
		if p.live.Model() == nil {
			p.setBuilding("the region's read model is being built: %d of %d events", position, head.Position)
		}
	}
	if err := f.update(func(tx *readmodel.Tx) error {
		progress := tx.Progress()
		progress.Complete = true
		for i := range progress.Partitions {
			progress.Partitions[i].Watermark = asked
		}
		return nil
	}); err != nil {
		return err
	}
	return f.model.Sync()
}
