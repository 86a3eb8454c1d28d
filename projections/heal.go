package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// gap is what is missing before a record: the events of its partition, or of one stream where
// that is set.
type gap struct {
	partition int
	stream    events.StreamID
	upTo      uint64 // the last position missing, or the stream's last version
}

// heal reads what is missing from the source of truth and folds it. It waits for a source that
// is away: nothing behind the gap may be folded before.
func (p *Projector) heal(ctx context.Context, m *readmodel.Model, g gap) error {
	p.metrics.gaps.Inc()
	if !g.stream.IsZero() {
		return p.healStream(ctx, m, g)
	}
	from := m.Progress().Partitions[g.partition].LastEvent
	p.log.Warn("events are missing from the topic: reading them from the source of truth",
		"partition", g.partition, "after", from, "up_to", g.upTo)
	healed := 0
	for position := from; position < g.upTo; {
		var log []events.Event
		if err := p.patiently(ctx, "read missing events from the source of truth", func() (err error) {
			if err := p.checkStore(ctx, m.Progress()); err != nil {
				return err
			}
			log, err = p.cfg.Source.After(ctx, position, readLimit)
			return err
		}); err != nil {
			return err
		}
		if len(log) == 0 {
			return fmt.Errorf("%w: the topic tells of position %d, where the source of truth ends at %d", errDiverged, g.upTo, position)
		}
		position = log[len(log)-1].Position
		ours := p.ofPartition(log, g.partition, len(m.Progress().Partitions), g.upTo)
		if err := p.foldMissing(m, ours, &g.partition); err != nil {
			return err
		}
		healed += len(ours)
	}
	if last := m.Progress().Partitions[g.partition].LastEvent; last != g.upTo {
		return fmt.Errorf("%w: the topic tells of an event at position %d of partition %d, which the source of truth does not have", errDiverged, g.upTo, g.partition)
	}
	p.metrics.healed.Add(float64(healed))
	p.log.Info("missing events are folded", "partition", g.partition, "events", healed)
	return nil
}

// ofPartition is the part of the log that one partition is to hold, up to a position.
func (p *Projector) ofPartition(log []events.Event, partition, partitions int, upTo uint64) []events.Event {
	var out []events.Event
	for _, e := range log {
		if e.Position <= upTo && events.Partition(e.Stream.String(), partitions) == partition {
			out = append(out, e)
		}
	}
	return out
}

// healStream folds one stream's missing versions. The partition's chain was whole, so this
// copy has lost them by itself.
func (p *Projector) healStream(ctx context.Context, m *readmodel.Model, g gap) error {
	p.log.Warn("versions are missing from this copy: reading the stream from the source of truth", "stream", g.stream, "up_to", g.upTo)
	version, err := p.versionOf(m, g.stream)
	if err != nil {
		return err
	}
	rest, err := p.loadRest(ctx, m, g.stream, version)
	if err != nil {
		return err
	}
	var missing []events.Event
	for _, e := range rest {
		if e.Version <= g.upTo {
			missing = append(missing, e)
		}
	}
	if uint64(len(missing)) != g.upTo-version {
		return fmt.Errorf("%w: the topic tells of version %d of %s, which the source of truth does not have", errDiverged, g.upTo, g.stream)
	}
	p.metrics.healed.Add(float64(len(missing)))
	return p.foldMissing(m, missing, nil)
}

// foldMissing folds events that the topic has lost; of a partition where that is given, whose
// last event they become.
func (p *Projector) foldMissing(m *readmodel.Model, log []events.Event, partition *int) error {
	_, err := p.inUpdates(m, len(log), func(tx *readmodel.Tx, i int) (bool, error) {
		o, err := fold(tx, log[i], p.cfg.Clock())
		if err != nil {
			return false, err
		}
		if o == missing {
			return false, fmt.Errorf("%w: %s at version %d follows on no version before", errDiverged, log[i].Stream, log[i].Version)
		}
		p.note(o, log[i])
		if partition != nil {
			tx.Progress().Partitions[*partition].Applied(log[i])
		}
		return true, nil
	})
	return err
}

func (p *Projector) versionOf(m *readmodel.Model, stream events.StreamID) (version uint64, err error) {
	err = m.Update(func(tx *readmodel.Tx) error {
		version, _, err = prepare(tx, stream)
		return err
	})
	return version, err
}

func (p *Projector) loadRest(ctx context.Context, m *readmodel.Model, stream events.StreamID, after uint64) (rest []events.Event, err error) {
	err = p.patiently(ctx, "read a stream from the source of truth", func() (err error) {
		if err := p.checkStore(ctx, m.Progress()); err != nil {
			return err
		}
		rest, err = p.cfg.Source.Load(ctx, stream, after)
		return err
	})
	return rest, err
}

// retryQuarantined tries the streams in quarantine again, since this may be a program that
// can fold them. It does not wait for a source that is away: they are tried at the next start.
func (p *Projector) retryQuarantined(ctx context.Context, m *readmodel.Model) error {
	if p.retried {
		return nil
	}
	list, err := m.Quarantined(ctx)
	if err != nil {
		return err
	}
	for _, q := range list {
		version, err := p.versionOf(m, q.Stream)
		if err != nil {
			return err
		}
		rest, err := p.cfg.Source.Load(ctx, q.Stream, version)
		if err != nil {
			// They are tried when the topic is followed anew; to wait would hold up all others.
			p.log.Warn("cannot try a stream in quarantine again now", "stream", q.Stream, "err", err)
			return nil
		}
		if err := p.release(m, q, rest); err != nil {
			return err
		}
	}
	p.retried = true
	return nil
}

var errStillBad = errors.New("still does not fold")

// release takes a stream out of quarantine if all of the rest folds now.
func (p *Projector) release(m *readmodel.Model, q readmodel.Quarantine, rest []events.Event) error {
	var cause error
	err := m.Update(func(tx *readmodel.Tx) error {
		var err error
		cause, err = foldRest(tx, q.Stream, rest)
		if err == nil && cause != nil {
			return errStillBad // so that nothing is committed
		}
		return err
	})
	switch {
	case errors.Is(err, errStillBad):
		p.log.Error("a stream stays in quarantine", "stream", q.Stream, "version", q.Version, "err", cause)
		return nil
	case err != nil:
		return err
	}
	p.log.Info("a stream is out of quarantine", "stream", q.Stream, "events", len(rest))
	return nil
}
