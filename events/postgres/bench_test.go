package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/postgres"
	"github.com/tenantry/tenantry/internal/testservers"
)

// durable is the one server of all benchmarks. It keeps its word about commits, as those of the tests
// need not.
var durable = sync.OnceValues(func() (*testservers.PostgresServer, error) {
	return testservers.StartPostgres(context.Background(), testservers.PostgresConfig{Durable: true, Settings: map[string]string{
		"shared_buffers": "512MB", "max_wal_size": "4GB",
	}})
})

func openBench(b *testing.B) *postgres.Store {
	b.Helper()
	server, err := durable()
	if err != nil {
		b.Fatal(err)
	}
	url := createDatabase(b, server.URL(), "")
	migrate(b, postgres.MigrateConfig{Config: patient(url)})
	return open(b, patient(url))
}

// registration is what registering the n-th tenant appends: five events, two hostnames, and a key.
func registration(tb testing.TB, n uint64) events.Batch {
	tb.Helper()
	id, err := events.ParseTenantID(fmt.Sprintf("ten_bench-%d", n))
	if err != nil {
		tb.Fatal(err)
	}
	var names [2]events.Hostname
	for i, s := range []string{"app", "www"} {
		if names[i], err = events.ParseHostname(fmt.Sprintf("%s.bench-%d.example", s, n)); err != nil {
			tb.Fatal(err)
		}
	}
	seats := int64(n % 500)
	batch, err := events.New(id.Stream(), 0, events.Metadata{
		Time: time.Now(), Actor: "bench", Reason: "measured", CorrelationID: "4bf92f3577b34da6a3ce929d0e0e4736",
	},
		events.TenantRegistered{Name: fmt.Sprintf("Bench %d", n), HomeRegion: "eu"},
		events.HostnameAttached{Hostname: names[0]},
		events.HostnameAttached{Hostname: names[1]},
		events.ProductActivated{Name: "jira", Product: events.Product{Plan: "standard", Seats: &seats, Features: []string{"audit", "sso"}}},
		events.TenantActivated{},
	)
	if err != nil {
		tb.Fatal(err)
	}
	return events.Batch{Stream: id.Stream(), Events: batch, Take: names[:]}
}

func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := openBench(b)
			batches := make([]events.Batch, b.N)
			for i := range batches {
				batches[i] = registration(b, uint64(i))
			}
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for i := next.Add(1) - 1; i < int64(len(batches)); i = next.Add(1) - 1 {
						if _, err := s.Append(context.Background(), batches[i]); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N*5)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkAppendAll(b *testing.B) {
	s := openBench(b)
	batches := make([]events.Batch, b.N)
	for i := range batches {
		batches[i] = registration(b, uint64(i))
	}
	b.ResetTimer()
	for i := 0; i < len(batches); i += 500 {
		for _, r := range s.AppendAll(b.Context(), batches[i:min(i+500, len(batches))]) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	b.ReportMetric(float64(b.N*5)/b.Elapsed().Seconds(), "events/s")
}

// fill appends n registrations.
func fill(tb testing.TB, s *postgres.Store, n int) {
	tb.Helper()
	batches := make([]events.Batch, n)
	for i := range batches {
		batches[i] = registration(tb, uint64(i))
	}
	for _, r := range s.AppendAll(tb.Context(), batches) {
		if r.Err != nil {
			tb.Fatal(r.Err)
		}
	}
}

func BenchmarkAfter(b *testing.B) {
	const tenants = 20_000
	s := openBench(b)
	fill(b, s, tenants)
	for _, limit := range []int{1, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("limit=%d", limit), func(b *testing.B) {
			b.ReportAllocs()
			var read int
			position := uint64(0)
			for b.Loop() {
				out, err := s.After(b.Context(), position, limit)
				if err != nil {
					b.Fatal(err)
				}
				read += len(out)
				if position += uint64(len(out)); len(out) < limit {
					position = 0
				}
			}
			b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	const tenants = 20_000
	s := openBench(b)
	fill(b, s, tenants)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n = (n + 7919) % tenants
		id, err := events.ParseTenantID(fmt.Sprintf("ten_bench-%d", n))
		if err != nil {
			b.Fatal(err)
		}
		out, err := s.Load(b.Context(), id.Stream(), 0)
		if err != nil || len(out) != 5 {
			b.Fatalf("load: %d events, %v", len(out), err)
		}
	}
}

func BenchmarkStreams(b *testing.B) {
	const tenants = 20_000
	s := openBench(b)
	fill(b, s, tenants)
	var read int
	var after events.StreamID
	for b.Loop() {
		out, err := s.Streams(b.Context(), events.KindTenant, after, 500)
		if err != nil {
			b.Fatal(err)
		}
		after = events.StreamID{}
		if len(out) == 500 {
			after = out[len(out)-1][0].Stream
		}
		read += 5 * len(out)
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "events/s")
}
