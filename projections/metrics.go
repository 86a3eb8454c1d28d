package projections

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are one node's. Who has several in one process gives each a registerer with its
// region as a label.
type metrics struct {
	events      *prometheus.CounterVec // by outcome
	gaps        prometheus.Counter
	healed      prometheus.Counter
	rebuilds    prometheus.Counter
	badRecords  prometheus.Counter
	repaired    prometheus.Counter
	compared    *prometheus.CounterVec // by result
	different   prometheus.Gauge
	comparedAt  prometheus.Gauge
	visible     prometheus.Histogram
	batch       prometheus.Histogram
	foldedByOut [quarantined + 1]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, node *Projector) *metrics {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tenantry_projection_events_total",
			Help: "Events read, by what became of them: folded, duplicate, skipped (stream in quarantine), quarantined.",
		}, []string{"outcome"}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tenantry_projection_gaps_total",
			Help: "Times that events were found missing from the topic.",
		}),
		healed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tenantry_projection_gap_events_healed_total",
			Help: "Events that were read from the source of truth and folded, because the topic had lost some of them.",
		}),
		rebuilds: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tenantry_projection_rebuilds_total",
			Help: "Generations built from the source of truth.",
		}),
		badRecords: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tenantry_projection_bad_records_total",
			Help: "Records of the topic that are not ours, or damaged, and were passed over.",
		}),
		repaired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tenantry_projection_repaired_total",
			Help: "Streams that were folded anew from the source of truth, because this copy was found to differ.",
		}),
		compared: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tenantry_projection_verifications_total",
			Help: "Times that this copy was compared with the source of truth, by result: equal, different, failed.",
		}, []string{"result"}),
		different: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tenantry_projection_verified_different_streams",
			Help: "Streams that were not what the source of truth says when they were last compared, whether healed since or not.",
		}),
		comparedAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tenantry_projection_verified_timestamp_seconds",
			Help: "When this copy was last compared with the source of truth, with a result; 0 before the first time.",
		}),
		visible: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tenantry_projection_visible_seconds",
			Help:    "Time from a command to its events being visible to look-ups in this region; only while caught up.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16), // 0.5 ms to 16 s
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tenantry_projection_batch_records",
			Help:    "Records folded in one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 7), // 1 to 4096
		}),
	}
	for o, name := range map[outcome]string{folded: "folded", duplicate: "duplicate", skipped: "skipped", quarantined: "quarantined"} {
		m.foldedByOut[o] = m.events.WithLabelValues(name)
	}
	for _, r := range []VerifyResult{VerifiedEqual, VerifiedDifferent, VerifyFailed} {
		m.compared.WithLabelValues(string(r))
	}
	reg.MustRegister(m.events, m.gaps, m.healed, m.rebuilds, m.badRecords, m.repaired, m.compared, m.different, m.comparedAt, m.visible, m.batch,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tenantry_projection_position",
			Help: "Position up to which every event is applied in this region.",
		}, func() float64 { return float64(node.live.Progress().Position()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tenantry_projection_staleness_seconds",
			Help: "Time since this region's copy was last known to hold everything.",
		}, func() float64 { return node.live.Progress().Staleness(node.cfg.Clock()).Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tenantry_projection_quarantined_streams",
			Help: "Streams with an event that could not be folded.",
		}, func() float64 {
			q, _ := node.live.Quarantined(context.Background()) // none while there is no model
			return float64(len(q))
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tenantry_projection_ready",
			Help: "1 when this node takes look-ups, else 0.",
		}, func() float64 {
			if node.Ready() == nil {
				return 1
			}
			return 0
		}),
	)
	return m
}

func (m *metrics) count(o outcome) { m.foldedByOut[o].Inc() }

func (m *metrics) verified(v *Verified) {
	m.compared.WithLabelValues(string(v.Result)).Inc()
	if v.Result != VerifyFailed {
		m.different.Set(float64(v.Different))
		m.comparedAt.Set(float64(v.At.Unix()))
	}
}
