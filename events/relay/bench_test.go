package relay

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/internal/testservers"
)

// fill appends about n events like those of an import: a batch of five a tenant.
func fill(b *testing.B, s *embedded.Store, n int) uint64 {
	b.Helper()
	const perTenant, atOnce = 5, 200
	position := uint64(0)
	for first := 0; first < n/perTenant; first += atOnce {
		batches := make([]events.Batch, atOnce)
		for i := range batches {
			id := numbered(b, 0, first+i)
			payloads := []events.Payload{events.TenantRegistered{Name: fmt.Sprintf("Tenant %d", first+i), HomeRegion: "eu-west"}}
			for range perTenant - 1 {
				payloads = append(payloads, events.ConfigSet{Key: "theme", Value: []byte(`{"colour":"a colour of about so many letters","logo":"https://assets.example/logo.svg"}`)})
			}
			written, err := events.New(id, 0, events.Metadata{Time: time.Now(), Actor: "import", CorrelationID: "0199e0e4-0000-7000-8000-0123456789ab"}, payloads...)
			if err != nil {
				b.Fatal(err)
			}
			batches[i] = events.Batch{Stream: id, Events: written}
		}
		for _, r := range s.AppendAll(b.Context(), batches) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
			position = r.Outcome.Position
		}
	}
	return position
}

// Throughput from the embedded store to the embedded broker, each event once, from position 1.
func BenchmarkRelay_StoreToTopic(b *testing.B) {
	const partitions = 12
	store := openStore(b, b.TempDir())
	end := fill(b, store, 100_000)
	b.ReportAllocs()
	published := 0
	for b.Loop() {
		b.StopTimer()
		server := openBroker(b, b.TempDir(), "")
		cluster := connect(b, partitions, server.Addr())
		r, err := New(Config{Store: store, Topic: KafkaTopic(cluster, topicName), Partitions: partitions, Logger: silent})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := r.RunOnce(b.Context()); err != nil {
			b.Fatal(err)
		}
		published += int(end)
		b.StopTimer()
		closeBroker(b, server)
		b.StartTimer()
	}
	b.ReportMetric(float64(published)/b.Elapsed().Seconds(), "events/s")
}

// Everything once more, behind what is there, while the relay runs.
func BenchmarkReplay_OfTheWholeTopic(b *testing.B) {
	const partitions = 12
	store := openStore(b, b.TempDir())
	end := fill(b, store, 100_000)
	for name, address := range map[string]func() string{
		"embedded broker": func() string { return openBroker(b, b.TempDir(), "").Addr() },
		"Apache Kafka":    func() string { return testservers.Kafka(b) },
	} {
		b.Run(name, func(b *testing.B) {
			cluster := connect(b, partitions, address())
			r, err := New(Config{Store: store, Topic: KafkaTopic(cluster, topicName), Partitions: partitions, Logger: silent})
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- r.Run(ctx) }()
			awaitPublished(ctx, b, r, store)
			published := 0
			for b.Loop() {
				if _, err := r.Replay(ctx, Replay{}); err != nil {
					b.Fatal(err)
				}
				published += int(end)
			}
			b.ReportMetric(float64(published)/b.Elapsed().Seconds(), "events/s")
			stop()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// Store to topic without a broker and without a disk: what the relay itself costs.
func BenchmarkRelay_StoreToNowhere(b *testing.B) {
	const partitions = 12
	store := newMemoryStore()
	all := make([]events.StreamID, 10_000)
	for i := range all {
		all[i] = stream(b, i)
	}
	for i := range 100_000 {
		s := all[i%len(all)]
		store.log = append(store.log, events.Event{
			ID: [16]byte{byte(i), byte(i >> 8), byte(i >> 16)}, Stream: s, Version: uint64(i/len(all)) + 1, Position: uint64(i) + 1,
			Type: events.TypeTenantRenamed, Time: time.Now().UTC(), Actor: "import", Data: []byte(`{"name":"a name of some length"}`),
		})
	}
	b.ReportAllocs()
	published := 0
	for b.Loop() {
		r, err := New(Config{Store: store, Topic: nowhere{partitions}, Partitions: partitions, Logger: silent})
		if err != nil {
			b.Fatal(err)
		}
		if err := r.RunOnce(b.Context()); err != nil {
			b.Fatal(err)
		}
		published += len(store.log)
	}
	b.ReportMetric(float64(published)/b.Elapsed().Seconds(), "events/s")
}

// nowhere is a topic that takes all and keeps nothing.
type nowhere struct{ partitions int }

func (n nowhere) Partitions(context.Context) (int, error) { return n.partitions, nil }
func (nowhere) Last(context.Context, int, int64) (kafka.Record, bool, error) {
	return kafka.Record{}, false, nil
}
func (nowhere) First(context.Context, int) (kafka.Record, bool, error) {
	return kafka.Record{}, false, nil
}
func (n nowhere) NewProducer(context.Context) (Producer, error) { return n, nil }
func (nowhere) Produce(context.Context, int, []kafka.Record) (int64, error) {
	return -1, nil
}

// Latency from the command's answer to Kafka's, one command at a time, while watermarks are
// written as they are in production.
func BenchmarkRelay_AnsweredToAcknowledged(b *testing.B) {
	const partitions = 12
	store := openStore(b, b.TempDir())
	server := openBroker(b, b.TempDir(), "")
	cluster := connect(b, partitions, server.Addr())
	topic := &heardTopic{Topic: KafkaTopic(cluster, topicName), heard: make(chan time.Time, 1)}
	r, err := New(Config{Store: store, Topic: topic, Partitions: partitions, Logger: silent})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	awaitPublished(b.Context(), b, r, store)
	var took []time.Duration
	n := 0
	for b.Loop() {
		if err := register(b.Context(), store, numbered(b, 0, n), 0); err != nil {
			b.Fatal(err)
		}
		answered := time.Now()
		took = append(took, max(0, (<-topic.heard).Sub(answered)))
		n++
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// heardTopic tells when a batch with an event was acknowledged.
type heardTopic struct {
	Topic
	heard chan time.Time
}

func (h *heardTopic) NewProducer(ctx context.Context) (Producer, error) {
	p, err := h.Topic.NewProducer(ctx)
	return heardProducer{p, h.heard}, err
}

type heardProducer struct {
	Producer
	heard chan time.Time
}

func (h heardProducer) Produce(ctx context.Context, partition int, records []kafka.Record) (int64, error) {
	offset, err := h.Producer.Produce(ctx, partition, records)
	if err == nil && records[0].Key != nil {
		h.heard <- time.Now()
	}
	return offset, err
}
