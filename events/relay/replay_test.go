package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
)

// inPlace are the records of a topic without those that were published again.
func inPlace(t tester, topic [][]kafka.Record) [][]kafka.Record {
	t.Helper()
	out := make([][]kafka.Record, len(topic))
	for p, raw := range topic {
		records, err := parsed(raw)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range records {
			if r.Replayed == 0 {
				out[p] = append(out[p], raw[i])
			}
		}
	}
	return out
}

// replayed are the events that were published again, of each partition, in the order of the topic. It
// fails the test where one is not what it was, or stands where it may not.
func replayed(t tester, topic [][]kafka.Record, log []events.Event) [][]events.Event {
	t.Helper()
	out := make([][]events.Event, len(topic))
	for p, raw := range topic {
		records, err := parsed(raw)
		if err != nil {
			t.Fatal(err)
		}
		reached := uint64(0)
		for i, r := range records {
			if r.Reached() < reached {
				t.Fatalf("partition %d, record %d reaches %d, and one before it %d:%s", p, i, r.Reached(), reached, drawn(records))
			}
			reached = r.Reached()
			if r.Replayed == 0 {
				continue
			}
			e := log[r.Event.Position-1]
			if !equal(r.Event, e) {
				t.Fatalf("partition %d, record %d is %+v, want the event as it was: %+v", p, i, r.Event, e)
			}
			if want := eventBefore(log, len(topic), e); r.Previous != want {
				t.Fatalf("partition %d, record %d (position %d) has previous %d, want %d", p, i, e.Position, r.Previous, want)
			}
			out[p] = append(out[p], r.Event)
		}
	}
	return out
}

// eventBefore is the position of the event before another in its partition.
func eventBefore(log []events.Event, partitions int, e events.Event) uint64 {
	for _, before := range slices.Backward(log[:e.Position-1]) {
		if events.Partition(before.Stream.String(), partitions) == events.Partition(e.Stream.String(), partitions) {
			return before.Position
		}
	}
	return 0
}

// wantReplayed checks that the events of a range were published again, each once, in order.
func wantReplayed(t tester, topic [][]kafka.Record, log []events.Event, in func(events.Event) bool) {
	t.Helper()
	want := make([][]uint64, len(topic))
	for _, e := range log {
		if in(e) {
			p := events.Partition(e.Stream.String(), len(topic))
			want[p] = append(want[p], e.Position)
		}
	}
	for p, got := range replayed(t, topic, log) {
		var positions []uint64
		for _, e := range got {
			positions = append(positions, e.Position)
		}
		if !slices.Equal(positions, want[p]) {
			t.Fatalf("partition %d: got the positions %d again, want %d", p, positions, want[p])
		}
	}
}

// asRegions checks that a region which reads all of the topic has each event once, in order.
func asRegions(t tester, topic [][]kafka.Record, log []events.Event) {
	t.Helper()
	got := 0
	for p, raw := range topic {
		applied, err := readAsRegion(raw)
		if err != nil {
			t.Fatalf("partition %d: %v", p, err)
		}
		got += len(applied)
	}
	if got != len(log) {
		t.Fatalf("a region applies %d of %d events", got, len(log))
	}
}

// caughtUp is a relay that runs and has published all that the store holds.
func caughtUp(t *testing.T, store *memoryStore, topic *memoryTopic) (r *Relay, stop func()) {
	t.Helper()
	r, stop = runningUntil(t, Config{Store: store, Topic: topic, Partitions: len(topic.partitions), RetryMin: time.Microsecond, RetryMax: time.Millisecond})
	awaitPublished(t.Context(), t, r, store)
	return r, stop
}

func TestReplay_PublishesTheWholeLogAgain_InOrderBehindWhatIsThere(t *testing.T) {
	store, topic := newMemoryStore(), newMemoryTopic(3)
	for range 5 {
		store.append(streams(t, 20)...)
	}
	r, stop := caughtUp(t, store, topic)
	var told []ReplayProgress
	got, err := r.Replay(t.Context(), Replay{Progress: func(_ context.Context, p ReplayProgress) error {
		told = append(told, p)
		return nil
	}})
	if want := (ReplayProgress{Position: 100, UpTo: 100, Events: 100}); err != nil || got != want {
		t.Errorf("Replay = %+v, %v, want %+v", got, err, want)
	}
	if len(told) == 0 || told[len(told)-1] != got {
		t.Errorf("got told %+v, want the end of it: %+v", told, got)
	}
	store.append(streams(t, 7)...) // what comes afterwards goes on with the chain
	awaitPublished(t.Context(), t, r, store)
	stop()
	log := store.all()
	wantReplayed(t, topic.records(), log, func(e events.Event) bool { return e.Position <= 100 })
	if err := checkTopic(inPlace(t, topic.records()), log, store.id, true); err != nil {
		t.Error(err)
	}
	asRegions(t, topic.records(), log)
}

func TestReplay_TheNextRelayFindsHowFarEachPartitionIs(t *testing.T) {
	store, topic := newMemoryStore(), newMemoryTopic(3)
	store.append(streams(t, 50)...)
	r, stop := caughtUp(t, store, topic)
	if _, err := r.Replay(t.Context(), Replay{}); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := newRelay(t, Config{Store: store, Topic: topic, Partitions: 3}).RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := checkTopic(inPlace(t, topic.records()), store.all(), store.id, true); err != nil {
		t.Errorf("the relay after a replay: %v", err)
	}
}

func TestReplay_OfARange_BeginsBehindItsPosition(t *testing.T) {
	store, topic := newMemoryStore(), newMemoryTopic(4)
	for range 10 {
		store.append(streams(t, 12)...)
	}
	r, _ := caughtUp(t, store, topic)
	got, err := r.Replay(t.Context(), Replay{After: 77, UpTo: 111})
	if want := (ReplayProgress{After: 77, Position: 111, UpTo: 111, Events: 34}); err != nil || got != want {
		t.Errorf("Replay = %+v, %v, want %+v", got, err, want)
	}
	wantReplayed(t, topic.records(), store.all(), func(e events.Event) bool { return e.Position > 77 && e.Position <= 111 })
	asRegions(t, topic.records(), store.all())
}

func TestReplay_OfOneStream_KeepsTheTrueChain(t *testing.T) {
	store, topic := newMemoryStore(), newMemoryTopic(2)
	one := stream(t, 3)
	for i := range 400 { // far apart, so that the event before is not near
		store.append(stream(t, 4+i%5))
		if i%97 == 0 {
			store.append(one)
		}
	}
	r, _ := caughtUp(t, store, topic)
	of := func(_ context.Context, after uint64, limit int) ([]events.Event, error) {
		var out []events.Event
		for _, e := range store.all() {
			if e.Stream == one && e.Position > after && len(out) < limit {
				out = append(out, e)
			}
		}
		return out, nil
	}
	got, err := r.Replay(t.Context(), Replay{Of: of})
	if err != nil || got.Events != 5 || got.Position != got.UpTo {
		t.Errorf("Replay = %+v, %v, want the stream's 5 events", got, err)
	}
	wantReplayed(t, topic.records(), store.all(), func(e events.Event) bool { return e.Stream == one })
	asRegions(t, topic.records(), store.all())
}

// The topic has lost what stood in the middle. Whoever reads it from the start and has nothing else
// finds every version of every stream in it, in order, once they are published again.
func TestReplay_WhereTheTopicLostARange_AnEmptyReaderGetsAll(t *testing.T) {
	store, topic := newMemoryStore(), newMemoryTopic(3)
	for range 10 {
		store.append(streams(t, 15)...)
	}
	_, stop := caughtUp(t, store, topic)
	stop()
	topic.mu.Lock()
	for p := range topic.partitions {
		kept := topic.partitions[p][:0:0]
		for i, record := range topic.partitions[p] {
			if i < 5 || i > 30 {
				kept = append(kept, cloned(record, int64(len(kept))))
			}
		}
		topic.partitions[p], topic.times[p] = kept, topic.times[p][:len(kept)]
	}
	topic.mu.Unlock()

	r, _ := caughtUp(t, store, topic)
	if _, err := r.Replay(t.Context(), Replay{}); err != nil {
		t.Fatal(err)
	}
	versions := make(map[events.StreamID]uint64)
	for _, raw := range topic.records() {
		records, err := parsed(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, record := range records {
			if e := record.Event; !record.IsWatermark() && e.Version == versions[e.Stream]+1 {
				versions[e.Stream] = e.Version
			}
		}
	}
	for _, s := range streams(t, 15) {
		if versions[s] != 10 {
			t.Errorf("%s: got version %d of a reader who goes by versions alone, want 10", s, versions[s])
		}
	}
}

// Killing a relay is failing one of its calls; see TestRelay_KilledBeforeCheckpoint_PublishesNothingTwice.
func TestReplay_KilledAnywhere_LeavesATopicThatTheNextRelayGoesOnWith(t *testing.T) {
	all := streams(t, 12)
	rapid.Check(t, func(rt *rapid.T) {
		partitions := rapid.IntRange(1, 4).Draw(rt, "partitions")
		store, topic := newMemoryStore(), newMemoryTopic(partitions)
		for range rapid.IntRange(1, 4).Draw(rt, "rounds") {
			store.append(all...)
		}
		var failing atomic.Int64
		topic.judge = func(call, partition int, _ []kafka.Record) fate {
			if n := failing.Load(); n > 0 && failing.CompareAndSwap(n, n-1) {
				return fate(1 + (call+partition)%3)
			}
			return fine
		}
		after := rapid.Uint64Max(uint64(len(store.all()))).Draw(rt, "after")
		faults, appended := rapid.IntRange(0, 6).Draw(rt, "faults"), rapid.IntRange(0, 30).Draw(rt, "appended meanwhile")
		r := newRelay(rt, Config{
			Store: store, Topic: topic, Partitions: partitions,
			RetryMin: time.Microsecond, RetryMax: time.Millisecond, MarkEvery: 50 * time.Microsecond, IdleEvery: time.Millisecond,
		})
		upTo := uint64(len(store.all()))
		live(rt, r, func(ctx context.Context) { // draws nothing: rapid may panic in Draw
			awaitPublished(ctx, rt, r, store)
			failing.Store(int64(faults))
			fed := make(chan struct{})
			go func() {
				defer close(fed)
				for i := range appended {
					store.append(all[i%len(all)])
				}
			}()
			got, err := r.Replay(ctx, Replay{After: after, UpTo: upTo})
			<-fed
			if err != nil || got.Position != upTo {
				rt.Fatalf("Replay = %+v, %v, want all up to %d", got, err, upTo)
			}
			awaitPublished(ctx, rt, r, store)
		})
		if err := checkTopic(inPlace(rt, topic.records()), store.all(), store.id, true); err != nil {
			rt.Fatal(err)
		}
		asRegions(rt, topic.records(), store.all())
		// Published again at least once each, whatever was repeated of it.
		again := make(map[uint64]bool)
		for _, p := range replayed(rt, topic.records(), store.all()) {
			for _, e := range p {
				again[e.Position] = true
			}
		}
		for position := after + 1; position <= upTo; position++ {
			if !again[position] {
				rt.Fatalf("position %d was not published again", position)
			}
		}
		failing.Store(0)
		// And who comes next has nothing to do.
		if err := newRelay(rt, Config{Store: store, Topic: topic, Partitions: partitions}).RunOnce(context.Background()); err != nil {
			rt.Fatal(err)
		}
		if err := checkTopic(inPlace(rt, topic.records()), store.all(), store.id, true); err != nil {
			rt.Fatalf("the relay after the replay: %v", err)
		}
	})
}

func TestReplay_KeepsToItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, topic := newMemoryStore(), newMemoryTopic(3)
		for range 100 {
			store.append(streams(t, 10)...)
		}
		r, stop := runningUntil(t, Config{Store: store, Topic: topic, Partitions: 3})
		defer stop()
		synctest.Wait()
		began := time.Now() // of the bubble's clock
		if _, err := r.Replay(t.Context(), Replay{Rate: 100}); err != nil {
			t.Fatal(err)
		}
		// The last page needs no waiting after it.
		if took := time.Since(began).Round(100 * time.Millisecond); took < 9500*time.Millisecond || took > 10500*time.Millisecond {
			t.Errorf("1,000 events at 100 a second took %s, want about 10 s", took)
		}
	})
}

func TestReplay_NewEventsDoNotWaitForIt(t *testing.T) {
	store, topic := newMemoryStore(), newMemoryTopic(1)
	for range 100 {
		store.append(streams(t, 10)...)
	}
	r, _ := caughtUp(t, store, topic)
	stop := errors.New("seen enough")
	_, err := r.Replay(t.Context(), Replay{Rate: 10, Progress: func(ctx context.Context, _ ReplayProgress) error {
		store.append(stream(t, 1)) // in the midst of a replay that would take 100 s
		awaitPublished(ctx, t, r, store)
		return stop
	}})
	if !errors.Is(err, stop) {
		t.Errorf("Replay = %v, want what Progress answered", err)
	}
	asRegions(t, topic.records(), store.all())
}

func TestReplay_WithoutTheLead_IsRefused(t *testing.T) {
	store, topic := newMemoryStore(), newMemoryTopic(1)
	store.append(stream(t, 1))
	r := newRelay(t, Config{Store: store, Topic: topic, Partitions: 1})
	if _, err := r.Replay(t.Context(), Replay{}); !errors.Is(err, ErrNotLeading) {
		t.Errorf("Replay on a relay that does not run = %v, want ErrNotLeading", err)
	}
	standby, _ := runningUntil(t, Config{
		Store: store, Topic: topic, Partitions: 1,
		Lead: func(ctx context.Context) (context.Context, func(), error) { <-ctx.Done(); return nil, nil, ctx.Err() },
	})
	if _, err := standby.Replay(t.Context(), Replay{}); !errors.Is(err, ErrNotLeading) {
		t.Errorf("Replay on a relay that waits for the lead = %v, want ErrNotLeading", err)
	}
	if got := len(topic.records()[0]); got != 0 {
		t.Errorf("got %d records, want none", got)
	}
}

func TestReplay_TwoAtOnce_TheSecondIsRefused(t *testing.T) {
	store, topic := newMemoryStore(), newMemoryTopic(1)
	store.append(stream(t, 1))
	r, _ := caughtUp(t, store, topic)
	_, err := r.Replay(t.Context(), Replay{Progress: func(ctx context.Context, _ ReplayProgress) error {
		if _, err := r.Replay(ctx, Replay{}); !errors.Is(err, ErrReplaying) {
			return fmt.Errorf("the second = %w, want ErrReplaying", err)
		}
		return nil
	}})
	if err != nil {
		t.Error(err)
	}
}

func TestReplay_RecordsCountForKafkasRetentionFromNow(t *testing.T) {
	store, topic := newMemoryStore(), newMemoryTopic(1)
	store.append(stream(t, 1))
	store.mu.Lock()
	store.log[0].Time = time.Now().Add(-365 * 24 * time.Hour)
	store.mu.Unlock()
	began := time.Now()
	r, _ := caughtUp(t, store, topic)
	if _, err := r.Replay(t.Context(), Replay{}); err != nil {
		t.Fatal(err)
	}
	for i, record := range topic.records()[0] {
		if parsed, err := parse(record); err != nil || parsed.IsWatermark() {
			continue
		}
		if record.Time.Before(began) {
			t.Errorf("record %d is of %s for Kafka, which would remove it at once, want now", i, record.Time)
		}
	}
}
