package bench

import (
	"testing"

	"github.com/tenantry/tenantry/events"
)

// A tenant's state from its seven events, decoding included.
func BenchmarkFold(b *testing.B) {
	stream := registration(b, 1).Events
	for i := range stream {
		stream[i].Position = uint64(i) + 1
	}
	b.ReportAllocs()
	folded := 0
	for b.Loop() {
		if _, err := events.FoldTenant(events.Tenant{}, stream); err != nil {
			b.Fatal(err)
		}
		folded += len(stream)
	}
	b.ReportMetric(float64(folded)/b.Elapsed().Seconds(), "events/s")
}
