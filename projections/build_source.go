package projections

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// FoldConfig says how to fold a whole source.
type FoldConfig struct {
	Partitions int // of the topic
	// Cutoff is the position up to which a partition's events are folded; nil: all are.
	Cutoff  func(partition int) uint64
	Workers int // that fold at the same time; 0: one a processor
	// Progress, where not nil, is told now and then how many events were read, of how many. It is called
	// from one goroutine at a time.
	Progress func(done, total uint64)
	Clock    func() time.Time // of quarantines; nil: time.Now
}

// Folded is what a source was folded into.
type Folded struct {
	Events, Streams, Tenants, Hostnames uint64                 // up to the cutoff; streams of which nothing is left do not count
	Quarantined                         []readmodel.Quarantine // in the order of their streams
	// Partitions have LastEvent and LastID: the last event of each, up to the cutoff.
	Partitions []readmodel.Partition
}

// FoldSource folds all that a source holds into the records that a read model has of it, as the
// projector does when the events come one by one; see [foldStream].
//
// yield is called from several goroutines at once, one for each part. Within a part streams ascend,
// and what yield is given is its own. Every key comes once. Where several streams say something about one
// hostname, which is possible only next to a quarantine or a cutoff, the later event decides, as it does in
// the projector; such entries come at the end, in part 0, by one more call of yield for their stream.
func FoldSource(ctx context.Context, w events.Whole, cfg FoldConfig, yield func(part int, stream events.StreamID, entries []readmodel.KV) error) (Folded, error) {
	c := contest{beyond: leastCutoff(cfg)}
	out, err := foldWhole(ctx, w, cfg, func(part int) sink {
		return sinkFunc(func(f *foldedStream) error {
			entries := c.settled(f)
			if len(entries) == 0 {
				return nil
			}
			return yield(part, f.id, entries)
		})
	})
	if err != nil {
		return Folded{}, err
	}
	if c.needsAll() {
		again := cfg
		again.Progress = nil
		if _, err := foldWhole(ctx, w, again, func(int) sink {
			return sinkFunc(func(f *foldedStream) error {
				c.hear(f)
				return nil
			})
		}); err != nil {
			return Folded{}, err
		}
	}
	for _, claim := range c.winners() {
		if err := yield(0, claim.stream, []readmodel.KV{claim.entry}); err != nil {
			return Folded{}, err
		}
	}
	out.Hostnames = c.hostnames.Load()
	return out, nil
}

func leastCutoff(cfg FoldConfig) uint64 {
	least := uint64(math.MaxUint64)
	if cfg.Cutoff != nil {
		for p := range cfg.Partitions {
			least = min(least, cfg.Cutoff(p))
		}
	}
	return least
}

// sink takes the streams of one part, in the order of their IDs, from one goroutine.
type sink interface {
	take(f *foldedStream) error
	close() error
}

// sinkFunc is a sink that has nothing to close.
type sinkFunc func(*foldedStream) error

func (s sinkFunc) take(f *foldedStream) error { return s(f) }
func (sinkFunc) close() error                 { return nil }

// foldWhole folds each stream of a source into the sink of its part.
func foldWhole(ctx context.Context, w events.Whole, cfg FoldConfig, into func(part int) sink) (Folded, error) {
	if cfg.Workers == 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	parts, err := w.Parts(ctx, cfg.Workers)
	if err != nil {
		return Folded{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	meter := meter{total: w.Head().Position, tell: cfg.Progress}
	results := make([]Folded, len(parts))
	var wg sync.WaitGroup
	for i, part := range parts {
		wg.Go(func() {
			results[i].Partitions = make([]readmodel.Partition, cfg.Partitions)
			to := into(i)
			err := foldPart(ctx, part, cfg, &results[i], &meter, to.take)
			if err = errors.Join(err, to.close()); err != nil {
				cancel(err) // the first one is the reason of all
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return Folded{}, err
	}
	out := Folded{Partitions: make([]readmodel.Partition, cfg.Partitions)}
	for i := range results {
		out.add(&results[i])
	}
	slices.SortFunc(out.Quarantined, func(a, b readmodel.Quarantine) int { return cmp.Compare(a.Stream.String(), b.Stream.String()) })
	if read := meter.done.Load(); read != meter.total {
		return Folded{}, fmt.Errorf("the source of truth gave %d events, and said that it has %d", read, meter.total)
	}
	meter.show()
	return out, nil
}

func foldPart(ctx context.Context, part events.Part, cfg FoldConfig, out *Folded, meter *meter, yield func(*foldedStream) error) error {
	unseen := uint64(0)
	defer func() { meter.add(unseen) }()
	return part.Streams(ctx, func(stream []events.Event) error {
		partition := events.Partition(stream[0].Stream.String(), cfg.Partitions)
		cutoff := uint64(math.MaxUint64)
		if cfg.Cutoff != nil {
			cutoff = cfg.Cutoff(partition)
		}
		f, err := foldStream(stream, cutoff, cfg.Clock)
		if err != nil {
			return err
		}
		if unseen += uint64(len(stream)); unseen >= meterEvery {
			meter.add(unseen)
			meter.show()
			unseen = 0
		}
		if f.last != nil {
			out.Partitions[partition].Applied(*f.last)
			out.Events += f.events
			out.Streams++
			if f.id.Kind() == events.KindTenant {
				out.Tenants++
			}
		}
		if f.quarantine != nil {
			out.Quarantined = append(out.Quarantined, *f.quarantine)
		}
		return yield(&f)
	})
}

func (f *Folded) add(part *Folded) {
	f.Events += part.Events
	f.Streams += part.Streams
	f.Tenants += part.Tenants
	f.Quarantined = append(f.Quarantined, part.Quarantined...)
	for i, p := range part.Partitions {
		if p.LastEvent > f.Partitions[i].LastEvent {
			f.Partitions[i] = p
		}
	}
}

// meterEvery is after how many events of a part progress is told.
const meterEvery = 10_000

// meter adds up what all parts have read.
type meter struct {
	total   uint64
	done    atomic.Uint64
	telling sync.Mutex
	tell    func(done, total uint64)
}

func (m *meter) add(n uint64) { m.done.Add(n) }

// show tells how far it is, unless somebody else is just doing so.
func (m *meter) show() {
	if m.tell == nil || !m.telling.TryLock() {
		return
	}
	defer m.telling.Unlock()
	m.tell(m.done.Load(), m.total)
}
