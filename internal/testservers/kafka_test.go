package testservers

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

func TestKafka_NodesKilledStoppedAndPaused_ComeBack(t *testing.T) {
	c := NewKafka(t, KafkaOptions{Nodes: 3})
	for i, down := range []func(*KafkaNode) error{(*KafkaNode).Kill, (*KafkaNode).Stop} {
		if err := down(c.Nodes[i]); err != nil {
			t.Fatal(err)
		}
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err) // the other two know that it is gone
		}
		if err := c.Nodes[i].Start(); err != nil {
			t.Fatal(err)
		}
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	n := c.Nodes[2]
	if err := n.Pause(); err != nil {
		t.Fatal(err)
	}
	client := &kafka.Client{Addr: kafka.TCP(n.Bound(Plaintext)), Timeout: 300 * time.Millisecond, Transport: &kafka.Transport{DialTimeout: 300 * time.Millisecond}}
	if _, err := client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{}}); err == nil {
		t.Error("a paused node answers")
	}
	if err := n.Continue(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		if _, err := os.Stat("/proc/" + strconv.Itoa(n.process.pid)); !os.IsNotExist(err) {
			t.Errorf("node %d is still there: %v", n.ID, err)
		}
	}
}

func TestKafkaTools_ConsoleConsumer_IsThere(t *testing.T) {
	out, err := KafkaTools(t).Command(t.Context(), "org.apache.kafka.tools.consumer.ConsoleConsumer", "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), KafkaVersion) {
		t.Errorf("ConsoleConsumer --version = %q, %v, want %s", out, err, KafkaVersion)
	}
}
