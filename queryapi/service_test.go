package queryapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/queryapi"
	"github.com/tenantry/tenantry/schemas"
)

func TestStatus_OfANode_TellsHowFarItIs(t *testing.T) {
	var notReady error
	n := newNode(t, at(noon.Add(84*time.Millisecond)), func(cfg *queryapi.Config) {
		cfg.Ready = func() error { return notReady }
		cfg.Generation = func() string { return "gen-0007" }
	})
	acme := tenant(t, "ten_acme", 4, "acme.example")
	n.commit(4, acme)
	if err := n.live.Model().Update(func(tx *readmodel.Tx) error {
		tx.Progress().Partitions[1].Position = 9
		tx.Progress().Partitions[2].Offset = -1
		return tx.SetQuarantine(readmodel.Quarantine{Stream: acme.ID.Stream(), Position: 5, Version: 5, Error: "unknown event type", Since: noon})
	}); err != nil {
		t.Fatal(err)
	}
	a := n.get("/v1/status").is(t, http.StatusOK)
	want := `{"region":"eu-west","node":"eu-west-1","ready":true,"generation":"gen-0007","store_id":"` + storeID.String() + `","position":4,"staleness_ms":84,` +
		`"partitions":[{"partition":0,"offset":4,"position":4,"watermark":"2026-11-21T12:00:00Z"},` +
		`{"partition":1,"offset":4,"position":9,"watermark":"2026-11-21T12:00:00Z"},{"partition":2,"offset":-1,"position":4,"watermark":"2026-11-21T12:00:00Z"}],` +
		`"quarantined":[{"stream":"ten_acme","position":5,"version":5,"error":"unknown event type","since":"2026-11-21T12:00:00Z"}]}` + "\n"
	if a.body != want {
		t.Errorf("got  %swant %s", a.body, want)
	}
	if a.header.Get("Tenantry-Position") != "4" || a.header.Get("Tenantry-Staleness") != "84" || a.header.Get("ETag") == "" {
		t.Errorf("headers are %v", a.header)
	}
	n.get("/v1/status", "If-None-Match", a.header.Get("ETag")).is(t, http.StatusNotModified)

	notReady = errors.New("the region is catching up")
	var got struct {
		Ready    bool
		NotReady string `json:"not_ready"`
	}
	if err := json.Unmarshal([]byte(n.get("/v1/status").is(t, http.StatusOK).body), &got); err != nil || got.Ready || got.NotReady != notReady.Error() {
		t.Errorf("while not ready it says %+v (%v)", got, err)
	}
}

func TestNode_WhoseCopyIsNotKeptUpToDate_SaysWhyAndStaysReady(t *testing.T) {
	trouble := errors.New("disk full: /data has 0 MiB free\nand needs 64 MiB")
	n := newNode(t, func(cfg *queryapi.Config) { cfg.Following = func() error { return trouble } })
	n.get("/readyz").is(t, http.StatusOK)
	want := "[+]read-model ok\n[+]node ok\n[!]following stopped: disk full: /data has 0 MiB free and needs 64 MiB\nready\n"
	if got := n.get("/readyz?verbose").is(t, http.StatusOK).body; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var got struct {
		NotFollowing string `json:"not_following"`
	}
	if err := json.Unmarshal([]byte(n.get("/v1/status").is(t, http.StatusOK).body), &got); err != nil || got.NotFollowing != trouble.Error() {
		t.Errorf("status: got %q, %v", got.NotFollowing, err)
	}
	trouble = nil
	if got := n.get("/v1/status").body; strings.Contains(got, "not_following") {
		t.Errorf("it is said of one that follows: %s", got)
	}
}

func TestStatus_OfANodeWithoutAModel_AnswersAllTheSame(t *testing.T) {
	n := newNode(t)
	n.live.Swap(nil)
	want := `{"region":"eu-west","node":"eu-west-1","ready":true,"generation":"","store_id":"","position":0,"staleness_ms":null,"partitions":[],"quarantined":[]}` + "\n"
	a := n.get("/v1/status").is(t, http.StatusOK)
	if a.body != want {
		t.Errorf("got %s", a.body)
	}
	if _, said := a.header["Tenantry-Staleness"]; said {
		t.Errorf("a staleness is told that nobody knows: %v", a.header)
	}
}

func TestStatus_OfACopyThatWasCompared_TellsHowThatWent(t *testing.T) {
	var last *queryapi.Verified
	notice := ""
	n := newNode(t, func(cfg *queryapi.Config) {
		cfg.Verified = func() *queryapi.Verified { return last }
		cfg.Notice = func() string { return notice }
	})
	if got := n.get("/v1/status").is(t, http.StatusOK).body; strings.Contains(got, "verified") || strings.Contains(got, "notice") {
		t.Errorf("before the first: %s", got)
	}
	last = &queryapi.Verified{At: noon, Result: "different", Position: 7, Different: 2, Healed: 1, Error: "the source is away"}
	notice = "gen-0002 is not served any more"
	want := `"verified":{"at":"2026-11-21T12:00:00Z","result":"different","position":7,"different":2,"healed":1,"error":"the source is away"}`
	if got := n.get("/v1/status").is(t, http.StatusOK).body; !strings.Contains(got, want) || !strings.Contains(got, `"notice":"gen-0002 is not served any more"`) {
		t.Errorf("got %s, want %s in it, and the notice", got, want)
	}
}

func TestReadyz_OfANode_NamesWhatIsMissing(t *testing.T) {
	var notReady error
	n := newNode(t, func(cfg *queryapi.Config) { cfg.Ready = func() error { return notReady } })
	for _, c := range []struct {
		set    func()
		path   string
		status int
		body   string
	}{
		{func() {}, "/livez", 200, "ok\n"},
		{func() {}, "/readyz", 200, "ok\n"},
		{func() {}, "/readyz?verbose", 200, "[+]read-model ok\n[+]node ok\nready\n"},
		{func() { notReady = errors.New("the region is\nrebuilding") }, "/readyz", 503, "[+]read-model ok\n[-]node failed: the region is rebuilding\nnot ready\n"},
		{func() {}, "/livez", 200, "ok\n"},
		{func() { n.live.Swap(openModel(t)); notReady = nil }, "/readyz?verbose=1", 503, "[-]read-model failed: the region's read model does not hold everything yet\n[+]node ok\nnot ready\n"},
		{func() { n.live.Swap(nil) }, "/readyz", 503, "[-]read-model failed: the region's read model is being built\n[+]node ok\nnot ready\n"},
	} {
		c.set()
		if a := n.get(c.path); a.status != c.status || a.body != c.body || a.header.Get("Content-Type") != "text/plain; charset=UTF-8" {
			t.Errorf("%s answered %d %q (%s), want %d %q", c.path, a.status, a.body, a.header.Get("Content-Type"), c.status, c.body)
		}
	}
}

func TestAPI_WithoutReady_IsReadyOnceItsCopyIsComplete(t *testing.T) {
	n := newNode(t, func(cfg *queryapi.Config) { cfg.Ready = nil })
	n.get("/v1/lookup/acme.example").isProblem(t, http.StatusNotFound, "unknown-hostname", "-")
	n.live.Swap(openModel(t))
	n.get("/v1/lookup/acme.example").isProblem(t, http.StatusServiceUnavailable, "not-ready", "-")
}

func TestAPI_OfAPathOrMethodThatIsNotThere_AnswersAProblem(t *testing.T) {
	n := newNode(t)
	for _, path := range []string{"/", "/v1", "/v1/", "/v1/nothing", "/v1/lookup/", "/v1/lookup/a.example/b", "/v1/lookup/a.example/", "/v1/tenants", "/v1/tenants/ten_a/events", "/docs/nothing.js", "/LIVEZ"} {
		n.get(path).isProblem(t, http.StatusNotFound, "no-such-route", "-")
	}
	for path, allow := range map[string]string{
		"/v1/lookup": "OPTIONS, POST", "/v1/lookup/a.example": "OPTIONS, GET, HEAD", "/v1/tenants/ten_a": "OPTIONS, GET, HEAD", "/v1/status": "OPTIONS, GET, HEAD",
	} {
		for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch, "PROPFIND", "NONSENSE"} {
			a := n.do(method, path, "")
			a.isProblem(t, http.StatusMethodNotAllowed, "method-not-allowed", "-")
			if got := a.header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow is %q, want %q", method, path, got, allow)
			}
		}
	}
	n.get("/v1/lookup").isProblem(t, http.StatusMethodNotAllowed, "method-not-allowed", "-")
}

func TestAPI_OfARequestID_EchoesWhatIsSafeInALog(t *testing.T) {
	n := newNode(t)
	for id, want := range map[string]string{
		"req-81b2": "req-81b2", "a:b/c+d=e@f": "a:b/c+d=e@f", strings.Repeat("x", 128): strings.Repeat("x", 128),
		"": "", strings.Repeat("x", 129): "", "with space": "", `quote"`: "", `back\slash`: "", "ü": "",
	} {
		for _, path := range []string{"/v1/lookup/nobody.example", "/livez", "/nowhere"} {
			a := n.get(path, "X-Request-Id", id)
			got := a.header.Get("X-Request-Id")
			if want == "" && path != "/livez" {
				// A problem has one of our own, since it is what the log is searched for.
				if _, err := uuid.Parse(got); err != nil || !strings.Contains(a.body, `"request_id":"`+got+`"`) {
					t.Errorf("%s with %q: got %q, want one that was made up, in the body too: %s", path, id, got, a.body)
				}
				continue
			}
			if got != want {
				t.Errorf("%s: %q is echoed as %q, want %q", path, id, got, want)
			}
			if want != "" && path != "/livez" && !strings.Contains(a.body, `"request_id":"`+want+`"`) {
				t.Errorf("the problem does not name the request: %s", a.body)
			}
		}
	}
	if a := n.get("/livez", "X-Request-Id", "one", "X-Request-Id", "two"); a.header.Get("X-Request-Id") != "" {
		t.Errorf("of two, %q is echoed", a.header.Get("X-Request-Id"))
	}
}

func TestAPI_ForReaders_ServesItsDescription(t *testing.T) {
	n := newNode(t)
	if got := n.get("/openapi.yaml").is(t, http.StatusOK); got.body != string(schemas.QueryOpenAPI) {
		t.Errorf("/openapi.yaml is another document of %d octets", len(got.body))
	}
	if got := n.get("/docs").is(t, http.StatusOK); !strings.Contains(got.body, "Tenantry query API") {
		t.Errorf("/docs does not name the API: %.200s", got.body)
	}
}

// panicking is a copy with a bug.
type panicking struct{ *readmodel.Live }

func (panicking) Lookup(events.Hostname) (*readmodel.Document, error) { panic("index out of range") }

func TestAPI_WhenAHandlerPanics_AnswersAProblemAndGoesOn(t *testing.T) {
	var log bytes.Buffer
	n := newNode(t, func(cfg *queryapi.Config) {
		cfg.Reader = panicking{cfg.Reader.(*readmodel.Live)}
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	for range 2 {
		n.get("/v1/lookup/acme.example", "X-Request-Id", "req-9").isProblem(t, http.StatusInternalServerError, "internal", "-")
	}
	for _, want := range []string{"index out of range", "service_test.go", "req-9", "/v1/lookup/:hostname"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q: %s", want, log.String())
		}
	}
}

func TestMetrics_OfLookups_CountEachOnceByOutcome(t *testing.T) {
	registry := prometheus.NewRegistry()
	var notReady error
	n := newNode(t, func(cfg *queryapi.Config) {
		cfg.Gatherer, cfg.Registerer = registry, registry
		cfg.Ready = func() error { return notReady }
	})
	n.commit(1, tenant(t, "ten_acme", 1, "acme.example"))
	etag := n.get("/v1/lookup/acme.example").header.Get("ETag")
	n.get("/v1/lookup/acme.example", "If-None-Match", etag).is(t, http.StatusNotModified)
	n.get("/v1/lookup/nobody.example")
	n.get("/v1/lookup/_")
	n.get("/v1/lookup/acme.example?min_version=2&wait=1ms")
	n.get("/v1/lookup/acme.example?wait=soon")
	n.get("/v1/tenants/ten_acme")
	n.post("/v1/lookup", hostnames("acme.example", "nobody.example", "acme.example", "_"))
	notReady = errors.New("the region is catching up")
	n.get("/v1/lookup/acme.example")

	// A second region of the process has the same metrics.
	queryapi.New(queryapi.Config{Reader: n.live, Region: "us-east", Registerer: registry})

	got := map[string]float64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["region"] != "eu-west" {
				continue
			}
			delete(labels, "region")
			name := f.GetName()
			for _, l := range []string{"by", "outcome", "result", "type"} {
				if labels[l] != "" {
					name += " " + labels[l]
				}
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			if value != 0 {
				got[name] = value
			}
		}
	}
	if diff := cmp.Diff(map[string]float64{
		"tenantry_lookups_total hostname found": 1, "tenantry_lookups_total hostname unmodified": 1, "tenantry_lookups_total hostname unknown": 1,
		"tenantry_lookups_total hostname invalid": 1, "tenantry_lookups_total hostname not_yet_visible": 1, "tenantry_lookups_total hostname refused": 1,
		"tenantry_lookups_total hostname not_ready": 1, "tenantry_lookups_total tenant found": 1,
		"tenantry_lookups_total batch found": 2, "tenantry_lookups_total batch unknown": 1, "tenantry_lookups_total batch invalid": 1,
		"tenantry_lookup_seconds": 5, "tenantry_lookup_batch_hostnames": 1,
		"tenantry_lookup_waits_total timeout": 1, "tenantry_lookup_wait_seconds": 1,
		"tenantry_query_problems_total unknown-hostname": 1, "tenantry_query_problems_total invalid": 1, "tenantry_query_problems_total not-yet-visible": 1,
		"tenantry_query_problems_total bad-request": 1, "tenantry_query_problems_total not-ready": 1,
	}, got); diff != "" {
		t.Error(diff)
	}
	exposed := n.get("/metrics").is(t, http.StatusOK).body
	for name := range got {
		if metric, _, _ := strings.Cut(name, " "); !strings.Contains(exposed, "# HELP "+metric+" ") {
			t.Errorf("/metrics has no help on %s", metric)
		}
	}
}

func TestTrace_OfALookup_ContinuesTheClients(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	n := newNode(t, func(cfg *queryapi.Config) { cfg.TracerProvider = provider })
	n.commit(1, tenant(t, "ten_acme", 1, "acme.example"))
	const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	n.get("/v1/lookup/acme.example", "traceparent", traceparent).is(t, http.StatusOK)
	n.get("/v1/lookup/acme.example", "traceparent", "nonsense").is(t, http.StatusOK)

	ended := spans.Ended()
	if len(ended) != 2 {
		t.Fatalf("%d spans, want 2", len(ended))
	}
	for i, span := range ended {
		if got := span.Name(); got != "GET /v1/lookup/:hostname" {
			t.Errorf("span %d is called %s", i, got)
		}
		if continued := strings.Contains(traceparent, span.SpanContext().TraceID().String()) && strings.Contains(traceparent, span.Parent().SpanID().String()); continued != (i == 0) {
			t.Errorf("span %d continues the client's trace: %v", i, continued)
		}
		route := fmt.Sprint(attribute.String("http.route", "/v1/lookup/:hostname"))
		var found bool
		for _, kv := range span.Attributes() {
			found = found || fmt.Sprint(kv) == route
		}
		if !found {
			t.Errorf("span %d has no http.route: %v", i, span.Attributes())
		}
	}
}
