package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
)

// SetBookmark keeps a short text about a topic in the cluster, under the name of a consumer group
// that nobody is in: what a work on the topic has to find when it begins again, wherever that
// is. It is lost with the cluster's data, and a week after it was set last. It takes the right to
// read the group. Of several at once the last one stands.
func (c *Cluster) SetBookmark(ctx context.Context, group, topic, text string) error {
	return c.retry(ctx, "keep a bookmark for "+group, func(ctx context.Context, client *kafka.Client) error {
		answer, err := client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
			GroupID: group, GenerationID: -1, // from outside of the group's protocol
			Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: 0, Metadata: text}}},
		})
		if err != nil {
			return err
		}
		for _, p := range answer.Topics[topic] {
			if p.Error != nil {
				return p.Error
			}
		}
		return nil
	})
}

// Bookmark is what SetBookmark kept; "": nothing.
func (c *Cluster) Bookmark(ctx context.Context, group, topic string) (string, error) {
	var text string
	err := c.retry(ctx, "read the bookmark of "+group, func(ctx context.Context, client *kafka.Client) error {
		answer, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0}}})
		if err != nil {
			return err
		}
		if errors.Is(answer.Error, kafka.GroupIdNotFound) { // the embedded broker's word for a group that never was
			return nil
		}
		if answer.Error != nil {
			return answer.Error
		}
		for _, p := range answer.Topics[topic] {
			if p.Error != nil {
				return p.Error
			}
			if p.Partition != 0 {
				return fmt.Errorf("asked for partition 0, and was told of %d", p.Partition)
			}
			text = p.Metadata
		}
		return nil
	})
	return text, err
}
