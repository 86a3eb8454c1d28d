package queryapi

import (
	"net/http"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traced wraps a handler in a span that continues the trace of the request's traceparent. It
// costs a look-up more than everything else together, so it is there only where spans are
// asked for.
func traced(h http.Handler, provider trace.TracerProvider) http.Handler {
	return otelhttp.NewHandler(h, "queryapi",
		otelhttp.WithTracerProvider(provider),
		otelhttp.WithPropagators(propagation.TraceContext{}))
}

// nameSpan names the request's span after its route.
func nameSpan(c echo.Context) {
	span := trace.SpanFromContext(c.Request().Context())
	if !span.IsRecording() {
		return
	}
	span.SetName(c.Request().Method + " " + c.Path())
	span.SetAttributes(attribute.String("http.route", c.Path()))
}
