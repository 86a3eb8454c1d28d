package adminapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/commands/adminapi"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/schemas"
	"github.com/tenantry/tenantry/schemas/schematest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// partitions is how many the topic has in these tests.
const partitions = 12

// server is the API on a store of its own. Every answer is held against admin.openapi.yaml.
type server struct {
	t     *testing.T
	url   string
	store events.Store
	clock *clock
	log   *bytes.Buffer // read it only when no request is under way
}

// clock is a time that a test moves.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newServer(t *testing.T, change ...func(*adminapi.Config)) *server {
	t.Helper()
	return newServerOn(t, openStore(t), change...)
}

func openStore(t testing.TB) *embedded.Store {
	t.Helper()
	store, err := embedded.Open(context.Background(), embedded.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func newServerOn(t *testing.T, store events.Store, change ...func(*adminapi.Config)) *server {
	t.Helper()
	s := &server{t: t, store: store, clock: &clock{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}, log: new(bytes.Buffer)}
	logger := slog.New(slog.NewTextHandler(s.log, nil))
	registry := prometheus.NewRegistry()
	cfg := adminapi.Config{
		Commands: commands.NewHandler(store, commands.Config{
			HomeRegions: []string{"eu-west", "us-east"}, Clock: s.clock.Now, Logger: logger, Registerer: registry,
		}),
		Store: store, Partitions: partitions, Logger: logger, Gatherer: registry, Registerer: registry, Clock: s.clock.Now,
	}
	for _, c := range change {
		c(&cfg)
	}
	handler, err := adminapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(schematest.Validate(t, schemas.AdminOpenAPI)(handler))
	t.Cleanup(web.Close)
	s.url = web.URL
	return s
}

// reply is an answer, read to its end.
type reply struct {
	t       testing.TB
	request string
	status  int
	header  http.Header
	body    string
}

// send sends a request. A body is sent as JSON, unless a header says otherwise; headers are
// "Name: value".
func (s *server) send(method, path, body string, headers ...string) reply {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if r.Header.Del(name); value != "" {
			r.Header.Set(name, value)
		}
	}
	return s.do(r)
}

func (s *server) do(r *http.Request) reply {
	s.t.Helper()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatalf("%s %s: read the answer: %v", r.Method, r.URL.Path, err)
	}
	return reply{t: s.t, request: r.Method + " " + r.URL.RequestURI(), status: answer.StatusCode, header: answer.Header, body: string(b)}
}

func (s *server) get(path string, headers ...string) reply {
	s.t.Helper()
	return s.send("GET", path, "", headers...)
}

// must is send for what has to succeed.
func (s *server) must(method, path, body string, headers ...string) reply {
	s.t.Helper()
	r := s.send(method, path, body, headers...)
	if r.status >= 300 {
		s.t.Fatalf("%s: got %d: %s", r.request, r.status, r.body)
	}
	return r
}

// want checks the status.
func (r reply) want(status int) reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: got %d, want %d: %s", r.request, r.status, status, r.body)
	}
	return r
}

// as reads the body into v.
func (r reply) as(v any) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.body), v, json.MatchCaseInsensitiveNames(true)); err != nil {
		r.t.Fatalf("%s: %v: %s", r.request, err, r.body)
	}
}

// done is a command's answer.
type done struct {
	ID        string
	Version   uint64
	Position  uint64
	Events    []events.Appended
	Unchanged bool
	DryRun    bool `json:"dry_run"`
}

func (r reply) done() done {
	r.t.Helper()
	var d done
	r.as(&d)
	return d
}

// types are the events of a command's answer, without "tenantry." and ".v1".
func (d done) types() string {
	var out []string
	for _, e := range d.Events {
		out = append(out, strings.TrimSuffix(strings.TrimPrefix(string(e.Type), "tenantry."), ".v1"))
	}
	return strings.Join(out, " ")
}

// fault is a problem's answer.
type fault struct {
	Type, Title, Detail string
	Status              int
	Errors              []struct{ Pointer, Detail string }
	Hostname, Holder    string
	RequestID           string  `json:"request_id"`
	CurrentVersion      *uint64 `json:"current_version"`
}

// refused checks that the answer is a problem of this status and type, and is that problem.
func (r reply) refused(status int, name string) fault {
	r.t.Helper()
	r.want(status)
	var f fault
	r.as(&f)
	if got, want := r.header.Get("Content-Type"), "application/problem+json"; got != want {
		r.t.Errorf("%s: got Content-Type %q, want %q", r.request, got, want)
	}
	if got, want := f.Type, "https://tenantry.dev/problems/"+name; got != want {
		r.t.Errorf("%s: got type %s, want %s: %s", r.request, got, want, r.body)
	}
	if f.Status != status || f.Detail == "" || f.Title == "" {
		r.t.Errorf("%s: not a whole problem: %s", r.request, r.body)
	}
	return f
}

// pointers are the fields at fault.
func (f fault) pointers() string {
	var out []string
	for _, e := range f.Errors {
		out = append(out, e.Pointer)
	}
	return strings.Join(out, " ")
}

// head is the position of the store's last event.
func (s *server) head() uint64 {
	s.t.Helper()
	head, err := s.store.Head(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	return head.Position
}

// unmoved checks that nothing was appended since.
func (s *server) unmoved(since uint64) {
	s.t.Helper()
	if got := s.head(); got != since {
		s.t.Errorf("got the log at position %d, want it at %d as before", got, since)
	}
}

// lines are the lines of an NDJSON answer.
func (r reply) lines() []string {
	if r.body == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(r.body, "\n"), "\n")
}

// imported is the answer to one line of an import.
type imported struct {
	Line   int
	ID     string
	Status string
	Error  *fault
}

func (s *server) importing(lines string, headers ...string) []imported {
	s.t.Helper()
	r := s.send("POST", "/v1/import", lines, append([]string{"Content-Type: application/x-ndjson"}, headers...)...).want(200)
	var out []imported
	for _, line := range r.lines() {
		var one imported
		if err := json.Unmarshal([]byte(line), &one, json.MatchCaseInsensitiveNames(true)); err != nil {
			s.t.Fatalf("%v: %s", err, line)
		}
		out = append(out, one)
	}
	return out
}

// sameJSON compares two JSON texts, whatever their space and order of members.
func sameJSON(t testing.TB, got, want string) {
	t.Helper()
	g, w := jsontext.Value(got), jsontext.Value(want)
	if err := g.Canonicalize(); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := w.Canonicalize(); err != nil {
		t.Fatalf("%v: %s", err, want)
	}
	if string(g) != string(w) {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}

// acme registers a tenant to try things out on; more are members of the body beside its name.
func (s *server) acme(more string) reply {
	s.t.Helper()
	body := fmt.Sprintf(`{"id":"ten_acme","name":"Acme","hostnames":["acme.example","www.acme.example"],"home_region":"eu-west"%s}`, more)
	return s.must("POST", "/v1/tenants", body)
}
