package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
)

const (
	// heartbeat is also how soon a member learns that the group is being rebalanced.
	heartbeat      = 500 * time.Millisecond
	sessionTimeout = 10 * time.Second
	joinPause      = 250 * time.Millisecond

	// leaveGrace is how long a member may take to commit its last offsets and to leave. Without
	// a goodbye the group waits for its session to time out.
	leaveGrace = 500 * time.Millisecond
)

// runGroup delivers the partitions that the group gives this member, generation after
// generation, until ctx ends or a partition fails for good.
func (s *subscription) runGroup(ctx context.Context) error {
	config := s.cluster.config
	// The group's own connections: closing them ends what kafka-go would wait for, such as a
	// join that takes as long as the slowest member.
	conns := newConnections(s.cluster.dial)
	members, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:      s.config.ConsumerGroup,
		Brokers: config.Brokers,
		Topics:  []string{s.topic},
		Dialer: &kafka.Dialer{
			ClientID: config.ClientID, Timeout: config.DialTimeout, DialFunc: conns.dial,
			SASLMechanism: config.SASL.login(),
		},
		HeartbeatInterval: heartbeat,
		SessionTimeout:    sessionTimeout,
		RebalanceTimeout:  sessionTimeout,
		JoinGroupBackoff:  joinPause,
		StartOffset:       kafka.FirstOffset,
	})
	if err != nil {
		return fmt.Errorf("consumer group %s: %w", s.config.ConsumerGroup, err)
	}
	defer func() {
		impatient := time.AfterFunc(leaveGrace, conns.close)
		_ = members.Close() // It has none but nil to return.
		impatient.Stop()
		conns.close()
	}()

	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	for {
		generation, err := members.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			generation.Start(func(ended context.Context) {
				if err := s.runGeneration(ctx, ended, generation); err != nil {
					fail(err)
				}
			})
		case errors.Is(err, kafka.ErrGroupClosed):
			return err
		case !errors.Is(err, kafka.RebalanceInProgress) && s.cluster.mayWarn():
			s.log.Warn("cannot join the consumer group, trying again", "group", s.config.ConsumerGroup, "topic", s.topic, "err", s.cluster.explain(err))
		}
	}
}

// runGeneration delivers the partitions that are this member's for now. It returns once the
// generation has ended, or ctx has, after a last commit.
func (s *subscription) runGeneration(ctx, ended context.Context, generation *kafka.Generation) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ended, cancel)
	defer stop()

	acks := &acknowledged{next: make(map[int]int64), news: make(chan struct{}, 1)}
	commits := make(chan struct{})
	delivered := make(chan struct{})
	go func() {
		defer close(commits)
		s.commit(generation, acks, delivered)
	}()

	group, ctx := errgroup.WithContext(ctx)
	for _, assigned := range generation.Assignments[s.topic] {
		group.Go(func() error {
			start, err := s.startOf(ctx, assigned)
			if err != nil {
				return err
			}
			return s.deliver(ctx, assigned.ID, start, func(next int64) { acks.set(assigned.ID, next) })
		})
	}
	group.Go(func() error { // A member without partitions stays in the group.
		<-ctx.Done()
		return nil
	})
	err := group.Wait()
	close(delivered)
	<-commits
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// startOf is where an assigned partition is read from: the committed offset, or its start.
func (s *subscription) startOf(ctx context.Context, assigned kafka.PartitionAssignment) (int64, error) {
	if assigned.Offset >= 0 {
		return assigned.Offset, nil
	}
	held, err := s.cluster.Offsets(ctx, s.topic)
	if err != nil {
		return 0, err
	}
	return held[assigned.ID].First, nil
}

// commit commits acknowledged offsets as they come, all that came during one request with the
// next, and what is left after delivered was closed.
func (s *subscription) commit(generation *kafka.Generation, acks *acknowledged, delivered <-chan struct{}) {
	for last := false; !last; {
		select {
		case <-acks.news:
		case <-delivered:
			last = true
		}
		next := acks.take()
		if len(next) == 0 {
			continue
		}
		if err := generation.CommitOffsets(map[string]map[int]int64{s.topic: next}); err != nil {
			// Not lost: the messages are delivered again, to whoever gets the partition.
			s.log.Debug("offsets were not committed", "group", s.config.ConsumerGroup, "topic", s.topic, "err", err)
			acks.putBack(next)
		}
	}
}

// acknowledged collects, per partition, the offset that follows the acknowledged messages.
type acknowledged struct {
	mu   sync.Mutex
	next map[int]int64
	news chan struct{}
}

func (a *acknowledged) set(partition int, next int64) {
	a.mu.Lock()
	a.next[partition] = next
	a.mu.Unlock()
	select {
	case a.news <- struct{}{}:
	default:
	}
}

func (a *acknowledged) take() map[int]int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := maps.Clone(a.next)
	clear(a.next)
	return next
}

// putBack keeps what could not be committed for the next time, unless newer offsets came.
func (a *acknowledged) putBack(next map[int]int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for partition, offset := range next {
		if _, newer := a.next[partition]; !newer {
			a.next[partition] = offset
		}
	}
}
