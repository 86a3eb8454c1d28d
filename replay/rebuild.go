package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/crashpoint"
	"github.com/tenantry/tenantry/internal/diskspace"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// Opener opens a region's copy: that of the node that runs now, or else the directory's. It is called
// whenever the copy is needed and not held in between, so that a node may start and stop meanwhile.
type Opener func(ctx context.Context) (Region, error)

// RebuildConfig says what to build, and what not to do with it.
type RebuildConfig struct {
	Dir    readmodel.Dir
	Open   Opener
	Source Source
	// Partitions is of the topic, for a region of which nothing is left that says it.
	Partitions int
	// Store is the one that the region is known to have served a copy of, for the same; zero: it is not known.
	Store uuid.UUID
	// MaxChange is how much of what the copy has may be taken away or altered at most, of 1: see [Change.Part].
	MaxChange float64
	// Force goes on although that is more, or although the source is another store.
	Force     bool
	Progress  func(stage string, done, total uint64)
	FreeSpace func(dir string) (uint64, error) // nil: ask the kernel
	// SourceOctets is what the source needs on the same disk for each of its events while it is read.
	SourceOctets uint64
	Patience     time.Duration // see [VerifyConfig]
	Logger       *slog.Logger
}

// Rebuilt is what a rebuild has made.
type Rebuilt struct {
	Region     string `json:"region"`
	Generation string `json:"generation"`
	Before     string `json:"before,omitzero"` // the one that was live; [Rollback] goes back to it
	PID        int    `json:"pid,omitzero"`    // of the node that serves it; 0: none runs
	Position   uint64 `json:"position"`        // up to which it was built
	Events     uint64 `json:"events"`
	Tenants    uint64 `json:"tenants"`
	Hostnames  uint64 `json:"hostnames"`
	// Quarantined are streams with an event that this program cannot fold.
	Quarantined int `json:"quarantined,omitzero"`
	// Change is what it holds otherwise than the copy before; nil: there was none to compare with.
	Change *Change       `json:"change,omitempty"`
	Took   time.Duration `json:"-"`
}

// ErrTooMuchChange says that a rebuild would take away or alter more of what there is than it may. Nothing was
// changed.
var ErrTooMuchChange = errors.New("the rebuild would change too much of what the region has")

// Rebuild builds a generation from the source beside the live one, reads it back, and has it take the live
// one's place. Look-ups go on all the while. Whatever fails leaves the live generation as it was, and
// nothing of its own.
func Rebuild(ctx context.Context, cfg RebuildConfig) (*Rebuilt, error) {
	if cfg.Progress == nil {
		cfg.Progress = func(string, uint64, uint64) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.FreeSpace == nil {
		cfg.FreeSpace = diskspace.Free
	}
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	began := time.Now()
	unlock, err := cfg.Dir.ReplayLock()
	if err != nil {
		return nil, err
	}
	r, err := rebuild(ctx, cfg)
	if err := errors.Join(err, unlock()); err != nil {
		return nil, err
	}
	r.Took = time.Since(began)
	return r, nil
}

func rebuild(ctx context.Context, cfg RebuildConfig) (*Rebuilt, error) {
	info, live, last, err := look(ctx, cfg.Open)
	if err != nil {
		return nil, err
	}
	info.warn(cfg.Logger)
	copied := cmp.Or(live, last)
	partitions := info.Partitions
	if partitions == 0 && last != nil {
		partitions = len(last.Partitions)
	}
	if partitions == 0 {
		partitions = cfg.Partitions
	}
	head, err := mayBuildFrom(ctx, cfg, info.PID, copied)
	if err != nil {
		return nil, err
	}
	building, err := beginBuilding(cfg.Dir, cfg.Logger)
	if err != nil {
		return nil, err
	}
	r := &Rebuilt{Region: info.Region, Before: info.Generation}
	err = roomFor(cfg, info, head)
	if err == nil {
		r.Generation, err = r.build(ctx, cfg, building, partitions)
	}
	if err != nil {
		return nil, errors.Join(err, cfg.Dir.Remove(building))
	}
	if err := r.handOver(ctx, cfg); err != nil {
		return nil, err
	}
	return r, nil
}

// look is what a region's copy is now, and how far it has come; nil: there is none that could be
// looked into, and last is how far another generation had come, if one is left that can be used.
func look(ctx context.Context, open Opener) (info Info, copied, last *readmodel.Progress, err error) {
	err = opened(ctx, open, func(region Region) error {
		if info, err = region.Info(ctx); err != nil {
			return err
		}
		if !info.Complete {
			if s, ok := region.(*Stopped); ok {
				last, err = s.last()
			}
			return err
		}
		in, err := region.Inspect(ctx)
		if err != nil {
			return err
		}
		copied = in.Progress()
		return in.Close()
	})
	return info, copied, last, err
}

// warn says that what is there is damaged, which is for who wants to know why something else takes its place.
func (i *Info) warn(log *slog.Logger) {
	if i.Fault != nil {
		log.Warn("the region's read model cannot be used", "generation", i.Generation, "err", i.Fault)
	}
}

// opened runs do with the region's copy as it is now, a node's or the directory's; once more where a node has
// started meanwhile.
func opened(ctx context.Context, open Opener, do func(Region) error) error {
	for {
		region, err := open(ctx)
		if err != nil {
			return err
		}
		err = do(region)
		gone := Stays(region)
		if err = errors.Join(err, region.Close()); err == nil || gone == nil {
			return err
		}
	}
}

// mayBuildFrom refuses a source that would make another region of this one. A node that runs would refuse what is built
// from another store than its own source when it is handed over: better before it is built.
func mayBuildFrom(ctx context.Context, cfg RebuildConfig, pid int, copied *readmodel.Progress) (events.Head, error) {
	if copied == nil {
		copied = &readmodel.Progress{}
		head, err := cfg.Source.Head(ctx)
		if err != nil {
			return head, fmt.Errorf("ask the source for its head: %w", err)
		}
		copied.StoreID = cmp.Or(cfg.Store, head.StoreID) // where that is not known there is nothing that it could differ from
	}
	head, err := checkSource(ctx, cfg.Source, copied, cfg.Patience)
	switch {
	case errors.Is(err, ErrOtherStore) && cfg.Force && pid != 0:
		return head, fmt.Errorf("%w; the node that runs (pid %d) does not take a copy of another store than its own source: stop it first, or start it with this --source, and it builds"+
			" itself anew", err, pid)
	case errors.Is(err, ErrOtherStore) && cfg.Force:
		cfg.Logger.Warn("building the region from another store, as --force says", "found", err)
		return head, nil
	case errors.Is(err, ErrOtherStore) && !errors.Is(err, errOtherPast):
		return head, fmt.Errorf("%w; name the right source, or, if the store was restored or replaced, give --force", err)
	}
	return head, err
}

// eventOctets is what an event takes in a generation, with what sorting needs on the way, where there
// is no other generation to go by. Measured with 10 events a tenant: 100 to 150.
const eventOctets = 200

// roomFor refuses to begin what the disk has no room for. A generation takes about as much as the
// one before; while it is written, what is sorted takes some more.
func roomFor(cfg RebuildConfig, info Info, head events.Head) error {
	need := head.Position * eventOctets
	if info.Complete {
		live, err := size(cfg.Dir.Path(info.Generation))
		if err != nil {
			return err
		}
		need = live + live/2
	}
	if err := diskspace.Need(cfg.FreeSpace, string(cfg.Dir), need+head.Position*cfg.SourceOctets+diskspace.CompactionRoom); err != nil {
		return fmt.Errorf("build beside the live generation: %w", err)
	}
	return nil
}

// build builds and verifies, and says as which generation it can be handed over.
func (r *Rebuilt) build(ctx context.Context, cfg RebuildConfig, building string, partitions int) (generation string, err error) {
	path := cfg.Dir.Path(building)
	ctx = events.WithReading(ctx, func(done, total uint64) { cfg.Progress("read the source", done, total) })
	built, err := projections.Build(ctx, projections.BuildConfig{
		Source: cfg.Source.Whole, Dir: path, Partitions: partitions, Logger: cfg.Logger, FreeSpace: cfg.FreeSpace,
		Progress: func(done, total uint64) { cfg.Progress("build", done, total) },
	})
	if err != nil {
		return "", err
	}
	if built.Head.Position == 0 {
		return "", ErrSourceEmpty
	}
	r.Position, r.Events, r.Tenants, r.Hostnames = built.Head.Position, built.Events, built.Tenants, built.Hostnames
	r.Quarantined = len(built.Quarantined)
	if err := r.check(ctx, cfg, path, built); err != nil {
		return "", err
	}
	crashpoint.Hit(crashpoint.ReplayVerified)
	generation, err = cfg.Dir.Promote(building)
	crashpoint.Hit(crashpoint.ReplayPromoted)
	return generation, err
}

// check reads back what was built, and compares it with the copy that it is to replace.
func (r *Rebuilt) check(ctx context.Context, cfg RebuildConfig, path string, built *projections.Built) error {
	m, err := readmodel.Open(readmodel.Config{Dir: path, CacheBytes: stoppedCache, Logger: cfg.Logger, FreeSpace: cfg.FreeSpace})
	if err != nil {
		return fmt.Errorf("read back what was built: %w", err)
	}
	in, err := m.Inspect()
	if err == nil {
		err = errors.Join(r.compare(ctx, cfg, &local{snapshot: in}, built), in.Close())
	}
	return errors.Join(err, m.Close())
}

func (r *Rebuilt) compare(ctx context.Context, cfg RebuildConfig, next *local, built *projections.Built) error {
	scanned, err := next.Scan(ctx, 0)
	if err != nil {
		return fmt.Errorf("read back what was built: %w", err)
	}
	if kept := next.Maintained(); scanned.Sums != *built.Sums || kept != *built.Sums || len(scanned.Damaged) > 0 {
		return errors.New("what was built is not what was written: the disk may be failing; nothing was changed")
	}
	return opened(ctx, cfg.Open, func(region Region) error {
		info, err := region.Info(ctx)
		if err != nil || !info.Complete {
			return err
		}
		live, err := region.Inspect(ctx)
		if err != nil {
			return fmt.Errorf("compare with the live generation: %w", err)
		}
		change, err := changeOf(ctx, live, next)
		if err := errors.Join(err, live.Close()); err != nil {
			return fmt.Errorf("compare with the live generation: %w", err)
		}
		r.Change = &change
		if change.Part() > cfg.MaxChange && !cfg.Force {
			return fmt.Errorf("%w: it would %s. --max-change is %g%% of what there is. Nothing was changed; --verify names them, and --force goes on if that is right",
				ErrTooMuchChange, change, 100*cfg.MaxChange)
		}
		return nil
	})
}

// handOver has the generation take the live one's place. Where it fails, it is removed.
func (r *Rebuilt) handOver(ctx context.Context, cfg RebuildConfig) error {
	cfg.Progress("hand over", 0, 0)
	err := opened(ctx, cfg.Open, func(region Region) error {
		info, err := region.Info(ctx)
		if err != nil {
			return err
		}
		r.PID, r.Before = info.PID, info.Generation
		if r.Generation == r.Before {
			return fmt.Errorf("the node that runs (pid %d) has a generation of that name open, which was deleted under it: restart it", info.PID)
		}
		return region.Adopt(ctx, r.Generation)
	})
	if err == nil {
		return nil
	}
	// The node may have done it, or be about to, although it could not say so: it died, or we were told to stop.
	live, settleErr := r.settled(cfg)
	if live {
		cfg.Logger.Warn("the new generation is live, although its node did not say so", "generation", r.Generation, "err", err)
		return nil
	}
	return errors.Join(fmt.Errorf("put %s in the place of the live generation: %w", r.Generation, err), settleErr)
}

// settleTime is how long a node may take to decide what becomes of a generation that was handed to it,
// once its caller is gone.
const settleTime = 10 * time.Second

// settled waits until it is decided whether the generation is the live one. One that is not is removed: by the
// node, or here where none runs any more.
func (r *Rebuilt) settled(cfg RebuildConfig) (live bool, err error) {
	for deadline := time.Now().Add(settleTime); ; <-time.After(20 * time.Millisecond) {
		if now, err := cfg.Dir.Current(); err == nil && now == r.Generation {
			return true, nil
		}
		if _, err := os.Stat(cfg.Dir.Path(r.Generation)); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		unlock, err := cfg.Dir.Lock(readmodel.ByReplay)
		switch {
		case err == nil:
			if now, err := cfg.Dir.Current(); err == nil && now == r.Generation {
				return true, unlock()
			}
			return false, errors.Join(cfg.Dir.Remove(r.Generation), unlock())
		case !errors.Is(err, readmodel.ErrInUse):
			return false, err
		case time.Now().After(deadline):
			return false, fmt.Errorf("what became of %s is not known: the node has it still, and says nothing", r.Generation)
		}
	}
}

// ErrNothingBefore says that there is no generation to go back to. Nothing was changed.
var ErrNothingBefore = errors.New("no generation to go back to")

// RolledBack says where a rollback has gone.
type RolledBack struct {
	Region     string `json:"region"`
	Generation string `json:"generation"`
	Before     string `json:"before"` // that was live
	PID        int    `json:"pid,omitzero"`
}

// Rollback goes back to the generation before the live one, as [Rebuild] goes ahead: a node that runs
// first brings it up to date.
func Rollback(ctx context.Context, dir readmodel.Dir, open Opener) (*RolledBack, error) {
	unlock, err := dir.ReplayLock()
	if err != nil {
		return nil, err
	}
	out := new(RolledBack)
	err = opened(ctx, open, func(region Region) error {
		info, err := region.Info(ctx)
		if err != nil {
			return err
		}
		out.Region, out.Before, out.PID = info.Region, info.Generation, info.PID
		switch _, err := dir.Previous(); {
		case errors.Is(err, readmodel.ErrNoGeneration) && info.Generation != "":
			return fmt.Errorf("%w: there is none before %s, which stays live", ErrNothingBefore, info.Generation)
		case errors.Is(err, readmodel.ErrNoGeneration):
			return fmt.Errorf("%w: the region has none at all; rebuild it, without --rollback", ErrNothingBefore)
		case err != nil:
			return err
		}
		out.Generation, err = region.Rollback(ctx)
		return err
	})
	if err := errors.Join(err, unlock()); err != nil {
		return nil, err
	}
	return out, nil
}
