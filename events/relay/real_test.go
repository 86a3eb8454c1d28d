package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/internal/broker"
)

// The tests in this file run on the real store and on a broker that speaks the real protocol.

const topicName = "tenantry.events.v1"

func openStore(t testing.TB, dir string) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(t.Context(), embedded.Config{Dir: dir, Logger: silent, MinFree: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}

func openBroker(t testing.TB, dir, listen string) *broker.Broker {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{DataDir: dir, Listen: listen, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

func closeBroker(t testing.TB, b *broker.Broker) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Errorf("close the broker: %v", err)
	}
}

func connect(t testing.TB, partitions int, address ...string) *kafka.Cluster {
	t.Helper()
	c, _ := connectTo(t, strings.Join(address, ","), kafka.Topic{Name: topicName, Partitions: partitions})
	return c
}

func connectTo(t testing.TB, addresses string, topic kafka.Topic) (*kafka.Cluster, string) {
	t.Helper()
	c, err := kafka.New(kafka.Config{Brokers: strings.Split(addresses, ","), Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close the cluster: %v", err)
		}
	})
	if err := c.EnsureTopic(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	return c, topic.Name
}

// register makes a tenant and renames it, in one batch.
func register(ctx context.Context, s *embedded.Store, id events.StreamID, renames int) error {
	payloads := []events.Payload{events.TenantRegistered{Name: "n", HomeRegion: "eu-west"}}
	for i := range renames {
		payloads = append(payloads, events.TenantRenamed{Name: fmt.Sprintf("name %d", i)})
	}
	written, err := events.New(id, 0, events.Metadata{Time: time.Now(), Actor: "test", CorrelationID: "c"}, payloads...)
	if err != nil {
		return err
	}
	_, err = s.Append(ctx, events.Batch{Stream: id, Events: written})
	return err
}

// registerMany makes n tenants of the w-th writer.
func registerMany(ctx context.Context, t testing.TB, s *embedded.Store, w, n int) {
	t.Helper()
	for i := range n {
		if err := register(ctx, s, numbered(t, w, i), i%4); err != nil {
			t.Fatal(err)
		}
	}
}

// numbered is the n-th tenant of the w-th writer.
func numbered(t testing.TB, w, n int) events.StreamID {
	t.Helper()
	id, err := events.ParseStreamID(fmt.Sprintf("ten_w%d-%d", w, n))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// stored reads the whole topic.
func stored(t testing.TB, c *kafka.Cluster, partitions int) [][]kafka.Record {
	t.Helper()
	return storedIn(t, c, topicName, partitions)
}

func storedIn(t testing.TB, c *kafka.Cluster, topic string, partitions int) [][]kafka.Record {
	t.Helper()
	all, err := c.Offsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]kafka.Record, partitions)
	for p := range out {
		for at := all[p].First; at < all[p].End; {
			records, _, err := c.Fetch(t.Context(), topic, p, at, time.Second, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			out[p] = append(out[p], records...)
			at = records[len(records)-1].Offset + 1
		}
	}
	return out
}

// compareWithStore says how the topic differs from what the store makes it be.
func compareWithStore(t testing.TB, c *kafka.Cluster, partitions int, s *embedded.Store) error {
	t.Helper()
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log, err := s.After(t.Context(), 0, int(head.Position))
	if err != nil {
		t.Fatal(err)
	}
	return checkTopic(stored(t, c, partitions), log, head.StoreID, true)
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestRelay_FourWritersAndManyRestarts_TheTopicHoldsTheStoreOnce(t *testing.T) {
	const partitions, writers, tenants = 6, 4, 60
	ctx := deadline(t)
	store := openStore(t, t.TempDir())
	b := openBroker(t, t.TempDir(), "")
	cluster := connect(t, partitions, b.Addr())

	var ids [writers][tenants]events.StreamID
	for w := range writers {
		for n := range tenants {
			ids[w][n] = numbered(t, w, n)
		}
	}
	var writing sync.WaitGroup
	var appended atomic.Int64
	for w := range writers {
		writing.Go(func() {
			for n := range tenants {
				if err := register(ctx, store, ids[w][n], n%4); err != nil {
					t.Errorf("append: %v", err)
				}
				appended.Add(1)
			}
		})
	}
	// A relay is stopped wherever it is, and the next one started, after each few batches.
	lives := 0
	for stop := int64(5); appended.Load() < writers*tenants; stop += 5 {
		life, kill := context.WithCancel(ctx)
		r := newRelay(t, Config{Store: store, Topic: KafkaTopic(cluster, topicName), Partitions: partitions, IdleEvery: 5 * time.Millisecond, MarkEvery: time.Millisecond})
		done := make(chan error, 1)
		go func() { done <- r.Run(life) }()
		// Everything up to there is published, or all that there is.
		await(ctx, t, r, func(s Status) bool { return s.Known && (s.Published >= uint64(stop) || s.Published == s.Head) })
		kill()
		if err := <-done; err != nil {
			t.Fatalf("Run = %v", err)
		}
		lives++
	}
	writing.Wait()
	if err := newRelay(t, Config{Store: store, Topic: KafkaTopic(cluster, topicName), Partitions: partitions}).RunOnce(ctx); err != nil {
		t.Fatal(err)
	}
	if err := compareWithStore(t, cluster, partitions, store); err != nil {
		t.Errorf("after %d relays: %v", lives, err)
	}
}

func TestRelay_BrokerAwayAndBack_PublishesWhatCameMeanwhileOnce(t *testing.T) {
	const partitions = 4
	ctx := deadline(t)
	store := openStore(t, t.TempDir())
	dir := t.TempDir()
	b := openBroker(t, dir, "")
	cluster := connect(t, partitions, b.Addr())
	r := running(t, Config{Store: store, Topic: KafkaTopic(cluster, topicName), Partitions: partitions})
	registerMany(ctx, t, store, 0, 20)
	awaitPublished(ctx, t, r, store)

	closeBroker(t, b)
	registerMany(ctx, t, store, 1, 20)
	await(ctx, t, r, func(s Status) bool { return s.Lag > 0 })
	openBroker(t, dir, b.Addr())
	awaitPublished(ctx, t, r, store)
	if err := compareWithStore(t, cluster, partitions, store); err != nil {
		t.Error(err)
	}
}

// A relay that starts before its broker waits for it.
func TestRelay_BrokerNotYetThere_StartsWhenItComes(t *testing.T) {
	const partitions = 2
	ctx := deadline(t)
	store := openStore(t, t.TempDir())
	dir := t.TempDir()
	b := openBroker(t, dir, "")
	cluster := connect(t, partitions, b.Addr())
	closeBroker(t, b)

	registerMany(ctx, t, store, 0, 5)
	r := running(t, Config{Store: store, Topic: KafkaTopic(cluster, topicName), Partitions: partitions, SurveyTimeout: 50 * time.Millisecond, RetryMax: 50 * time.Millisecond})
	await(ctx, t, r, func(s Status) bool { return s.State == StateFailing })
	openBroker(t, dir, b.Addr())
	awaitPublished(ctx, t, r, store)
	if err := compareWithStore(t, cluster, partitions, store); err != nil {
		t.Error(err)
	}
}

func TestRelay_TopicDeleted_PublishesAllAgain(t *testing.T) {
	const partitions = 4
	ctx := deadline(t)
	store := openStore(t, t.TempDir())
	registerMany(ctx, t, store, 0, 50)
	for range 2 { // the second time on an empty kafka/
		b := openBroker(t, t.TempDir(), "")
		cluster := connect(t, partitions, b.Addr())
		if err := newRelay(t, Config{Store: store, Topic: KafkaTopic(cluster, topicName), Partitions: partitions}).RunOnce(ctx); err != nil {
			t.Fatal(err)
		}
		if err := compareWithStore(t, cluster, partitions, store); err != nil {
			t.Error(err)
		}
		closeBroker(t, b)
	}
}

func TestRelay_TopicOfAnotherStore_Refuses(t *testing.T) {
	const partitions = 2
	ctx := deadline(t)
	b := openBroker(t, t.TempDir(), "")
	cluster := connect(t, partitions, b.Addr())
	for i, want := range []error{nil, ErrForeignRecords} {
		store := openStore(t, t.TempDir()) // each time another one
		registerMany(ctx, t, store, 0, 5)
		before := stored(t, cluster, partitions)
		err := newRelay(t, Config{Store: store, Topic: KafkaTopic(cluster, topicName), Partitions: partitions}).RunOnce(ctx)
		if !errors.Is(err, want) {
			t.Fatalf("store %d: RunOnce = %v, want %v", i, err, want)
		}
		if after := stored(t, cluster, partitions); want != nil && fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("the refusing relay changed the topic from %v to %v", before, after)
		}
	}
}

// Every way in which a produce can fail: refused, applied but called a failure, connection
// cut before and after the broker handled it.
func TestRelay_BrokerFailsNowAndThen_PublishesEachEventOnce(t *testing.T) {
	const partitions = 3
	for _, failure := range []*kerr.Error{
		kerr.UnknownServerError, kerr.InvalidProducerEpoch, kerr.OutOfOrderSequenceNumber, // the session ends
		kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend, kerr.NotLeaderForPartition, // the producer repeats
	} {
		t.Run(failure.Message, func(t *testing.T) {
			ctx := deadline(t)
			b, err := kfake.NewCluster(kfake.NumBrokers(2))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.Close)
			cluster := connect(t, partitions, b.ListenAddrs()...)
			store := openStore(t, t.TempDir())
			r := running(t, Config{
				Store: store, Topic: KafkaTopic(cluster, topicName), Partitions: partitions,
				RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond, MarkEvery: time.Millisecond, IdleEvery: 10 * time.Millisecond,
			})
			produces := 0
			fault := b.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Err: failure, Count: -1,
				When: func(kmsg.Request) bool { produces++; return produces%5 == 3 },
			})
			registerMany(ctx, t, store, 0, 60)
			if err := fault.Wait(ctx, 10); err != nil {
				t.Fatalf("the broker failed %d times, want 10", fault.Hits())
			}
			fault.Remove()
			awaitPublished(ctx, t, r, store)
			if err := compareWithStore(t, cluster, partitions, store); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRelay_HugeEvents_ArePublished(t *testing.T) {
	const partitions = 2
	ctx := deadline(t)
	b := openBroker(t, t.TempDir(), "")
	cluster := connect(t, partitions, b.Addr())
	store := newMemoryStore()
	store.append(streams(t, 40)...)
	for i := range store.log {
		if i%3 == 0 {
			store.log[i].Data = append(append([]byte{'"'}, make([]byte, 1<<20)...), '"') // the most that a request may hold
		}
	}
	if err := newRelay(t, Config{Store: store, Topic: KafkaTopic(cluster, topicName), Partitions: partitions}).RunOnce(ctx); err != nil {
		t.Fatal(err)
	}
	if err := checkTopic(stored(t, cluster, partitions), store.all(), store.id, true); err != nil {
		t.Error(err)
	}
}
