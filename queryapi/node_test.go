package queryapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/queryapi"
	"github.com/tenantry/tenantry/schemas"
	"github.com/tenantry/tenantry/schemas/schematest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const partitions = 3

var (
	storeID = uuid.MustParse("0f9d7a1e-7a0b-4b39-9f0a-3f8d3a4c2b10")
	noon    = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

// node is a region's node whose projector is the test.
type node struct {
	t      testing.TB
	live   *readmodel.Live
	url    string
	client *http.Client
}

// newNode serves a complete and empty copy. All of its answers are held to the contract.
func newNode(t testing.TB, adjust ...func(*queryapi.Config)) *node {
	t.Helper()
	n := &node{t: t, live: new(readmodel.Live)}
	n.live.Swap(openModel(t))
	cfg := queryapi.Config{Reader: n.live, Region: "eu-west", Node: "eu-west-1", Ready: func() error { return nil }}
	for _, a := range adjust {
		a(&cfg)
	}
	n.serve(schematest.Validate(t, schemas.QueryOpenAPI)(queryapi.New(cfg)))
	n.commit(0)
	return n
}

func (n *node) serve(h http.Handler) {
	s := httptest.NewServer(h)
	n.t.Cleanup(s.Close)
	n.url, n.client = s.URL, s.Client()
}

// openModel is a model of storeID's history that has applied nothing.
func openModel(t testing.TB) *readmodel.Model {
	t.Helper()
	m, err := readmodel.Open(readmodel.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := m.Begin(storeID, partitions); err != nil {
		t.Fatal(err)
	}
	return m
}

// commit applies everything up to a position, tenants included, as known at noon.
func (n *node) commit(position uint64, tenants ...events.Tenant) {
	n.t.Helper()
	if err := fill(n.live.Model(), position, tenants...); err != nil {
		n.t.Fatal(err)
	}
}

func fill(m *readmodel.Model, position uint64, tenants ...events.Tenant) error {
	return m.Update(func(tx *readmodel.Tx) error {
		for _, tenant := range tenants {
			if err := tx.PutTenant(tenant); err != nil {
				return err
			}
		}
		p := tx.Progress()
		p.Complete = true
		for i := range p.Partitions {
			p.Partitions[i] = readmodel.Partition{Offset: int64(position), Position: position, LastEvent: position, Watermark: noon}
		}
		return nil
	})
}

// tenant is an active one as of a position, which is its version too.
func tenant(t testing.TB, id string, position uint64, hostnames ...string) events.Tenant {
	t.Helper()
	out := events.Tenant{
		Version: position, Position: position, Name: "Acme <&> Ünïcode 東京", Status: events.StatusActive, HomeRegion: "eu-west",
		Products: map[string]events.Product{"jira": {Plan: "standard"}},
		Config:   map[string]jsontext.Value{"theme": jsontext.Value(`"dark"`)},
	}
	var err error
	if out.ID, err = events.ParseTenantID(id); err != nil {
		t.Fatal(err)
	}
	for _, name := range hostnames {
		h, err := events.ParseHostname(name)
		if err != nil {
			t.Fatal(err)
		}
		out.Hostnames = append(out.Hostnames, h)
	}
	if len(out.Hostnames) > 0 {
		out.Primary = out.Hostnames[0]
	}
	return out
}

func token(store uuid.UUID, position uint64, partition int) string {
	return events.Token{StoreID: store, Position: position, Partition: partition}.String()
}

// answer is what came back, its body read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (n *node) get(path string, header ...string) answer {
	n.t.Helper()
	return n.do(http.MethodGet, path, "", header...)
}

func (n *node) post(path, body string, header ...string) answer {
	n.t.Helper()
	return n.do(http.MethodPost, path, body, append([]string{"Content-Type", "application/json"}, header...)...)
}

// do sends a request; headers are names and values in turn.
func (n *node) do(method, path, body string, header ...string) answer {
	n.t.Helper()
	a, err := n.try(method, path, body, header...)
	if err != nil {
		n.t.Fatal(err)
	}
	return a
}

// try is do for goroutines, which must not end the test.
func (n *node) try(method, path, body string, header ...string) (answer, error) {
	r, err := http.NewRequestWithContext(n.t.Context(), method, n.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	res, err := n.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{status: res.StatusCode, header: res.Header, body: string(b)}, err
}

// is checks the status.
func (a answer) is(t testing.TB, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("answered %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// isProblem checks the status, the type and the field at fault ("-": none).
func (a answer) isProblem(t testing.TB, status int, name, pointer string) {
	t.Helper()
	var p struct {
		Type, Title, Detail string
		Status              int
		Errors              []struct{ Pointer, Detail string }
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("answered %d with no problem: %s", a.status, a.body)
	}
	at := "-"
	if len(p.Errors) > 0 {
		at = p.Errors[0].Pointer
	}
	got := fmt.Sprint(a.status, p.Status, p.Type, at)
	want := fmt.Sprint(status, status, "https://tenantry.dev/problems/"+name, pointer)
	if got != want {
		t.Errorf("got %s, want %s: %s", got, want, a.body)
	}
	if p.Title == "" || p.Detail == "" {
		t.Errorf("the problem does not say what to do: %s", a.body)
	}
}

// context is the document's members.
func (a answer) context(t testing.TB) map[string]any {
	t.Helper()
	a.is(t, http.StatusOK)
	var out map[string]any
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return out
}
