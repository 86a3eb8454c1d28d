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
	anew      bool   // what the copy has of the stream is damaged
	whole     bool   // the copy was past it, and has lost it: the stream is folded anew up to there
	at        uint64 // the position of what was lost so
}

// before is what is missing before an event; an empty gap where it is nothing.
func before(o outcome, e events.Event) gap {
	if o != missing && o != damaged {
		return gap{}
	}
	return gap{stream: e.Stream, upTo: e.Version - 1, anew: o == damaged}
}

// heal reads what is missing from the source of truth and folds it. It waits for a source that
// is away: nothing behind the gap may be folded before.
//
// The log has the events of all partitions, and all that are new here are folded, not only those
// of the partition that has the gap: where Kafka has lost much every partition has one, and
// this way what they lack is read once, however many they are. What the topic has of it all the
// same is a duplicate then.
func (f *follower) heal(ctx context.Context, g gap) error {
	f.metrics.gaps.Inc()
	if g.whole {
		return f.healWhole(ctx, g)
	}
	if !g.stream.IsZero() {
		return f.healStream(ctx, g)
	}
	progress := f.model.Progress()
	part := progress.Partitions[g.partition]
	from := progress.Position()
	if part.Position >= g.upTo { // a watermark has promised more than there is
		from = min(from, part.LastEvent)
	}
	f.log.Warn("events are missing from the topic: reading the log from the source of truth",
		"partition", g.partition, "last_event", part.LastEvent, "after", from, "up_to", g.upTo)
	healed := 0
	for position := from; position < g.upTo; {
		var log []events.Event
		if err := patiently(ctx, f.log, "read missing events from the source of truth", func() (err error) {
			if err := f.checkStore(ctx, f.model.Progress()); err != nil {
				return err
			}
			log, err = f.cfg.Source.After(ctx, position, int(min(readLimit, g.upTo-position)))
			return err
		}); err != nil {
			return err
		}
		if len(log) == 0 {
			return fmt.Errorf("%w: the topic tells of position %d, where the source of truth ends at %d", errDiverged, g.upTo, position)
		}
		position = log[len(log)-1].Position
		news, err := f.healLog(ctx, log)
		if err != nil {
			return err
		}
		healed += news
	}
	if last := f.model.Progress().Partitions[g.partition].LastEvent; last != g.upTo {
		return fmt.Errorf("%w: the topic tells of an event at position %d of partition %d, which the source of truth does not have", errDiverged, g.upTo, g.partition)
	}
	f.log.Info("missing events are folded", "partition", g.partition, "events", healed)
	return nil
}

// healLog folds a part of the log, and what its streams lack in this copy before it.
func (f *follower) healLog(ctx context.Context, log []events.Event) (healed int, err error) {
	for len(log) > 0 {
		done, news, hole, err := f.foldLog(log)
		f.metrics.healed.Add(float64(news))
		healed += news
		if err != nil {
			return healed, err
		}
		log = log[done:]
		if hole == (gap{}) {
			continue
		}
		if err := f.healStream(ctx, hole); err != nil {
			return healed, err
		}
	}
	return healed, nil
}

// healStream folds one stream's missing versions, or all of them anew. The partition's chain was
// whole, so this copy has lost them by itself.
func (f *follower) healStream(ctx context.Context, g gap) error {
	f.log.Warn("this copy has lost versions of a stream: reading it from the source of truth",
		"stream", g.stream, "up_to", g.upTo, "damaged", g.anew)
	version := uint64(0)
	if !g.anew {
		var err error
		if version, err = f.versionOf(g.stream); err != nil {
			return err
		}
	}
	rest, err := f.loadRest(ctx, g.stream, version)
	if err != nil {
		return err
	}
	var lost []events.Event
	for _, e := range rest {
		if e.Version <= g.upTo {
			lost = append(lost, e)
		}
	}
	if uint64(len(lost)) != g.upTo-version {
		return fmt.Errorf("%w: the topic tells of version %d of %s, which the source of truth does not have", errDiverged, g.upTo, g.stream)
	}
	if g.anew {
		if err := f.update(func(tx *readmodel.Tx) error { return tx.Forget(g.stream) }); err != nil {
			return err
		}
	}
	_, news, err := f.inUpdates(len(lost), func(u *update, i int) (bool, error) {
		o, err := fold(u, lost[i], f.cfg.Clock())
		if err == nil && before(o, lost[i]) != (gap{}) {
			err = fmt.Errorf("%w: %s at version %d follows on no version before", errDiverged, g.stream, lost[i].Version)
		}
		u.tell(o, lost[i])
		return err == nil, err
	})
	f.metrics.healed.Add(float64(news))
	return err
}

// healWhole folds a stream anew of which a record that was published again shows that this copy
// has lost something: in one update, since it was all there once. One that cannot be mended is left as it is, and
// the others are followed on.
func (f *follower) healWhole(ctx context.Context, g gap) error {
	f.log.Warn("this copy has lost versions of a stream, as a record shows that was published again: folding it anew from the source of truth",
		"stream", g.stream, "version", g.upTo)
	m := newMender(f.update, patientSource{f}, f.cfg.Clock, f.log)
	m.at = g.at
	f.uncounted.Store(true)
	_, err := m.all(ctx, []Repair{{Stream: g.stream}})
	if _, left := errors.AsType[*UnmendedError](err); left {
		f.unmended[g.stream] = struct{}{}
		return nil
	}
	if err != nil {
		return err
	}
	return f.update(func(tx *readmodel.Tx) error {
		lost, err := lacks(&update{Tx: tx}, events.Event{Stream: g.stream, Version: g.upTo})
		if lost {
			err = fmt.Errorf("%w: the topic tells of version %d of %s, which the source of truth does not have", errDiverged, g.upTo, g.stream)
		}
		return err
	})
}

// lacks tells that the copy has lost an event that it was past. A stream in quarantine has lost
// nothing by that.
func lacks(u *update, e events.Event) (bool, error) {
	q, err := u.Quarantined(e.Stream)
	if err != nil || q != nil {
		return false, err
	}
	version, _, err := prepare(u.Tx, e.Stream)
	if errors.Is(err, readmodel.ErrDamaged) {
		return true, nil
	}
	return version < e.Version, err
}

// patientSource waits for a source that is away.
type patientSource struct{ f *follower }

// Head is the source's.
func (s patientSource) Head(ctx context.Context) (h events.Head, err error) {
	err = patiently(ctx, s.f.log, "ask the source of truth for its head", func() (err error) {
		h, err = s.f.cfg.Source.Head(ctx)
		return err
	})
	return h, err
}

// After is the source's.
func (s patientSource) After(ctx context.Context, position uint64, limit int) (log []events.Event, err error) {
	err = patiently(ctx, s.f.log, "read the log from the source of truth", func() (err error) {
		log, err = s.f.cfg.Source.After(ctx, position, limit)
		return err
	})
	return log, err
}

// Load is the source's.
func (s patientSource) Load(ctx context.Context, id events.StreamID, after uint64) (log []events.Event, err error) {
	err = patiently(ctx, s.f.log, "read a stream from the source of truth", func() (err error) {
		log, err = s.f.cfg.Source.Load(ctx, id, after)
		return err
	})
	return log, err
}

func (f *follower) versionOf(stream events.StreamID) (version uint64, err error) {
	err = f.update(func(tx *readmodel.Tx) error {
		version, _, err = prepare(tx, stream)
		return err
	})
	return version, err
}

func (f *follower) loadRest(ctx context.Context, stream events.StreamID, after uint64) (rest []events.Event, err error) {
	err = patiently(ctx, f.log, "read a stream from the source of truth", func() (err error) {
		if err := f.checkStore(ctx, f.model.Progress()); err != nil {
			return err
		}
		rest, err = f.cfg.Source.Load(ctx, stream, after)
		return err
	})
	return rest, err
}

// retryQuarantined tries the streams in quarantine again, since this may be a program that
// can fold them. It does not wait for a source that is away: they are tried at the next start.
func (f *follower) retryQuarantined(ctx context.Context) error {
	if f.retried {
		return nil
	}
	list, err := f.model.Quarantined(ctx)
	if err != nil {
		return err
	}
	for _, q := range list {
		version, err := f.versionOf(q.Stream)
		anew := errors.Is(err, readmodel.ErrDamaged)
		if err != nil && !anew {
			return err
		}
		rest, err := f.askRest(ctx, q.Stream, version)
		if err != nil {
			// They are tried when the topic is followed anew; to wait would hold up all others.
			f.log.Warn("cannot try a stream in quarantine again now", "stream", q.Stream, "err", err)
			return ctx.Err()
		}
		if n := len(rest); n == 0 || rest[n-1].Version < q.Version {
			// To take it out would have it served as if it were all.
			f.log.Warn("a stream stays in quarantine: the source of truth does not tell of the event that could not be folded", "stream", q.Stream, "version", q.Version)
			continue
		}
		if err := f.release(q, rest, anew); err != nil {
			return err
		}
	}
	f.retried = true
	return nil
}

// askRest loads a stream after a version, or gives up.
func (f *follower) askRest(ctx context.Context, stream events.StreamID, after uint64) ([]events.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, streamTime)
	defer cancel()
	return f.cfg.Source.Load(ctx, stream, after)
}

var errStillBad = errors.New("still does not fold")

// release takes a stream out of quarantine if all of the rest folds now, and can be stored.
func (f *follower) release(q readmodel.Quarantine, rest []events.Event, anew bool) error {
	var cause error
	err := f.update(func(tx *readmodel.Tx) error {
		var err error
		cause, err = foldRest(tx, q.Stream, rest, anew)
		if err == nil && cause != nil {
			return errStillBad // so that nothing is committed
		}
		return err
	})
	switch {
	case errors.Is(err, errStillBad):
		f.log.Error("a stream stays in quarantine", "stream", q.Stream, "version", q.Version, "err", cause)
		return nil
	case cannotBeStored(err):
		f.log.Error("a stream stays in quarantine", "stream", q.Stream, "version", q.Version, "err", err)
		return nil
	case err != nil:
		return err
	}
	f.log.Info("a stream is out of quarantine", "stream", q.Stream, "events", len(rest))
	return nil
}

// foldLog folds consecutive events of the whole log into a model that has all before them, and says
// how many of them it folded. It ends early at a stream of which the model has lost something.
func (f *follower) foldLog(log []events.Event) (done, news int, hole gap, err error) {
	done, news, err = f.inUpdates(len(log), func(u *update, i int) (bool, error) {
		e := log[i]
		progress := u.Progress()
		part := &progress.Partitions[events.Partition(e.Stream.String(), len(progress.Partitions))]
		o, err := fold(u, e, f.cfg.Clock())
		if err != nil {
			return false, err
		}
		if hole = before(o, e); hole != (gap{}) {
			return false, nil
		}
		u.tell(o, e)
		part.Applied(e)
		for j := range progress.Partitions {
			progress.Partitions[j].Position = max(progress.Partitions[j].Position, e.Position)
		}
		return true, nil
	})
	return done, news, hole, err
}
