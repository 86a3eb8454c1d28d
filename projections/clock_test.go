package projections

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/projections/readmodel"
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
func TestNearer_CountsOnlyWhatIsLacking(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(1_800_000_000+seconds, 0) }
	progress := func(a, b readmodel.Partition) *readmodel.Progress {
		return &readmodel.Progress{Partitions: []readmodel.Partition{a, b}}
	}
	before := progress(readmodel.Partition{Position: 9, Watermark: at(0)}, readmodel.Partition{Position: 3, Watermark: at(0)})
	want := progress(readmodel.Partition{Position: 9, Watermark: at(0)}, readmodel.Partition{Position: 9, Watermark: at(0)})
	for name, test := range map[string]struct {
		now  *readmodel.Progress
		want bool
	}{
		"a mark where all is":      {progress(readmodel.Partition{Position: 9, Offset: 1, Watermark: at(1)}, before.Partitions[1]), false},
		"an event where some lack": {progress(before.Partitions[0], readmodel.Partition{Position: 4, Watermark: at(0)}), true},
		"a record where some lack": {progress(before.Partitions[0], readmodel.Partition{Position: 3, Offset: 1, Watermark: at(0)}), true},
		"nothing":                  {before, false},
		"a mark where events lack": {progress(before.Partitions[0], readmodel.Partition{Position: 3, Watermark: at(1)}), true},
	} {
		if got := nearer(test.now, before, want); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}
