//go:build unix

package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

func TestKafka_LosesItsTailOrEverythingOrTheTopic_RegionsHealFromTheSource(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := draw(t)
	s := open(t, options{kafka: 1})
	l := startLoad(t, s, r)
	rounds := 1
	if long() {
		rounds = 10
	}
	for range rounds {
		for _, loss := range []struct {
			name string
			do   func() error
		}{
			{"the unflushed tail", func() error { return s.loseTail(r) }},
			{"the topic", s.deleteTopic},
			{"everything", func() error { return s.kafka.Wipe(t.Context()) }},
		} {
			pause(t, time.Second)
			began := time.Now()
			if err := loss.do(); err != nil {
				t.Fatalf("lose %s: %v", loss.name, err)
			}
			if _, err := l.probe(); err != nil {
				t.Fatalf("after Kafka lost %s: %v", loss.name, err)
			}
			t.Logf("Kafka lost %s: well again after %s, with the loss itself", loss.name, time.Since(began).Round(time.Millisecond))
			l.check()
			l.resume()
		}
	}
	l.check()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// loseTail has the broker lose a part of what it has acknowledged, as a power cut does that comes
// before the disk has it: of each partition's log the end is missing, somewhere in a batch.
func (s *system) loseTail(r *rand.Rand) error {
	n := s.kafka.Nodes[0]
	if err := n.Kill(); err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(n.LogDir(), s.topic+"-*", "*.log"))
	if err != nil || len(logs) == 0 {
		return fmt.Errorf("find the logs of %s in %s: %d %w", s.topic, n.LogDir(), len(logs), err)
	}
	lost := int64(0)
	for _, log := range logs {
		info, err := os.Stat(log)
		if err != nil {
			return err
		}
		end := info.Size() - r.Int64N(info.Size()/2+1)
		lost += info.Size() - end
		if err := os.Truncate(log, end); err != nil {
			return err
		}
		// What it knew of the end is lost as well.
		for _, index := range []string{".index", ".timeindex"} {
			if err := os.Remove(strings.TrimSuffix(log, ".log") + index); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	s.t.Logf("Kafka loses %d octets of %d logs", lost, len(logs))
	if err := n.Start(); err != nil {
		return err
	}
	return s.kafka.Ready(s.t.Context())
}

// kafkaClient is a client of the system's own; done closes it.
func (s *system) kafkaClient() (client *kafka.Client, done func()) {
	transport := &kafka.Transport{}
	return &kafka.Client{Addr: kafka.TCP(s.brokers...), Transport: transport, Timeout: 10 * time.Second}, transport.CloseIdleConnections
}

func (s *system) deleteTopic() error {
	client, done := s.kafkaClient()
	defer done()
	answer, err := client.DeleteTopics(s.t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{s.topic}})
	if err != nil {
		return err
	}
	return answer.Errors[s.topic]
}
