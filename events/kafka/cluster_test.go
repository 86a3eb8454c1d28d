package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/broker"
)

// testBroker is the address of a broker for tests: the embedded one, with its data in a
// directory of the test.
func testBroker(t testing.TB) string {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the broker: %v", err)
		}
	})
	return b.Addr()
}

func testCluster(t testing.TB, brokers ...string) *Cluster {
	t.Helper()
	c, err := New(Config{Brokers: brokers, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close the cluster: %v", err)
		}
	})
	return c
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func BenchmarkProducer_FiveHundredRecordsABatch(b *testing.B) {
	c := testCluster(b, testBroker(b))
	ctx := b.Context()
	if err := c.EnsureTopic(ctx, Topic{Name: "bench", Partitions: 12}); err != nil {
		b.Fatal(err)
	}
	p, err := c.NewProducer(ctx, "bench")
	if err != nil {
		b.Fatal(err)
	}
	records := likeEvents(500)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Produce(ctx, n%12, records); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(500*n)/b.Elapsed().Seconds(), "records/s")
}

// likeEvents are records such as the relay writes: a key, about 150 bytes of JSON, and the
// headers of a CloudEvent.
func likeEvents(n int) []Record {
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{
			Key:   fmt.Appendf(nil, "ten_%06d", i),
			Value: fmt.Appendf(nil, `{"name":"Tenant %d","hostnames":["t%d.example"],"home_region":"eu-west","group":"grp_default","products":{"jira":{"plan":"standard","seats":25}}}`, i, i),
			Headers: []Header{
				{Key: "ce_specversion", Value: []byte("1.0")},
				{Key: "ce_id", Value: []byte("0199e0e4-0000-7000-8000-0123456789ab")},
				{Key: "ce_source", Value: []byte("tenantry")},
				{Key: "ce_type", Value: []byte("tenantry.tenant.registered.v1")},
				{Key: "ce_subject", Value: fmt.Appendf(nil, "ten_%06d", i)},
				{Key: "ce_time", Value: []byte("2026-11-21T02:14:00.123456Z")},
				{Key: "content-type", Value: []byte("application/json")},
				{Key: "ce_version", Value: []byte("1")},
				{Key: "ce_position", Value: fmt.Appendf(nil, "%d", i+1)},
				{Key: "ce_previous", Value: fmt.Appendf(nil, "%d", i)},
				{Key: "ce_storeid", Value: []byte("0199e0e4-0000-7000-8000-0123456789ab")},
			},
		}
	}
	return records
}

func BenchmarkCluster_Fetch(b *testing.B) {
	c := testCluster(b, testBroker(b))
	ctx := b.Context()
	if err := c.EnsureTopic(ctx, Topic{Name: "bench", Partitions: 1}); err != nil {
		b.Fatal(err)
	}
	p, err := c.NewProducer(ctx, "bench")
	if err != nil {
		b.Fatal(err)
	}
	for range 200 {
		if _, err := p.Produce(ctx, 0, likeEvents(500)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	n, at := 0, int64(0)
	for b.Loop() {
		records, _, err := c.Fetch(ctx, "bench", 0, at, time.Second, 512<<10)
		if err != nil {
			b.Fatal(err)
		}
		n += len(records)
		at = (records[len(records)-1].Offset + 1) % 100_000
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
}
