package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

const (
	firstPause = 20 * time.Millisecond
	maxPause   = time.Second
	warnEvery  = 5 * time.Second
)

// retry runs try until it succeeds, fails for good, or ctx ends; what names the work for
// errors and logs. Between tries it waits longer and longer, and takes new connections and
// new metadata.
func (c *Cluster) retry(ctx context.Context, what string, try func(context.Context, *kafka.Client) error) error {
	var again *tryAgain // why the last try failed
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := c.try(ctx, try)
		switch {
		case err == nil:
			c.answered(what, pause)
			return nil
		case ctx.Err() != nil && again != nil:
			return fmt.Errorf("%s: %w (last error: %w)", what, ctx.Err(), again.error)
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case !errors.As(err, &again):
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := c.pause(ctx, what, again, pause); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// tryAgain is a transient error, with the session that it came from.
type tryAgain struct {
	failed *session
	error
}

func (e *tryAgain) Unwrap() error { return e.error }

// try runs try in the current session. A transient error comes back as *tryAgain.
func (c *Cluster) try(ctx context.Context, try func(context.Context, *kafka.Client) error) error {
	s, err := c.acquire()
	if err != nil {
		return err
	}
	defer s.release()
	err = c.explain(try(ctx, s.client))
	if err == nil {
		return nil
	}
	if !transient(err) {
		if errors.Is(err, ErrLogin) || errors.Is(err, ErrTLS) {
			// It stands in the transport's picture of the cluster, for other requests to find.
			c.renew(s)
		}
		return err
	}
	// When no broker can be reached kafka-go has an empty picture of the cluster, and says
	// "topic not found". Look for what lies behind that.
	if errors.Is(err, protocol.ErrNoTopic) {
		if _, behind := s.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{}}); behind != nil {
			err = behind
		}
	}
	return &tryAgain{failed: s, error: err}
}

// pause is what comes between two tries: say why, drop the failed session, wait.
func (c *Cluster) pause(ctx context.Context, what string, again *tryAgain, pause time.Duration) error {
	// The first moments of an outage, and the one failed try after a leader has moved, are
	// not worth a warning.
	if pause >= maxPause/2 && c.mayWarn() {
		c.log.Warn("kafka does not answer, trying again", "doing", what, "err", again.error)
	}
	c.renew(again.failed)
	timer := time.NewTimer(pause/2 + rand.N(pause/2+1)) // Jitter, so that partitions do not come back in step.
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w (last error: %w)", ctx.Err(), again.error)
	case <-c.conns.ctx.Done():
		return ErrClosed
	}
}

// mayWarn keeps an outage, which every partition meets, to a warning every few seconds.
func (c *Cluster) mayWarn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.warned) < warnEvery {
		return false
	}
	c.warned = time.Now()
	return true
}

// answered says that an outage is over, if one was warned of, once. pause is how long the work
// had come to wait between its tries.
func (c *Cluster) answered(what string, pause time.Duration) {
	if pause < maxPause {
		return
	}
	c.mu.Lock()
	warned := !c.warned.IsZero()
	c.warned = time.Time{}
	c.mu.Unlock()
	if warned {
		c.log.Info("kafka answers again", "doing", what)
	}
}

// transient tells an error that may be gone at the next try, with fresh metadata. What is
// not an answer of the broker (connection refused, reset, timed out) always is one.
func transient(err error) bool {
	if errors.Is(err, ErrClosed) || errors.Is(err, ErrUnknownTopic) || errors.Is(err, ErrUnknownPartition) || errors.Is(err, ErrOffsetOutOfRange) ||
		errors.Is(err, ErrLogin) || errors.Is(err, ErrTLS) {
		return false
	}
	var answer kafka.Error
	if !errors.As(err, &answer) {
		return true
	}
	switch answer {
	// Not kafka.Unknown: a broker that could not write answers so, and the embedded one then
	// takes a repeated batch for stored.
	case kafka.UnknownTopicOrPartition, // a young topic is not known to all brokers yet
		kafka.LeaderNotAvailable, kafka.NotLeaderForPartition,
		kafka.RequestTimedOut, kafka.NetworkException,
		kafka.BrokerNotAvailable, kafka.ReplicaNotAvailable,
		kafka.GroupLoadInProgress, kafka.GroupCoordinatorNotAvailable, kafka.NotCoordinatorForGroup,
		kafka.NotEnoughReplicas, kafka.NotEnoughReplicasAfterAppend,
		kafka.NotController, kafka.KafkaStorageError,
		kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch, kafka.OffsetNotAvailable,
		kafka.ConcurrentTransactions, // another asks for the same transactional ID at this moment
		kafka.ThrottlingQuotaExceeded, kafka.UnknownTopicID, kafka.InconsistentTopicID:
		return true
	default:
		return false
	}
}
