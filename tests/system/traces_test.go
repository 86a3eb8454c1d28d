package system

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	traceID     = "0af7651916cd43dd8448eb211c80319c"
	otherTrace  = "11f7651916cd43dd8448eb211c80319c"
	traceparent = "traceparent: 00-" + traceID + "-b7ad6b7169203331-01"
	notSampled  = "traceparent: 00-" + otherTrace + "-b7ad6b7169203331-00"
)

// collected are the spans that an OTLP collector got, by trace: names and services.
type collected struct {
	mu    sync.Mutex
	spans map[string][]string
}

func (c *collected) of(trace string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.spans[trace], "\n")
}

func newCollector(t *testing.T) (*collected, string) {
	t.Helper()
	c := &collected{spans: make(map[string][]string)}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(b, &req)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("a request for %s that is no OTLP: %v", r.URL.Path, err)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, resource := range req.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					region := ""
					for _, a := range s.Attributes {
						if a.Key == "tenantry.region" {
							region = " in " + a.Value.GetStringValue()
						}
					}
					id := hex.EncodeToString(s.TraceId)
					c.spans[id] = append(c.spans[id], s.Name+region)
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	return c, server.URL
}

func TestTraces_OfACommand_LeadThroughTheTopicToTheFoldInEveryRegion(t *testing.T) {
	t.Parallel()
	got, url := newCollector(t)
	d := start(t, t.TempDir(), "--trace-url", url)
	c := newClient(t)
	for _, r := range [][2]string{{"ten_a", traceparent}, {"ten_b", notSampled}} {
		c.must("POST", d.Admin+"/v1/tenants", `{"id":"`+r[0]+`","name":"N","hostnames":["`+r[0][4:]+`.example"],"home_region":"eu-west"}`, r[1])
	}
	checkRegions(t, c, d)
	c.must("GET", d.Regions["eu-west"]+"/v1/lookup/a.example", "", strings.Replace(traceparent, "0af7", "33f7", 1))

	d.stop() // which sends what is left

	for _, region := range both {
		for _, what := range []string{"registered", "hostname-attached"} {
			want := "fold tenantry.tenant." + what + ".v1 in " + region
			if !strings.Contains(got.of(traceID), want) {
				t.Errorf("the command's trace has no span %q:\n%s", want, got.of(traceID))
			}
		}
	}
	if !strings.Contains(got.of(traceID), "/v1/tenants") {
		t.Errorf("the command's trace has no span of the request:\n%s", got.of(traceID))
	}
	if spans := got.of(otherTrace); spans != "" {
		t.Errorf("a trace that is not sampled has spans:\n%s", spans)
	}
	if spans := got.of("33f7" + traceID[4:]); !strings.Contains(spans, "/v1/lookup/") {
		t.Errorf("the look-up's trace: got %q, want a span of the request", spans)
	}
}
