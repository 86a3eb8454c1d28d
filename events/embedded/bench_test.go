package embedded_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
)

func openBench(b *testing.B) *embedded.Store {
	b.Helper()
	s, err := embedded.Open(b.Context(), embedded.Config{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler), MinFree: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// registration is what registering the n-th tenant appends: five events, two hostnames.
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
func fill(tb testing.TB, s *embedded.Store, n int) {
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
	const tenants = 50_000
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
	const tenants = 50_000
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
	const tenants = 50_000
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

// BenchmarkHistory is the first page of a long stream, to which the whole of it has to be walked back.
func BenchmarkHistory(b *testing.B) {
	const length = 10_000
	s := openBench(b)
	id, err := events.ParseTenantID("ten_long")
	if err != nil {
		b.Fatal(err)
	}
	batches := make([]events.Batch, length)
	for i := range batches {
		one, err := events.New(id.Stream(), uint64(i), events.Metadata{Time: time.Now()}, events.TenantRenamed{Name: fmt.Sprint(i)})
		if err != nil {
			b.Fatal(err)
		}
		batches[i] = events.Batch{Stream: id.Stream(), Expected: uint64(i), Events: one}
	}
	for _, r := range s.AppendAll(b.Context(), batches) {
		if r.Err != nil {
			b.Fatal(r.Err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if out, err := s.History(b.Context(), id.Stream(), 0, 101); err != nil || len(out) != 101 {
			b.Fatalf("got %d events, %v", len(out), err)
		}
	}
}

// BenchmarkDropKeys forgets 300,000 idempotency keys, five minutes of 1,000 commands a second, and
// tells how long an append waits for it at the most.
func BenchmarkDropKeys(b *testing.B) {
	const keys, chunk = 300_000, 1000
	for b.Loop() {
		b.StopTimer()
		s := openBench(b)
		for n := 0; n < keys; n += chunk {
			batches := make([]events.Batch, chunk)
			for i := range batches {
				batches[i] = registration(b, uint64(n+i))
				batches[i].Key = &events.Key{Key: fmt.Sprintf("2f1e9c1a-7c1b-4b5e-9d7e-%012d", n+i), Time: time.UnixMilli(int64(n + i))}
			}
			for _, r := range s.AppendAll(b.Context(), batches) {
				if r.Err != nil {
					b.Fatal(r.Err)
				}
			}
		}
		var longest time.Duration
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for i := uint64(keys); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				if _, err := s.Append(context.Background(), registration(b, i)); err != nil {
					b.Error(err)
					return
				}
				longest = max(longest, time.Since(began))
			}
		}()
		b.StartTimer()
		if n, err := s.DropKeys(b.Context(), time.UnixMilli(keys)); err != nil || n != keys {
			b.Fatalf("dropped %d keys, %v", n, err)
		}
		b.StopTimer()
		close(stop)
		<-stopped
		b.ReportMetric(float64(longest.Milliseconds()), "ms-longest-append")
		b.StartTimer()
	}
	b.ReportMetric(float64(keys)*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
}
