package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/crashpoint"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// rebuild builds a generation from the source of truth, turns look-ups to it, and removes the
// others. Until it is whole the one before (nil: there is none) goes on serving. A generation that is handed
// over meanwhile is as good, and comes in its place.
func (p *Projector) rebuild(ctx context.Context, before *follower) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done, err := p.turns.take(ctx, "building a generation from the source of truth", cancel)
	if err != nil {
		return err
	}
	defer done()
	if p.current.Load() != before {
		return nil // another one has come meanwhile
	}
	err = p.rebuildNow(ctx)
	if errors.Is(context.Cause(ctx), errYielded) {
		p.log.Info("gave up building a generation", "reason", errYielded)
		return nil
	}
	return err
}

func (p *Projector) rebuildNow(ctx context.Context) error {
	p.metrics.rebuilds.Inc()
	if p.live.Model() == nil {
		p.setBuilding("the region's read model is being built from the source of truth")
	}
	var partitions int
	if err := patiently(ctx, p.log, "read the source of truth and the topic for a new read model", func() (err error) {
		if _, err = p.cfg.Source.Head(ctx); err == nil {
			partitions, err = p.cfg.Cluster.Partitions(ctx, p.cfg.Topic)
		}
		if err != nil && p.live.Model() == nil {
			p.setBuilding("the region's read model is being built from the source of truth, which waits: %v", err)
		}
		return err
	}); err != nil {
		return err
	}
	// Not before there is something to build from: until then others may, from a copy.
	unlock, err := p.cfg.Dir.ReplayLock()
	if err != nil {
		return err // somebody builds one, and will hand it over
	}
	f, err := p.build(ctx, partitions)
	if err == nil {
		err = p.replaceBy(f)
	}
	if err := errors.Join(err, unlock()); err != nil {
		return err
	}
	if err := p.tidy(); err != nil {
		p.log.Error("what is left of earlier generations was not removed", "err", err) // the next start does it
	}
	return nil
}

// build makes a whole generation from the source. Whatever fails leaves nothing behind: what it took may
// be the room that the next try needs.
func (p *Projector) build(ctx context.Context, partitions int) (_ *follower, err error) {
	name, err := p.cfg.Dir.Building()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && !errors.Is(err, errNotClosed) {
			err = errors.Join(err, p.cfg.Dir.Remove(name))
		}
	}()
	began := time.Now()
	tell := p.tellBuilding()
	built, err := Build(events.WithReading(ctx, tell("read")), BuildConfig{
		Source: p.cfg.Source.Whole, Dir: p.cfg.Dir.Path(name), Partitions: partitions,
		Progress: tell("built"), Logger: p.log, Clock: p.cfg.Clock,
	})
	if err != nil {
		return nil, err
	}
	p.log.Info("built a read model from the source of truth", "position", built.Head.Position, "tenants", built.Tenants,
		"events", built.Events, "quarantined", len(built.Quarantined), "took", time.Since(began).Round(time.Millisecond))
	generation, err := p.cfg.Dir.Promote(name)
	if err != nil {
		return nil, err
	}
	name = generation
	m, err := p.openModel(name)
	if err != nil {
		return nil, err
	}
	return p.newFollower(name, m), nil
}

// tellBuilding says how far a build has come, to those who ask whether the node is ready or, where there is an earlier generation
// to serve, why that is not followed.
func (p *Projector) tellBuilding() func(what string) func(done, total uint64) {
	why := p.trouble.Load()
	return func(what string) func(done, total uint64) {
		return func(done, total uint64) {
			if p.live.Model() == nil {
				p.setBuilding("the region's read model is being built: %d of %d events %s", done, total, what)
				return
			}
			text := fmt.Sprintf("a new generation is being built: %d of %d events %s", done, total, what)
			if why != nil {
				text = *why + "; " + text
			}
			p.trouble.Store(&text)
		}
	}
}

// replaceBy turns look-ups to a generation that was built because the one before, if there is any, is
// of no use: it is removed.
func (p *Projector) replaceBy(f *follower) error {
	crashpoint.Hit(crashpoint.RebuildBeforeCurrent)
	point := p.cfg.Dir.SetCurrent
	if p.live.Model() == nil {
		point = p.cfg.Dir.Replace // what the pointer names could not be opened
	}
	err := point(f.name)
	crashpoint.Hit(crashpoint.RebuildAfterCurrent)
	if now, _ := p.cfg.Dir.Current(); err != nil && now != f.name {
		if closing := f.model.Close(); closing != nil {
			return errors.Join(err, fmt.Errorf("%w: %w", errNotClosed, closing))
		}
		return errors.Join(err, p.cfg.Dir.Remove(f.name))
	}
	old := p.use(f)
	p.noteServed()
	if old != nil {
		// What could not be closed stays until the next start: Badger must not lose its files while it has
		// them open.
		if err := old.Close(); err != nil {
			p.log.Error("close a generation that is not needed any more", "err", err)
			return nil
		}
	}
	previous, err := p.cfg.Dir.Previous()
	if err == nil {
		err = p.cfg.Dir.Remove(previous)
	}
	if err != nil && !errors.Is(err, readmodel.ErrNoGeneration) {
		p.log.Error("the generation before was not removed", "err", err)
	}
	return nil
}
