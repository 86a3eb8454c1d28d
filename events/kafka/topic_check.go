package kafka

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// checkTopic holds what a topic is against what it should be.
func (c *Cluster) checkTopic(ctx context.Context, topic Topic) error {
	settings, err := c.topicSettings(ctx, topic.Name, cleanupPolicy, retentionTime, retentionBytes, minInSync, maxMessage, uncleanElection)
	if err != nil {
		return err
	}
	copies, err := c.copies(ctx, topic.Name)
	if err != nil {
		return err
	}
	if err := refuses(topic.Name, settings, copies); err != nil {
		return err
	}
	for _, weakness := range weaknesses(topic, settings, copies) {
		c.log.Warn("the topic is weaker than configured: "+weakness, "topic", topic.Name)
	}
	return nil
}

// refuses says what makes a topic unusable.
func refuses(name string, settings map[string]string, copies int) error {
	if policy := settings[cleanupPolicy]; strings.Contains(policy, "compact") {
		return fmt.Errorf("topic %s is compacted (cleanup.policy=%s), which would remove events: set cleanup.policy=delete (%s), or use another --kafka-topic",
			name, policy, alter(name, cleanupPolicy, "delete"))
	}
	if need, known := number(settings, minInSync); known && copies > 0 && need > int64(copies) {
		return fmt.Errorf("topic %s has %d copies of a partition and wants %d in sync (min.insync.replicas), so that nothing can be written to it: set it to %d or less (%s), or add copies (kafka-reassign-partitions.sh)",
			name, copies, need, copies, alter(name, minInSync, strconv.Itoa(copies)))
	}
	return nil
}

// weaknesses says where a topic gives less than was configured, and what to do about it. A setting
// that the broker does not know is none of them.
func weaknesses(topic Topic, settings map[string]string, copies int) (all []string) {
	lacks := func(setting, consequence, fix string) {
		all = append(all, fmt.Sprintf("%s=%s: %s; %s", setting, settings[setting], consequence, alter(topic.Name, setting, fix)))
	}
	if got, known := number(settings, retentionTime); known && topic.Retention != 0 {
		want := int64(none)
		if topic.Retention > 0 {
			want = topic.Retention.Milliseconds()
		}
		if shorter(got, want) {
			lacks(retentionTime, fmt.Sprintf("a region that is away for longer than %s has to rebuild itself from the store", time.Duration(got)*time.Millisecond), strconv.FormatInt(want, 10))
		}
	}
	if got, known := number(settings, retentionBytes); known && topic.RetentionBytes != 0 && shorter(got, max(topic.RetentionBytes, none)) {
		lacks(retentionBytes, "a region that is away while so much is written has to rebuild itself from the store", strconv.FormatInt(max(topic.RetentionBytes, none), 10))
	}
	if got, known := number(settings, minInSync); known && got < int64(topic.MinInSync) {
		lacks(minInSync, fmt.Sprintf("a record counts as stored when %d brokers have it", got), strconv.Itoa(topic.MinInSync))
	}
	largest := cmp.Or(topic.MaxMessageBytes, defaultMaxMessageBytes)
	if got, known := number(settings, maxMessage); known && got < int64(largest) {
		lacks(maxMessage, "an event that is larger cannot be published, and everything after it waits", strconv.Itoa(largest))
	}
	if settings[uncleanElection] == "true" {
		lacks(uncleanElection, "a broker that lags behind may become leader, and records that were stored are gone; regions then read them from the store", "false")
	}
	if copies > 0 && copies < topic.Replication {
		all = append(all, fmt.Sprintf("it has %d copies of a partition, not %d: add some with kafka-reassign-partitions.sh", copies, topic.Replication))
	}
	return all
}

// shorter compares limits of which -1 is none.
func shorter(got, want int64) bool { return got != none && (want == none || got < want) }

func number(settings map[string]string, name string) (int64, bool) {
	n, err := strconv.ParseInt(settings[name], 10, 64)
	return n, err == nil
}

// alter is the command that changes a topic's setting.
func alter(topic, setting, value string) string {
	return fmt.Sprintf("kafka-configs.sh --bootstrap-server … --alter --topic %s --add-config %s=%s", topic, setting, value)
}

// topicSettings are the values in force, whether of the topic or of the broker.
func (c *Cluster) topicSettings(ctx context.Context, topic string, names ...string) (map[string]string, error) {
	values := make(map[string]string, len(names))
	err := c.retry(ctx, "read the settings of topic "+topic, func(ctx context.Context, client *kafka.Client) error {
		answer, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
			Resources: []kafka.DescribeConfigRequestResource{{
				ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: names,
			}},
		})
		if err != nil {
			return err
		}
		for _, r := range answer.Resources {
			if r.Error != nil {
				return r.Error
			}
			for _, e := range r.ConfigEntries {
				values[e.ConfigName] = e.ConfigValue
			}
		}
		return nil
	})
	return values, err
}

// copies is how many replicas the partition with the fewest has.
func (c *Cluster) copies(ctx context.Context, topic string) (int, error) {
	fewest := 0
	err := c.retry(ctx, "look up the copies of topic "+topic, func(ctx context.Context, client *kafka.Client) error {
		answer, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		if err != nil {
			return err
		}
		for _, t := range answer.Topics {
			if t.Error != nil {
				return t.Error
			}
			for _, p := range t.Partitions {
				if fewest == 0 || len(p.Replicas) < fewest {
					fewest = len(p.Replicas)
				}
			}
		}
		return nil
	})
	return fewest, err
}
