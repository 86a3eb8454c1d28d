package projections

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// observe records how long committed events took to become visible, and joins their traces.
func (p *Projector) observe(ctx context.Context, batch []delivery) {
	now := p.cfg.Clock()
	ready := p.ready.Load() // what is read while catching up was not late by the system's fault
	for _, d := range batch {
		if d.err != nil || d.record.IsWatermark() {
			continue
		}
		e := d.record.Event
		if ready {
			p.metrics.visible.Observe(now.Sub(e.Time).Seconds())
		}
		if p.tracer == nil || !strings.HasSuffix(e.Traceparent, "-01") {
			continue // not sampled where it began
		}
		parent := propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": e.Traceparent})
		_, span := p.tracer.Start(parent, "fold "+string(e.Type), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			attribute.String("tenantry.region", p.cfg.Region),
			attribute.String("tenantry.stream", e.Stream.String()),
			attribute.Int64("tenantry.version", int64(e.Version)),
			attribute.Int64("tenantry.position", int64(e.Position)),
			attribute.Int64("tenantry.visible_after_us", now.Sub(e.Time).Microseconds()),
		))
		span.End()
	}
}
