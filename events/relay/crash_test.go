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
			appends := rapid.SliceOfN(rapid.IntRange(0, 40), 1, 8).Draw(rt, "appends")
			patient := rapid.Bool().Draw(rt, "caught up before it is killed")
			live(rt, r, func(ctx context.Context) { // draws nothing: rapid may panic in Draw
				for _, n := range appends {
					failing.Add(int64(n % 3))
					for i := range n {
						store.append(all[(i*7+n)%len(all)])
					}
				}
				if patient {
					awaitPublished(ctx, rt, r, store)
				}
			})
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

// live runs the relay while f runs.
func live(t tester, r *Relay, f func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Fatalf("Run = %v", err)
		}
	}()
	f(ctx)
}

// awaitPublished returns when all that the store has now is in the topic.
func awaitPublished(ctx context.Context, t tester, r *Relay, store Store) {
	t.Helper()
	head, err := store.Head(ctx)
	if err != nil {
		t.Fatalf("Head = %v (relay: %+v)", err, r.Status())
	}
	await(ctx, t, r, func(s Status) bool { return s.Known && s.Published >= head.Position })
}

// await returns when the relay's status is as wanted.
func await(ctx context.Context, t tester, r *Relay, wanted func(Status) bool) {
	t.Helper()
	for !wanted(r.Status()) {
		select {
		case <-ctx.Done():
			t.Fatalf("the relay did not get where it was waited for: %+v", r.Status())
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

// limitedStore notes how many bytes each page had.
type limitedStore struct {
	*memoryStore
	pages []int
}

func (s *limitedStore) After(ctx context.Context, position uint64, limit int) ([]events.Event, error) {
	page, err := s.memoryStore.After(ctx, position, limit)
	size := 0
	for i := range page {
		size += weight(&page[i])
	}
	s.pages = append(s.pages, size)
	return page, err
}

func TestRelay_MoreThanFitsInMemory_PassesInParts(t *testing.T) {
	store, topic := &limitedStore{memoryStore: newMemoryStore()}, newMemoryTopic(2)
	all := streams(t, 100)
	for range 2 * pageEvents / len(all) {
		store.append(all...)
	}
	for i := range store.log {
		if i%100 == 0 { // 20 in a page: more than may be pending
			store.log[i].Data = append(append([]byte{'"'}, make([]byte, 1<<20)...), '"')
		}
	}
	if err := newRelay(t, Config{Store: store, Topic: topic, Partitions: 2}).RunOnce(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := checkTopic(topic.records(), store.all(), store.id, true); err != nil {
		t.Fatal(err)
	}
	if store.pages[0] <= pendingBytes {
		t.Fatalf("the first page has %d bytes: this test shows nothing", store.pages[0])
	}
	for i, size := range store.pages[1:] {
		if size > 2*pageBytes {
			t.Errorf("page %d has %d bytes, want about %d, since the events before were large", i+1, size, pageBytes)
		}
	}
}
