package daemon

import (
	"errors"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// appendMetrics are those of the embedded store, which itself knows no metrics.
type appendMetrics struct {
	batches, events, seconds prometheus.Histogram
}

func newAppendMetrics(reg prometheus.Registerer) *appendMetrics {
	m := &appendMetrics{
		batches: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tenantry_store_append_batches", Help: "Commands that one commit of the event store held.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		events: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tenantry_store_append_events", Help: "Events that one commit of the event store held.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 13),
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tenantry_store_append_seconds", Help: "Time that one commit of the event store took, disk included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16), // 0.1 ms to 3 s
		}),
	}
	reg.MustRegister(m.batches, m.events, m.seconds)
	return m
}

func (m *appendMetrics) observe(batches, events int, took time.Duration) {
	m.batches.Observe(float64(batches))
	m.events.Observe(float64(events))
	m.seconds.Observe(took.Seconds())
}

// notClosed drops the error of closing a listener that its server has closed.
func notClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
