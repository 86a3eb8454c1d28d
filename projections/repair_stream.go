package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// one mends one stream in one update. What it has to know for that it learns as it goes: events that
// the source has got meanwhile, and other streams that an entry names.
func (m *mender) one(ctx context.Context, r Repair) error {
	x := mending{mender: m, logs: make(map[events.StreamID]told), standing: make(map[uint64]events.StreamID), until: time.Now().Add(m.patience)}
	if !r.Stream.IsZero() {
		x.wants.streams = []events.StreamID{r.Stream}
		if err := x.learn(ctx); err != nil {
			return err
		}
	}
	for {
		err := m.update(func(tx *readmodel.Tx) error {
			progress := tx.Progress()
			if progress.StoreID != m.head.StoreID {
				return fmt.Errorf("%w: it is %s, the copy was made from %s", errOtherStore, m.head.StoreID, progress.StoreID)
			}
			x.wants = wants{}
			if err := x.mend(tx, r); err != nil {
				return err
			}
			if x.wants.any() {
				return errWanted // so that nothing is committed
			}
			return nil
		})
		if !errors.Is(err, errWanted) {
			return err
		}
		if x.late && !time.Now().Before(x.until) {
			return fmt.Errorf("%w: for %s it came further each time before the source had told of the stream", errGoesOn, m.patience)
		}
		if err := x.headTo(ctx, x.wants.head); err != nil {
			return err
		}
		if err := x.learn(ctx); err != nil {
			return err
		}
	}
}

var (
	errWanted = errors.New("more has to be read first")
	errGoesOn = errors.New("this copy goes on faster than the source answers")
)

// mending is what is known of the source while one stream is mended.
type mending struct {
	*mender
	logs     map[events.StreamID]told
	standing map[uint64]events.StreamID // whose event stands at a position; zero: none does
	wants    wants
	late     bool      // what was read is not enough any more
	until    time.Time // it is waited for a source that is behind
}

// told is a stream's log: whole, as far as the head that the source had before it was read.
type told struct {
	events []events.Event
	head   uint64
}

// wants is what has to be read before a stream can be mended.
type wants struct {
	streams   []events.StreamID
	positions []uint64
	head      uint64 // where the source has to have come first
}

func (w *wants) any() bool { return len(w.streams) > 0 || len(w.positions) > 0 }

// headTo asks the source for its head, and waits until that has come to a position.
func (x *mending) headTo(ctx context.Context, position uint64) (err error) {
	for {
		if x.head, err = x.source.Head(ctx); err != nil {
			return fmt.Errorf("ask the source of truth for its head: %w", err)
		}
		if x.head.Position >= position {
			return nil
		}
		if !time.Now().Before(x.until) {
			return fmt.Errorf("%w: this copy has applied position %d, and the source ends at %d", ErrSourceBehind, position, x.head.Position)
		}
		if err := sleep(ctx, headPause); err != nil {
			return err
		}
	}
}

const headPause = 100 * time.Millisecond // before a source that is behind is asked again

// learn reads what is wanted.
func (x *mending) learn(ctx context.Context) error {
	for _, stream := range x.wants.streams {
		log, err := x.source.Load(ctx, stream, 0)
		if err != nil {
			return fmt.Errorf("read it from the source of truth: %w", err)
		}
		x.logs[stream] = told{log, x.head.Position}
	}
	for _, position := range x.wants.positions {
		log, err := x.source.After(ctx, position-1, 1)
		if err != nil {
			return fmt.Errorf("read the source of truth at position %d: %w", position, err)
		}
		x.standing[position] = events.StreamID{}
		if len(log) > 0 {
			x.standing[position] = log[0].Stream
		}
	}
	return nil
}

// mend does it in an update, or says in wants what has to be read before. Then nothing may be
// committed.
func (x *mending) mend(tx *readmodel.Tx, r Repair) error {
	for _, key := range r.Keys {
		if err := tx.Drop(key); err != nil {
			return err
		}
	}
	if r.Stream.IsZero() {
		return nil
	}
	f, known, err := x.fold(tx, r.Stream, x.at)
	if err != nil || !known {
		return err
	}
	if err := x.asRead(r); err != nil {
		return err
	}
	if f.quarantine != nil {
		if err := x.leaveOut(tx, &f); err != nil {
			return err
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
				return err
			}
		} else if err != nil && !errors.Is(err, readmodel.ErrDamaged) {
			return err
		}
	}
	for h, claim := range says {
		if !claim.Held {
			continue
		}
		wrong, err := x.usurped(tx, h, r.Stream, claim)
		if err != nil {
			return err
		}
		if wrong {
			if err := tx.Drop(readmodel.HostnameKey(h)); err != nil {
				return err
			}
		}
	}
	if x.wants.any() {
		return nil
	}
	if f.last == nil {
		return tx.Remove(r.Stream)
	}
	return tx.Replace(r.Stream, f.entries, f.quarantine)
}

// leaveOut takes out of what a stream in quarantine comes to the hostnames that it may have let go since by events that
// were not folded. Somebody else may have had one after it, and have let it go so long ago that nothing here tells of it any
// more: that there is no entry proves nothing then. What the copy gives the stream already is its.
func (x *mending) leaveOut(tx *readmodel.Tx, f *foldedStream) error {
	log := x.logs[f.id].events
	kept := make([]readmodel.KV, 0, len(f.entries))
	for _, kv := range f.entries {
		h, claim, ok := kv.Hostname()
		if ok && claim.Held && MayHaveLetGo(log[:f.events], f.quarantine.Version, h) {
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

// MayHaveLetGo tells whether events from a version on can have taken a hostname from their tenant. What cannot be read may have.
func MayHaveLetGo(log []events.Event, from uint64, h events.Hostname) bool {
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

// fold folds a stream as far as its partition has come here; false where something is wanted for that: its log may lack
// something. An event of the stream is said to stand at a position (0: none is).
func (x *mending) fold(tx *readmodel.Tx, stream events.StreamID, said uint64) (f foldedStream, known bool, err error) {
	log, known := x.logs[stream]
	partitions := tx.Progress().Partitions
	part := partitions[events.Partition(stream.String(), len(partitions))]
	if !known || part.LastEvent > log.head { // beyond its last event a partition has none, however far it is known to go
		x.late = x.late || known
		x.wants.streams, x.wants.head = append(x.wants.streams, stream), max(x.wants.head, part.LastEvent)
		return f, false, nil
	}
	recorded, err := positionOf(tx, stream)
	if err != nil {
		return f, false, err
	}
	for _, position := range []uint64{recorded, said} {
		if known, err := x.tellsOf(stream, position); err != nil || !known {
			return f, false, err
		}
	}
	if len(log.events) == 0 {
		return foldedStream{id: stream}, true, nil
	}
	f, err = foldStream(log.events, part.Position, x.now)
	return f, true, err
}

// tellsOf holds a stream's history against what the copy has of it from a position: where it ends before that, the
// source's log has to have something else there, or the history is not all that there is. It is false where the log has to be read first.
func (x *mending) tellsOf(stream events.StreamID, position uint64) (known bool, err error) {
	last := uint64(0)
	if log := x.logs[stream].events; len(log) > 0 {
		last = log[len(log)-1].Position
	}
	if position <= last || position > x.head.Position { // what is beyond the end of the source is damage
		return true, nil
	}
	switch of, known := x.standing[position]; {
	case !known:
		x.wants.positions = append(x.wants.positions, position)
		return false, nil
	case of == stream:
		return true, fmt.Errorf("%w: its history ends at position %d, and the log has an event of it at %d", errNotBelieved, last, position)
	case of.IsZero():
		return true, fmt.Errorf("%w: its history ends at position %d, and the log, which went to %d, does not have %d any more", errNotBelieved, last, x.head.Position, position)
	}
	return true, nil
}

// positionOf is that of the last event that is in a stream's record here; 0: there is none, or it is damaged.
func positionOf(tx *readmodel.Tx, stream events.StreamID) (position uint64, err error) {
	if id, ok := stream.Tenant(); ok {
		t, e := tx.Tenant(id)
		position, err = t.Position, e
	} else if id, ok := stream.Database(); ok {
		d, e := tx.Database(id)
		position, err = d.Position, e
	} else if id, ok := stream.Group(); ok {
		g, e := tx.Group(id)
		position, err = g.Position, e
	}
	if errors.Is(err, readmodel.ErrDamaged) {
		return 0, nil
	}
	return position, err
}

// asRead holds a stream's history to be what was compared.
func (x *mending) asRead(r Repair) error {
	if r.Read == nil {
		return nil
	}
	digest := uint64(0)
	if log := x.logs[r.Stream].events; len(log) > 0 {
		f, err := foldStream(log, r.Read.UpTo, x.now)
		if err != nil {
			return err
		}
		for _, kv := range f.entries {
			if e, ok := kv.Entry(); ok && kv.Key == readmodel.RecordKey(r.Stream) {
				digest = e.Digest
			}
		}
	}
	if digest != r.Read.Digest {
		return fmt.Errorf("%w: its history of %d events is not what the source had up to position %d when it was compared", errNotBelieved, len(x.logs[r.Stream].events), r.Read.UpTo)
	}
	return nil
}

// usurped tells that an entry keeps a stream from a hostname that is its own, and that the stream
// which it names does not say so. Where that has to be read first it is wanted.
func (x *mending) usurped(tx *readmodel.Tx, h events.Hostname, stream events.StreamID, claim readmodel.Claim) (wrong bool, err error) {
	holder, position, err := tx.Holder(h)
	switch {
	case errors.Is(err, readmodel.ErrDamaged):
		return true, nil
	case err != nil:
		return false, err
	case position < claim.Position:
		return false, nil // this stream's claim is the later one
	case holder.IsZero():
		// Somebody else had it and let it go since, and so this stream has let it go before: which it would
		// say, if that is as far as its partition has come. And nobody has done so yet at a position that this copy has
		// not come to.
		partitions := tx.Progress().Partitions
		upTo := partitions[events.Partition(stream.String(), len(partitions))].Position
		return position <= upTo || position > tx.Progress().Last().LastEvent, nil
	case holder.Stream() == stream:
		return position != claim.Position, nil
	}
	f, known, err := x.fold(tx, holder.Stream(), position)
	if err != nil || !known {
		return false, err
	}
	for _, kv := range f.entries {
		if named, c, ok := kv.Hostname(); ok && named == h {
			return c != readmodel.Claim{Position: position, Held: true}, nil
		}
	}
	return true, nil
}
