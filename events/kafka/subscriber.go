package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/sync/errgroup"
)

const (
	defaultFetchBytes = 512 << 10
	defaultMaxWait    = 500 * time.Millisecond
	defaultNackDelay  = 10 * time.Millisecond

	// maxBuffered bounds the messages that wait in a subscription's channel. It saves a
	// change of goroutine per message where the window allows more than one in flight.
	maxBuffered = 256
)

// SubscriberConfig is optional in all its fields.
type SubscriberConfig struct {
	// ConsumerGroup makes the subscribers with the same group share the partitions of a topic,
	// and keep their offsets in Kafka: an offset is committed after the message before it, and
	// all earlier ones of that partition, were acknowledged. A partition without a committed
	// offset is read from its start. Empty: every subscription reads all partitions, from
	// StartOffsets on, and where it got to is the consumer's to keep (OffsetFromContext).
	ConsumerGroup string

	// StartOffsets gives the offset to start from for each partition, without a group. A
	// partition that it leaves out is read from its start, and so are all when it is nil. An
	// error ends the subscription.
	StartOffsets func(ctx context.Context, topic string) (map[int]int64, error)

	// InFlight is how many messages of a partition may be delivered and not yet acknowledged;
	// 1 when zero. Messages always are delivered in order. With more than one, a message that
	// is nacked is delivered again together with all that follow it, also those that were
	// acknowledged meanwhile.
	InFlight int

	// OnOutOfRange is asked what to do when the log does not hold the offset to read next:
	// go on at another one, or fail. By default the subscription fails.
	OnOutOfRange func(ctx context.Context, topic string, partition int, offset int64) (int64, error)

	// OnFailure is told why a subscription ends by itself, before its channel is closed. It is
	// not called when the subscription was closed or cancelled.
	OnFailure func(topic string, err error)

	// Topic holds the settings with which SubscribeInitialize makes a topic. Its name is
	// ignored; one partition when it says none.
	Topic Topic

	FetchBytes int           // about as much is asked for at a time; three times that is held per partition. 512 KiB when zero
	MaxWait    time.Duration // of a fetch for records to come; 500 ms when zero
	NackDelay  time.Duration // before a nacked message is delivered again; 10 ms when zero

	Logger *slog.Logger // the cluster's when nil
}

// Subscriber is a Watermill subscriber. It delivers each partition's messages in order, at
// least once, and waits out lost connections, restarted brokers and moved leaders.
type Subscriber struct {
	cluster *Cluster
	config  SubscriberConfig
	log     *slog.Logger

	mu      sync.Mutex
	closed  bool
	cancels map[*subscription]context.CancelFunc
	running sync.WaitGroup
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber makes a subscriber on the cluster, which stays the caller's to close.
func NewSubscriber(cluster *Cluster, config SubscriberConfig) *Subscriber {
	config.InFlight = max(config.InFlight, 1)
	config.Topic.Partitions = max(config.Topic.Partitions, 1)
	if config.FetchBytes <= 0 {
		config.FetchBytes = defaultFetchBytes
	}
	if config.MaxWait <= 0 {
		config.MaxWait = defaultMaxWait
	}
	if config.NackDelay <= 0 {
		config.NackDelay = defaultNackDelay
	}
	log := cluster.log
	if config.Logger != nil {
		log = config.Logger
	}
	return &Subscriber{cluster: cluster, config: config, log: log, cancels: make(map[*subscription]context.CancelFunc)}
}

// SubscribeInitialize makes the topic when it is not there, with the settings of
// SubscriberConfig.Topic. One that is there may have any number of partitions.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), defaultPublishTimeout)
	defer cancel()
	partitions, err := s.cluster.Partitions(ctx, topic)
	settings := s.config.Topic
	settings.Name = topic
	if err == nil {
		settings.Partitions = partitions
	} else if !errors.Is(err, ErrUnknownTopic) {
		return err
	}
	return s.cluster.EnsureTopic(ctx, settings)
}

// Subscribe starts to deliver the topic's messages. It returns at once; a topic or brokers
// that are not there are waited for. The channel is closed when ctx ends, when the
// Subscriber is closed, or when the subscription fails (SubscriberConfig.OnFailure).
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, ErrClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	sub := &subscription{
		Subscriber: s,
		topic:      topic,
		out:        make(chan *message.Message, min(s.config.InFlight-1, maxBuffered)),
	}
	s.cancels[sub] = cancel
	s.running.Go(func() {
		defer close(sub.out)
		err := sub.run(ctx)
		if ctx.Err() == nil {
			s.log.Error("subscription failed", "topic", topic, "err", err)
			if s.config.OnFailure != nil {
				s.config.OnFailure(topic, err)
			}
		}
		cancel()
		s.mu.Lock()
		delete(s.cancels, sub)
		s.mu.Unlock()
	})
	return sub.out, nil
}

// Close ends all subscriptions, commits what their consumers have acknowledged, and waits for
// their channels to be closed. It may be called again.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, cancel := range s.cancels {
		cancel()
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// subscription is one call of Subscribe.
type subscription struct {
	*Subscriber
	topic string
	out   chan *message.Message
}

// run delivers until ctx ends, which is no error worth looking at, or something fails for good.
func (s *subscription) run(ctx context.Context) error {
	partitions, err := s.cluster.awaitTopic(ctx, s.topic)
	if err != nil {
		return err
	}
	if s.config.ConsumerGroup != "" {
		return s.runGroup(ctx)
	}
	starts, err := s.starts(ctx, partitions)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for partition, start := range starts {
		group.Go(func() error { return s.deliver(ctx, partition, start, func(int64) {}) })
	}
	return group.Wait()
}

func (s *subscription) starts(ctx context.Context, partitions int) (map[int]int64, error) {
	starts := make(map[int]int64, partitions)
	if s.config.StartOffsets != nil {
		given, err := s.config.StartOffsets(ctx, s.topic)
		if err != nil {
			return nil, fmt.Errorf("offsets to start %s from: %w", s.topic, err)
		}
		for partition, start := range given {
			if partition < 0 || partition >= partitions {
				return nil, fmt.Errorf("an offset to start from is given for partition %d of %s, which has %d partitions", partition, s.topic, partitions)
			}
			starts[partition] = start
		}
	}
	if len(starts) == partitions {
		return starts, nil
	}
	held, err := s.cluster.Offsets(ctx, s.topic)
	if err != nil {
		return nil, err
	}
	for partition := range partitions {
		if _, given := starts[partition]; !given {
			starts[partition] = held[partition].First
		}
	}
	return starts, nil
}
