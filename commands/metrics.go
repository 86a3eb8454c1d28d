package commands

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tenantry/tenantry/events"
)

// outcomeUnavailable is what docs/operations.md has an alert on.
const outcomeUnavailable = "unavailable"

// metrics counts what became of commands. Who reads an import counts its lines: the worst of them
// never become commands.
type metrics struct {
	commands  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	conflicts prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tenantry_commands_total",
			Help: "Commands by name and outcome: appended, unchanged, replayed, dry-run, canceled, unavailable, error, or the code of the refusal.",
		}, []string{"command", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tenantry_command_duration_seconds",
			Help:    "How long commands took, from their arrival to their answer, retries included.",
			Buckets: []float64{.0005, .001, .002, .003, .005, .01, .015, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"command"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tenantry_command_conflicts_total",
			Help: "How often a command was decided again, since its stream, or its database or group, had moved on.",
		}),
	}
	// An alert watches these increase. The increase of a series that begins with its first failure
	// is nothing: they are there before it.
	for _, c := range kinds {
		m.commands.WithLabelValues(c.name(), outcomeUnavailable)
	}
	if r != nil {
		r.MustRegister(m.commands, m.duration, m.conflicts)
	}
	return m
}

func (m *metrics) command(r Request, a Answer, err error, took time.Duration) {
	m.commands.WithLabelValues(r.Command.name(), outcomeOf(r, a, err)).Inc()
	m.duration.WithLabelValues(r.Command.name()).Observe(took.Seconds())
}

func outcomeOf(r Request, a Answer, err error) string {
	code := CodeOf(err)
	switch {
	case code != "":
		return string(code)
	case errors.Is(err, events.ErrUnknownOutcome):
		return "unknown"
	case errors.Is(err, events.ErrUnavailable):
		return outcomeUnavailable
	case errors.Is(err, context.Canceled):
		return "canceled" // by who asked for it
	case err != nil:
		return "error"
	case a.Replayed:
		return "replayed"
	case a.Unchanged:
		return "unchanged"
	case r.DryRun:
		return "dry-run"
	}
	return "appended"
}
