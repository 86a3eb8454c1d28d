package projections

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A clock that was an hour ahead is set right: nothing may wait for that hour to pass.
func TestProjector_AfterTheClockWasAhead_SaysHowOldItsCopyMayBe_AndTakesAnotherGeneration(t *testing.T) {
	log := roster(t, 20)
	s := newStage(t, log)
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	ahead.Store(int64(time.Hour))
	s.publish(len(log))
	mark := func() { // as the relay of the same machine does
		for p := range partitions {
			s.produce(p, watermark(s.source.id, p, log[len(log)-1], s.previous[p], now()).Record)
		}
	}
	mark()
	p, _ := s.start(Config{Clock: now})
	s.awaitPosition(p, len(log))
	s.await("a mark of an hour ahead", func() bool { return p.Live().Progress().CompleteAt().After(time.Now().Add(50 * time.Minute)) })
	ahead.Store(0)
	s.await("a copy that grows old", func() bool { return p.Live().Progress().Staleness(now()) > 0 })
	mark()
	marked := time.Now()
	s.await("a mark of now", func() bool { return p.Live().Progress().Staleness(now()) <= time.Since(marked)+time.Second })

	over := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				mark()
			}
		}
	})
	defer running.Wait()
	defer close(over)
	for _, what := range []func(context.Context) error{
		func(ctx context.Context) error { return p.Adopt(ctx, s.build(len(log))) },
		func(ctx context.Context) error { _, err := p.Rollback(ctx); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if err := what(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
	checkEquals(t, p.Live(), log)
}

// Partitions that have all go on with their marks. That is not coming nearer to what another lacks.
func TestReach_WhereOnePartitionStandsStill_GivesUp(t *testing.T) {
	log := roster(t, 20)
	n := newNode(t, 2, log)
	records := published(n.source.id, log, 2, byKey(2))
	n.mustDeliver(records[0]...)
	last := records[0][len(records[0])-1].Event
	want := n.model.Progress().NotAfter(time.Now())
	next := *want
	next.Partitions = append(next.Partitions[:0:0], want.Partitions...)
	next.Partitions[1].Position = last.Position
	n.course.Store(&course{ended: make(chan struct{})})
	ended := make(chan error, 1)
	go func() { ended <- n.reach(t.Context(), &next, 100*time.Millisecond) }()
	deadline := time.After(30 * time.Second)
	for at := time.Now(); ; at = at.Add(time.Millisecond) {
		select {
		case err := <-ended:
			if err == nil {
				t.Error("it says that it has all")
			}
			return
		case <-deadline:
			t.Fatal("it waits as long as marks come")
		default:
			n.mustDeliver(watermark(n.source.id, 0, last, last.Position, at))
		}
	}
}
