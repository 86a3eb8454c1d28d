package kafka

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/tenantry/tenantry/internal/testservers"
)

// TestPubSub is Watermill's own suite of what a Pub/Sub has to do.
func TestPubSub(t *testing.T) {
	t.Run("embedded broker", func(t *testing.T) { testPubSub(t, openBroker(t, t.TempDir()).Addr()) })
	t.Run("Apache Kafka", func(t *testing.T) { testPubSub(t, testservers.Kafka(t)) })
}

func testPubSub(t *testing.T, address string) {
	inGroup := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		cluster := testCluster(t, address)
		publisher := NewPublisher(cluster, PublisherConfig{
			// Order holds among the messages with one key. The suite expects it among those with
			// one payload.
			KeyFunc: func(msg *message.Message) string { return string(msg.Payload) },
		})
		subscriber := NewSubscriber(cluster, SubscriberConfig{ConsumerGroup: group, Topic: Topic{Partitions: 8}})
		t.Cleanup(func() { // TestPublishSubscribeInOrder leaves ten of them open.
			if err := subscriber.Close(); err != nil {
				t.Errorf("close the subscriber: %v", err)
			}
		})
		return publisher, subscriber
	}
	tests.TestPubSub(t,
		tests.Features{
			ConsumerGroups:      true,
			ExactlyOnceDelivery: false,
			GuaranteedOrder:     true,
			Persistent:          true,
		},
		func(t *testing.T) (message.Publisher, message.Subscriber) {
			// One group per test: its subscribers go on where an earlier one stopped.
			// (The suite puts a random part into the test's name.)
			return inGroup(t, fmt.Sprintf("group-%x", sha256.Sum256([]byte(t.Name()))))
		},
		inGroup,
	)
}
