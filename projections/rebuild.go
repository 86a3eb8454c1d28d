package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// rebuild builds a generation from the source of truth, turns look-ups to it, and removes the
// others. Until it is whole the one before goes on serving.
func (p *Projector) rebuild(ctx context.Context) error {
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
		return errors.Join(err, p.cfg.Dir.Clean(p.Generation()))
	}
	err = p.bootstrap(ctx, m)
	if err == nil {
		err = p.cfg.Dir.SetCurrent(name)
	}
	if err != nil {
		return errors.Join(err, m.Close(), p.cfg.Dir.Clean(p.Generation()))
	}
	if old := p.use(name, m); old != nil {
		if err := old.Close(); err != nil {
			p.log.Error("close the old generation", "err", err)
		}
	}
	return p.cfg.Dir.Clean(name)
}

// bootstrap fills an empty model with everything that the source holds now. Kafka's
// offsets are found afterwards, by position.
func (p *Projector) bootstrap(ctx context.Context, m *readmodel.Model) error {
	var head events.Head
	var partitions int
	var asked time.Time // at which the log ended at head, or before it
	err := p.patiently(ctx, "read the source of truth and the topic for a new read model", func() (err error) {
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
	if err := m.Begin(head.StoreID, partitions); err != nil {
		return err
	}
	for position := uint64(0); position < head.Position; {
		var batch []events.Event
		if err := p.patiently(ctx, "read the source of truth", func() (err error) {
			batch, err = p.cfg.Source.After(ctx, position, readLimit)
			return err
		}); err != nil {
			return err
		}
		if len(batch) == 0 {
			return fmt.Errorf("the source of truth ends at position %d, and said that it has %d", position, head.Position)
		}
		if err := p.foldLog(m, batch); err != nil {
			return err
		}
		position = batch[len(batch)-1].Position
		if p.live.Model() == nil {
			p.setBuilding("the region's read model is being built: %d of %d events", position, head.Position)
		}
	}
	if err := m.Update(func(tx *readmodel.Tx) error {
		progress := tx.Progress()
		progress.Complete = true
		for i := range progress.Partitions {
			progress.Partitions[i].Watermark = asked
		}
		return nil
	}); err != nil {
		return err
	}
	return m.Sync()
}

// foldLog folds consecutive events of the whole log into a model that has all before them.
func (p *Projector) foldLog(m *readmodel.Model, log []events.Event) error {
	_, err := p.inUpdates(m, len(log), func(tx *readmodel.Tx, i int) (bool, error) {
		e := log[i]
		progress := tx.Progress()
		part := &progress.Partitions[events.Partition(e.Stream.String(), len(progress.Partitions))]
		o, err := fold(tx, e, p.cfg.Clock())
		if err != nil {
			return false, err
		}
		if o == missing {
			return false, fmt.Errorf("the source of truth has %s at version %d without the version before", e.Stream, e.Version)
		}
		p.note(o, e)
		part.Applied(e)
		for j := range progress.Partitions {
			progress.Partitions[j].Position = e.Position
		}
		return true, nil
	})
	return err
}

// inUpdates calls do with 0, 1 … n-1, as many in one update as fit, and says for how many of
// them it committed. do returns false to end early, and must then have changed nothing. It may
// be called again for the same i, in an update that is made anew.
func (p *Projector) inUpdates(m *readmodel.Model, n int, do func(tx *readmodel.Tx, i int) (bool, error)) (int, error) {
	limit := n
	for done := 0; ; {
		next, more := done, true
		err := m.Update(func(tx *readmodel.Tx) (err error) {
			for next < n && next < done+limit && tx.Size() < readmodel.MaxUpdate {
				if more, err = do(tx, next); err != nil || !more {
					return err
				}
				next++
			}
			return nil
		})
		switch {
		case errors.Is(err, readmodel.ErrTooBig) && next-done > 1:
			limit = (next - done) / 2
			continue
		case err != nil:
			return done, err
		}
		done = next
		if done == n || !more {
			return done, nil
		}
	}
}

// note counts what became of an event, and logs what an operator has to know. It may be
// called again for an event whose update is made anew.
func (p *Projector) note(o outcome, e events.Event) {
	p.metrics.count(o)
	if o == quarantined {
		p.log.Error("an event cannot be folded: its stream is in quarantine and keeps its last good state",
			"stream", e.Stream, "version", e.Version, "position", e.Position, "type", e.Type)
	}
}
