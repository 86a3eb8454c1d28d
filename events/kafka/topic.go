package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

// defaultMaxMessageBytes lets the largest event that the admin API takes (a body of 1 MiB)
// and its headers through; Kafka's own default is just under 1 MiB.
const defaultMaxMessageBytes = 4 << 20

// Kafka's names of a topic's settings, and its word for no limit.
const (
	cleanupPolicy   = "cleanup.policy"
	retentionTime   = "retention.ms"
	retentionBytes  = "retention.bytes"
	minInSync       = "min.insync.replicas"
	maxMessage      = "max.message.bytes"
	uncleanElection = "unclean.leader.election.enable"

	none = -1
)

// Topic is what EnsureTopic makes. Zero means the cluster's default, except where noted.
type Topic struct {
	Name            string
	Partitions      int           // at least 1; never changes, for it decides where a key lives
	Replication     int           // copies of each partition
	MinInSync       int           // copies that have to have a record before it counts as stored
	Retention       time.Duration // how long records are kept; negative: for ever
	RetentionBytes  int64         // per partition; negative: no limit
	SegmentBytes    int           // retention removes whole segments of that size
	MaxMessageBytes int           // of a batch; 4 MiB when zero
}

func (t Topic) entries() []kafka.ConfigEntry {
	entries := []kafka.ConfigEntry{
		{ConfigName: cleanupPolicy, ConfigValue: "delete"},
		// A copy that lags behind never leads: acknowledged records would be gone.
		{ConfigName: uncleanElection, ConfigValue: "false"},
	}
	add := func(name string, value int64) {
		if value != 0 {
			entries = append(entries, kafka.ConfigEntry{ConfigName: name, ConfigValue: strconv.FormatInt(value, 10)})
		}
	}
	if t.Retention < 0 {
		add(retentionTime, none)
	} else {
		add(retentionTime, t.Retention.Milliseconds())
	}
	add(retentionBytes, max(t.RetentionBytes, none))
	add(minInSync, int64(t.MinInSync))
	add("segment.bytes", int64(t.SegmentBytes))
	add(maxMessage, int64(cmp.Or(t.MaxMessageBytes, defaultMaxMessageBytes)))
	return entries
}

// EnsureTopic makes the topic when the cluster does not have it. One that is there keeps its
// settings. It is refused, with what to do, where it would lose events or keep their order no
// more: another number of partitions, compaction, more copies demanded than there are. What is
// merely weaker than asked for is warned of in the log.
func (c *Cluster) EnsureTopic(ctx context.Context, topic Topic) error {
	if topic.Name == "" || topic.Partitions < 1 {
		return fmt.Errorf("topic %q with %d partitions: a topic needs a name and at least one partition", topic.Name, topic.Partitions)
	}
	if topic.Replication > 0 && topic.MinInSync > topic.Replication {
		return fmt.Errorf("topic %s with %d copies, of which %d have to be in sync, could never be written to: set --kafka-min-insync-replicas to %d or less",
			topic.Name, topic.Replication, topic.MinInSync, topic.Replication)
	}
	found, err := c.Partitions(ctx, topic.Name)
	if errors.Is(err, ErrUnknownTopic) {
		if err := c.createTopic(ctx, topic); err != nil {
			return err
		}
		// Somebody else may have made it a moment earlier, so look at what there is.
		found, err = c.awaitTopic(ctx, topic.Name)
	}
	if err != nil {
		return err
	}
	switch {
	case found < topic.Partitions:
		return fmt.Errorf("topic %s has %d partitions, not %d: start with --kafka-partitions %d, or use another --kafka-topic"+
			" (the number cannot change: it decides which partition a tenant's events are in)",
			topic.Name, found, topic.Partitions, found)
	case found > topic.Partitions: // which Kafka lets anybody do who administers it, and nobody take back
		return fmt.Errorf("topic %s has %d partitions, not %d: if it was made with %d, start with --kafka-partitions %d, or use another --kafka-topic;"+
			" if it was made with %d and somebody has added the others, stop the catalogues, delete the topic, start them: it is made anew and filled from the store"+
			" (the number cannot change: it decides which partition a tenant's events are in)",
			topic.Name, found, topic.Partitions, found, found, topic.Partitions)
	}
	return c.checkTopic(ctx, topic)
}

func (c *Cluster) createTopic(ctx context.Context, topic Topic) error {
	replication := topic.Replication
	if replication <= 0 {
		replication = -1
	}
	return c.retry(ctx, "create topic "+topic.Name, func(ctx context.Context, client *kafka.Client) error {
		answer, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
			Topic:             topic.Name,
			NumPartitions:     topic.Partitions,
			ReplicationFactor: replication,
			ConfigEntries:     topic.entries(),
		}}})
		if err != nil {
			return err
		}
		err = answer.Errors[topic.Name]
		switch {
		case errors.Is(err, kafka.TopicAlreadyExists):
			return nil
		case errors.Is(err, kafka.InvalidReplicationFactor):
			return fmt.Errorf("%d copies of each partition (--kafka-replication) take as many brokers: %w", topic.Replication, err)
		}
		return err
	})
}

// awaitTopic returns the number of partitions of a topic that may not be there yet, or was made
// just now and is not known to all brokers.
func (c *Cluster) awaitTopic(ctx context.Context, topic string) (int, error) {
	return c.partitions(ctx, topic, func() error {
		return fmt.Errorf("wait for it: %w", kafka.UnknownTopicOrPartition)
	})
}

// Partitions returns how many partitions the topic has, or ErrUnknownTopic.
func (c *Cluster) Partitions(ctx context.Context, topic string) (int, error) {
	// kafka-go answers from what it knows, and a topic may have been made, or given more partitions,
	// since.
	c.refresh()
	return c.partitions(ctx, topic, func() error {
		if user := c.config.SASL.User; user != "" { // kafka-go says the same of a topic that is hidden from us
			return fmt.Errorf("%w, or the user %s has no right to it (kafka-acls.sh: a region needs READ of it)", ErrUnknownTopic, user)
		}
		return ErrUnknownTopic
	})
}

// partitions asks until the topic is there or missing makes a lasting error of its absence.
func (c *Cluster) partitions(ctx context.Context, topic string, missing func() error) (int, error) {
	n := 0
	err := c.retry(ctx, "look up topic "+topic, func(ctx context.Context, client *kafka.Client) error {
		answer, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		if err != nil {
			return err
		}
		if len(answer.Topics) != 1 {
			return fmt.Errorf("the broker answered about %d topics, not one", len(answer.Topics))
		}
		n = len(answer.Topics[0].Partitions)
		err = answer.Topics[0].Error
		if errors.Is(err, kafka.UnknownTopicOrPartition) {
			return missing()
		}
		return err
	})
	return n, err
}
