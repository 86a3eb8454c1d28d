package readmodel

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/tenantry/tenantry/internal/giveway"
)

// Inspection is the model as it was at one moment, whatever is written meanwhile. It costs the
// model nothing but the versions that it must keep: close it. Any number of goroutines may use it.
type Inspection struct {
	model    *Model
	progress *Progress
	sums     Sums
	recounts uint64 // of the model, before this inspection

	mu  sync.Mutex // held for no longer than some hundred records take to be read
	txn *badger.Txn
}

// Inspect takes a look at the model as it is now. After [Model.Close] the inspection answers ErrClosed.
func (m *Model) Inspect() (*Inspection, error) {
	m.open.RLock()
	defer m.open.RUnlock()
	m.inspecting.Lock()
	defer m.inspecting.Unlock()
	if m.closed || m.inspecting.over {
		return nil, ErrClosed
	}
	i := &Inspection{model: m, recounts: m.recounts.Load()} // before the snapshot, which has at least these
	i.txn = m.db.NewTransaction(false)
	var err error
	if i.progress, i.sums, err = readState(i.txn); err != nil {
		i.txn.Discard()
		return nil, err
	}
	if m.inspecting.all == nil {
		m.inspecting.all = make(map[*Inspection]struct{})
	}
	m.inspecting.all[i] = struct{}{}
	return i, nil
}

// Close ends the inspection.
func (i *Inspection) Close() error {
	i.discard()
	i.model.inspecting.Lock()
	defer i.model.inspecting.Unlock()
	delete(i.model.inspecting.all, i)
	return nil
}

func (i *Inspection) discard() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.txn != nil {
		i.txn.Discard()
		i.txn = nil
	}
}

// endInspections lets the model be closed: look-ups must not wait for somebody who compares it.
func (m *Model) endInspections() {
	m.inspecting.Lock()
	defer m.inspecting.Unlock()
	m.inspecting.over = true
	for i := range m.inspecting.all {
		i.discard()
	}
	m.inspecting.all = nil
}

// Progress is how far the model had come.
func (i *Inspection) Progress() *Progress { return i.progress }

// Maintained are the sums as updates have kept them. They tell what the model should hold; what it
// does hold, [Inspection.Scan] reads.
func (i *Inspection) Maintained() Sums { return i.sums }

// view runs fn on the snapshot.
func (i *Inspection) view(fn func(*badger.Txn) error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.txn == nil {
		return ErrClosed
	}
	return fn(i.txn)
}

// Scan yields each entry that counts for [Sums], in the order of their keys, at most rate of them
// a second (0: as fast as it goes), and those that are astray. It reads and digests what is stored.
func (i *Inspection) Scan(ctx context.Context, rate int, yield func(Entry) error) error {
	var batch []Entry
	last := i.progress.last()
	return i.each(ctx, rate, func(key, value []byte) {
		kv := KV{Key: string(key), Value: value}
		if e, ok := kv.Entry(); ok {
			batch = append(batch, e)
		} else if c, err := parseClaim(value); err == nil && kv.under(prefixHostname) && c.position > last {
			batch = append(batch, Entry{Key: kv.Key, Astray: true})
		}
	}, func() error {
		for _, e := range batch {
			if err := yield(e); err != nil {
				return err
			}
		}
		batch = batch[:0]
		return nil
	})
}

// Scanned are the sums of what is stored: equal to those maintained, unless something is damaged.
func (i *Inspection) Scanned(ctx context.Context, rate int) (*Sums, error) {
	sums := new(Sums)
	err := i.each(ctx, rate, func(key, value []byte) {
		if d := digestOf(key, value); d.counts {
			sums[d.bucket] += d.sum
		}
	}, func() error { return nil })
	return sums, err
}

// scanBatch is how many records are read at a time, and scanOctets how much of them, but for the last: few
// enough that whoever waits for the inspection, to use or close it, does not notice, and that they can be kept in memory.
const (
	scanBatch  = 512
	scanOctets = 1 << 20
)

// each takes each record, in the order of their keys, while the snapshot is held, and calls done after
// every batch, when it is not.
func (i *Inspection) each(ctx context.Context, rate int, take func(key, value []byte), done func() error) error {
	pace, bulk := scanPace{rate: rate, began: time.Now()}, giveway.Begin()
	for _, prefix := range []string{prefixDatabase, prefixGroup, prefixHostname, prefixTenant} {
		for from := []byte(prefix); from != nil; {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, next, err := i.batch(prefix, from, pace.batch(), take)
			if err == nil {
				err = done()
			}
			if err == nil {
				err = pace.wait(ctx, n)
			}
			if err != nil {
				return err
			}
			bulk.Pause(ctx)
			from = next
		}
	}
	return nil
}

// batch takes up to limit records from a key on, and says where to go on: nil: nowhere.
func (i *Inspection) batch(prefix string, from []byte, limit int, take func(key, value []byte)) (n int, next []byte, err error) {
	err = i.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(prefix)})
		defer it.Close()
		octets := 0
		for it.Seek(from); it.Valid(); it.Next() {
			item := it.Item()
			if n == limit || octets > scanOctets {
				next = item.KeyCopy(nil)
				return nil
			}
			n++
			if err := item.Value(func(b []byte) error {
				octets += len(b)
				take(item.Key(), b)
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return n, next, err
}

// scanPace keeps a scan to a rate.
type scanPace struct {
	rate  int
	began time.Time
	seen  int
}

func (p *scanPace) batch() int {
	if p.rate <= 0 {
		return scanBatch
	}
	return min(scanBatch, max(1, p.rate/20))
}

// wait waits until it is time for what comes after n more records.
func (p *scanPace) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return nil
	}
	p.seen += n
	ahead := time.Until(p.began.Add(time.Duration(float64(p.seen) / float64(p.rate) * float64(time.Second))))
	if ahead <= 0 {
		return nil
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Record is the stored value of a key; ErrUnknown where there is none.
func (i *Inspection) Record(key string) (value []byte, err error) {
	err = i.view(func(txn *badger.Txn) error {
		item, err := txn.Get([]byte(key))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return ErrUnknown
		}
		if err != nil {
			return err
		}
		value, err = item.ValueCopy(nil)
		return err
	})
	return value, err
}

// Quarantined is [Model.Quarantined] of that moment.
func (i *Inspection) Quarantined(ctx context.Context) (out []Quarantine, err error) {
	err = i.view(func(txn *badger.Txn) error {
		out, err = quarantined(ctx, txn)
		return err
	})
	return out, err
}

// Sums are those that updates have kept up to now.
func (m *Model) Sums() Sums {
	m.sums.RLock()
	defer m.sums.RUnlock()
	return m.sums.now
}

// ErrRecounted says that the sums were recounted since an inspection was begun, or that it is one of another model,
// and that what it found must not be counted here. Begin another one.
var ErrRecounted = errors.New("the sums were recounted meanwhile")

// Recount puts the sums of what is stored in the place of those that were kept: after damage was
// mended, which has changed records behind the sums' back. Updates go on meanwhile.
func (m *Model) Recount(ctx context.Context) error {
	for {
		i, err := m.Inspect()
		if err != nil {
			return err
		}
		scanned, err := i.Scanned(ctx, 0)
		if err == nil {
			err = m.Recounted(i, scanned)
		}
		if err = errors.Join(err, i.Close()); !errors.Is(err, ErrRecounted) {
			return err
		}
	}
}

// Recount is [Model.Recounted] of the model that this is an inspection of.
func (i *Inspection) Recount(scanned *Sums) error { return i.model.Recounted(i, scanned) }

// Recounted is [Model.Recount] for somebody who has scanned all of an inspection already, before or after the
// damage was mended: these are the sums of what he saw.
func (m *Model) Recounted(i *Inspection, scanned *Sums) error {
	// What an update does to the sums is the same whatever they were, so that the correction of an
	// older moment is right for all that came after. But only once.
	return m.Update(func(tx *Tx) error {
		if i.model != m || m.recounts.Load() != i.recounts {
			return ErrRecounted
		}
		for _, b := range scanned.Differing(&i.sums) {
			tx.tally.add(b, scanned[b]-i.sums[b])
		}
		tx.recounts = true
		return nil
	})
}
