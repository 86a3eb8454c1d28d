package kafka

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/tenantry/tenantry/internal/testservers"
)

// deleteTopic deletes a topic, and returns when the broker does not have it any more.
func deleteTopic(t *testing.T, c *Cluster, topic string) {
	t.Helper()
	must(t, c.retry(testContext(t), "delete", func(ctx context.Context, client *kafka.Client) error {
		answer, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
		if err != nil {
			return err
		}
		return answer.Errors[topic]
	}))
	for {
		c.refresh()
		_, err := c.Partitions(testContext(t), topic)
		if errors.Is(err, ErrUnknownTopic) {
			return
		}
		must(t, err)
	}
}

func TestSubscriber_TopicDeletedAndMadeAgain_IsToldThatItsOffsetIsGone(t *testing.T) {
	c := testCluster(t, testservers.Kafka(t))
	topic := makeTopic(t, c, Topic{})
	produce(t, makeProducer(t, c, topic), 0, numbers(0, 10)...)
	gone := make(chan int64, 1)
	sub := NewSubscriber(c, SubscriberConfig{Logger: quiet, OnOutOfRange: func(_ context.Context, _ string, _ int, offset int64) (int64, error) {
		gone <- offset
		return 0, nil
	}})
	defer sub.Close()
	messages, err := sub.Subscribe(testContext(t), topic)
	must(t, err)
	read := func(want string) {
		t.Helper()
		select {
		case msg := <-messages:
			if string(msg.Payload) != want {
				t.Fatalf("read %s, want %s", msg.Payload, want)
			}
			msg.Ack()
		case <-testContext(t).Done():
			t.Fatalf("nothing came, want %s", want)
		}
	}
	for _, want := range numbers(0, 10) {
		read(want)
	}
	deleteTopic(t, c, topic)
	makeTopic(t, c, Topic{Name: topic})
	select {
	case offset := <-gone:
		if offset != 10 {
			t.Errorf("offset %d is out of range, want 10", offset)
		}
	case <-testContext(t).Done():
		t.Fatal("nobody was told that the offset is gone")
	}
	produce(t, makeProducer(t, c, topic), 0, "new")
	read("new")
}

func TestSubscriber_TopicMadeAgainWithFewerPartitions_FailsLoudly(t *testing.T) {
	c := testCluster(t, testservers.Kafka(t))
	topic := makeTopic(t, c, Topic{Partitions: 4})
	produce(t, makeProducer(t, c, topic), 3, "0")
	failed := make(chan error, 1)
	sub := NewSubscriber(c, SubscriberConfig{
		Logger:       quiet,
		OnFailure:    func(_ string, err error) { failed <- err },
		OnOutOfRange: func(context.Context, string, int, int64) (int64, error) { return 0, nil },
	})
	defer sub.Close()
	messages, err := sub.Subscribe(testContext(t), topic)
	must(t, err)
	select {
	case msg := <-messages:
		msg.Ack()
	case <-testContext(t).Done():
		t.Fatal("nothing came")
	}
	deleteTopic(t, c, topic)
	makeTopic(t, c, Topic{Name: topic, Partitions: 2})
	select {
	case err := <-failed:
		if !errors.Is(err, ErrUnknownPartition) {
			t.Errorf("failed with %v, want %v", err, ErrUnknownPartition)
		}
	case <-testContext(t).Done():
		t.Fatal("it waits for partitions that there are no more")
	}
}

func TestProducer_TopicDeleted_SaysSoAndStoresNothingInTheNextOne(t *testing.T) {
	c := testCluster(t, testservers.Kafka(t))
	topic := makeTopic(t, c, Topic{})
	p := makeProducer(t, c, topic)
	produce(t, p, 0, "0", "1")
	deleteTopic(t, c, topic)
	if _, err := p.Produce(testContext(t), 0, numbered("2")); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("Produce = %v, want %v", err, ErrUnknownTopic)
	}
	makeTopic(t, c, Topic{Name: topic})
	if _, err := p.Produce(testContext(t), 0, numbered("3")); !errors.Is(err, ErrBroken) {
		t.Errorf("Produce to the next topic of that name = %v, want %v", err, ErrBroken)
	}
	wantStored(t, c, topic, 0)
}

func TestProducer_AnotherOfTheSameNameHasWritten_IsFenced(t *testing.T) {
	c := testCluster(t, testservers.Kafka(t))
	topic := makeTopic(t, c, Topic{Partitions: 2})
	fenced := func() *Producer {
		p, err := c.NewFencedProducer(testContext(t), topic, topic)
		must(t, err)
		if !p.Fences() {
			t.Fatal("the producer does not fence")
		}
		return p
	}
	before := fenced()
	produce(t, before, 0, "0")
	produce(t, before, 1, "0")
	after := fenced()
	produce(t, before, 1, "1") // where the other one has not written yet
	produce(t, after, 0, "1")
	if _, err := before.Produce(testContext(t), 0, numbered("2")); !errors.Is(err, ErrFenced) {
		t.Errorf("Produce = %v, want %v", err, ErrFenced)
	}
	produce(t, after, 1, "2")
	if _, err := before.Produce(testContext(t), 1, numbered("3")); !errors.Is(err, ErrFenced) {
		t.Errorf("Produce = %v, want %v", err, ErrFenced)
	}
	wantStored(t, c, topic, 0, "0", "1")
	wantStored(t, c, topic, 1, "0", "1", "2")
}

// As relays do when leadership goes to and fro: Kafka gives the ID to one at a time, and tells the others to ask again.
func TestNewFencedProducer_SeveralAtOnce_AllFence(t *testing.T) {
	address := testservers.Kafka(t)
	topic := makeTopic(t, testCluster(t, address), Topic{})
	var asking sync.WaitGroup
	for range 6 {
		c := testCluster(t, address)
		asking.Go(func() {
			for range 5 {
				p, err := c.NewFencedProducer(testContext(t), topic, topic)
				if err != nil || !p.Fences() {
					t.Errorf("got %v, want a producer that fences", err)
					return
				}
			}
		})
	}
	asking.Wait()
}
