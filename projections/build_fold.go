package projections

import (
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// foldedStream is what a whole stream makes: the same records that [fold] leaves of it when its
// events come one by one.
type foldedStream struct {
	id      events.StreamID
	entries []readmodel.KV // hostnames that it let go as well
	// last is the last of its events up to the cutoff, folded or not; nil where there is none.
	last *events.Event
	// events are as many as there are up to the cutoff; cut tells that there are more behind it.
	events     uint64
	cut        bool
	quarantine *readmodel.Quarantine
}

// foldStream folds the events of a stream up to a position.
func foldStream(stream []events.Event, cutoff uint64, now func() time.Time) (foldedStream, error) {
	f := foldedStream{id: stream[0].Stream}
	n := len(stream)
	for n > 0 && stream[n-1].Position > cutoff {
		n--
	}
	f.cut, stream = n < len(stream), stream[:n]
	if n == 0 {
		return f, nil
	}
	f.last, f.events = &stream[n-1], uint64(n)
	var good int
	var cause, err error
	switch f.id.Kind() {
	case events.KindTenant:
		f.entries, good, cause, err = foldAs(stream, applyTenant, entriesOfTenant)
	case events.KindDatabase:
		f.entries, good, cause, err = foldAs(stream, events.Database.Apply, readmodel.EntriesOfDatabase)
	case events.KindGroup:
		f.entries, good, cause, err = foldAs(stream, events.Group.Apply, readmodel.EntriesOfGroup)
	default:
		err = fmt.Errorf("no fold for stream %q", f.id)
	}
	if err != nil {
		return foldedStream{}, err
	}
	if cause != nil {
		bad := &stream[good]
		f.quarantine = &readmodel.Quarantine{Stream: f.id, Position: bad.Position, Version: bad.Version, Error: cause.Error(), Since: now().UTC()}
	}
	return f, nil
}

// claiming is a tenant with what its events said about hostnames.
type claiming struct {
	events.Tenant
	claims readmodel.Claims
}

func applyTenant(c claiming, e events.Event) (claiming, error) {
	next, err := c.ApplyOwn(e)
	if err != nil {
		return c, err
	}
	return claiming{next, c.claims.Moved(c.Tenant, next)}, nil
}

func entriesOfTenant(c claiming, quarantined bool) ([]readmodel.KV, error) {
	return readmodel.EntriesOfTenant(c.Tenant, c.claims, quarantined)
}

// foldAs folds a stream as far as it goes: good is how many of its events, and cause why not the
// next. Whether the outcome can be stored is asked at the end, and only if it cannot, after each
// event, as the projector finds the event that makes it so.
func foldAs[S any](stream []events.Event, apply func(S, events.Event) (S, error), entriesOf func(S, bool) ([]readmodel.KV, error)) (entries []readmodel.KV, good int, cause, err error) {
	fold := func(n int) (state S) {
		for good, cause = 0, nil; good < n; good++ {
			var next S
			if next, cause = apply(state, stream[good]); cause != nil {
				break
			}
			state = next
		}
		return state
	}
	entries, err = storable(entriesOf(fold(len(stream)), cause != nil))
	if !cannotBeStored(err) {
		return entries, good, cause, err
	}
	for n := 1; n <= len(stream); n++ {
		if _, err := storable(entriesOf(fold(n), cause != nil)); cannotBeStored(err) {
			entries, other := storable(entriesOf(fold(n-1), true))
			return entries, n - 1, err, other
		}
	}
	return nil, 0, nil, errors.New("a stream cannot be stored, but each part of it can")
}

// maxRecord is the most octets that an update takes of one value.
const maxRecord = 2 * readmodel.MaxUpdate

func storable(entries []readmodel.KV, err error) ([]readmodel.KV, error) {
	if err != nil {
		return nil, err
	}
	for _, kv := range entries {
		if len(kv.Value) > maxRecord {
			return nil, fmt.Errorf("%w: %s would have %d octets", readmodel.ErrTooBig, kv.Key, len(kv.Value))
		}
	}
	return entries, nil
}
