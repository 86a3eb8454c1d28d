package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/events"
)

const (
	defaultPublishTimeout = 30 * time.Second

	// closeGrace is how long Close lets calls of Publish under way finish.
	closeGrace = 5 * time.Second
)

// PublisherConfig is optional in all its fields.
type PublisherConfig struct {
	// KeyFunc gives a message's key. By default that is its metadata KeyMetadata, or its UUID
	// when there is none. Messages with the same key keep their order.
	KeyFunc func(*message.Message) string

	// Timeout bounds a call of Publish beside the context of its first message; 30 s when zero.
	Timeout time.Duration
}

// Publisher is a Watermill publisher. It publishes at least once: when Publish has returned
// an error, some of its messages may be stored, and publishing them again may store those
// twice. The relay, which must not do that, uses Producer.
type Publisher struct {
	cluster *Cluster
	config  PublisherConfig

	ctx    context.Context // ends when Close is done waiting
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
	outlets map[string]*outlet
}

var _ message.Publisher = (*Publisher)(nil)

// outlet is a topic with its producer.
type outlet struct {
	partitions int
	producer   *Producer
}

// NewPublisher makes a publisher on the cluster, which stays the caller's to close.
func NewPublisher(cluster *Cluster, config PublisherConfig) *Publisher {
	if config.KeyFunc == nil {
		config.KeyFunc = func(msg *message.Message) string {
			if key := msg.Metadata.Get(KeyMetadata); key != "" {
				return key
			}
			return msg.UUID
		}
	}
	if config.Timeout <= 0 {
		config.Timeout = defaultPublishTimeout
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Publisher{cluster: cluster, config: config, ctx: ctx, cancel: cancel, outlets: make(map[string]*outlet)}
}

// Publish stores the messages, and returns when all in-sync replicas have them. The topic has
// to be there (EnsureTopic). The context of the first message bounds the call.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return fmt.Errorf("publish to %s: %w", topic, ErrClosed)
	}
	p.running.Add(1)
	p.mu.Unlock()
	defer p.running.Done()

	ctx, cancel := context.WithTimeout(messages[0].Context(), p.config.Timeout)
	defer cancel()
	stop := context.AfterFunc(p.ctx, cancel)
	defer stop()
	if err := p.publish(ctx, topic, messages); err != nil {
		return fmt.Errorf("publish %d messages: %w", len(messages), err)
	}
	return nil
}

func (p *Publisher) publish(ctx context.Context, topic string, messages []*message.Message) error {
	to, err := p.outlet(ctx, topic)
	if err != nil {
		return err
	}
	byPartition := make(map[int][]Record)
	for _, msg := range messages {
		key := p.config.KeyFunc(msg)
		n := events.Partition(key, to.partitions)
		byPartition[n] = append(byPartition[n], recordOf(msg, key))
	}
	var group errgroup.Group
	for partition, records := range byPartition {
		group.Go(func() error { return p.produce(ctx, topic, to, partition, records) })
	}
	return group.Wait()
}

func (p *Publisher) produce(ctx context.Context, topic string, to *outlet, partition int, records []Record) error {
	_, err := to.producer.Produce(ctx, partition, records)
	if err == nil {
		return nil
	}
	p.forget(topic, to)
	if !errors.Is(err, ErrBroken) {
		return err
	}
	// Another call broke the producer, and nothing of this one was sent.
	if to, err = p.outlet(ctx, topic); err != nil {
		return err
	}
	_, err = to.producer.Produce(ctx, partition, records)
	if err != nil {
		p.forget(topic, to)
	}
	return err
}

func (p *Publisher) outlet(ctx context.Context, topic string) (*outlet, error) {
	p.mu.Lock()
	to := p.outlets[topic]
	p.mu.Unlock()
	if to != nil {
		return to, nil
	}
	partitions, err := p.cluster.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	producer, err := p.cluster.NewProducer(ctx, topic)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if first := p.outlets[topic]; first != nil { // Made by another call meanwhile.
		return first, nil
	}
	to = &outlet{partitions: partitions, producer: producer}
	p.outlets[topic] = to
	return to, nil
}

// forget makes the next call use a new producer.
func (p *Publisher) forget(topic string, broken *outlet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.outlets[topic] == broken {
		delete(p.outlets, topic)
	}
}

// Close refuses further messages, and waits for calls of Publish under way, for a few seconds
// at most. It may be called again.
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	timer := time.AfterFunc(closeGrace, p.cancel)
	defer timer.Stop()
	p.running.Wait()
	p.cancel()
	return nil
}
