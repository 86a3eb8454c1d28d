package relay

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tenantry/tenantry/events"
)

// maxLinks bounds the traces that the span of one batch is linked with.
const maxLinks = 32

// tracing makes a span for each batch that holds the event of a traced command. It is the
// child of the first such command's span, and linked with those of the others.
type tracing struct{ tracer trace.Tracer } // nil: no spans

func newTracing(provider trace.TracerProvider) tracing {
	if provider == nil {
		return tracing{}
	}
	return tracing{provider.Tracer("github.com/tenantry/tenantry/events/relay")}
}

// batch begins the span of a batch, where there is one to begin; the func ends it.
func (t tracing) batch(ctx context.Context, partition int, batch []events.Event) (context.Context, func(error)) {
	if t.tracer == nil {
		return ctx, func(error) {}
	}
	var parent trace.SpanContext
	var links []trace.Link
	for i := range batch {
		if batch[i].Traceparent == "" || len(links) == maxLinks {
			continue
		}
		from := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": batch[i].Traceparent})
		switch span := trace.SpanContextFromContext(from); {
		case !span.IsSampled() || span.Equal(parent):
		case !parent.IsValid():
			parent = span
		case len(links) == 0 || !span.Equal(links[len(links)-1].SpanContext):
			links = append(links, trace.Link{SpanContext: span})
		}
	}
	if !parent.IsValid() {
		return ctx, func(error) {}
	}
	ctx, span := t.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, parent), "relay publish",
		trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithLinks(links...),
		trace.WithAttributes(
			attribute.Int("messaging.destination.partition.id", partition),
			attribute.Int("messaging.batch.message_count", len(batch)),
			attribute.Int64("tenantry.position.first", int64(batch[0].Position)),
			attribute.Int64("tenantry.position.last", int64(batch[len(batch)-1].Position)),
		))
	return ctx, func(err error) {
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, "not acknowledged")
		}
		span.End()
	}
}
