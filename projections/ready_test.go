package projections

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// beside is a stage of which the live generation is of another environment's store.
func beside(t *testing.T) (s *stage, other uuid.UUID) {
	t.Helper()
	of := func(tenant string) []events.Event {
		return newHistory(t).
			add(tenant, events.TenantRegistered{Name: tenant, HomeRegion: "eu-west"}).
			add(tenant, events.HostnameAttached{Hostname: hostname(t, "login.example")}).log
	}
	log := of("ten_prod")
	s = newStage(t, log)
	s.publish(len(log))
	staging := &memorySource{id: uuid.New(), log: of("ten_staging")}
	name := s.buildFrom(staging)
	s.release()
	if err := readmodel.Dir(s.dir).SetCurrent(name); err != nil {
		t.Fatal(err)
	}
	return s, staging.id
}

// awaitNotReady waits for the node to say why it is not ready.
func (s *stage) awaitNotReady(p *Projector, why string) {
	s.t.Helper()
	s.await("not ready: "+why, func() bool {
		err := p.Ready()
		if err == nil {
			s.t.Fatalf("ready, and should wait: %s", why)
		}
		return strings.Contains(err.Error(), why)
	})
}

func TestProjector_WithACopyOfAnotherStoreThanTheSource_IsNotReadyBeforeItHasOneOfThat(t *testing.T) {
	s, _ := beside(t)
	held := make(chan struct{})
	s.source.held = held // a rebuild that takes longer than the node's patience
	p, _ := s.start(Config{Patience: time.Millisecond})
	s.awaitNotReady(p, "the source of truth is store "+s.source.id.String())
	s.await("it to say that it does not follow", func() bool { return p.Following() != nil }) // a moment later
	close(held)
	s.awaitPosition(p, len(s.source.log))
	checkEquals(t, p.Live(), s.source.log)
}

// The store was restored, say, and the node is started anew before it could build the new copy.
func TestProjector_WithACopyThatItHasServedBefore_ServesItWhileTheOtherIsBuilt(t *testing.T) {
	s, other := beside(t)
	held := make(chan struct{})
	s.source.held = held
	noted := make(chan uuid.UUID, 10)
	p, _ := s.start(Config{Patience: time.Millisecond, Served: other, NoteServed: func(store uuid.UUID) { noted <- store }})
	s.await("ready", func() bool { return p.Ready() == nil })
	if doc, err := p.Live().Lookup(hostname(t, "login.example")); err != nil || doc.Tenant.String() != "ten_staging" {
		t.Errorf("got %+v, %v, want what it has", doc, err)
	}
	close(held)
	s.await("the copy of the source", func() bool { return p.Live().Progress().StoreID == s.source.id })
	s.await("what it remembers", func() bool { return len(noted) > 0 })
	if got := <-noted; got != s.source.id {
		t.Errorf("remembers %s, want %s", got, s.source.id)
	}
}

// The relay of the other store is down: no record tells of it after the source is back.
func TestProjector_WhoseSourceComesBackAsAnotherStore_BuildsACopyOfThat(t *testing.T) {
	for _, known := range []bool{false, true} {
		s, other := beside(t)
		s.source.away = true
		cfg := Config{Patience: 10 * time.Millisecond}
		if known {
			cfg.Served = other
		}
		p, stop := s.start(cfg)
		if known {
			s.await("ready", func() bool { return p.Ready() == nil })
		} else {
			s.awaitNotReady(p, "tells of store "+s.source.id.String())
		}
		s.source.mu.Lock()
		s.source.away = false
		s.source.mu.Unlock()
		s.await("a copy of the source", func() bool { return p.Live().Progress().StoreID == s.source.id })
		s.await("ready", func() bool { return p.Ready() == nil })
		checkEquals(t, p.Live(), s.source.log)
		stop()
	}
}

func TestProjector_WhoseTopicWentOverToAnotherStore_IsNotReadyByItsOldWatermarks(t *testing.T) {
	log := roster(t, 20)
	s := newStage(t, log[:20])
	s.publish(20)
	p, stop := s.start(Config{})
	s.awaitPosition(p, 20)
	stop()
	s.source.mu.Lock()
	s.source.log = log[:40]
	s.source.mu.Unlock()
	s.publish(40) // watermarks and all
	theirs := uuid.New()
	for part := range partitions {
		s.produce(part, watermark(theirs, part, events.Event{ID: uuid.New(), Position: 3}, 0, time.Now()).Record)
	}
	p, _ = s.start(Config{Patience: time.Millisecond})
	s.awaitNotReady(p, "tells of store "+theirs.String())
	s.await("position 40", func() bool { return p.Live().Progress().Position() >= 40 })
	s.await("what the topic tells", func() bool { return p.Following() != nil })
	s.awaitNotReady(p, "tells of store "+theirs.String())
	s.source.mu.Lock()
	s.source.log = log
	s.source.mu.Unlock()
	s.publish(len(log))
	s.await("ready", func() bool { return p.Ready() == nil })
}

func TestProjector_WhoseTopicIsAnotherStores_IsNotReadyBeforeAWatermarkOfItsOwn(t *testing.T) {
	log := roster(t, 5)
	s := newStage(t, log)
	source := s.source
	other := &memorySource{id: uuid.New(), log: log}
	ours, theirs := source.id, other.id
	s.source = other
	s.publish(len(log)) // as another environment's relay does
	s.source, s.previous, s.sent = source, [partitions]uint64{}, 0
	noted := make(chan uuid.UUID, 10)
	p, stop := s.start(Config{Patience: time.Millisecond, NoteServed: func(store uuid.UUID) { noted <- store }})
	s.awaitNotReady(p, "tells of store "+theirs.String())
	s.publish(len(log)) // of which the copy has all but the watermarks
	s.await("ready", func() bool { return p.Ready() == nil })
	s.await("what it remembers", func() bool { return len(noted) > 0 })
	if got := <-noted; got != ours {
		t.Errorf("remembers %s, want %s", got, ours)
	}
	s.awaitPosition(p, len(log))
	s.await("following", func() bool { return p.Following() == nil })

	// It goes on serving when that happens later, and says so; and after a start, since it has served this store.
	s.source = other
	s.publish(len(log))
	s.source = source
	s.await("what is wrong", func() bool {
		err := p.Following()
		return err != nil && strings.Contains(err.Error(), "tells of store "+theirs.String())
	})
	if err := p.Ready(); err != nil {
		t.Errorf("ready: %v", err)
	}
	stop()
	p, _ = s.start(Config{Patience: time.Millisecond, Served: ours})
	s.await("ready", func() bool { return p.Ready() == nil })
	checkEquals(t, p.Live(), log)
}
