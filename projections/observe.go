package projections

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// observe records how long committed events took to become visible, and joins their traces.
func (f *follower) observe(ctx context.Context, batch []delivery) {
	if !f.live.Load() {
		return // nobody sees it yet
	}
	now := f.cfg.Clock()
	ready := f.ready() // what is read while catching up was not late by the system's fault
	for _, d := range batch {
		if d.err != nil || d.record.IsWatermark() || d.record.Replayed > 0 {
			continue // how old that is, which was published again, is nobody's fault
		}
		e := d.record.Event
		if ready {
			f.metrics.visible.Observe(now.Sub(e.Time).Seconds())
		}
		if f.tracer == nil || !strings.HasSuffix(e.Traceparent, "-01") {
			continue // not sampled where it began
		}
		parent := propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": e.Traceparent})
		_, span := f.tracer.Start(parent, "fold "+string(e.Type), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			attribute.String("tenantry.region", f.cfg.Region),
			attribute.String("tenantry.stream", e.Stream.String()),
			attribute.Int64("tenantry.version", int64(e.Version)),
			attribute.Int64("tenantry.position", int64(e.Position)),
			attribute.Int64("tenantry.visible_after_us", now.Sub(e.Time).Microseconds()),
		))
		span.End()
	}
}
