package projections

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// awaitReady makes the node ready once it has applied everything that the store held when it
// was first asked, and its topic is that store's. Where what is upstream does not let it come so far, a complete copy is
// served as it is after a while: a look-up must depend on nothing but this node. That is so when
// the topic has nothing more, cannot be asked, or has more that did not move this copy for as
// long as the node's patience, as where an event is missing and the source is away.
//
// But not where upstream is there, and says that the copy is of another store than it is: that would be answering
// with another environment's tenants. Only a region that has served that store goes on with it.
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
	var up upstream
	var ends map[int]kafka.Offsets // of the topic, when patience was at an end
	var moved uint64               // how far the copy had come at the last impatient look
	for {
		changed := p.changed() // taken before the condition is looked at: no commit is missed
		progress := p.live.Progress()
		if progress.Complete && up.of(progress) && progress.Position() >= up.head.Position && p.topicIsOurs(ctx, &up, progress) {
			p.log.Info("caught up: ready", "position", progress.Position())
			p.ready.Store(true)
			p.noteServed()
			return
		}
		select {
		case <-ctx.Done():
			return
		case h := <-heads:
			up.head, up.known = h, true
		case <-changed:
		case <-impatient.C:
			if !progress.Complete || p.isAnothers(ctx, &up, progress) {
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
				if up.of(progress) {
					p.noteServed()
				}
				return
			}
		}
	}
}

// upstream is what is known of what a node follows.
type upstream struct {
	head  events.Head           // of the source, when it was asked
	known bool                  // it was
	asked bool                  // the topic was
	topic uuid.UUID             // another store, of which the topic told then; zero: it did not
	ends  map[int]kafka.Offsets // of the topic then
}

// of tells that the source is known, and that it is the store that a copy is of.
func (u *upstream) of(progress *readmodel.Progress) bool {
	return u.known && u.head.StoreID == progress.StoreID
}

// topicIsOurs tells that the topic is not another store's, as far as anyone can tell. Where it was, a watermark of our own has
// to come first: without one this copy would be served, and grow old for ever.
func (p *Projector) topicIsOurs(ctx context.Context, up *upstream, progress *readmodel.Progress) bool {
	if !up.asked {
		up.asked, up.topic, up.ends = true, p.anotherInTopic(ctx, progress), p.ends(ctx)
	}
	if up.topic == uuid.Nil || up.topic == progress.StoreID {
		return true
	}
	// One that stands before the other store's records says nothing.
	if f := p.current.Load(); f != nil && f.marked.Load() && f.foreign.Load() == nil && readTo(f.model.Progress(), up.ends) {
		return true
	}
	p.setBuilding("%s", topicOfAnother(p.cfg.Topic, up.topic, progress.StoreID))
	return false
}

// readTo tells that a copy was brought up to date with what a topic held. Where it is in a partition is not known before a record
// of that has come.
func readTo(progress *readmodel.Progress, ends map[int]kafka.Offsets) bool {
	for i, part := range progress.Partitions {
		if e := ends[i]; e.End > e.First && part.Offset < e.End {
			return false
		}
	}
	return ends != nil
}

// isAnothers tells that upstream is of another store than a copy, of which this region has never served one.
func (p *Projector) isAnothers(ctx context.Context, up *upstream, progress *readmodel.Progress) bool {
	if p.cfg.Served == progress.StoreID {
		return false
	}
	if up.known && !up.of(progress) {
		// It may have been asked long ago, and the copy be a new one.
		soon, cancel := context.WithTimeout(ctx, sourceTime)
		if h, err := p.cfg.Source.Head(soon); err == nil {
			up.head = h
		}
		cancel()
	}
	if up.known && !up.of(progress) {
		p.setBuilding("the copy in %s was made from store %s, and the source of truth is store %s: waiting for a copy of that one",
			p.cfg.Dir, progress.StoreID, up.head.StoreID)
		return true
	}
	return !p.topicIsOurs(ctx, up, progress)
}

// anotherInTopic is another store than the copy's of which the last record of a partition tells; zero: none does, or
// Kafka cannot be asked.
func (p *Projector) anotherInTopic(ctx context.Context, progress *readmodel.Progress) uuid.UUID {
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	for partition := range progress.Partitions {
		last, ok, err := p.cfg.Cluster.Last(ctx, p.cfg.Topic, partition)
		if err != nil {
			break
		}
		if r, err := parseRecord(last); ok && err == nil && r.StoreID != progress.StoreID {
			return r.StoreID
		}
	}
	return uuid.Nil
}

// topicOfAnother says what is wrong with a topic that another store is published to.
func topicOfAnother(topic string, theirs, ours uuid.UUID) string {
	return fmt.Sprintf("the topic %s tells of store %s, and this copy is of store %s: is it the right topic, and does the relay of that store run?"+
		" Waiting for it to publish", topic, theirs, ours)
}

// noteServed remembers of which store a copy is served by a node that is ready.
func (p *Projector) noteServed() {
	store := p.live.Progress().StoreID
	if p.ready.Load() && p.cfg.NoteServed != nil && store != uuid.Nil {
		p.cfg.NoteServed(store)
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
