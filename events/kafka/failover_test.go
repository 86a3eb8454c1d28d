package kafka

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tenantry/tenantry/internal/testservers"
)

// load writes numbers to each partition of a topic and reads them, through whatever happens. Each
// partition has to be read as 0, 1, 2, … without a hole, a double or another order.
type load struct {
	t          *testing.T
	topic      string
	partitions int

	stop     context.CancelFunc
	writing  sync.WaitGroup
	written  []atomic.Int64 // numbers, by partition
	read     []atomic.Int64
	longest  atomic.Int64 // that a produce took, in ns
	finished sync.WaitGroup
}

// startLoad writes with one producer, and reads with one subscription.
func startLoad(t *testing.T, cluster *Cluster, topic string, partitions int) *load {
	t.Helper()
	l := &load{t: t, topic: topic, partitions: partitions, written: make([]atomic.Int64, partitions), read: make([]atomic.Int64, partitions)}
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	producer := makeProducer(t, cluster, topic)
	for p := range partitions {
		l.writing.Go(func() { l.write(ctx, producer, p) })
	}
	sub := NewSubscriber(cluster, SubscriberConfig{InFlight: 64, Logger: quiet, OnFailure: func(_ string, err error) {
		t.Errorf("the subscription failed: %v", err)
	}})
	messages, err := sub.Subscribe(context.Background(), topic)
	if err != nil {
		t.Fatal(err)
	}
	l.finished.Go(func() {
		for msg := range messages {
			p, _ := PartitionFromContext(msg.Context())
			if want := strconv.FormatInt(l.read[p].Load(), 10); string(msg.Payload) != want {
				t.Errorf("partition %d: read %s, want %s", p, msg.Payload, want)
				return
			}
			msg.Ack()
			l.read[p].Add(1)
		}
	})
	t.Cleanup(func() {
		cancel()
		l.writing.Wait()
		if err := sub.Close(); err != nil {
			t.Errorf("close the subscriber: %v", err)
		}
		l.finished.Wait()
	})
	return l
}

func (l *load) write(ctx context.Context, producer *Producer, partition int) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; {
		size := 1 + n%7
		began := time.Now()
		// Not ctx: what was sent is waited for, so that all that counts as written is.
		if _, err := producer.Produce(context.Background(), partition, numbered(numbers(n, n+size)...)); err != nil {
			l.t.Errorf("produce to partition %d: %v", partition, err)
			return
		}
		if took := int64(time.Since(began)); took > l.longest.Load() {
			l.longest.Store(took)
		}
		n += size
		l.written[partition].Store(int64(n))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// goesOn waits until each partition has been written to, and read, a good deal further than now.
func (l *load) goesOn(what string) {
	l.t.Helper()
	began := time.Now()
	for p := range l.partitions {
		l.await(what, p, &l.written[p], l.written[p].Load()+100)
		l.await(what, p, &l.read[p], l.written[p].Load())
	}
	l.t.Logf("%s: all partitions are written and read again after %s; longest produce so far %s",
		what, time.Since(began).Round(time.Millisecond), time.Duration(l.longest.Load()).Round(time.Millisecond))
}

func (l *load) await(what string, partition int, counter *atomic.Int64, until int64) {
	l.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for counter.Load() < until {
		if l.t.Failed() || time.Now().After(deadline) {
			l.t.Fatalf("%s: partition %d: written %d, read %d", what, partition, l.written[partition].Load(), l.read[partition].Load())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// end stops the writers, and waits until all they wrote was read.
func (l *load) end() {
	l.t.Helper()
	l.stop()
	l.writing.Wait()
	for p := range l.partitions {
		l.await("at the end", p, &l.read[p], l.written[p].Load())
	}
}

// leader is the node that leads a partition.
func leader(t *testing.T, k *testservers.KafkaCluster, c *Cluster, topic string, partition int) *testservers.KafkaNode {
	t.Helper()
	id := 0
	err := c.retry(testContext(t), "look up a leader", func(ctx context.Context, client *kafka.Client) error {
		c.refresh()
		answer, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		if err != nil {
			return err
		}
		if id = answer.Topics[0].Partitions[partition].Leader.ID; id < 1 {
			return errors.New("there is none")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return k.Nodes[id-1]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestProducerAndSubscriber_ThreeBrokersFail_NothingIsLostDoubledOrReordered(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	const partitions = 3
	k := testservers.NewKafka(t, testservers.KafkaOptions{Nodes: 3})
	c := testCluster(t, k.Brokers(testservers.Plaintext)...)
	topic := makeTopic(t, c, Topic{Partitions: partitions, Replication: 3, MinInSync: 2})
	l := startLoad(t, c, topic, partitions)
	l.goesOn("at the start")

	n := leader(t, k, c, topic, 0)
	must(t, n.Kill())
	l.goesOn("the leader was killed")
	must(t, n.Start())
	must(t, k.Ready(t.Context()))
	l.goesOn("the killed leader is back")

	for _, n := range k.Nodes {
		must(t, n.Stop())
		l.goesOn("a broker was stopped")
		must(t, n.Start())
		must(t, k.Ready(t.Context()))
		l.goesOn("the stopped broker is back")
	}

	n = leader(t, k, c, topic, 1)
	must(t, n.Pause())
	awake := time.NewTimer(15 * time.Second)
	l.goesOn("the leader hangs")
	<-awake.C
	must(t, n.Continue())
	must(t, k.Ready(t.Context()))
	l.goesOn("the leader that hung is back")

	// Without a majority nothing is acknowledged, and nothing is lost.
	must(t, k.Nodes[0].Kill())
	must(t, k.Nodes[1].Kill())
	must(t, k.Nodes[0].Start())
	must(t, k.Nodes[1].Start())
	must(t, k.Ready(t.Context()))
	l.goesOn("two of three were killed")
	for _, n := range k.Nodes {
		must(t, n.Kill())
	}
	for _, n := range k.Nodes {
		must(t, n.Start())
	}
	must(t, k.Ready(t.Context()))
	l.goesOn("all were killed")
	l.end()
	for p := range partitions {
		wantStored(t, c, topic, p, numbers(0, int(l.written[p].Load()))...)
	}
}
