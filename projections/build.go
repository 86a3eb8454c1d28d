package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/crashpoint"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// BuildConfig says from what to build a read model, and where.
type BuildConfig struct {
	// Source opens all that the source of truth holds; Build closes it.
	Source func(ctx context.Context) (events.Whole, error)
	Dir    string // of the model: empty, or not there
	// Partitions are those of the topic.
	Partitions int
	Workers    int // that read and fold at the same time; 0: one a processor
	// Progress, where not nil, is told now and then how many events were folded, of how many. It is
	// called from one goroutine at a time.
	Progress  func(done, total uint64)
	Logger    *slog.Logger     // nil: none
	Clock     func() time.Time // nil: time.Now
	FreeSpace func(dir string) (uint64, error)
}

// Built is a model that was built.
type Built struct {
	Folded
	Head     events.Head // of the source when it was read
	Sums     *readmodel.Sums
	Progress *readmodel.Progress
}

// Build makes a whole read model from a source of truth, closed and durable: what the projector
// would have made of the same events, octet for octet. Offsets of Kafka are not known in it; they are
// found by position. On error the directory is gone. While it works there is no model in the
// directory that could be opened.
//
// Its memory does not grow with the source, but for the longest stream that it has.
func Build(ctx context.Context, cfg BuildConfig) (_ *Built, err error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	asked := cfg.Clock().UTC().Truncate(time.Microsecond) // the log ended at the head then, or before it; what a checkpoint keeps
	whole, err := cfg.Source(ctx)
	if err != nil {
		return nil, fmt.Errorf("build a read model: %w", err)
	}
	defer func() {
		if closing := whole.Close(); err == nil && closing != nil {
			cfg.Logger.Warn("the source of truth was read, and not let go", "err", closing)
		}
	}()
	w, err := readmodel.Create(readmodel.Config{Dir: cfg.Dir, Logger: cfg.Logger, FreeSpace: cfg.FreeSpace})
	if err != nil {
		_ = os.Remove(cfg.Dir) // which it may have made; one that holds anything stays
		return nil, fmt.Errorf("build a read model: %w", err)
	}
	out, err := buildInto(ctx, w, whole, cfg, asked)
	if err != nil {
		return nil, fmt.Errorf("build a read model: %w", errors.Join(err, w.Abort()))
	}
	return out, nil
}

func buildInto(ctx context.Context, w *readmodel.Writer, whole events.Whole, cfg BuildConfig, asked time.Time) (*Built, error) {
	out := &Built{Head: whole.Head()}
	if cfg.Partitions < 1 {
		return nil, fmt.Errorf("a topic has one partition at least, not %d", cfg.Partitions)
	}
	if out.Head.Position == 0 {
		cfg.Logger.Warn("the source of truth has no events: the read model is empty", "store_id", out.Head.StoreID)
	}
	fold := FoldConfig{Partitions: cfg.Partitions, Workers: cfg.Workers, Progress: cfg.Progress, Clock: cfg.Clock}
	var hostnames atomic.Uint64
	var err error
	out.Folded, err = foldWhole(ctx, whole, fold, func(i int) sink {
		return &partSink{part: w.Part(i), hostnames: &hostnames}
	})
	if err != nil {
		return nil, err
	}
	out.Hostnames = hostnames.Load()
	crashpoint.Hit(crashpoint.RebuildMid)
	out.Progress = &readmodel.Progress{StoreID: out.Head.StoreID, Complete: true, Partitions: out.Partitions}
	for i := range out.Partitions {
		p := &out.Partitions[i]
		p.Offset, p.Position, p.Watermark = -1, out.Head.Position, asked
	}
	out.Sums, err = w.Finish(ctx, out.Progress, out.Quarantined)
	return out, err
}

// partSink writes one part of a model.
type partSink struct {
	part      *readmodel.PartWriter
	held      uint64
	hostnames *atomic.Uint64 // of all parts
}

func (s *partSink) take(f *foldedStream) error {
	for _, kv := range f.entries {
		if isHostname(kv) {
			if _, claim, _ := kv.Hostname(); claim.Held {
				s.held++
			}
		}
	}
	return s.part.Put(f.entries)
}

func (s *partSink) close() error {
	s.hostnames.Add(s.held)
	return s.part.Close()
}
