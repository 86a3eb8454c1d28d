package adminapi_test

import (
	"testing"
	"time"

	otelattribute "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

type attribute = otelattribute.KeyValue

// ended waits for the one span of a request: it ends a moment after its answer has come.
func ended(t *testing.T, spans *tracetest.SpanRecorder) trace.ReadOnlySpan {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		if all := spans.Ended(); len(all) > 0 {
			return all[0]
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no span ended")
	return nil
}
