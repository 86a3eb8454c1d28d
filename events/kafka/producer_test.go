package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestProducer_Produce_StoresRecordsAsTheyWereGiven(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{Partitions: 3})
	p := makeProducer(t, c, topic)
	at := time.UnixMilli(1_700_000_000_123)
	want := []Record{
		{Key: []byte("ten_a"), Value: []byte(`{"name":"ä"}`), Time: at, Headers: []Header{{Key: "ce_type", Value: []byte("x")}, {Key: "empty", Value: []byte{}}, {Key: "ce_type", Value: []byte("again")}}},
		{Time: at.Add(-time.Hour)},
		{Key: []byte{}, Value: []byte{}, Time: at},
	}
	for call := range 2 {
		offset, err := p.Produce(testContext(t), 2, want)
		if err != nil {
			t.Fatal(err)
		}
		if offset != int64(call*len(want)) {
			t.Errorf("call %d answered offset %d, want %d", call, offset, call*len(want))
		}
	}
	got, end, err := c.Fetch(testContext(t), topic, 2, 3, time.Second, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if end != 6 || len(got) != 3 {
		t.Fatalf("Fetch answered %d records and the end %d, want 3 and 6", len(got), end)
	}
	for i := range want {
		w := want[i]
		w.Offset = int64(3 + i)
		if g := got[i]; printed(g) != printed(w) {
			t.Errorf("record %d:\n got %+v\nwant %+v", i, printed(g), printed(w))
		}
	}
}

// printed shows a record with its nulls and its time to the millisecond.
func printed(r Record) string {
	return fmt.Sprintf("%d %q(nil %t) %q(nil %t) %q %d", r.Offset, r.Key, r.Key == nil, r.Value, r.Value == nil, r.Headers, r.Time.UnixMilli())
}

func TestProducer_AnswerLostAfterTheWrite_StoresTheBatchOnce(t *testing.T) {
	thief := new(answerThief)
	c := testClusterWith(t, Config{Brokers: []string{testBroker(t)}, Dial: thief.dial})
	topic := makeTopic(t, c, Topic{})
	p := makeProducer(t, c, topic)
	produce(t, p, 0, "1")
	thief.armed.Store(2)
	if offset := produce(t, p, 0, "2", "3"); offset != 1 {
		t.Errorf("the repeated batch is said to stand at %d, want 1", offset)
	}
	if left := thief.armed.Load(); left > 0 {
		t.Fatalf("%d answers were not lost, so that nothing was repeated", left)
	}
	produce(t, p, 0, "4")
	wantStored(t, c, topic, 0, "1", "2", "3", "4")
}

func TestProducer_WriteAppliedButCalledAFailure_StoresTheBatchOnce(t *testing.T) {
	for _, failure := range []*kerr.Error{kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend} {
		t.Run(failure.Message, func(t *testing.T) {
			b := faultyBroker(t)
			c := testCluster(t, b.ListenAddrs()...)
			topic := makeTopic(t, c, Topic{})
			p := makeProducer(t, c, topic)
			fault := b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: failure, Count: 3})
			produce(t, p, 0, "1", "2")
			produce(t, p, 0, "3")
			if fault.Hits() != 3 {
				t.Fatalf("the broker failed %d times, want 3", fault.Hits())
			}
			wantStored(t, c, topic, 0, "1", "2", "3")
		})
	}
}

func TestProducer_LeadersMove_StoresAllOnceInOrder(t *testing.T) {
	b := faultyBroker(t, kfake.NumBrokers(3))
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, Topic{})
	p := makeProducer(t, c, topic)
	want := numbers(0, 6)
	for i, v := range want {
		if err := b.MoveTopicPartition(topic, 0, int32(i%3)); err != nil {
			t.Fatal(err)
		}
		produce(t, p, 0, v)
	}
	wantStored(t, c, topic, 0, want...)
}

func TestProducer_RefusedBatch_BreaksItsPartitionAndStoresNothingPastTheHole(t *testing.T) {
	for _, refusal := range []*kerr.Error{kerr.UnknownServerError, kerr.InvalidRecord, kerr.MessageTooLarge, kerr.TopicAuthorizationFailed, kerr.InvalidProducerEpoch, kerr.UnknownProducerID, kerr.ProducerFenced} {
		t.Run(refusal.Message, func(t *testing.T) {
			b := faultyBroker(t)
			c := testCluster(t, b.ListenAddrs()...)
			topic := makeTopic(t, c, Topic{Partitions: 2})
			p := makeProducer(t, c, topic)
			produce(t, p, 0, "1")
			b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: refusal})
			_, err := p.Produce(testContext(t), 0, numbered("2"))
			if !errors.Is(err, kafka.Error(refusal.Code)) || errors.Is(err, ErrBroken) {
				t.Fatalf("the refused batch answered %v, want %v itself", err, refusal)
			}
			for range 2 {
				if _, err = p.Produce(testContext(t), 0, numbered("3")); !errors.Is(err, ErrBroken) {
					t.Fatalf("after a hole Produce answered %v, want %v", err, ErrBroken)
				}
			}
			produce(t, p, 1, "other")
			wantStored(t, c, topic, 0, "1")
			wantStored(t, c, topic, 1, "other")

			// The way on that the contract names.
			last, found, err := c.Last(testContext(t), topic, 0)
			if err != nil || !found || string(last.Value) != "1" {
				t.Fatalf("Last answered %q, %t, %v, want 1", last.Value, found, err)
			}
			p = makeProducer(t, c, topic)
			produce(t, p, 0, "2", "3")
			wantStored(t, c, topic, 0, "1", "2", "3")
		})
	}
}

func TestProducer_GapInTheSequence_IsRefusedAndBreaks(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{})
	p := makeProducer(t, c, topic)
	produce(t, p, 0, "1")
	p.lane(0).sequence += 5
	if _, err := p.Produce(testContext(t), 0, numbered("2")); !errors.Is(err, kafka.OutOfOrderSequenceNumber) {
		t.Fatalf("a gap in the sequence answered %v, want %v", err, kafka.OutOfOrderSequenceNumber)
	}
	if _, err := p.Produce(testContext(t), 0, numbered("2")); !errors.Is(err, ErrBroken) {
		t.Fatalf("afterwards Produce answered %v, want %v", err, ErrBroken)
	}
	wantStored(t, c, topic, 0, "1")
}

func TestProducer_ContextEndsWithTheOutcomeUnknown_IsBroken(t *testing.T) {
	b := faultyBroker(t)
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, Topic{})
	p := makeProducer(t, c, topic)
	produce(t, p, 0, "1")
	// The write is applied and answered as a time-out, over and over.
	fault := b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: -1})
	ctx, cancel := context.WithCancel(testContext(t))
	result := make(chan error, 1)
	go func() {
		_, err := p.Produce(ctx, 0, numbered("2"))
		result <- err
	}()
	if err := fault.Wait(testContext(t), 2); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) || errors.Is(err, ErrBroken) {
		t.Fatalf("Produce answered %v, want the context's end", err)
	}
	fault.Remove()
	_, err := p.Produce(testContext(t), 0, numbered("3"))
	if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "not known") {
		t.Fatalf("afterwards Produce answered %v, want %v and why", err, ErrBroken)
	}
	wantStored(t, c, topic, 0, "1", "2")
}

func TestProducer_ContextEndedBefore_SendsNothingAndStaysWhole(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{})
	p := makeProducer(t, c, topic)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Produce(ended, 0, numbered("1")); !errors.Is(err, context.Canceled) {
		t.Fatalf("Produce answered %v, want %v", err, context.Canceled)
	}
	produce(t, p, 0, "2")
	wantStored(t, c, topic, 0, "2")
}

func TestProducer_MoreThanABatchHolds_IsSplitInOrder(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{})
	p := makeProducer(t, c, topic)
	var records []Record
	var want []string
	for i, size := range []int{10, 400 << 10, 700 << 10, 3 << 20, 10, 600 << 10} {
		v := fmt.Sprint(i) + strings.Repeat("x", size)
		want = append(want, v)
		records = append(records, Record{Value: []byte(v)})
	}
	offset, err := p.Produce(testContext(t), 0, records)
	if err != nil || offset != 0 {
		t.Fatalf("Produce answered %d, %v, want 0 and no error", offset, err)
	}
	wantStored(t, c, topic, 0, want...)
}

func TestProducer_OnePartitionWrittenByMany_StoresEachCallInOnePiece(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{Partitions: 4})
	p := makeProducer(t, c, topic)
	var writers sync.WaitGroup
	for w := range 16 {
		writers.Go(func() {
			for range 20 {
				v := fmt.Sprint(w)
				if _, err := p.Produce(testContext(t), w%4, numbered(v, v, v)); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	writers.Wait()
	for partition := range 4 {
		got := stored(t, c, topic, partition)
		if len(got) != 4*20*3 {
			t.Errorf("partition %d holds %d records, want %d", partition, len(got), 4*20*3)
		}
		for i := 0; i+2 < len(got); i += 3 {
			if got[i] != got[i+1] || got[i] != got[i+2] {
				t.Fatalf("partition %d holds %q at %d, want the three records of one call", partition, got[i:i+3], i)
			}
		}
	}
}

func TestNewProducer_CoordinatorLoads_IsWaitedFor(t *testing.T) {
	b := faultyBroker(t)
	fault := b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.CoordinatorLoadInProgress, Count: 2})
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, Topic{})
	p := makeProducer(t, c, topic)
	if fault.Hits() != 2 {
		t.Fatalf("the coordinator was loading for %d requests, want 2", fault.Hits())
	}
	produce(t, p, 0, "1")
	wantStored(t, c, topic, 0, "1")
}

func TestNextSequence_CountsAsKafkaDoes(t *testing.T) {
	for _, c := range []struct {
		sequence int32
		records  int
		want     int32
	}{{0, 1, 1}, {5, 500, 505}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 3, 1}, {math.MaxInt32 - 2, 2, math.MaxInt32}} {
		if got := nextSequence(c.sequence, c.records); got != c.want {
			t.Errorf("nextSequence(%d, %d) = %d, want %d", c.sequence, c.records, got, c.want)
		}
	}
}

func BenchmarkProducer_FiveHundredRecordsABatch(b *testing.B) {
	c := testCluster(b, testBroker(b))
	topic := makeTopic(b, c, Topic{Partitions: 12})
	p := makeProducer(b, c, topic)
	records := likeEvents(500)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Produce(b.Context(), n%12, records); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(500*n)/b.Elapsed().Seconds(), "records/s")
}
