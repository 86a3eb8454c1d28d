package relay

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/internal/testservers"
)

// loseTail cuts the last bytes off a partition's log, as a broker loses them that had not flushed them
// when the power went. The node is down.
func loseTail(t *testing.T, n *testservers.KafkaNode, topic string, partition int, lost int64) {
	t.Helper()
	dir := filepath.Join(n.LogDir(), fmt.Sprintf("%s-%d", topic, partition))
	log := filepath.Join(dir, "00000000000000000000.log")
	info, err := os.Stat(log)
	if err == nil {
		err = os.Truncate(log, info.Size()-lost)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// missing says which events of the log are not among the records.
func missing(t *testing.T, topic [][]kafka.Record, log []events.Event) (all []uint64) {
	t.Helper()
	there := map[uint64]bool{}
	for _, records := range topic {
		all, err := parsed(records)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			there[r.Event.Position] = there[r.Event.Position] || !r.IsWatermark()
		}
	}
	for _, e := range log {
		if !there[e.Position] {
			all = append(all, e.Position)
		}
	}
	return all
}

func TestRelay_KafkaLosesItsTail_PublishesItAgain(t *testing.T) {
	const partitions = 2
	ctx := deadline(t)
	k := testservers.NewKafka(t, testservers.KafkaOptions{})
	cluster, topic := connectTo(t, k.Brokers(testservers.Plaintext)[0], kafka.Topic{Name: topicName, Partitions: partitions})
	node, store := k.Nodes[0], newMemoryStore()
	// Running all along, and with a look after the loss: the broker notices, or we do.
	for name, stopped := range map[string]bool{"while the relay runs": false, "while the relay is stopped": true} {
		r, stop := runningUntil(t, Config{Store: store, Topic: FencedKafkaTopic(cluster, topic), Partitions: partitions})
		for range 20 { // batches, so that a part of them is lost
			store.append(streams(t, 5)...)
			awaitPublished(ctx, t, r, store)
		}
		if stopped {
			stop()
		}
		if err := node.Kill(); err != nil {
			t.Fatal(err)
		}
		for p := range partitions {
			loseTail(t, node, topic, p, 3000)
		}
		if err := node.Start(); err != nil {
			t.Fatal(err)
		}
		if err := k.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		if stopped {
			r, stop = runningUntil(t, Config{Store: store, Topic: FencedKafkaTopic(cluster, topic), Partitions: partitions})
		}
		store.append(streams(t, 20)...)
		awaitPublished(ctx, t, r, store)
		stop()
		lost := missing(t, storedIn(t, cluster, topic, partitions), store.all())
		t.Logf("%s: failures of the broker %d, offsets that went back %d; events that stay missing in the topic: %v",
			name, countFailures(t, r, causeKafka), countFailures(t, r, causeDisturbed), lost)
		if len(lost) > 0 {
			t.Errorf("%s: positions %v are not in the topic", name, lost)
		}
	}
}

func TestRelay_TopicDeletedOrAllOfKafkaLostWhileItRuns_IsMadeAgainWhole(t *testing.T) {
	const partitions = 3
	ctx := deadline(t)
	k := testservers.NewKafka(t, testservers.KafkaOptions{})
	settings := kafka.Topic{Name: topicName, Partitions: partitions}
	cluster, topic := connectTo(t, k.Brokers(testservers.Plaintext)[0], settings)
	store := newMemoryStore()
	r := running(t, Config{
		Store: store, Topic: FencedKafkaTopic(cluster, topic), Partitions: partitions,
		MakeTopic: func(ctx context.Context) error { return cluster.EnsureTopic(ctx, settings) },
	})
	store.append(streams(t, 50)...)
	awaitPublished(ctx, t, r, store)
	for name, lose := range map[string]func(){
		"the topic was deleted": func() {
			output(t, testservers.KafkaTools(t).Command(ctx, "org.apache.kafka.tools.TopicCommand",
				"--bootstrap-server", k.Brokers(testservers.Plaintext)[0], "--delete", "--topic", topic))
		},
		"Kafka lost everything": func() {
			if err := k.Wipe(ctx); err != nil {
				t.Fatal(err)
			}
		},
	} {
		lose()
		store.append(streams(t, 50)...)
		awaitPublished(ctx, t, r, store)
		if err := checkTopic(withoutFences(storedIn(t, cluster, topic, partitions)), store.all(), store.id, true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// withoutFences leaves the fences out: one that came late names a previous record that is not.
func withoutFences(topic [][]kafka.Record) [][]kafka.Record {
	for p := range topic {
		topic[p] = slices.DeleteFunc(topic[p], func(r kafka.Record) bool {
			parsed, err := parse(r)
			return err == nil && isFence(parsed)
		})
	}
	return topic
}
