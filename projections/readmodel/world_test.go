package readmodel

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
)

// fatal is what rapid's T and testing's have in common here.
type fatal interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// region is a model that a test folds a log into, stream by stream, in whatever order.
type region struct {
	t          fatal
	cfg        Config
	model      *Model
	partitions int
	streams    map[events.StreamID][]events.Event
	ids        []events.StreamID       // of the streams, sorted
	folded     map[events.StreamID]int // how many events of each were
}

// newRegion has an open model. The caller closes it.
func newRegion(t fatal, dir string, log []events.Event, partitions int) *region {
	t.Helper()
	r := &region{t: t, cfg: Config{Dir: dir}, partitions: partitions, streams: eventstest.Streams(log), folded: make(map[events.StreamID]int)}
	r.ids = slices.SortedFunc(maps.Keys(r.streams), func(a, b events.StreamID) int { return compareStrings(a.String(), b.String()) })
	r.reopen()
	if err := r.model.Begin(uuid.New(), partitions); err != nil {
		t.Fatal(err)
	}
	return r
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (r *region) reopen() {
	r.t.Helper()
	if r.model != nil {
		if err := r.model.Close(); err != nil {
			r.t.Fatal(err)
		}
	}
	m, err := Open(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.model = m
}

func (r *region) update(fn func(*Tx) error) {
	r.t.Helper()
	if err := r.model.Update(fn); err != nil {
		r.t.Fatal(err)
	}
}

// fold folds the next events of a stream, as the projector does.
func (r *region) fold(tx *Tx, stream events.StreamID, n int) error {
	from := r.folded[stream]
	for _, e := range r.streams[stream][from:min(from+n, len(r.streams[stream]))] {
		if err := foldInto(tx, e); err != nil {
			return err
		}
		part := &tx.Progress().Partitions[events.Partition(stream.String(), r.partitions)]
		part.Applied(e)
		r.folded[stream]++
	}
	return nil
}

func foldInto(tx *Tx, e events.Event) error {
	if id, ok := e.Stream.Tenant(); ok {
		t, err := tx.Tenant(id)
		if err != nil {
			return err
		}
		if t, err = t.Apply(e); err != nil {
			return err
		}
		return tx.PutTenant(t)
	}
	if id, ok := e.Stream.Database(); ok {
		d, err := tx.Database(id)
		if err != nil {
			return err
		}
		d, err = d.Apply(e)
		tx.PutDatabase(d)
		return err
	}
	id, _ := e.Stream.Group()
	g, err := tx.Group(id)
	if err != nil {
		return err
	}
	g, err = g.Apply(e)
	tx.PutGroup(g)
	return err
}

// entriesOf are the records of a stream's first n events, without a model.
func (r *region) entriesOf(stream events.StreamID, n int, quarantined bool) []KV {
	r.t.Helper()
	kvs, err := entriesOf(stream, r.streams[stream][:n], quarantined)
	if err != nil {
		r.t.Fatal(err)
	}
	return kvs
}

func entriesOf(stream events.StreamID, log []events.Event, quarantined bool) ([]KV, error) {
	switch stream.Kind() {
	case events.KindTenant:
		var t events.Tenant
		var claims Claims
		for _, e := range log {
			next, err := t.Apply(e)
			if err != nil {
				return nil, err
			}
			claims = claims.Moved(t, next)
			t = next
		}
		return EntriesOfTenant(t, claims, quarantined)
	case events.KindDatabase:
		d, err := events.FoldDatabase(events.Database{}, log)
		if err != nil {
			return nil, err
		}
		return EntriesOfDatabase(d, quarantined)
	case events.KindGroup:
		g, err := events.FoldGroup(events.Group{}, log)
		if err != nil {
			return nil, err
		}
		return EntriesOfGroup(g, quarantined)
	}
	return nil, errors.New("no such kind")
}

// wanted are the records that a model of what was folded must have, once releases are forgotten.
func (r *region) wanted(quarantined map[events.StreamID]bool) map[string]string {
	r.t.Helper()
	claims := make(map[string]KV)
	want := make(map[string]string)
	for _, id := range r.ids {
		for _, kv := range r.entriesOf(id, r.folded[id], quarantined[id]) {
			_, c, ok := kv.Hostname()
			if !ok {
				want[kv.Key] = string(kv.Value)
				continue
			}
			if _, was, ok := claims[kv.Key].Hostname(); !ok || c.Position > was.Position {
				claims[kv.Key] = kv
			}
		}
	}
	for key, kv := range claims {
		if _, c, _ := kv.Hostname(); c.Held {
			want[key] = string(kv.Value)
		}
	}
	return want
}

// check holds the sums against what is stored, and against what is there after the model was opened anew.
func (r *region) check(what string) {
	r.t.Helper()
	i, err := r.model.Inspect()
	if err != nil {
		r.t.Fatal(err)
	}
	defer i.Close()
	scanned := new(Sums)
	last := ""
	if err := i.Scan(context.Background(), 0, func(e Entry) error {
		if e.Key <= last {
			r.t.Fatalf("%s: %q comes after %q", what, e.Key, last)
		}
		last = e.Key
		scanned.Add(e)
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	maintained, now := i.Maintained(), r.model.Sums()
	if d := scanned.Differing(&maintained); d != nil {
		r.t.Fatalf("%s: buckets %v of the sums are not those of what is stored", what, d)
	}
	if d := scanned.Differing(&now); d != nil {
		r.t.Fatalf("%s: buckets %v of the sums in memory are not those of what is stored", what, d)
	}
}

// all are the records of a model, every one.
func all(t fatal, m *Model) map[string]string {
	t.Helper()
	out := make(map[string]string)
	if err := m.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{PrefetchValues: true, PrefetchSize: 100})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			b, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			out[string(it.Item().Key())] = string(b)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// counted are those of all that count for the sums.
func counted(all map[string]string) map[string]string {
	return maps.Collect(func(yield func(string, string) bool) {
		for k, v := range all {
			if _, ok := (KV{Key: k, Value: []byte(v)}).Entry(); ok && !yield(k, v) {
				return
			}
		}
	})
}
