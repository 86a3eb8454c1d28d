package queryapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/queryapi"
)

// item is one of a batch's answer.
type item struct {
	Hostname string
	Context  map[string]any
	Error    struct{ Type, Detail string }
}

func (a answer) items(t testing.TB) []item {
	t.Helper()
	a.is(t, http.StatusOK)
	var out []item
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return out
}

func hostnames(names ...string) string {
	b, _ := json.Marshal(map[string][]string{"hostnames": names})
	return string(b)
}

func TestBatch_OfGoodAndBadHostnames_AnswersEachInItsPlace(t *testing.T) {
	n := newNode(t)
	n.commit(2, tenant(t, "ten_acme", 1, "acme.example"), tenant(t, "ten_books", 2, "bücher.example"))
	asked := []string{"bücher.example", "nobody.example", "ACME.example.", "10.0.0.1", "acme.example", "", "acme.example", "a\u0001\"b"}
	got := n.post("/v1/lookup", hostnames(asked...)).items(t)
	want := []string{"ten_books", "unknown-hostname", "ten_acme", "invalid", "ten_acme", "invalid", "ten_acme", "invalid"}
	if len(got) != len(want) {
		t.Fatalf("%d items, want %d", len(got), len(want))
	}
	for i, it := range got {
		what := strings.TrimPrefix(it.Error.Type, "https://tenantry.dev/problems/")
		if it.Context != nil {
			what = fmt.Sprint(it.Context["tenant_id"])
		}
		if it.Hostname != asked[i] || what != want[i] {
			t.Errorf("item %d is %q: %s, want %q: %s", i, it.Hostname, what, asked[i], want[i])
		}
	}
	if got[2].Context["hostname"] != "acme.example" {
		t.Errorf("the context's hostname is %v, want it normalised", got[2].Context["hostname"])
	}
}

func TestBatch_OfAThousand_IsAnsweredAndOfOneMoreIsRefused(t *testing.T) {
	n := newNode(t)
	names, tenants := make([]string, 1000), make([]events.Tenant, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("t%d.example", i)
		tenants[i] = tenant(t, fmt.Sprintf("ten_t%d", i), uint64(i+1), names[i])
	}
	n.commit(1000, tenants...)
	for i, it := range n.post("/v1/lookup", hostnames(names...)).items(t) {
		if want := fmt.Sprintf("ten_t%d", i); it.Context["tenant_id"] != want {
			t.Fatalf("item %d is %v, want %s", i, it.Context["tenant_id"], want)
		}
	}
	n.post("/v1/lookup", hostnames(slices.Concat(names, []string{"one.more.example"})...)).isProblem(t, http.StatusUnprocessableEntity, "invalid", "/hostnames")
	if got := n.post("/v1/lookup", `{"hostnames":[]}`).is(t, http.StatusOK).body; got != "[]\n" {
		t.Errorf("of none: %q", got)
	}
}

func TestBatch_OfABodyThatIsNotAsDescribed_IsRefusedWhole(t *testing.T) {
	n := newNode(t)
	good := `{"hostnames":["acme.example"]}`
	for _, c := range []struct {
		name, body string
		status     int
		problem    string
		pointer    string
	}{
		{"empty", "", 400, "invalid-json", ""},
		{"space", " \n", 400, "invalid-json", ""},
		{"broken", `{"hostnames":["a`, 400, "invalid-json", "/hostnames/0"},
		{"trailing comma", `{"hostnames":["a.example",]}`, 400, "invalid-json", "/hostnames"},
		{"single quotes", `{'hostnames':[]}`, 400, "invalid-json", ""},
		{"two documents", good + good, 400, "invalid-json", ""},
		{"rubbish behind", good + "x", 400, "invalid-json", ""},
		{"duplicate name", `{"hostnames":[],"hostnames":[]}`, 400, "invalid-json", "/hostnames"},
		{"invalid UTF-8", "{\"hostnames\":[\"a\xff.example\"]}", 400, "invalid-json", "/hostnames/0"},
		{"lone surrogate", `{"hostnames":["\ud800.example"]}`, 400, "invalid-json", "/hostnames/0"},
		{"NUL", `{"hostnames":["a\u0000.example"]}`, 400, "invalid-json", "/hostnames/0"},
		{"raw NUL", "{\"hostnames\":[\"a\x00.example\"]}", 400, "invalid-json", "/hostnames/0"},
		{"deep nesting", `{"hostnames":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + "}", 400, "invalid-json", "/hostnames" + strings.Repeat("/0", 63)},
		{"byte order mark", "\xef\xbb\xbf" + good, 400, "invalid-json", ""},
		{"an array", `["acme.example"]`, 422, "invalid", ""},
		{"null", `null`, 422, "invalid", ""},
		{"a string", `"acme.example"`, 422, "invalid", ""},
		{"no hostnames", `{}`, 422, "invalid", "/hostnames"},
		{"null hostnames", `{"hostnames":null}`, 422, "invalid", "/hostnames"},
		{"one string", `{"hostnames":"acme.example"}`, 422, "invalid", "/hostnames"},
		{"a number", `{"hostnames":["acme.example",7]}`, 422, "invalid", "/hostnames/1"},
		{"a null", `{"hostnames":[null]}`, 422, "invalid", "/hostnames/0"},
		{"nested", `{"hostnames":[["acme.example"]]}`, 422, "invalid", "/hostnames/0"},
		{"unknown member", `{"hostnames":[],"wait":"2s"}`, 422, "invalid", "/wait"},
		{"other case", `{"Hostnames":[]}`, 422, "invalid", "/hostnames"},
		{"1 MiB + 1", `{"hostnames":["` + strings.Repeat("a", 1<<20-len(`{"hostnames":[""]}`)+1) + `"]}`, 413, "too-large", "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.post("/v1/lookup", c.body).isProblem(t, c.status, c.problem, c.pointer)
		})
	}

	whole := `{"hostnames":["` + strings.Repeat("a", 1<<20-len(`{"hostnames":[""]}`)) + `"]}`
	got := n.post("/v1/lookup", whole).items(t)
	if len(got) != 1 || !strings.HasSuffix(got[0].Error.Type, "/invalid") {
		t.Errorf("a body of 1 MiB with one impossible hostname: %d items", len(got))
	}
}

func TestBatch_OfAnotherMediaType_IsRefused(t *testing.T) {
	n := newNode(t)
	good := `{"hostnames":[]}`
	for _, contentType := range []string{"application/x-www-form-urlencoded", "text/plain", "application/json; charset=latin1", "nonsense/", "application/x-ndjson"} {
		n.do(http.MethodPost, "/v1/lookup", good, "Content-Type", contentType).isProblem(t, http.StatusUnsupportedMediaType, "unsupported-media-type", "-")
	}
	n.post("/v1/lookup", good, "Content-Encoding", "gzip").isProblem(t, http.StatusUnsupportedMediaType, "unsupported-media-type", "-")
	for _, contentType := range []string{"", "application/json", "application/json; charset=UTF-8", "APPLICATION/JSON"} {
		var header []string
		if contentType != "" {
			header = []string{"Content-Type", contentType}
		}
		n.do(http.MethodPost, "/v1/lookup", good, header...).is(t, http.StatusOK)
	}
}

func TestBatch_OfAKnownETag_AnswersNotModifiedUntilAnAnswerChanges(t *testing.T) {
	n := newNode(t)
	n.commit(1, tenant(t, "ten_acme", 1, "acme.example"))
	body := hostnames("acme.example", "nobody.example")
	etag := n.post("/v1/lookup", body).is(t, http.StatusOK).header.Get("ETag")
	n.post("/v1/lookup", body, "If-None-Match", etag).is(t, http.StatusNotModified)
	n.commit(2, tenant(t, "ten_nobody", 2, "nobody.example"))
	n.post("/v1/lookup", body, "If-None-Match", etag).is(t, http.StatusOK)
}

func TestBatch_ThatAsksForAWrite_WaitsForItOnce(t *testing.T) {
	n := newNode(t)
	done := make(chan answer)
	go func() {
		a, err := n.try(http.MethodPost, "/v1/lookup?wait=30s&at_least="+token(storeID, 5, 1), hostnames("acme.example"))
		if err != nil {
			t.Error(err)
		}
		done <- a
	}()
	n.commit(4)
	n.commit(5, tenant(t, "ten_acme", 5, "acme.example"))
	a := <-done
	if got := a.items(t); got[0].Context["version"] != 5.0 {
		t.Errorf("got %v", got)
	}
	if p := a.header.Get("Tenantry-Position"); p != "5" {
		t.Errorf("Tenantry-Position is %s, want 5", p)
	}
	n.post("/v1/lookup?min_version=5", hostnames("acme.example")).isProblem(t, http.StatusBadRequest, "bad-request", "-")
	n.post("/v1/lookup?min_position=9&wait=0", hostnames("acme.example")).isProblem(t, http.StatusGatewayTimeout, "not-yet-visible", "-")
}

// damaged is a copy of which one record cannot be read.
type damaged struct {
	*readmodel.Live
	hostname string
}

func (d damaged) Lookup(h events.Hostname) (*readmodel.Document, error) {
	if h.String() == d.hostname {
		return nil, fmt.Errorf("look up %s: damaged record at secret-place", h)
	}
	return d.Live.Lookup(h)
}

func TestBatch_WithADamagedRecord_AnswersTheOthers(t *testing.T) {
	var log bytes.Buffer
	n := newNode(t, func(cfg *queryapi.Config) {
		cfg.Reader = damaged{Live: cfg.Reader.(*readmodel.Live), hostname: "bad.example"}
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	n.commit(1, tenant(t, "ten_acme", 1, "acme.example"))
	a := n.post("/v1/lookup", hostnames("bad.example", "acme.example"))
	got := a.items(t)
	if !strings.HasSuffix(got[0].Error.Type, "/internal") || got[1].Context["tenant_id"] != "ten_acme" {
		t.Errorf("got %+v", got)
	}
	single := n.get("/v1/lookup/bad.example")
	single.isProblem(t, http.StatusInternalServerError, "internal", "-")
	if strings.Contains(a.body+single.body, "secret-place") {
		t.Errorf("the client is told what happened inside: %s %s", a.body, single.body)
	}
	if got := strings.Count(log.String(), "secret-place"); got != 2 {
		t.Errorf("the log tells it %d times, want 2: %s", got, log.String())
	}
}
