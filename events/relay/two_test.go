package relay

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
)

// checkRegion says how what a region applies differs from the log.
func checkRegion(topic [][]kafka.Record, log []events.Event) error {
	want := make([][]kafka.Record, len(topic))
	previous := make([]uint64, len(topic))
	for _, e := range log { // the topic of a relay that was never disturbed
		p := events.Partition(e.Stream.String(), len(topic))
		b := builder{partition: p}
		b.add(events.Record{Event: e, Previous: previous[p]})
		previous[p] = e.Position
		want[p] = append(want[p], cloned(b.records[0], 0))
	}
	undisturbed := make([][]kafka.Record, len(topic))
	for p, records := range topic {
		applied, err := readAsRegion(records)
		if err != nil {
			return err
		}
		last := uint64(0)
		for _, e := range applied {
			b := builder{partition: p}
			b.add(events.Record{Event: e, Previous: last})
			last = e.Position
			undisturbed[p] = append(undisturbed[p], cloned(b.records[0], 0))
		}
	}
	return checkTopic(undisturbed, log, uuid.Nil, true)
}

func TestRelay_PausedOldRelayWritesLate_RegionsSkipItAndBothNotice(t *testing.T) {
	const partitions = 3
	ctx := deadline(t)
	store, topic := newMemoryStore(), newMemoryTopic(partitions)
	store.append(streams(t, 30)...)

	// The old relay is paused in its first produce to each partition, as by a long stop of
	// its process: it has looked, and found the topic empty.
	paused, wake := make(chan struct{}, partitions), make(chan struct{})
	old := &pausedTopic{memoryTopic: topic, before: func() { paused <- struct{}{}; <-wake }}
	first := newRelay(t, Config{Store: store, Topic: old, Partitions: partitions})
	var group sync.WaitGroup
	group.Go(func() {
		if err := first.RunOnce(t.Context()); err != nil {
			t.Errorf("the old relay: %v", err) // it was alone as far as its one batch each could tell
		}
	})
	for range partitions {
		<-paused
	}
	// The new one publishes all, and more.
	second := running(t, Config{Store: store, Topic: topic, Partitions: partitions})
	awaitPublished(ctx, t, second, store)
	store.append(streams(t, 30)...)
	awaitPublished(ctx, t, second, store)
	close(wake)
	group.Wait()
	// The new one goes on, finds that its records are not where they must be, and looks again.
	for countFailures(t, second, causeDisturbed) == 0 {
		if ctx.Err() != nil {
			t.Fatal("the new relay does not notice the old one's records")
		}
		store.append(streams(t, 5)...)
		awaitPublished(ctx, t, second, store)
	}
	store.append(streams(t, 30)...)
	awaitPublished(ctx, t, second, store)
	if err := checkRegion(topic.records(), store.all()); err != nil {
		t.Error(err)
	}
	if err := checkTopic(topic.records(), store.all(), store.id, true); err == nil {
		t.Error("the old relay's records are not in the topic, so that this test shows nothing")
	}
}

func TestRelay_AnotherWritesBetweenLookAndFirstBatch_Notices(t *testing.T) {
	store, topic := published(t, 1)
	store.append(streams(t, 5)...)
	late := topic.records()[0][0]
	disturbing := &pausedTopic{memoryTopic: topic, before: func() { topic.put(0, late) }}
	err := newRelay(t, Config{Store: store, Topic: disturbing, Partitions: 1}).RunOnce(t.Context())
	if !errors.Is(err, errDisturbed) {
		t.Errorf("RunOnce = %v, want errDisturbed", err)
	}
	if err := newRelay(t, Config{Store: store, Topic: topic, Partitions: 1}).RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := checkRegion(topic.records(), store.all()); err != nil {
		t.Error(err)
	}
}

// pausedTopic's producers stop before each batch.
type pausedTopic struct {
	*memoryTopic
	before func()
}

func (p *pausedTopic) NewProducer(ctx context.Context) (Producer, error) {
	producer, err := p.memoryTopic.NewProducer(ctx)
	return pausedProducer{producer, p.before}, err
}

type pausedProducer struct {
	Producer
	before func()
}

func (p pausedProducer) Produce(ctx context.Context, partition int, records []kafka.Record) (int64, error) {
	p.before()
	return p.Producer.Produce(ctx, partition, records)
}

// Two relays, in any interleaving of their reads and writes, with answers lost and relays
// killed: a region still sees each event once, in order, with an unbroken chain.
func TestRelay_TwoAtTheSameTimeByMistake_RegionsSeeNoDisorder(t *testing.T) {
	all := streams(t, 8)
	disturbed, duplicated := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		const partitions = 2
		store, topic := newMemoryStore(), newMemoryTopic(partitions)
		for range rapid.IntRange(1, 10).Draw(rt, "rounds") {
			for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(all)-1), 1, 12).Draw(rt, "events") {
				store.append(all[i])
			}
			// Each relay stops before each of its batches until the schedule lets it go on.
			schedule := rapid.SliceOfN(rapid.IntRange(0, 1), 0, 24).Draw(rt, "schedule")
			lost := rapid.IntRange(0, 12).Draw(rt, "the batch whose answer is lost")
			topic.mu.Lock()
			start := topic.calls
			topic.judge = func(call, _ int, _ []kafka.Record) fate {
				if call-start == lost {
					return unheard
				}
				return fine
			}
			topic.mu.Unlock()
			twins := [2]*twin{newTwin(rt, store, topic, partitions), newTwin(rt, store, topic, partitions)}
			for _, who := range schedule {
				twins[who].step()
			}
			for _, w := range twins {
				w.finish()
				disturbed += w.disturbed(rt)
			}
		}
		topic.judge = nil
		if err := newRelay(rt, Config{Store: store, Topic: topic, Partitions: partitions}).RunOnce(context.Background()); err != nil {
			rt.Fatal(err)
		}
		if err := checkRegion(topic.records(), store.all()); err != nil {
			rt.Fatal(err)
		}
		if checkTopic(topic.records(), store.all(), store.id, true) != nil {
			duplicated++
		}
	})
	if disturbed == 0 || duplicated == 0 {
		t.Errorf("relays disturbed each other %d times, and duplicated in %d histories: this test shows nothing", disturbed, duplicated)
	}
}

// twin is one of two relays; it runs until it is done or was disturbed.
type twin struct {
	relay *Relay
	gate  chan struct{} // one batch may pass
	done  chan struct{}
}

func newTwin(t tester, store Store, topic *memoryTopic, partitions int) *twin {
	w := &twin{gate: make(chan struct{}), done: make(chan struct{})}
	gated := &pausedTopic{memoryTopic: topic, before: func() { <-w.gate }}
	w.relay = newRelay(t, Config{Store: store, Topic: gated, Partitions: partitions})
	go func() {
		defer close(w.done)
		_ = w.relay.RunOnce(context.Background()) // what became of it stands in its metrics
	}()
	return w
}

// step lets one batch pass, unless the relay is done.
func (w *twin) step() {
	select {
	case w.gate <- struct{}{}:
	case <-w.done:
	}
}

func (w *twin) finish() {
	for {
		select {
		case w.gate <- struct{}{}:
		case <-w.done:
			return
		}
	}
}

func (w *twin) disturbed(t tester) int { return countFailures(t, w.relay, causeDisturbed) }
