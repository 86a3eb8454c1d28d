package bench

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/events/relay"
	"github.com/tenantry/tenantry/internal/broker"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

const (
	topic      = "tenantry.events.v1"
	partitions = 12
)

var silent = slog.New(slog.DiscardHandler)

// tenants is how many a benchmark works on: few where it is only to be seen that it runs.
func tenants() int {
	if testing.Short() {
		return 500
	}
	return 20_000
}

// meter measures events by the clock and by the processor: on a machine that has others at work
// the second is the one to compare.
type meter struct {
	events uint64
	cpu    time.Duration
}

// during times what is done, and nothing of what is around it.
func (m *meter) during(b *testing.B, do func() (events uint64)) {
	b.Helper()
	before := processorTime()
	b.StartTimer()
	m.events += do()
	b.StopTimer()
	m.cpu += processorTime() - before
}

func (m *meter) report(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(m.events)/b.Elapsed().Seconds(), "events/s")
	if m.cpu > 0 {
		b.ReportMetric(float64(m.cpu.Nanoseconds())/1000/float64(m.events), "cpu-µs/event")
	}
}

// must ends the benchmark where a part cannot be had.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func closeWith(tb testing.TB, closing func() error) {
	tb.Helper()
	if err := closing(); err != nil {
		tb.Error(err)
	}
}

func openStore(tb testing.TB) *embedded.Store {
	tb.Helper()
	s := must(embedded.Open(tb.Context(), embedded.Config{Dir: tb.TempDir(), Logger: silent}))(tb)
	tb.Cleanup(func() { closeWith(tb, s.Close) })
	return s
}

// openTopic is a broker with an empty topic, for one iteration: it is closed by closing.
func openTopic(tb testing.TB) (cluster *kafka.Cluster, closing func()) {
	tb.Helper()
	b := must(broker.Open(tb.Context(), broker.Config{DataDir: tb.TempDir(), Logger: silent}))(tb)
	cluster = must(kafka.New(kafka.Config{Brokers: []string{b.Addr()}, Logger: silent}))(tb)
	if err := cluster.EnsureTopic(tb.Context(), kafka.Topic{Name: topic, Partitions: partitions}); err != nil {
		tb.Fatal(err)
	}
	return cluster, func() {
		closeWith(tb, cluster.Close)
		closeWith(tb, b.Close)
	}
}

// running is something that runs until it is stopped.
type running struct {
	cancel context.CancelFunc
	ended  chan error
}

func start(tb testing.TB, run func(context.Context) error) running {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	r := running{cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- run(ctx) }()
	return r
}

func (r running) stop(tb testing.TB) {
	tb.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		tb.Error(err)
	}
}

func newRegion(tb testing.TB, cluster *kafka.Cluster, store *embedded.Store) *projections.Projector {
	tb.Helper()
	return newRegionIn(tb.TempDir(), cluster, store)
}

func newRegionIn(dir string, cluster *kafka.Cluster, store *embedded.Store) *projections.Projector {
	return projections.New(projections.Config{
		Region: "eu-west", Dir: readmodel.Dir(dir), Cluster: cluster, Topic: topic, Source: store, Logger: silent,
	})
}

func newRelay(tb testing.TB, cluster *kafka.Cluster, store *embedded.Store) *relay.Relay {
	tb.Helper()
	return must(relay.New(relay.Config{
		Store: store, Topic: relay.KafkaTopic(cluster, topic), Partitions: partitions, Logger: silent,
	}))(tb)
}

// awaitPosition returns when the region is ready and holds everything up to a position.
func awaitPosition(tb testing.TB, p *projections.Projector, position uint64) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Minute)
	defer cancel()
	// Before there is a model nothing tells of a change, so it looks again by itself.
	soon := time.NewTicker(time.Millisecond)
	defer soon.Stop()
	for {
		changed := p.Live().Changed()
		if progress := p.Live().Progress(); progress.Complete && progress.Position() >= position && p.Ready() == nil {
			return
		}
		select {
		case <-ctx.Done():
			tb.Fatalf("the region is at position %d, and does not reach %d: %v", p.Live().Progress().Position(), position, ctx.Err())
		case <-changed:
		case <-soon.C:
		}
	}
}

// fill registers so many tenants, as imports do: seven events each.
func fill(tb testing.TB, s *embedded.Store, n int) (head uint64) {
	tb.Helper()
	for first := 0; first < n; first += 500 {
		batches := make([]events.Batch, 0, 500)
		for i := first; i < min(n, first+500); i++ {
			batches = append(batches, registration(tb, i))
		}
		for _, r := range s.AppendAll(tb.Context(), batches) {
			if r.Err != nil {
				tb.Fatal(r.Err)
			}
			head = r.Outcome.Position
		}
	}
	return head
}

// registration is what registering and activating the n-th tenant appends.
func registration(tb testing.TB, n int) events.Batch {
	tb.Helper()
	id := must(events.ParseTenantID(fmt.Sprintf("ten_bench-%d", n)))(tb)
	hostname := hostnameOf(tb, n)
	seats := int64(n%500 + 1)
	made := must(events.New(id.Stream(), 0, events.Metadata{
		Time: time.Now(), Actor: "bench", Reason: "measured", CorrelationID: "4bf92f3577b34da6a3ce929d0e0e4736",
	},
		events.TenantRegistered{Name: fmt.Sprintf("Bench Company %d", n), HomeRegion: "eu-west"},
		events.HostnameAttached{Hostname: hostname},
		events.ProductActivated{Name: "boards", Product: events.Product{Plan: "standard", Seats: &seats, Features: []string{"audit", "sso"}}},
		events.ProductActivated{Name: "wiki", Product: events.Product{Plan: "free", Seats: &seats}},
		events.ConfigSet{Key: "theme", Value: []byte(`{"colour":"teal","logo":"https://assets.example/logo.svg"}`)},
		events.ConfigSet{Key: "locale", Value: []byte(`"en-GB"`)},
		events.TenantActivated{},
	))(tb)
	return events.Batch{Stream: id.Stream(), Events: made, Take: []events.Hostname{hostname}}
}

func hostnameOf(tb testing.TB, n int) events.Hostname {
	tb.Helper()
	return must(events.ParseHostname(fmt.Sprintf("bench-%d.example", n)))(tb)
}
