package replay

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/tenantry/tenantry/projections/readmodel"
)

// snapshot is what [readmodel.Inspection] has.
type snapshot interface {
	Progress() *readmodel.Progress
	Maintained() Sums
	Scan(ctx context.Context, rate int, yield func(Entry) error) error
	Quarantined(ctx context.Context) ([]readmodel.Quarantine, error)
	Record(key string) ([]byte, error)
	Scanned(ctx context.Context, rate int) (*Sums, error)
	Recount(scanned *Sums) error
	Close() error
}

// local is a moment of a model of this process.
type local struct {
	snapshot
	sums atomic.Pointer[Sums] // of what is stored, once something has read all of it
}

// Scan sums every entry by the bucket of the stream that it belongs to.
func (l *local) Scan(ctx context.Context, rate int) (*Scanned, error) {
	s := new(Scanned)
	err := l.snapshot.Scan(ctx, rate, func(e Entry) error {
		if e.Astray {
			s.Damaged = append(s.Damaged, e.Key)
			return nil
		}
		s.Entries++
		s.Sums.Add(e)
		switch {
		case e.Stream.IsZero():
			s.Damaged = append(s.Damaged, e.Key)
		case strings.HasPrefix(e.Key, tenantPrefix):
			s.Tenants++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.sums.Store(&s.Sums)
	return s, nil
}

// Entries reads all, and yields few: a bucket's entries do not stand together.
func (l *local) Entries(ctx context.Context, of *BucketSet, yield func(Entry) error) error {
	sums := new(Sums)
	err := l.snapshot.Scan(ctx, 0, func(e Entry) error {
		if e.Astray {
			return nil // a scan tells of it
		}
		sums.Add(e)
		if e.Stream.IsZero() || of.Has(e.Bucket) {
			return yield(e)
		}
		return nil
	})
	if err == nil {
		l.sums.Store(sums)
	}
	return err
}

// Recount takes the sums of what was read before, where all was.
func (l *local) Recount(ctx context.Context) error {
	sums := l.sums.Load()
	if sums == nil {
		var err error
		if sums, err = l.Scanned(ctx, 0); err != nil {
			return err
		}
	}
	return l.snapshot.Recount(sums)
}

// Record is nil where there is none.
func (l *local) Record(_ context.Context, key string) ([]byte, error) {
	b, err := l.snapshot.Record(key)
	if errors.Is(err, readmodel.ErrUnknown) {
		return nil, nil
	}
	return b, err
}

// The prefixes of the keys that a replay looks at; package readmodel's doc.go says what they hold.
const (
	tenantPrefix   = "t/"
	hostnamePrefix = "h/"
)

// hostnameOf is the hostname of an entry's key; false: it is no hostname's.
func hostnameOf(key string) (string, bool) { return strings.CutPrefix(key, hostnamePrefix) }
