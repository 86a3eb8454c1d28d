package relay

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the relay's numbers. Those that change by themselves, such as the age of what
// is unpublished, are read from the relay when they are asked for.
type metrics struct {
	relay      *Relay
	events     prometheus.Counter
	replayed   prometheus.Counter
	batches    prometheus.Counter
	watermarks prometheus.Counter
	failures   *prometheus.CounterVec
	produce    prometheus.Histogram

	leading, publishing, published, head, lag, age *prometheus.Desc
}

func newMetrics(r *Relay) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "tenantry_relay_" + name, Help: help})
	}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("tenantry_relay_"+name, help, nil, nil)
	}
	m := &metrics{
		relay:      r,
		events:     counter("events_published_total", "Events that Kafka acknowledged."),
		replayed:   counter("events_replayed_total", "Events that were published again, by a replay of the topic, and acknowledged."),
		batches:    counter("batches_total", "Batches that Kafka acknowledged, of events, watermarks or both."),
		watermarks: counter("watermarks_total", "Watermarks that Kafka acknowledged."),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tenantry_relay_failures_total",
			Help: "Errors after which the relay began again, or (cause refused) stopped: store, kafka, disturbed (another writer), lead (who leads could not be found out, or another took over), refused.",
		}, []string{"cause"}),
		produce: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tenantry_relay_produce_seconds",
			Help:    "Time from sending a batch to Kafka's acknowledgement, with all repetitions.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14), // 0.1 ms to 15 s
		}),
		leading:    desc("leading", "1 while this process is the one that publishes; 0: another is, or none."),
		publishing: desc("publishing", "1 while this process publishes and Kafka answers, else 0."),
		published:  desc("published_position", "Every event up to this position is in Kafka."),
		head:       desc("head_position", "Position of the store's last event, as last seen."),
		lag:        desc("lag_events", "Events in the store that are not yet in Kafka."),
		age:        desc("lag_seconds", "Age of the oldest event that is not yet in Kafka; 0 when there is none."),
	}
	for _, cause := range []string{causeStore, causeKafka, causeDisturbed, causeLead, causeRefused} {
		m.failures.WithLabelValues(cause) // so that a first failure is an increase from 0
	}
	return m
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.events, m.replayed, m.batches, m.watermarks, m.failures, m.produce}
}

// Describe is prometheus.Collector's.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(out)
	}
	for _, d := range []*prometheus.Desc{m.leading, m.publishing, m.published, m.head, m.lag, m.age} {
		out <- d
	}
}

// Collect is prometheus.Collector's.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(out)
	}
	s := m.relay.Status()
	gauge := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	gauge(m.leading, number(s.Leading))
	gauge(m.publishing, number(s.State == StatePublishing))
	gauge(m.head, float64(s.Head))
	if s.Known { // Before the topic was looked at there is no number that would be true.
		gauge(m.published, float64(s.Published))
		gauge(m.lag, float64(s.Lag))
		gauge(m.age, s.Age.Seconds())
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (m *metrics) batch(events int, marked bool, took time.Duration) {
	m.batches.Inc()
	m.events.Add(float64(events))
	if marked {
		m.watermarks.Inc()
	}
	m.produce.Observe(took.Seconds())
}

func (m *metrics) again(events int, took time.Duration) {
	m.replayed.Add(float64(events))
	m.batch(0, true, took)
}

func (m *metrics) failed(err error) { m.failures.WithLabelValues(causeOf(err)).Inc() }
