package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tenantry/tenantry/events"
)

// keepNothing is a topic whose records go at the next run of retention.
var keepNothing = Topic{RetentionBytes: 1}

func TestFetch_OffsetNotInTheLog_IsToldApart(t *testing.T) {
	b := faultyBroker(t)
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, keepNothing)
	p := makeProducer(t, c, topic)
	produce(t, p, 0, "0", "1", "2")
	b.ApplyRetention()
	produce(t, p, 0, "3")

	for _, offset := range []int64{-1, 0, 2, 5, 1 << 40} {
		_, _, err := c.Fetch(testContext(t), topic, 0, offset, time.Millisecond, 1<<20)
		if !errors.Is(err, ErrOffsetOutOfRange) {
			t.Errorf("Fetch at %d answered %v, want %v", offset, err, ErrOffsetOutOfRange)
		}
	}
	records, end, err := c.Fetch(testContext(t), topic, 0, 3, time.Millisecond, 1<<20)
	if err != nil || len(records) != 1 || string(records[0].Value) != "3" || end != 4 {
		t.Errorf("Fetch at 3 answered %v, %d, %v, want the record 3 and the end 4", records, end, err)
	}
	records, end, err = c.Fetch(testContext(t), topic, 0, 4, time.Millisecond, 1<<20)
	if err != nil || len(records) != 0 || end != 4 {
		t.Errorf("Fetch at the end answered %v, %d, %v, want nothing and the end 4", records, end, err)
	}
	all, err := c.Offsets(testContext(t), topic)
	if err != nil || all[0] != (Offsets{First: 3, End: 4}) {
		t.Errorf("Offsets answered %v, %v, want 3 to 4", all, err)
	}
}

func TestFetch_InTheMiddleOfABatch_StartsAtTheOffset(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{})
	produce(t, makeProducer(t, c, topic), 0, numbers(0, 10)...)
	records, _, err := c.Fetch(testContext(t), topic, 0, 7, time.Second, 1)
	if err != nil || len(records) != 3 || records[0].Offset != 7 || string(records[0].Value) != "7" {
		t.Fatalf("Fetch at 7 answered %v, %v, want the records 7, 8 and 9", records, err)
	}
}

func TestFetch_LeadersMove_IsFollowed(t *testing.T) {
	b := faultyBroker(t, kfake.NumBrokers(3))
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, Topic{})
	produce(t, makeProducer(t, c, topic), 0, numbers(0, 3)...)
	for node := range int32(6) {
		if err := b.MoveTopicPartition(topic, 0, node%3); err != nil {
			t.Fatal(err)
		}
		records, _, err := c.Fetch(testContext(t), topic, 0, 0, time.Second, 1<<20)
		if err != nil || len(records) != 3 {
			t.Fatalf("with the leader %d Fetch answered %d records, %v, want 3", node%3, len(records), err)
		}
	}
}

func TestFetch_OnlyMarksOfATransaction_AreSteppedOver(t *testing.T) {
	b := faultyBroker(t)
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, Topic{})
	abortTransaction(t, c, topic)
	produce(t, makeProducer(t, c, topic), 0, "after")

	all, err := c.Offsets(testContext(t), topic)
	if err != nil || all[0].End < 3 {
		t.Fatalf("Offsets answered %v, %v, want a mark before the last record", all, err)
	}
	records, _, err := c.Fetch(testContext(t), topic, 0, 1, time.Second, 1)
	if err != nil || len(records) != 1 || string(records[0].Value) != "after" {
		t.Fatalf("Fetch at the mark answered %v, %v, want the record after it", records, err)
	}
}

func TestLast_BehindTheMarkOfATransaction_IsFound(t *testing.T) {
	b := faultyBroker(t)
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, Topic{})
	abortTransaction(t, c, topic)
	last, found, err := c.Last(testContext(t), topic, 0)
	if err != nil || !found || string(last.Value) != "in a transaction" {
		t.Fatalf("Last answered %q, %t, %v, want the record before the mark", last.Value, found, err)
	}
}

// abortTransaction leaves a record and the mark of its transaction in partition 0.
func abortTransaction(t *testing.T, c *Cluster, topic string) {
	t.Helper()
	ctx := testContext(t)
	s, err := c.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer s.release()
	const id = "somebody-else"
	session, err := s.client.InitProducerID(ctx, &kafka.InitProducerIDRequest{TransactionalID: id, TransactionTimeoutMs: 10_000, ProducerID: -1, ProducerEpoch: -1})
	if err != nil || session.Error != nil {
		t.Fatal(err, session.Error)
	}
	added, err := s.client.AddPartitionsToTxn(ctx, &kafka.AddPartitionsToTxnRequest{
		TransactionalID: id, ProducerID: session.Producer.ProducerID, ProducerEpoch: session.Producer.ProducerEpoch,
		Topics: map[string][]kafka.AddPartitionToTxn{topic: {{Partition: 0}}},
	})
	if err != nil || added.Topics[topic][0].Error != nil {
		t.Fatal(err, added)
	}
	var batch bytes.Buffer
	who := identity{producer: int64(session.Producer.ProducerID), epoch: int16(session.Producer.ProducerEpoch)}
	if err := encodeBatch(&batch, numbered("in a transaction"), who, time.Now()); err != nil {
		t.Fatal(err)
	}
	const attributesAt, transactional = sizePrefix + 21, 0x10
	raw := batch.Bytes()
	binary.BigEndian.PutUint16(raw[attributesAt:], transactional)
	binary.BigEndian.PutUint32(raw[crcAt:], crc32.Checksum(raw[crcFrom:], castagnoli))
	produced, err := s.client.RawProduce(ctx, &kafka.RawProduceRequest{
		Topic: topic, RequiredAcks: kafka.RequireAll, TransactionalID: id,
		RawRecords: protocol.RawRecordSet{Reader: &batch},
	})
	if err != nil || produced.Error != nil {
		t.Fatal(err, produced)
	}
	ended, err := s.client.EndTxn(ctx, &kafka.EndTxnRequest{TransactionalID: id, ProducerID: session.Producer.ProducerID, ProducerEpoch: session.Producer.ProducerEpoch})
	if err != nil || ended.Error != nil {
		t.Fatal(err, ended)
	}
}

func TestLast_AnswersTheLastRecordIfThereIsOne(t *testing.T) {
	b := faultyBroker(t)
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, Topic{Partitions: 2, RetentionBytes: 1})
	want := func(step string, partition int, value string, exists bool) {
		t.Helper()
		last, found, err := c.Last(testContext(t), topic, partition)
		if err != nil || found != exists || string(last.Value) != value {
			t.Fatalf("%s: Last answered %q, %t, %v, want %q, %t", step, last.Value, found, err, value, exists)
		}
	}
	want("empty", 0, "", false)
	p := makeProducer(t, c, topic)
	produce(t, p, 0, "0", "1", "2")
	want("one batch", 0, "2", true)
	want("the other partition", 1, "", false)
	produce(t, p, 0, "3")
	want("two batches", 0, "3", true)
	b.ApplyRetention()
	want("all gone", 0, "", false)
	if _, _, err := c.Last(testContext(t), topic, 2); err == nil {
		t.Error("Last of a partition that is not there succeeded")
	}
}

func TestSearch_FindsTheFirstRecordThatHolds_WithFewReads(t *testing.T) {
	b := faultyBroker(t)
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, Topic{})
	p := makeProducer(t, c, topic)
	// Positions grow, with gaps, over batches of very different sizes.
	random := rand.New(rand.NewPCG(1, 2))
	var positions []int
	next := 0
	for len(positions) < 3000 {
		var batch []string
		for range 1 + random.IntN(1+random.IntN(60)) {
			next += 1 + random.IntN(3)
			positions = append(positions, next)
			batch = append(batch, strconv.Itoa(next))
		}
		produce(t, p, 0, batch...)
	}
	position := func(r Record) int {
		text, _ := r.Header("position")
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Errorf("record %d has the position %q", r.Offset, text)
		}
		return n
	}
	fetches := b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Observe: true, Count: -1})
	wanted := []int{0, 1, positions[len(positions)-1], next + 1}
	for range 40 {
		wanted = append(wanted, random.IntN(next))
	}
	for _, w := range wanted {
		want := int64(len(positions))
		for i, p := range positions {
			if p >= w {
				want = int64(i)
				break
			}
		}
		before := fetches.Hits()
		got, err := c.Search(testContext(t), topic, 0, func(r Record) bool { return position(r) >= w })
		if err != nil || got != want {
			t.Fatalf("Search for position %d answered %d, %v, want %d", w, got, err, want)
		}
		if reads := fetches.Hits() - before; reads > 13 {
			t.Errorf("Search for position %d took %d reads, want at most log2 of %d records", w, reads, len(positions))
		}
	}
}

func TestSearch_NothingThere_AnswersTheEnd(t *testing.T) {
	b := faultyBroker(t)
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, keepNothing)
	never := func(Record) bool { t.Error("there is no record to ask about"); return false }
	if at, err := c.Search(testContext(t), topic, 0, never); err != nil || at != 0 {
		t.Errorf("Search in an empty partition answered %d, %v, want 0", at, err)
	}
	produce(t, makeProducer(t, c, topic), 0, "0", "1")
	b.ApplyRetention()
	if at, err := c.Search(testContext(t), topic, 0, never); err != nil || at != 2 {
		t.Errorf("Search after retention answered %d, %v, want 2", at, err)
	}
}

func TestEnsureTopic_MakesItOnceWithItsSettings(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := Topic{Name: named(t, "tenantry.events.v1"), Partitions: 12, Retention: time.Hour, RetentionBytes: 1 << 20, MinInSync: 1, SegmentBytes: 1 << 20}
	for range 2 {
		if err := c.EnsureTopic(testContext(t), topic); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := c.Partitions(testContext(t), topic.Name); err != nil || n != 12 {
		t.Errorf("the topic has %d partitions, %v, want 12", n, err)
	}
	for name, want := range map[string]string{
		"cleanup.policy": "delete", "retention.ms": "3600000", "retention.bytes": "1048576",
		"segment.bytes": "1048576", "min.insync.replicas": "1", "max.message.bytes": "4194304",
	} {
		if got, err := c.topicSettings(testContext(t), topic.Name, name); err != nil || got[name] != want {
			t.Errorf("setting %s is %q, %v, want %q", name, got[name], err, want)
		}
	}
	kept := named(t, "kept")
	if err := c.EnsureTopic(testContext(t), Topic{Name: kept, Partitions: 1, Retention: -1, RetentionBytes: -1}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.topicSettings(testContext(t), kept, retentionTime); err != nil || got[retentionTime] != "-1" {
		t.Errorf("for ever is %v, %v, want -1", got, err)
	}
}

func TestEnsureTopic_WhatDoesNotFit_IsRefusedSayingWhatToDo(t *testing.T) {
	c := testCluster(t, testBroker(t))
	twelve, compacted, both := named(t, "twelve"), named(t, "compacted"), named(t, "both")
	makeTopic(t, c, Topic{Name: twelve, Partitions: 12})
	s, err := c.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer s.release()
	for name, policy := range map[string]string{compacted: "compact", both: "compact,delete"} {
		answer, err := s.client.CreateTopics(testContext(t), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
			Topic: name, NumPartitions: 12, ReplicationFactor: 1,
			ConfigEntries: []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: policy}},
		}}})
		if err != nil || answer.Errors[name] != nil {
			t.Fatal(err, answer)
		}
	}
	for _, test := range []struct {
		topic Topic
		want  []string
	}{
		{Topic{Name: twelve, Partitions: 6}, []string{"has 12 partitions, not 6", "if it was made with 12", "--kafka-partitions 12", "if it was made with 6 and somebody has added the others"}},
		{Topic{Name: twelve, Partitions: 24}, []string{"has 12 partitions, not 24: start with --kafka-partitions 12, or use another"}},
		{Topic{Name: compacted, Partitions: 12}, []string{"compacted", "cleanup.policy=delete"}},
		{Topic{Name: both, Partitions: 12}, []string{"compacted", "cleanup.policy=delete"}},
		{Topic{Name: "none"}, []string{"at least one partition"}},
		{Topic{Partitions: 1}, []string{"needs a name"}},
	} {
		err := c.EnsureTopic(testContext(t), test.topic)
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("EnsureTopic(%+v) answered %v, want it to say %q", test.topic, err, want)
			}
		}
	}
}

func TestEnsureTopic_ManyAtOnce_AllSucceed(t *testing.T) {
	address := testBroker(t)
	same := named(t, "same")
	results := make(chan error, 8)
	for range cap(results) {
		c := testCluster(t, address)
		go func() { results <- c.EnsureTopic(context.Background(), Topic{Name: same, Partitions: 3}) }()
	}
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestPartition_IsWhereJavaClientsPutTheKey(t *testing.T) {
	// From Apache Kafka's own UtilsTest.testMurmur2.
	for key, hash := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		for _, n := range []int{1, 2, 12, 97, 1 << 20} {
			if got, want := events.Partition(key, n), int(hash&0x7fffffff)%n; got != want {
				t.Errorf("Partition(%q, %d) = %d, want %d as in Java", key, n, got, want)
			}
		}
	}
	random := rand.New(rand.NewPCG(3, 4))
	balancer := kafka.Murmur2Balancer{Consistent: true}
	for range 10_000 {
		key := make([]byte, random.IntN(40))
		for i := range key {
			key[i] = byte(random.IntN(256))
		}
		n := 1 + random.IntN(64)
		partitions := make([]int, n)
		for i := range partitions {
			partitions[i] = i
		}
		if got, want := events.Partition(string(key), n), balancer.Balance(kafka.Message{Key: key}, partitions...); got != want {
			t.Fatalf("Partition(%q, %d) = %d, want kafka-go's %d", key, n, got, want)
		}
	}
}

func BenchmarkCluster_Fetch(b *testing.B) {
	c := testCluster(b, testBroker(b))
	topic := makeTopic(b, c, Topic{})
	p := makeProducer(b, c, topic)
	for range 200 {
		if _, err := p.Produce(b.Context(), 0, likeEvents(500)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	n, at := 0, int64(0)
	for b.Loop() {
		records, _, err := c.Fetch(b.Context(), topic, 0, at, time.Second, 512<<10)
		if err != nil {
			b.Fatal(err)
		}
		n += len(records)
		at = (records[len(records)-1].Offset + 1) % 100_000
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
}
