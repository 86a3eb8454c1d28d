package adminapi

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what the HTTP side alone can see; commands are counted by their handler.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	lines    *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tenantry_admin_requests_total",
			Help: "Requests to the admin API, by method, route and status: of an answer that broke off in the middle, the one that it should have had; 499: the client left before its answer was whole.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tenantry_admin_request_seconds",
			Help:    "How long requests to the admin API took, streams to their end, by method and route.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"method", "route"}),
		lines: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tenantry_import_lines_total",
			Help: "Lines of imports by status: created, unchanged, conflict, invalid, failed.",
		}, []string{"status"}),
	}
	if registerer == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.lines} {
		errs = append(errs, registerer.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register metrics of the admin API: %w", err)
	}
	return m, nil
}
