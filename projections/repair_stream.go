package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

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
	if f.quarantine != nil {
		if err := m.leaveOut(tx, &f, logs[r.Stream]); err != nil {
			return nil, err
		}
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

// leaveOut takes out of what a stream in quarantine comes to the hostnames that it may have let go since by events that
// were not folded. Somebody else may have had one after it, and have let it go so long ago that nothing here tells of it any
// more: that there is no entry proves nothing then. What the copy gives the stream already is its.
func (m *mender) leaveOut(tx *readmodel.Tx, f *foldedStream, log []events.Event) error {
	kept := make([]readmodel.KV, 0, len(f.entries))
	for _, kv := range f.entries {
		h, claim, ok := kv.Hostname()
		if ok && claim.Held && mayHaveLetGo(log[:f.events], f.quarantine.Version, h) {
			holder, _, err := tx.Holder(h)
			if errors.Is(err, readmodel.ErrDamaged) {
				err = tx.Drop(readmodel.HostnameKey(h))
			}
			if err != nil {
				return err
			}
			if holder.Stream() != f.id {
				continue
			}
		}
		kept = append(kept, kv)
	}
	f.entries = kept
	return nil
}

// mayHaveLetGo tells whether events from a version on can have taken a hostname from their tenant. What cannot be read may have.
func mayHaveLetGo(log []events.Event, from uint64, h events.Hostname) bool {
	for _, e := range log {
		if e.Version < from {
			continue
		}
		switch p, err := e.Payload(); p := p.(type) {
		case events.HostnameDetached:
			if p.Hostname == h {
				return true
			}
		case events.TenantPurged:
			return true
		default:
			if err != nil {
				return true
			}
		}
	}
	return false
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
