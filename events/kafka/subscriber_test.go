package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func makeSubscriber(t testing.TB, c *Cluster, config SubscriberConfig) *Subscriber {
	t.Helper()
	config.MaxWait = 50 * time.Millisecond
	s := NewSubscriber(c, config)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the subscriber: %v", err)
		}
	})
	return s
}

func subscribe(t testing.TB, s *Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	messages, err := s.Subscribe(context.Background(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func receive(t testing.TB, messages <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case msg, open := <-messages:
		if !open {
			t.Fatal("the subscription has ended, want a message")
		}
		return msg
	case <-testContext(t).Done():
		t.Fatal("no message came")
	}
	return nil
}

// wantMessages receives messages with these payloads, in order, and acknowledges them.
func wantMessages(t testing.TB, messages <-chan *message.Message, want ...string) {
	t.Helper()
	for _, w := range want {
		msg := receive(t, messages)
		if got := string(msg.Payload); got != w {
			t.Fatalf("message %q came, want %q", got, w)
		}
		msg.Ack()
	}
}

func wantEnd(t testing.TB, messages <-chan *message.Message) {
	t.Helper()
	ctx := testContext(t)
	for {
		select {
		case _, open := <-messages:
			if !open {
				return
			}
		case <-ctx.Done():
			t.Fatal("the subscription does not end")
		}
	}
}

func TestSubscriber_DeliversWhatTheRecordHolds(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{Partitions: 3})
	at := time.UnixMilli(1_700_000_000_123)
	p := makeProducer(t, c, topic)
	if _, err := p.Produce(testContext(t), 2, []Record{
		{Key: []byte("ten_a"), Value: []byte("one"), Time: at, Headers: []Header{{Key: "ce_id", Value: []byte("id-1")}, {Key: "ce_type", Value: []byte("x")}}},
		{Value: []byte("two")},
	}); err != nil {
		t.Fatal(err)
	}
	messages := subscribe(t, makeSubscriber(t, c, SubscriberConfig{}), topic)

	msg := receive(t, messages)
	ctx := msg.Context()
	partition, _ := PartitionFromContext(ctx)
	offset, _ := OffsetFromContext(ctx)
	end, _ := EndFromContext(ctx)
	when, _ := TimeFromContext(ctx)
	key, _ := KeyFromContext(ctx)
	got := fmt.Sprint(msg.UUID, " ", string(msg.Payload), " ", msg.Metadata, " ", partition, offset, end, " ", when.UnixMilli(), " ", key)
	want := "id-1 one map[ce_id:id-1 ce_type:x] 2 0 2 1700000000123 ten_a"
	if got != want {
		t.Errorf("the message is\n%s, want\n%s", got, want)
	}
	msg.Ack()
	msg = receive(t, messages)
	if want := topic + "-2-1"; msg.UUID != want {
		t.Errorf("a record without an ID is message %q, want %q", msg.UUID, want)
	}
	if _, ok := OffsetFromContext(context.Background()); ok {
		t.Error("a context of nobody's message has an offset")
	}
}

func TestPublisher_MessageComesBackEqual(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{Partitions: 12})
	p := NewPublisher(c, PublisherConfig{})
	keyed, plain := message.NewMessage("uuid-1", []byte("a")), message.NewMessage("uuid-2", []byte{})
	keyed.Metadata = message.Metadata{KeyMetadata: "21", "other": "ö"}
	for _, sent := range []*message.Message{keyed, plain} {
		if err := p.Publish(topic, sent); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(topic, plain.Copy()); !errors.Is(err, ErrClosed) {
		t.Errorf("Publish after Close answered %v, want %v", err, ErrClosed)
	}
	messages := subscribe(t, makeSubscriber(t, c, SubscriberConfig{}), topic)
	for range 2 {
		got := receive(t, messages)
		want := keyed
		if got.UUID == plain.UUID {
			want = plain
		}
		if !got.Equals(want) {
			t.Errorf("message %+v came, want %+v", got, want)
		}
		// Java's hash of "21" is -973932308, which leaves partition 8 of 12.
		if partition, _ := PartitionFromContext(got.Context()); want == keyed && partition != (-973932308&0x7fffffff)%12 {
			t.Errorf("key 21 is in partition %d", partition)
		}
		got.Ack()
	}
}

func TestPublisher_AfterAFailure_PublishesAgain(t *testing.T) {
	b := faultyBroker(t)
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, Topic{})
	p := NewPublisher(c, PublisherConfig{})
	defer p.Close()
	b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}})
	if err := p.Publish(topic, message.NewMessage("1", []byte("1"))); err == nil {
		t.Fatal("the broker refused the message, and Publish succeeded")
	}
	if err := p.Publish(topic, message.NewMessage("2", []byte("2"))); err != nil {
		t.Fatal(err)
	}
	wantStored(t, c, topic, 0, "2")
	if err := p.Publish("nowhere", message.NewMessage("3", nil)); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("publishing to no topic answered %v, want %v", err, ErrUnknownTopic)
	}
}

func TestSubscriber_StartOffsets_AreWhereItStarts(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{Partitions: 2})
	p := makeProducer(t, c, topic)
	produce(t, p, 0, numbers(0, 10)...)
	produce(t, p, 1, numbers(10, 12)...)
	s := makeSubscriber(t, c, SubscriberConfig{StartOffsets: func(_ context.Context, asked string) (map[int]int64, error) {
		if asked != topic {
			t.Errorf("asked for the offsets of %q, want %q", asked, topic)
		}
		return map[int]int64{0: 7}, nil
	}})
	messages := subscribe(t, s, topic)
	var got []string
	for range 5 {
		msg := receive(t, messages)
		got = append(got, string(msg.Payload))
		msg.Ack()
	}
	slices.Sort(got)
	if want := []string{"10", "11", "7", "8", "9"}; !slices.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
}

func TestSubscriber_CannotStart_FailsLoudly(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{})
	broken := errors.New("no checkpoint")
	for name, start := range map[string]func(context.Context, string) (map[int]int64, error){
		"no checkpoint": func(context.Context, string) (map[int]int64, error) { return nil, broken },
		"partition 3":   func(context.Context, string) (map[int]int64, error) { return map[int]int64{3: 0}, nil },
	} {
		failure := make(chan error, 1)
		s := makeSubscriber(t, c, SubscriberConfig{StartOffsets: start, OnFailure: func(_ string, err error) { failure <- err }})
		wantEnd(t, subscribe(t, s, topic))
		if err := <-failure; !strings.Contains(err.Error(), name) {
			t.Errorf("the subscription failed with %v, want it to name %q", err, name)
		}
	}
}

func TestSubscriber_OffsetOutOfRange_FailsLoudlyByDefault(t *testing.T) {
	b := faultyBroker(t)
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, keepNothing)
	p := makeProducer(t, c, topic)
	produce(t, p, 0, "0", "1")
	b.ApplyRetention()
	produce(t, p, 0, "2")
	fromZero := func(context.Context, string) (map[int]int64, error) { return map[int]int64{0: 0}, nil }
	failure := make(chan error, 1)
	s := makeSubscriber(t, c, SubscriberConfig{StartOffsets: fromZero, OnFailure: func(_ string, err error) { failure <- err }})
	messages := subscribe(t, s, topic)
	select {
	case msg, open := <-messages:
		if open {
			t.Fatalf("message %q came, past records that are gone", msg.Payload)
		}
	case <-testContext(t).Done():
		t.Fatal("the subscription does not end")
	}
	if err := <-failure; !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("the subscription failed with %v, want %v", err, ErrOffsetOutOfRange)
	}
}

func TestSubscriber_OffsetOutOfRange_GoesOnWhereTheHookSays(t *testing.T) {
	b := faultyBroker(t)
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, keepNothing)
	p := makeProducer(t, c, topic)
	produce(t, p, 0, "0", "1")
	b.ApplyRetention()
	produce(t, p, 0, "2", "3")
	s := makeSubscriber(t, c, SubscriberConfig{
		StartOffsets: func(context.Context, string) (map[int]int64, error) { return map[int]int64{0: 1}, nil },
		OnOutOfRange: func(_ context.Context, asked string, partition int, offset int64) (int64, error) {
			if asked != topic || partition != 0 || offset != 1 {
				t.Errorf("the hook was asked about %s/%d at %d, want %s/0 at 1", asked, partition, offset, topic)
			}
			return 2, nil
		},
	})
	wantMessages(t, subscribe(t, s, topic), "2", "3")
}

func TestSubscriber_Window_HoldsInFlightMessagesAndNoMore(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{})
	produce(t, makeProducer(t, c, topic), 0, numbers(0, 100)...)
	s := makeSubscriber(t, c, SubscriberConfig{InFlight: 10})
	messages := subscribe(t, s, topic)
	var held []*message.Message
	for i := range 10 {
		msg := receive(t, messages)
		if got := string(msg.Payload); got != fmt.Sprint(i) {
			t.Fatalf("message %q came, want %d", got, i)
		}
		held = append(held, msg)
	}
	for _, msg := range held[1:] { // All but the first.
		msg.Ack()
	}
	select {
	case msg := <-messages:
		t.Fatalf("message %q came while the first of the window was not acknowledged", msg.Payload)
	case <-time.After(50 * time.Millisecond):
	}
	held[0].Ack()
	wantMessages(t, messages, numbers(10, 100)...)
	for i, msg := range held {
		select {
		case <-msg.Context().Done():
		case <-testContext(t).Done():
			t.Fatalf("the context of message %d did not end after its Ack", i)
		}
	}
}

func TestSubscriber_Nack_DeliversAgainFromThereInOrder(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{})
	produce(t, makeProducer(t, c, topic), 0, numbers(0, 8)...)
	// The window is unbuffered where it is small enough: what was delivered was received.
	s := makeSubscriber(t, c, SubscriberConfig{InFlight: 4})
	messages := subscribe(t, s, topic)
	var first []*message.Message
	for range 4 {
		first = append(first, receive(t, messages))
	}
	first[0].Ack()
	first[2].Ack()
	first[1].Nack()
	// 4 may have been delivered before the nack was seen.
	next := receive(t, messages)
	if string(next.Payload) == "4" {
		next = receive(t, messages)
	}
	if string(next.Payload) != "1" {
		t.Fatalf("after the nack of 1 message %q came", next.Payload)
	}
	next.Ack()
	wantMessages(t, messages, numbers(2, 8)...)
	for _, i := range []int{1, 3} {
		select {
		case <-first[i].Context().Done():
		case <-testContext(t).Done():
			t.Fatalf("the context of the first delivery of message %d did not end", i)
		}
	}
}

func TestSubscriber_BrokerRestarts_DeliversAllInOrder(t *testing.T) {
	for _, group := range []string{"", "projection"} {
		t.Run("group "+group, func(t *testing.T) {
			b := newRestartable(t)
			c := testClusterWith(t, Config{Brokers: []string{"127.0.0.1:1"}, Dial: b.dial})
			topic := makeTopic(t, c, Topic{})
			p := makeProducer(t, c, topic)
			messages := subscribe(t, makeSubscriber(t, c, SubscriberConfig{ConsumerGroup: group, InFlight: 8}), topic)

			produce(t, p, 0, numbers(0, 10)...)
			wantMessages(t, messages, numbers(0, 10)...)
			for round := 1; round < 3; round++ {
				b.stop()
				written := make(chan struct{})
				go func() { // Waits for the broker.
					defer close(written)
					produce(t, p, 0, numbers(10*round, 10*round+10)...)
				}()
				b.start()
				<-written
				next := 10 * round
				for next < 10*round+10 {
					msg := receive(t, messages)
					got := string(msg.Payload)
					msg.Ack()
					switch {
					case got == fmt.Sprint(next):
						next++
					case group == "" || !slices.Contains(numbers(0, next), got):
						// A group may deliver again what it could not commit, but no other.
						t.Fatalf("message %q came, want %d", got, next)
					}
				}
			}
			wantStored(t, c, topic, 0, numbers(0, 30)...)
		})
	}
}

func TestSubscriber_LeadersMove_DeliversAllInOrder(t *testing.T) {
	b := faultyBroker(t, kfake.NumBrokers(3))
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, Topic{})
	p := makeProducer(t, c, topic)
	messages := subscribe(t, makeSubscriber(t, c, SubscriberConfig{}), topic)
	for i := range 6 {
		if err := b.MoveTopicPartition(topic, 0, int32(i%3)); err != nil {
			t.Fatal(err)
		}
		produce(t, p, 0, numbers(5*i, 5*i+5)...)
		wantMessages(t, messages, numbers(5*i, 5*i+5)...)
	}
}

func TestSubscriber_TopicComesLater_IsWaitedFor(t *testing.T) {
	c := testCluster(t, testBroker(t))
	for _, group := range []string{"", "early"} {
		topic := named(t, "later")
		if group != "" {
			group = named(t, group)
		}
		messages := subscribe(t, makeSubscriber(t, c, SubscriberConfig{ConsumerGroup: group}), topic)
		makeTopic(t, c, Topic{Name: topic})
		produce(t, makeProducer(t, c, topic), 0, "1")
		wantMessages(t, messages, "1")
	}
}

func TestSubscriber_Ends_WithoutLeavingAGoroutine(t *testing.T) {
	for _, group := range []string{"", "g"} {
		for name, brokerThere := range map[string]bool{"broker there": true, "broker gone": false} {
			t.Run(name+" group "+group, func(t *testing.T) {
				before := goleak.IgnoreCurrent()
				b := newRestartable(t)
				c := testClusterWith(t, Config{Brokers: []string{"127.0.0.1:1"}, Dial: b.dial})
				topic := makeTopic(t, c, Topic{Partitions: 4})
				p := makeProducer(t, c, topic)
				for partition := range 4 {
					produce(t, p, partition, numbers(0, 10)...)
				}
				s := makeSubscriber(t, c, SubscriberConfig{ConsumerGroup: group, InFlight: 3})
				ctx, cancel := context.WithCancel(context.Background())
				cancelled, err := s.Subscribe(ctx, topic)
				if err != nil {
					t.Fatal(err)
				}
				held := receive(t, cancelled) // Never acknowledged.
				closed := subscribe(t, s, topic)
				if !brokerThere {
					b.stop()
				}
				cancel()
				wantEnd(t, cancelled)
				select {
				case <-held.Context().Done():
				default:
					t.Error("the context of a message outlives its subscription")
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				wantEnd(t, closed)
				if _, err := s.Subscribe(context.Background(), topic); !errors.Is(err, ErrClosed) {
					t.Errorf("Subscribe after Close answered %v, want %v", err, ErrClosed)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				if brokerThere {
					b.stop()
				}
				goleak.VerifyNone(t, before)
			})
		}
	}
}

func TestGroup_CommitsUpToTheLowestMessageNotAcknowledged(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{})
	produce(t, makeProducer(t, c, topic), 0, numbers(0, 10)...)
	config := SubscriberConfig{ConsumerGroup: named(t, "g"), InFlight: 6}

	s := makeSubscriber(t, c, config)
	messages := subscribe(t, s, topic)
	var held []*message.Message
	for range 6 {
		held = append(held, receive(t, messages))
	}
	for _, i := range []int{5, 4, 2, 1, 0} { // Not 3.
		held[i].Ack()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantMessages(t, subscribe(t, makeSubscriber(t, c, config), topic), numbers(3, 10)...)
}

func TestGroup_MembersShareThePartitions_AndTakeOverWhatOneLeaves(t *testing.T) {
	c := testCluster(t, testBroker(t))
	topic := makeTopic(t, c, Topic{Partitions: 4})
	p := makeProducer(t, c, topic)
	config := SubscriberConfig{ConsumerGroup: named(t, "g")}
	one, two := makeSubscriber(t, c, config), makeSubscriber(t, c, config)
	fromOne, fromTwo := subscribe(t, one, topic), subscribe(t, two, topic)

	seen := map[string]int{}
	next := 0
	// Until both have partitions: a message for each partition, at a time.
	gotOne, gotTwo := false, false
	ctx := testContext(t)
	for !gotOne || !gotTwo {
		for partition := range 4 {
			produce(t, p, partition, fmt.Sprint(next))
			next++
		}
		for len(seen) < next {
			var msg *message.Message
			select {
			case msg = <-fromOne:
				gotOne = true
			case msg = <-fromTwo:
				gotTwo = true
			case <-ctx.Done():
				t.Fatalf("%d of %d messages came (one: %t, two: %t)", len(seen), next, gotOne, gotTwo)
			}
			seen[string(msg.Payload)]++
			msg.Ack()
		}
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	for partition := range 4 {
		produce(t, p, partition, fmt.Sprint(next))
		next++
	}
	for len(seen) < next {
		msg := receive(t, fromTwo)
		seen[string(msg.Payload)]++
		msg.Ack()
	}
}

func BenchmarkSubscriber_TwelvePartitions(b *testing.B) {
	c := testCluster(b, testBroker(b))
	topic := makeTopic(b, c, Topic{Partitions: 12})
	p := makeProducer(b, c, topic)
	const total = 12 * 50 * 500
	for partition := range 12 {
		for range 50 {
			if _, err := p.Produce(b.Context(), partition, likeEvents(500)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		s := NewSubscriber(c, SubscriberConfig{InFlight: 4096})
		messages, err := s.Subscribe(b.Context(), topic)
		if err != nil {
			b.Fatal(err)
		}
		for range total {
			(<-messages).Ack()
		}
		n += total
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
}
