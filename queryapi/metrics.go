package queryapi

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tenantry/tenantry/internal/giveway"
	"github.com/tenantry/tenantry/internal/problem"
)

// outcome is what became of one look-up.
type outcome int

const (
	outcomeFound outcome = iota
	outcomeUnmodified
	outcomeUnknown
	outcomeInvalid
	outcomeNotReady
	outcomeNotYet
	outcomeRefused
	outcomeFailed
	outcomeCount
)

var outcomeNames = [outcomeCount]string{
	outcomeFound: "found", outcomeUnmodified: "unmodified", outcomeUnknown: "unknown", outcomeInvalid: "invalid",
	outcomeNotReady: "not_ready", outcomeNotYet: "not_yet_visible", outcomeRefused: "refused", outcomeFailed: "failed",
}

// outcomeOf is how a look-up that was answered with a problem is counted.
func outcomeOf(err error) outcome {
	var p *problem.Problem
	switch {
	case kindUnknownHostname.is(err), kindUnknownTenant.is(err):
		return outcomeUnknown
	case kindInvalid.is(err):
		return outcomeInvalid
	case kindNotReady.is(err):
		return outcomeNotReady
	case kindNotYet.is(err):
		return outcomeNotYet
	case errors.As(err, &p):
		return outcomeRefused
	}
	return outcomeFailed
}

// outcomes counts one kind of look-up. Its counters are resolved once, so that counting is one
// atomic addition.
type outcomes [outcomeCount]prometheus.Counter

func (o *outcomes) count(what outcome) {
	o[what].Inc()
	giveway.LookedUp()
}

// waitResult is how a request's waiting for a write ended.
type waitResult int

const (
	waitVisible waitResult = iota
	waitTimeout
	waitBroken
	waitRefused
	waitResultCount
)

var waitResultNames = [waitResultCount]string{
	waitVisible: "visible", waitTimeout: "timeout", waitBroken: "broken_off", waitRefused: "refused",
}

// metrics are one node's. All carry the region as a label, since `tenantry dev` has two
// regions in one process.
type metrics struct {
	byHostname, byTenant, inBatch outcomes

	seconds     prometheus.Histogram
	batch       prometheus.Histogram
	waits       [waitResultCount]prometheus.Counter
	waitSeconds prometheus.Histogram
	problems    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, region string, waiting *atomic.Int64) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	reg = prometheus.WrapRegistererWith(prometheus.Labels{"region": region}, reg)
	m := &metrics{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tenantry_lookup_seconds",
			Help:    "Time to answer a look-up of one tenant that waits for no write.",
			Buckets: prometheus.ExponentialBuckets(2e-6, 4, 10), // 2 µs to 0.5 s
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tenantry_lookup_batch_hostnames",
			Help:    "Hostnames asked for in one batch.",
			Buckets: []float64{1, 3, 10, 30, 100, 300, 1000},
		}),
		waitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tenantry_lookup_wait_seconds",
			Help:    "Time that look-ups waited for the write that they asked for, however that ended.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 17), // 0.5 ms to 33 s
		}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tenantry_query_problems_total",
			Help: "Problems answered by the query API, by type.",
		}, []string{"type"}),
	}
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tenantry_lookups_total",
		Help: "Look-ups, by what was asked for (hostname, tenant, batch: one hostname of a batch) and outcome.",
	}, []string{"by", "outcome"})
	for by, counters := range map[string]*outcomes{"hostname": &m.byHostname, "tenant": &m.byTenant, "batch": &m.inBatch} {
		for o, name := range outcomeNames {
			counters[o] = lookups.WithLabelValues(by, name)
		}
	}
	waits := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tenantry_lookup_waits_total",
		Help: "Look-ups that had to wait for the write that they asked for, by how that ended.",
	}, []string{"result"})
	for r, name := range waitResultNames {
		m.waits[r] = waits.WithLabelValues(name)
	}
	reg.MustRegister(lookups, m.seconds, m.batch, waits, m.waitSeconds, m.problems,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tenantry_lookups_waiting",
			Help: "Look-ups that wait for a write now.",
		}, func() float64 { return float64(waiting.Load()) }),
	)
	return m
}
