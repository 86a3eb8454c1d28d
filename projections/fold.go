package projections

import (
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// outcome is what became of one event.
type outcome int

const (
	folded      outcome = iota
	duplicate           // its version was there already
	skipped             // its stream is in quarantine
	quarantined         // it could not be folded or stored: its stream is in quarantine from here on
	missing             // its stream lacks the version before it; nothing was changed
	damaged             // what was folded of its stream cannot be read; nothing was changed
)

// fold folds one event into the update. An error is the read model's, not the event's.
func fold(u *update, e events.Event, now time.Time) (outcome, error) {
	q, err := u.Quarantined(e.Stream)
	if err != nil {
		return 0, err
	}
	if q != nil {
		return skipped, nil
	}
	version, apply, err := prepare(u.Tx, e.Stream)
	switch {
	case errors.Is(err, readmodel.ErrDamaged):
		return damaged, nil
	case err != nil:
		return 0, err
	case e.Version <= version:
		return duplicate, nil
	case e.Version > version+1:
		return missing, nil
	}
	cause := u.unfit
	if cause == nil {
		if cause, err = apply(e); err != nil {
			return 0, err
		}
	}
	if cause == nil {
		return folded, nil
	}
	return quarantined, u.SetQuarantine(readmodel.Quarantine{
		Stream: e.Stream, Position: e.Position, Version: e.Version, Error: cause.Error(), Since: now.UTC(),
	})
}

// prepare is the version that a stream is at and how its next event is applied: cause is why
// the event does not fold, err what the read model failed at.
func prepare(tx *readmodel.Tx, stream events.StreamID) (version uint64, apply func(events.Event) (cause, err error), err error) {
	if id, ok := stream.Tenant(); ok {
		t, err := tx.Tenant(id)
		return t.Version, func(e events.Event) (error, error) {
			next, cause := t.Apply(e)
			if cause != nil {
				return cause, nil
			}
			return nil, tx.PutTenant(next)
		}, err
	}
	if id, ok := stream.Database(); ok {
		d, err := tx.Database(id)
		return d.Version, func(e events.Event) (error, error) {
			next, cause := d.Apply(e)
			if cause == nil {
				tx.PutDatabase(next)
			}
			return cause, nil
		}, err
	}
	if id, ok := stream.Group(); ok {
		g, err := tx.Group(id)
		return g.Version, func(e events.Event) (error, error) {
			next, cause := g.Apply(e)
			if cause == nil {
				tx.PutGroup(next)
			}
			return cause, nil
		}, err
	}
	return 0, nil, fmt.Errorf("no fold for stream %q", stream)
}

// foldRest folds the rest of a stream that was in quarantine, or all of it anew, and takes it out.
// The cause says why it still does not fold; then nothing may be committed.
func foldRest(tx *readmodel.Tx, stream events.StreamID, rest []events.Event, anew bool) (cause, err error) {
	if anew {
		if err := tx.Forget(stream); err != nil {
			return nil, err
		}
	}
	for _, e := range rest {
		version, apply, err := prepare(tx, stream)
		if err != nil {
			return nil, err
		}
		if e.Version <= version {
			continue
		}
		if cause, err := apply(e); cause != nil || err != nil {
			return cause, err
		}
	}
	return nil, tx.ClearQuarantine(stream)
}
