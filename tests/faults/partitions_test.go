//go:build unix

package faults

import (
	"strconv"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
)

// TestPartitions is about somebody who gives the topic more partitions: from then on a tenant's key
// names another one than its events are in. No relay publishes to such a topic, whatever it is
// started with, and what is to be done then is what it says.
func TestPartitions_ATopicThatIsGivenMoreUnderLoad_IsRefusedUntilItIsMadeAnew(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	s := open(t, options{})
	l := startLoad(t, s, draw(t))
	l.check()
	const more = partitions + 3
	client, done := s.kafkaClient()
	defer done()
	answer, err := client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: s.topic, Count: more}},
	})
	if err != nil || answer.Errors[s.topic] != nil {
		t.Fatal(err, answer)
	}
	restart := func(count int) {
		t.Helper()
		for _, c := range s.catalogues {
			if err := c.stop(); err != nil {
				t.Error(err)
			}
			for i, a := range c.args {
				if a == "--kafka-partitions" {
					c.args[i+1] = strconv.Itoa(count)
				}
			}
			if err := c.launch(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// As one might try it: nothing is published, and each catalogue says why.
	restart(more)
	for _, c := range s.catalogues {
		if err := await(patience, c.name+" refuses to publish", func() bool {
			_, body, err := c.look("/readyz?verbose")
			return err == nil && strings.Contains(string(body), "delete the topic")
		}); err != nil {
			t.Error(err)
		}
	}
	for _, c := range s.catalogues {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	}
	if err := s.deleteTopic(); err != nil {
		t.Fatal(err)
	}
	for _, c := range s.catalogues {
		if err := c.start(); err != nil {
			t.Fatal(err)
		}
	}
	v := l.check()
	l.checkTopic(v)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
