package schematest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/schemas"
	"github.com/tenantry/tenantry/schemas/schematest"
)

// verdicts stands in for the test that is judged, and keeps what it was told.
type verdicts struct {
	testing.TB
	errors []string
}

func (v *verdicts) Helper()           {}
func (v *verdicts) Error(args ...any) { v.errors = append(v.errors, fmt.Sprint(args...)) }

// answer is what a handler under test sends.
type answer struct {
	status int
	header map[string]string
	body   string
}

func (a answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	// In two parts, as a stream may come in any.
	_, _ = io.WriteString(w, a.body[:len(a.body)/2])
	_, _ = io.WriteString(w, a.body[len(a.body)/2:])
}

func headers(pairs ...string) map[string]string {
	h := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = pairs[i+1]
	}
	return h
}

const (
	tenant = `{"id":"ten_acme","name":"Acme","status":"active","hostnames":["acme.example"],"primary_hostname":"acme.example",
		"home_region":"eu-west","version":2,"position":7,"created_at":"2026-11-21T02:14:00Z","updated_at":"2026-11-21T02:14:00.5Z"}`
	done     = `{"id":"ten_acme","version":2,"position":7,"events":[{"type":"tenantry.tenant.renamed.v1","version":2,"position":7}],"unchanged":false}`
	notFound = `{"type":"https://tenantry.dev/problems/not-found","title":"t","status":404,"detail":"d"}`
	noRoute  = `{"type":"https://tenantry.dev/problems/no-such-route","title":"t","status":404,"detail":"d"}`
	event    = `{"id":"0193f3a1-6f7e-7c3a-9a51-0d2a4c1b7e90","stream":"ten_acme","version":2,"position":7,"type":"tenantry.tenant.renamed.v1",
		"time":"2026-11-21T02:14:00Z","data":{"name":"Acme"}}`
)

func TestValidate_JudgesEachAnswerByTheDocument(t *testing.T) {
	asJSON := headers("Content-Type", "application/json", "Etag", `"2"`)
	problem := headers("Content-Type", "application/problem+json")
	lines := headers("Content-Type", "application/x-ndjson", "Tenantry-Position", "7", "Tenantry-Store-Id", "0193f3a1-6f7e-7c3a-9a51-0d2a4c1b7e90")
	line := strings.Join(strings.Fields(event), " ") + "\n"

	for _, c := range []struct {
		name   string
		method string // GET
		path   string
		body   string
		answer answer
		want   string // in the verdict; "" is none
	}{
		{name: "a described answer", path: "/v1/tenants/ten_acme", answer: answer{200, asJSON, tenant}},
		{name: "a described problem", path: "/v1/tenants/ten_acme", answer: answer{404, problem, notFound}},
		{name: "a status left to net/http", path: "/v1/tenants/ten_acme", answer: answer{0, asJSON, tenant}},
		{name: "a 304", path: "/v1/tenants/ten_acme", answer: answer{304, headers("Etag", `"2"`), ""}},
		{name: "a described command", method: "PATCH", path: "/v1/tenants/ten_acme", body: `{"name":"Acme"}`, answer: answer{200, asJSON, done}},
		{name: "a path that is escaped", method: "DELETE", path: "/v1/tenants/ten_acme/config/a%2Fb", answer: answer{404, problem, notFound}},
		{name: "a bare dry_run", method: "DELETE", path: "/v1/tenants/ten_acme?dry_run", answer: answer{200, headers("Content-Type", "application/json"),
			strings.NewReplacer(`"position":7`, `"position":0`, `"unchanged":false`, `"unchanged":false,"dry_run":true`).Replace(done)}},
		{name: "an unknown path", path: "/v1/elsewhere", answer: answer{404, problem, noRoute}},
		{name: "an unknown method", method: "PUT", path: "/v1/tenants", answer: answer{405, headers("Content-Type", "application/problem+json", "Allow", "GET, POST"),
			`{"type":"https://tenantry.dev/problems/method-not-allowed","title":"t","status":405,"detail":"d"}`}},
		{name: "lines", path: "/v1/events?after=5", answer: answer{200, lines, line + line}},
		{name: "no line", path: "/v1/events", answer: answer{200, lines, ""}},
		{name: "a bad request that is refused", method: "PATCH", path: "/v1/tenants/ten_acme", body: `{"x":1}`, answer: answer{400, problem,
			`{"type":"https://tenantry.dev/problems/invalid-json","title":"t","status":400,"detail":"d"}`}},

		{name: "an undescribed status", path: "/v1/tenants/ten_acme", answer: answer{418, asJSON, tenant}, want: "no answer 418"},
		{name: "an undescribed media type", path: "/v1/tenants/ten_acme", answer: answer{200, headers("Content-Type", "text/plain", "Etag", `"2"`), tenant}, want: "no answer of type"},
		{name: "no media type", path: "/v1/tenants/ten_acme", answer: answer{200, headers("Etag", `"2"`), ""}, want: "no answer of type"},
		{name: "a missing header", path: "/v1/tenants/ten_acme", answer: answer{200, headers("Content-Type", "application/json"), tenant}, want: "ETag is missing"},
		{name: "a header that is not as described", path: "/v1/tenants/ten_acme", answer: answer{200, headers("Content-Type", "application/json", "Etag", `2`), tenant}, want: "header ETag"},
		{name: "an undescribed header", path: "/v1/tenants/ten_acme", answer: answer{200, headers("Content-Type", "application/json", "Etag", `"2"`, "X-Powered-By", "x"), tenant}, want: "X-Powered-By"},
		{name: "an undescribed member", path: "/v1/tenants/ten_acme", answer: answer{200, asJSON, strings.Replace(tenant, `"name"`, `"nick":"A","name"`, 1)}, want: "nick"},
		{name: "a missing member", path: "/v1/tenants/ten_acme", answer: answer{200, asJSON, strings.Replace(tenant, `"name":"Acme",`, ``, 1)}, want: "name"},
		{name: "a member of the wrong type", path: "/v1/tenants/ten_acme", answer: answer{200, asJSON, strings.Replace(tenant, `"version":2`, `"version":"2"`, 1)}, want: "version"},
		{name: "a time that is none", path: "/v1/tenants/ten_acme", answer: answer{200, asJSON, strings.Replace(tenant, `2026-11-21T02:14:00Z`, `2026-11-21 02:14Z`, 1)}, want: "created_at"},
		{name: "broken JSON", path: "/v1/tenants/ten_acme", answer: answer{200, asJSON, tenant[1:]}, want: "not JSON"},
		{name: "another status's problem", path: "/v1/tenants/ten_acme", answer: answer{404, problem, strings.Replace(notFound, "not-found", "exists", 1)}, want: "/type"},
		{name: "a position in a dry run", method: "DELETE", path: "/v1/tenants/ten_acme", answer: answer{200, asJSON, strings.Replace(done, `false`, `false,"dry_run":true`, 1)}, want: "position"},
		{name: "a body where there is none", path: "/v1/tenants/ten_acme", answer: answer{304, headers("Etag", `"2"`, "Content-Type", "application/json"), ""}, want: "no body"},
		{name: "an unknown path that is served", path: "/v1/elsewhere", answer: answer{200, asJSON, `{}`}, want: "no such operation"},
		{name: "an unknown method without Allow", method: "PUT", path: "/v1/tenants", answer: answer{405, problem, noRoute}, want: "Allow"},
		{name: "a line with an undescribed member", path: "/v1/events", answer: answer{200, lines, line + strings.Replace(line, `"version"`, `"x":1,"version"`, 1)}, want: "line 2"},
		{name: "a line with a payload of another type", path: "/v1/events", answer: answer{200, lines, strings.Replace(line, `{"name":"Acme"}`, `{"hostname":"acme.example"}`, 1)}, want: "line 1"},
		{name: "a history with a payload of another type", path: "/v1/tenants/ten_acme/events", answer: answer{200, headers("Content-Type", "application/json", "Tenantry-Store-Id", "0193f3a1-6f7e-7c3a-9a51-0d2a4c1b7e90"),
			`{"items":[` + strings.Replace(line, `{"name":"Acme"}`, `{}`, 1) + `]}`}, want: "items[0]"},
		{name: "lines that break off", path: "/v1/events", answer: answer{200, lines, strings.TrimSuffix(line, "\n")}, want: "does not end"},
		{name: "a bad body that is taken", method: "PATCH", path: "/v1/tenants/ten_acme", body: `{"x":1}`, answer: answer{200, asJSON, done}, want: "took a body"},
		{name: "no body where one is required", method: "PATCH", path: "/v1/tenants/ten_acme", answer: answer{200, asJSON, done}, want: "without a body"},
		{name: "a bad ID that is taken", path: "/v1/tenants/db_acme", answer: answer{200, asJSON, tenant}, want: "took a request whose"},
		{name: "a bad parameter that is taken", path: "/v1/tenants/ten_acme?version=0", answer: answer{200, asJSON, tenant}, want: "took a request whose"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.method == "" {
				c.method = http.MethodGet
			}
			request := func(url string) *http.Request {
				r, err := http.NewRequestWithContext(t.Context(), c.method, url, strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/json")
				return r
			}
			check := func(from string, v *verdicts) {
				t.Helper()
				got := strings.Join(v.errors, "\n")
				if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
					t.Errorf("%s: got verdict %q, want one with %q", from, got, c.want)
				}
			}

			inside := &verdicts{TB: t}
			w := httptest.NewRecorder()
			schematest.Validate(inside, schemas.AdminOpenAPI)(c.answer).ServeHTTP(w, request("http://tenantry.test"+c.path))
			check("Validate", inside)
			if w.Body.String() != c.answer.body {
				t.Errorf("got body %q, want it unchanged: %q", w.Body, c.answer.body)
			}

			if c.name == "no media type" || c.name == "a body where there is none" {
				return // net/http itself sends something else
			}
			outside := &verdicts{TB: t}
			server := httptest.NewServer(c.answer)
			defer server.Close()
			client := http.Client{Transport: schematest.Transport(outside, schemas.AdminOpenAPI, server.Client().Transport)}
			res, err := client.Do(request(server.URL + c.path))
			if err != nil {
				t.Fatal(err)
			}
			if c.name == "a described answer" { // one that is not read to its end is judged as well
				if err := json.NewDecoder(res.Body).Decode(&struct{}{}); err != nil {
					t.Fatal(err)
				}
			} else if _, err := io.ReadAll(res.Body); err != nil {
				t.Fatal(err)
			}
			if err := res.Body.Close(); err != nil {
				t.Fatal(err)
			}
			check("Transport", outside)
		})
	}
}

func TestValidate_AStreamIsFlushedThrough(t *testing.T) {
	first := make(chan struct{})
	h := schematest.Validate(t, schemas.AdminOpenAPI)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range headers("Content-Type", "application/x-ndjson", "Tenantry-Position", "7", "Tenantry-Store-Id", "0193f3a1-6f7e-7c3a-9a51-0d2a4c1b7e90") {
			w.Header().Set(name, value)
		}
		line := strings.Join(strings.Fields(event), " ") + "\n"
		_, _ = io.WriteString(w, line)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-first // the client has the first line before the second is written
		_, _ = io.WriteString(w, line)
	}))
	server := httptest.NewServer(h)
	defer server.Close()
	res, err := server.Client().Get(server.URL + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	dec := json.NewDecoder(res.Body)
	for i := range 2 {
		if err := dec.Decode(&struct{}{}); err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		if i == 0 {
			close(first)
		}
	}
}
