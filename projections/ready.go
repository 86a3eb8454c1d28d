package projections

import (
	"context"
	"sync"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// awaitReady makes the node ready once it has applied everything that the store held when it
// was first asked. Where what is upstream does not let it come so far, a complete copy is
// served as it is after a while: a look-up must depend on nothing but this node. That is so when
// the topic has nothing more, cannot be asked, or has more that did not move this copy for as
// long as the node's patience, as where an event is missing and the source is away.
func (p *Projector) awaitReady(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	heads := make(chan events.Head, 1)
	var asking sync.WaitGroup
	asking.Go(func() {
		var h events.Head
		if patiently(ctx, p.log, "ask the source of truth for its head", func() (err error) {
			h, err = p.cfg.Source.Head(ctx)
			return err
		}) == nil {
			heads <- h
		}
	})
	defer asking.Wait()
	defer stop()

	impatient := time.NewTicker(p.cfg.Patience)
	defer impatient.Stop()
	var target *events.Head
	var ends map[int]kafka.Offsets // of the topic, when patience was at an end
	var moved uint64               // how far the copy had come at the last impatient look
	for {
		changed := p.changed() // taken before the condition is looked at: no commit is missed
		progress := p.live.Progress()
		if target != nil && progress.Complete && progress.StoreID == target.StoreID && progress.Position() >= target.Position {
			p.log.Info("caught up: ready", "position", progress.Position())
			p.ready.Store(true)
			return
		}
		select {
		case <-ctx.Done():
			return
		case h := <-heads:
			target = &h
		case <-changed:
		case <-impatient.C:
			if !progress.Complete {
				continue
			}
			if ends == nil {
				ends = p.ends(ctx)
			}
			before := moved
			moved = distance(progress)
			if !p.behind(ends) || moved == before {
				p.log.Warn("ready with a copy that may be old: what is upstream is away or behind",
					"staleness", progress.Staleness(p.cfg.Clock()))
				p.ready.Store(true)
				return
			}
		}
	}
}

// distance grows with whatever is read from the topic or the source.
func distance(p *readmodel.Progress) (d uint64) {
	for _, part := range p.Partitions {
		d += uint64(max(part.Offset, 0)) + part.Position + 1
	}
	return d
}

// changed is closed at the next commit, or once there is a model.
func (p *Projector) changed() <-chan struct{} {
	if c := p.live.Changed(); c != nil {
		return c
	}
	return p.built
}

// ends is what the topic holds; nil where it cannot be asked.
func (p *Projector) ends(ctx context.Context) map[int]kafka.Offsets {
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	ends, err := p.cfg.Cluster.Offsets(ctx, p.cfg.Topic)
	if err != nil {
		return nil
	}
	return ends
}

// behind tells that the topic held records that are still to be applied. A partition of which
// nothing was read yet, since the copy was built, has nothing that the copy lacks, as far as
// anyone here can tell.
func (p *Projector) behind(ends map[int]kafka.Offsets) bool {
	for i, part := range p.live.Progress().Partitions {
		if part.Offset >= 0 && part.Offset < ends[i].End {
			return true
		}
	}
	return false
}
