package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
)

var silent = slog.New(slog.DiscardHandler)

// tester is *testing.T and *rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func newRelay(t tester, c Config) *Relay {
	t.Helper()
	if c.Logger == nil {
		c.Logger = silent
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func streams(t testing.TB, n int) []events.StreamID {
	t.Helper()
	out := make([]events.StreamID, n)
	for i := range out {
		out[i] = stream(t, i)
	}
	return out
}

// A relay that is killed leaves what it had sent to the broker, and nothing else: no
// checkpoint, no memory. So killing it is failing one of its calls, before the broker stored
// the batch or after, and starting another relay on what is there.
func TestRelay_KilledBeforeCheckpoint_PublishesNothingTwice(t *testing.T) {
	const partitions = 4
	for _, what := range []fate{unsent, unheard, cutShort} {
		for step := 1; step <= 2*partitions+1; step++ {
			t.Run(fmt.Sprintf("%s at produce %d", [...]string{"fine", "before the broker stored it", "after", "halfway"}[what], step), func(t *testing.T) {
				store, topic := newMemoryStore(), newMemoryTopic(partitions)
				store.append(streams(t, 20)...)
				topic.judge = func(call, _ int, _ []kafka.Record) fate {
					if call == step {
						return what
					}
					return fine
				}
				killed := 0
				for {
					err := newRelay(t, Config{Store: store, Topic: topic, Partitions: partitions}).RunOnce(t.Context())
					if err := checkTopic(topic.records(), store.all(), store.id, err == nil); err != nil {
						t.Fatal(err)
					}
					if err == nil {
						break
					}
					if !errors.Is(err, errFated) || killed > 0 {
						t.Fatalf("RunOnce = %v, want the one error that was planned", err)
					}
					killed++
					store.append(streams(t, 7)...)
				}
				// With all records of the first events in one batch each, fewer calls may do.
				if killed == 0 && step <= partitions {
					t.Fatalf("the relay was not killed at produce %d", step)
				}
			})
		}
	}
}

func TestRelay_KilledAnywhereInAnyHistory_PublishesNothingTwice(t *testing.T) {
	all := streams(t, 12)
	rapid.Check(t, func(rt *rapid.T) {
		partitions := rapid.IntRange(1, 5).Draw(rt, "partitions")
		store, topic := newMemoryStore(), newMemoryTopic(partitions)
		drawn := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) fate {
			return fate(max(0, rapid.IntRange(-6, int(cutShort)).Draw(rt, "fate")))
		}), 0, 60).Draw(rt, "fates")
		topic.judge = func(call, _ int, _ []kafka.Record) fate {
			if call <= len(drawn) {
				return drawn[call-1]
			}
			return fine
		}
		for range rapid.IntRange(1, 12).Draw(rt, "lives") {
			for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(all)-1), 0, 30).Draw(rt, "events") {
				store.append(all[i])
			}
			err := newRelay(rt, Config{Store: store, Topic: topic, Partitions: partitions}).RunOnce(context.Background())
			if err != nil && !errors.Is(err, errFated) {
				rt.Fatalf("RunOnce = %v", err)
			}
			if err := checkTopic(topic.records(), store.all(), store.id, err == nil); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// The same, with one relay that runs on by itself, is fed meanwhile, and is killed by its
// context now and then.
func TestRelay_FedAndFailingWhileItRuns_PublishesEachEventOnce(t *testing.T) {
	all := streams(t, 12)
	rapid.Check(t, func(rt *rapid.T) {
		const partitions = 3
		store, topic := newMemoryStore(), newMemoryTopic(partitions)
		var failing atomic.Int64
		topic.judge = func(call, partition int, _ []kafka.Record) fate {
			if n := failing.Load(); n > 0 && failing.CompareAndSwap(n, n-1) {
				return fate(1 + (call+partition)%3)
			}
			return fine
		}
		r := newRelay(rt, Config{
			Store: store, Topic: topic, Partitions: partitions,
			RetryMin: time.Microsecond, RetryMax: time.Millisecond, MarkEvery: 50 * time.Microsecond, IdleEvery: time.Millisecond,
		})
		for range rapid.IntRange(1, 4).Draw(rt, "lives") {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			var group sync.WaitGroup
			group.Go(func() {
				if err := r.Run(ctx); err != nil {
					rt.Errorf("Run = %v", err)
				}
			})
			for _, n := range rapid.SliceOfN(rapid.IntRange(0, 40), 1, 8).Draw(rt, "appends") {
				failing.Add(int64(n % 3))
				for i := range n {
					store.append(all[(i*7+n)%len(all)])
				}
			}
			if rapid.Bool().Draw(rt, "caught up before it is killed") {
				awaitPublished(ctx, rt, r, store)
			}
			cancel()
			group.Wait()
			if err := checkTopic(topic.records(), store.all(), store.id, false); err != nil {
				rt.Fatal(err)
			}
		}
		failing.Store(0)
		if err := r.RunOnce(context.Background()); err != nil {
			rt.Fatal(err)
		}
		if err := checkTopic(topic.records(), store.all(), store.id, true); err != nil {
			rt.Fatal(err)
		}
	})
}

// awaitPublished returns when all that the store has is in the topic.
func awaitPublished(ctx context.Context, t tester, r *Relay, store Store) {
	t.Helper()
	for {
		head, err := store.Head(ctx)
		if err != nil {
			t.Fatalf("Head = %v (relay: %+v)", err, r.Status())
		}
		if s := r.Status(); s.Known && s.Published >= head.Position {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the relay did not catch up with position %d: %+v", head.Position, r.Status())
		case <-time.After(100 * time.Microsecond):
		}
	}
}

func TestRelay_ProduceFailsInTheMiddle_NothingStandsBeyondTheHole(t *testing.T) {
	const partitions = 3
	store, topic := newMemoryStore(), newMemoryTopic(partitions)
	// Three batches' worth of events in each partition: heavy ones, which do not fit together.
	for range 6 {
		for i := range 12 {
			store.append(stream(t, i))
		}
	}
	for i := range store.log {
		store.log[i].Data = append(append([]byte{'"'}, make([]byte, batchBytes/8)...), '"')
	}
	batches := make([]int, partitions)
	var mu sync.Mutex
	topic.judge = func(_, partition int, _ []kafka.Record) fate {
		mu.Lock()
		defer mu.Unlock()
		batches[partition]++
		if partition == 1 && batches[1] >= 2 {
			return unsent // and so for ever: a relay that went on would leave a hole
		}
		return fine
	}
	err := newRelay(t, Config{Store: store, Topic: topic, Partitions: partitions}).RunOnce(t.Context())
	if !errors.Is(err, errFated) {
		t.Fatalf("RunOnce = %v, want %v", err, errFated)
	}
	if batches[1] != 2 {
		t.Errorf("partition 1 was produced to %d times, want 2: the one that was fine and the one that failed", batches[1])
	}
	if err := checkTopic(topic.records(), store.all(), store.id, false); err != nil {
		t.Error(err)
	}
	if n := len(topic.records()[1]); n == 0 {
		t.Error("partition 1 is empty, want its first batch")
	}
}
