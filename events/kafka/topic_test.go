package kafka

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/tenantry/tenantry/internal/testservers"
)

// loggingCluster also gives what it logs.
func loggingCluster(t *testing.T, address string) (*Cluster, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	c, err := New(Config{Brokers: []string{address}, Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, log
}

// alterTopic changes a topic's settings, as an operator may.
func alterTopic(t *testing.T, c *Cluster, topic string, settings map[string]string) {
	t.Helper()
	change := kafka.IncrementalAlterConfigsRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}
	for name, value := range settings {
		change.Configs = append(change.Configs, kafka.IncrementalAlterConfigsRequestConfig{Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet})
	}
	err := c.retry(testContext(t), "alter", func(ctx context.Context, client *kafka.Client) error {
		answer, err := client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{change}})
		if err != nil {
			return err
		}
		return answer.Resources[0].Error
	})
	if err != nil {
		t.Fatal(err)
	}
	// The controller has it. The broker is told.
	for name, want := range settings {
		for got := ""; got != want; {
			all, err := c.topicSettings(testContext(t), topic, name)
			if err != nil {
				t.Fatal(err)
			}
			got = all[name]
		}
	}
}

func TestEnsureTopic_OnApacheKafka_SettingsAreInForceAndNothingIsWarnedOf(t *testing.T) {
	c, log := loggingCluster(t, testservers.Kafka(t))
	topic := Topic{
		Name: named(t, "events"), Partitions: 3, Replication: 1, MinInSync: 1,
		Retention: 48 * time.Hour, RetentionBytes: 1 << 30, SegmentBytes: 16 << 20, MaxMessageBytes: 5 << 20,
	}
	for range 2 { // made, and found
		if err := c.EnsureTopic(testContext(t), topic); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.topicSettings(testContext(t), topic.Name, cleanupPolicy, retentionTime, retentionBytes, minInSync, maxMessage, uncleanElection)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		cleanupPolicy: "delete", retentionTime: "172800000", retentionBytes: "1073741824",
		minInSync: "1", maxMessage: "5242880", uncleanElection: "false",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if log.Len() > 0 {
		t.Errorf("it warned of a topic that is as configured: %s", log)
	}
}

func TestEnsureTopic_OnApacheKafka_WeakerThanConfigured_IsWarnedOf(t *testing.T) {
	for _, test := range []struct {
		name     string
		settings map[string]string
		want     Topic
		says     []string
	}{
		{"shorter retention", map[string]string{retentionTime: "3600000"}, Topic{Retention: 24 * time.Hour}, []string{"retention.ms=3600000", "longer than 1h0m0s", "--add-config retention.ms=86400000"}},
		{"retention, and for ever was wanted", map[string]string{retentionTime: "3600000"}, Topic{Retention: -1}, []string{"--add-config retention.ms=-1"}},
		{"retention by size", map[string]string{retentionBytes: "1000000"}, Topic{RetentionBytes: -1}, []string{"retention.bytes=1000000", "--add-config retention.bytes=-1"}},
		{"fewer in sync", map[string]string{minInSync: "1"}, Topic{MinInSync: 2}, []string{"min.insync.replicas=1", "--add-config min.insync.replicas=2"}},
		{"fewer copies", nil, Topic{Replication: 3}, []string{"1 copies", "kafka-reassign-partitions.sh"}},
		{"small messages", map[string]string{maxMessage: "1048588"}, Topic{}, []string{"max.message.bytes=1048588", "cannot be published"}},
		{"unclean elections", map[string]string{uncleanElection: "true"}, Topic{}, []string{"unclean.leader.election.enable=true"}},
		{"longer retention", map[string]string{retentionTime: "-1"}, Topic{Retention: time.Hour}, nil},
		{"nothing configured", map[string]string{retentionTime: "3600000", retentionBytes: "1000000"}, Topic{}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, log := loggingCluster(t, testservers.Kafka(t))
			topic := test.want
			topic.Name, topic.Partitions = makeTopic(t, c, Topic{Partitions: 2}), 2
			alterTopic(t, c, topic.Name, test.settings)
			if err := c.EnsureTopic(testContext(t), topic); err != nil {
				t.Fatalf("EnsureTopic = %v, want nil and a warning", err)
			}
			for _, says := range test.says {
				if !strings.Contains(log.String(), says) {
					t.Errorf("it warned %q, which does not say %q", log, says)
				}
			}
			if test.says == nil && log.Len() > 0 {
				t.Errorf("it warned %q, want nothing", log)
			}
		})
	}
}

func TestEnsureTopic_OnApacheKafka_WhatCannotWork_IsRefusedSayingWhatToDo(t *testing.T) {
	c := testCluster(t, testservers.Kafka(t))
	refused := func(topic Topic, says ...string) {
		t.Helper()
		err := c.EnsureTopic(testContext(t), topic)
		for _, s := range says {
			if err == nil || !strings.Contains(err.Error(), s) {
				t.Errorf("EnsureTopic(%+v) = %v, want an error that says %q", topic, err, s)
			}
		}
	}
	refused(Topic{Name: named(t, "wide"), Partitions: 1, Replication: 3}, "3 copies", "--kafka-replication", "as many brokers")
	refused(Topic{Name: named(t, "strict"), Partitions: 1, Replication: 2, MinInSync: 3}, "never be written", "--kafka-min-insync-replicas")
	name := makeTopic(t, c, Topic{Partitions: 2})
	refused(Topic{Name: name, Partitions: 3}, "has 2 partitions, not 3", "--kafka-partitions 2")
	alterTopic(t, c, name, map[string]string{cleanupPolicy: "compact"})
	refused(Topic{Name: name, Partitions: 2}, "compacted", "--add-config cleanup.policy=delete")
	alterTopic(t, c, name, map[string]string{cleanupPolicy: "delete", minInSync: "2"})
	refused(Topic{Name: name, Partitions: 2}, "1 copies", "wants 2 in sync", "--add-config min.insync.replicas=1")
}
