package kafka

import (
	"errors"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tenantry/tenantry/internal/testservers"
)

func wantBookmark(t *testing.T, c *Cluster, group, topic, want string) {
	t.Helper()
	if got, err := c.Bookmark(testContext(t), group, topic); err != nil || got != want {
		t.Errorf("Bookmark = %q, %v, want %q", got, err, want)
	}
}

func TestBookmark_IsWhatWasSetLast(t *testing.T) {
	for name, address := range map[string]func(*testing.T) string{
		"embedded broker": func(t *testing.T) string { return openBroker(t, t.TempDir()).Addr() },
		"Apache Kafka":    func(t *testing.T) string { return testservers.Kafka(t) },
	} {
		t.Run(name, func(t *testing.T) {
			c := testCluster(t, address(t))
			topic := makeTopic(t, c, Topic{Name: named(t, "events"), Partitions: 2})
			group, other := named(t, "replay"), named(t, "another")
			wantBookmark(t, c, group, topic, "")
			for _, text := range []string{`{"position":7}`, `{"position":9}`} {
				if err := c.SetBookmark(testContext(t), group, topic, text); err != nil {
					t.Fatal(err)
				}
				wantBookmark(t, c, group, topic, text)
			}
			wantBookmark(t, c, other, topic, "")
		})
	}
}

func TestBookmark_NotAllowed_IsToldAtOnce(t *testing.T) {
	b := faultyBroker(t)
	c := testCluster(t, b.ListenAddrs()...)
	topic := makeTopic(t, c, Topic{Name: named(t, "events"), Partitions: 1})
	b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.GroupAuthorizationFailed, Count: -1})
	if err := c.SetBookmark(testContext(t), "replay", topic, "x"); !errors.Is(err, kafka.GroupAuthorizationFailed) {
		t.Errorf("SetBookmark = %v, want that the group may not be read", err)
	}
}
