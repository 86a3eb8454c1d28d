// Package telemetry sets up what a process tells about itself: logs, metrics and traces.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

// Logger writes to w, in the format text or json, from level debug, info, warn or error on.
func Logger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: it is one of debug, info, warn, error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch strings.ToLower(format) {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("log format %q: it is one of text, json", format)
}

// Registry is a new registry with the metrics of the Go runtime and the process.
func Registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

// Tracing sends spans to an OTLP collector over HTTP, at an URL such as
// http://127.0.0.1:4318; where that has no path it is OTLP's own, /v1/traces. Without an URL
// there is no tracing: the provider is nil. stop sends what is left.
func Tracing(ctx context.Context, collector, version string, log *slog.Logger) (provider trace.TracerProvider, stop func(context.Context) error, err error) {
	if collector == "" {
		return nil, func(context.Context) error { return nil }, nil
	}
	u, err := url.Parse(collector)
	if err != nil {
		return nil, nil, fmt.Errorf("trace to %s: %w", collector, err)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.String()))
	if err != nil {
		return nil, nil, fmt.Errorf("trace to %s: %w", collector, err)
	}
	// Without it OpenTelemetry writes to standard error, in the middle of our own log.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("spans were lost", "err", err) }))
	p := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())),
		sdktrace.WithResource(resource.NewSchemaless(
			semconv.ServiceName("tenantry"),
			semconv.ServiceVersion(version),
		)),
	)
	return p, p.Shutdown, nil
}
