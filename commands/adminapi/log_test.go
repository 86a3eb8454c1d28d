package adminapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/tenantry/tenantry/events"
)

// fill imports so many tenants, of two events each.
func (s *server) fill(tenants int) {
	s.t.Helper()
	var lines strings.Builder
	for i := range tenants {
		fmt.Fprintf(&lines, `{"id":"ten_%05d","name":"T","hostnames":["t-%05d.example"],"home_region":"eu-west"}`+"\n", i, i)
	}
	for _, a := range s.importing(lines.String()) {
		if a.Status != "created" {
			s.t.Fatalf("got %+v", a)
		}
	}
}

// positions are those of the events in an answer of the log.
func (r reply) positions() []uint64 {
	r.t.Helper()
	var out []uint64
	for _, line := range r.lines() {
		var e events.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			r.t.Fatalf("%v: %s", err, line)
		}
		out = append(out, e.Position)
	}
	return out
}

func TestLog_HoldsEveryEventInOrder(t *testing.T) {
	s := newServer(t)
	s.fill(700) // 1400 events, which are several chunks
	head, err := s.store.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string][2]uint64{ // the first and the last position
		"":                           {1, 1400},
		"?after=0":                   {1, 1400},
		"?after=1399":                {1400, 1400},
		"?after=1400":                {},
		"?after=9223372036854775807": {},
		"?limit=1":                   {1, 1},
		"?after=250&limit=1000":      {251, 1250},
		"?after=1000&limit=500":      {1001, 1400},
		"?limit=500":                 {1, 500},
		"?limit=501":                 {1, 501},
		"?limit=9223372036854775807": {1, 1400},
	} {
		r := s.get("/v1/events"+query, "Accept: application/x-ndjson").want(200)
		got := r.positions()
		if want[0] == 0 {
			if len(got) != 0 {
				t.Errorf("%s: got %d events, want none", query, len(got))
			}
			continue
		}
		if n := want[1] - want[0] + 1; uint64(len(got)) != n || got[0] != want[0] {
			t.Fatalf("%s: got %d events from %v, want %d from %d", query, len(got), got[:1], n, want[0])
		}
		for i, p := range got {
			if p != want[0]+uint64(i) {
				t.Fatalf("%s: got position %d behind %d", query, p, got[max(i-1, 0)])
			}
		}
		if got := r.header.Get("Tenantry-Position"); got != "1400" {
			t.Errorf("got Tenantry-Position %s", got)
		}
		if got := r.header.Get("Tenantry-Store-Id"); got != head.StoreID.String() {
			t.Errorf("got Tenantry-Store-Id %s, want %s", got, head.StoreID)
		}
	}
	for _, query := range []string{"after=-1", "after=x", "after=", "limit=0", "limit=-1", "limit=x", "from=1", "after=1&after=2"} {
		s.get("/v1/events?"+query).refused(400, "bad-request")
	}
}

func TestLog_Accept(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{"/v1/events", "/v1/export"} {
		for accept, status := range map[string]int{
			"": 200, "*/*": 200, "application/x-ndjson": 200, "application/*": 200, "text/html, */*;q=0.1": 200, "application/json, application/x-ndjson;q=0.5": 200,
			"application/json": 406, "text/*": 406, "*/*;q=0": 406, "application/x-ndjson;q=0, */*": 406, "nonsense": 406,
		} {
			r := s.get(path, "Accept: "+accept).want(status)
			if status == 406 {
				r.refused(406, "not-acceptable")
			} else if got := r.header.Get("Content-Type"); got != "application/x-ndjson" {
				t.Errorf("Accept %q: got Content-Type %q", accept, got)
			}
		}
	}
	s.send("POST", "/v1/import", groupBody, "Content-Type: application/x-ndjson", "Accept: application/json").refused(406, "not-acceptable")
	s.unmoved(0)
}

// brokenStore fails to read the log and the streams, from some call on.
type brokenStore struct {
	events.Store
	good int // calls that succeed
}

func (b *brokenStore) broken() error {
	if b.good--; b.good < 0 {
		return errors.New("disk on fire at /dev/secret")
	}
	return nil
}

func (b *brokenStore) After(ctx context.Context, position uint64, limit int) ([]events.Event, error) {
	if err := b.broken(); err != nil {
		return nil, err
	}
	return b.Store.After(ctx, position, limit)
}

func (b *brokenStore) Streams(ctx context.Context, k events.Kind, after events.StreamID, limit int) ([][]events.Event, error) {
	if err := b.broken(); err != nil {
		return nil, err
	}
	return b.Store.Streams(ctx, k, after, limit)
}

func TestStream_TheStoreFailsHalfWay_TheAnswerBreaksOff(t *testing.T) {
	store := openStore(t)
	newServerOn(t, store).fill(600)
	for path, good := range map[string]int{"/v1/events": 1, "/v1/export": 3} {
		s := newServerOn(t, &brokenStore{Store: store, good: good})
		r, err := http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %d octets and error %v, want an answer that breaks off", path, len(body), err)
		}
		if lines := strings.Count(string(body), "\n"); r.StatusCode != http.StatusOK || lines < 100 {
			t.Errorf("%s: got status %d and %d lines", path, r.StatusCode, lines)
		}
		// At the start the status can still tell.
		f := newServerOn(t, &brokenStore{Store: store}).get(path).refused(500, "internal")
		if strings.Contains(f.Detail, "fire") {
			t.Errorf("%s: the problem tells what happened inside: %q", path, f.Detail)
		}
	}
}

func TestExport_ImportedElsewhere_IsTheSame(t *testing.T) {
	s := newServer(t)
	s.must("POST", "/v1/databases", databaseBody)
	s.must("POST", "/v1/databases", `{"id":"db_bare","engine":"mysql","region":"us","host":"10.0.0.7","port":3306,"secret_ref":"env://DB"}`)
	s.must("POST", "/v1/databases", strings.Replace(databaseBody, "db_eu-1", "db_gone", 1))
	s.must("POST", "/v1/databases", `{"id":"db_full","engine":"mysql","region":"us","host":"10.0.0.8","port":3306,"secret_ref":"env://DB","capacity":2}`)
	s.must("POST", "/v1/databases/db_gone/retire", "")
	s.must("POST", "/v1/groups", groupBody)
	s.must("POST", "/v1/groups", `{"id":"grp_plain","name":"Plain"}`)
	s.must("POST", "/v1/groups", `{"id":"grp_gone","name":"Gone"}`)
	s.must("POST", "/v1/groups/grp_gone/retire", "")
	s.acme(`,"group":"grp_early","database":{"id":"db_eu-1","name":"other"},"primary_hostname":"www.acme.example","status":"suspended",
		"products":{"jira":{"plan":"free","seats":0,"features":["a","b"],"trial_until":"2027-01-01T00:00:00Z"}},"config":{"a":null,"b":{"c":12345678901234567890}}`)
	s.must("POST", "/v1/tenants", `{"id":"ten_bare","name":"株式会社","hostnames":[],"home_region":"us-east"}`)
	s.must("POST", "/v1/tenants", `{"id":"ten_default","name":"Default","hostnames":["d.example"],"home_region":"us-east","database":{"id":"db_bare","name":"default"},"status":"deactivated"}`)
	s.must("POST", "/v1/tenants", `{"id":"ten_gone","name":"Gone","hostnames":["gone.example"],"home_region":"us-east","status":"deactivated"}`)
	s.must("DELETE", "/v1/tenants/ten_gone", "")
	s.must("POST", "/v1/tenants", `{"id":"ten_full-1","name":"1","hostnames":[],"home_region":"us-east","database":"db_full","status":"active"}`)
	s.must("POST", "/v1/tenants", `{"id":"ten_full-2","name":"2","hostnames":[],"home_region":"us-east","database":"db_full"}`)
	s.must("POST", "/v1/databases/db_full/drain", "")

	export := s.get("/v1/export").want(200)
	want := []string{
		`{"id":"db_bare","engine":"mysql","region":"us","host":"10.0.0.7","port":3306,"secret_ref":"env://DB"}`,
		databaseBody,
		`{"id":"db_full","engine":"mysql","region":"us","host":"10.0.0.8","port":3306,"secret_ref":"env://DB","capacity":2,"status":"draining"}`,
		groupBody,
		`{"id":"grp_plain","name":"Plain"}`,
		`{"id":"ten_acme","name":"Acme","hostnames":["acme.example","www.acme.example"],"primary_hostname":"www.acme.example","home_region":"eu-west",
			"group":"grp_early","database":{"id":"db_eu-1","name":"other"},"status":"suspended",
			"products":{"jira":{"plan":"free","seats":0,"features":["a","b"],"trial_until":"2027-01-01T00:00:00Z"}},"config":{"a":null,"b":{"c":12345678901234567890}}}`,
		`{"id":"ten_bare","name":"株式会社","hostnames":[],"home_region":"us-east"}`,
		`{"id":"ten_default","name":"Default","hostnames":["d.example"],"home_region":"us-east","database":"db_bare","status":"deactivated"}`,
		`{"id":"ten_full-1","name":"1","hostnames":[],"home_region":"us-east","database":"db_full","status":"active"}`,
		`{"id":"ten_full-2","name":"2","hostnames":[],"home_region":"us-east","database":"db_full"}`,
	}
	lines := export.lines()
	if len(lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), export.body)
	}
	for i := range want {
		if strings.Contains(want[i], "12345678901234567890") { // a number of more digits than comparing would see
			if !strings.Contains(lines[i], `"c":12345678901234567890`) {
				t.Errorf("a number was changed: %s", lines[i])
			}
			lines[i], want[i] = strings.Replace(lines[i], "12345678901234567890", "1", 1), strings.Replace(want[i], "12345678901234567890", "1", 1)
		}
		sameJSON(t, lines[i], want[i])
	}
	if got, want := export.header.Get("Tenantry-Position"), strconv.FormatUint(s.head(), 10); got != want {
		t.Errorf("got Tenantry-Position %s, want %s", got, want)
	}

	twin := newServer(t)
	for _, round := range []string{"created", "unchanged"} {
		for _, a := range twin.importing(export.body) {
			if a.Status != round {
				t.Errorf("got %+v, want it %s", a, round)
			}
		}
		if got := twin.get("/v1/export").want(200).body; got != export.body {
			t.Errorf("the copy exports\n%swant\n%s", got, export.body)
		}
	}
	for _, path := range []string{"/v1/databases", "/v1/groups", "/v1/tenants"} {
		if got, want := states(twin, path), states(s, path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	for _, id := range []string{"ten_acme", "ten_bare", "ten_default"} {
		var here, there struct {
			Name, Status, Group string
			Primary             string `json:"primary_hostname"`
			Hostnames           []string
		}
		s.get("/v1/tenants/" + id).want(200).as(&here)
		twin.get("/v1/tenants/" + id).want(200).as(&there)
		if fmt.Sprint(here) != fmt.Sprint(there) {
			t.Errorf("got %v, want %v", there, here)
		}
	}
}

// states are all of a list that did not end, each with its status and how many tenants it has.
func states(s *server, path string) string {
	s.t.Helper()
	var page struct {
		Items []struct {
			ID, Status string
			Tenants    int
		}
	}
	s.get(path + "?page_size=1000").want(200).as(&page)
	var out strings.Builder
	for _, item := range page.Items {
		if item.Status != "retired" {
			fmt.Fprintln(&out, item.ID, item.Status, item.Tenants)
		}
	}
	return out.String()
}

func TestImport_ADrainingDatabase_TakesOnlyTenantsOfAnImportThatHasItSo(t *testing.T) {
	s := newServer(t)
	const (
		line   = `{"id":"db_old","engine":"mysql","region":"us","host":"10.0.0.8","port":3306,"secret_ref":"env://DB"%s}` + "\n"
		tenant = `{"id":"ten_%d","name":"T","hostnames":[],"home_region":"us-east","database":"db_old"}` + "\n"
	)
	draining := fmt.Sprintf(line, `,"status":"draining"`)
	for i, row := range []struct{ before, first, tenant string }{
		{draining, "created", "created"},
		{draining, "unchanged", "created"}, // an import that broke off, again
		{fmt.Sprintf(line, ""), "unchanged", "invalid"},
		{fmt.Sprintf(line, `,"status":"active"`), "conflict", "invalid"},
		{groupBody + "\n", "created", "invalid"},
	} {
		answers := s.importing(row.before + fmt.Sprintf(tenant, i))
		if answers[0].Status != row.first || answers[1].Status != row.tenant {
			t.Errorf("%s: got %+v", row.before, answers)
		}
		if a := answers[1]; row.tenant == "invalid" && (!strings.HasSuffix(a.Error.Type, "/unavailable-database") || a.Error.pointers() != "/database") {
			t.Errorf("%s: got %+v", row.before, a.Error)
		}
	}
	s.send("POST", "/v1/tenants", fmt.Sprintf(tenant, 9)).refused(422, "unavailable-database")
	s.send("POST", "/v1/databases", fmt.Sprintf(line, `,"status":"retired"`)).refused(422, "invalid")
}

func TestExport_IsOfOnePosition(t *testing.T) {
	store := openStore(t)
	s := newServerOn(t, store)
	s.acme("")
	// While databases have been exported and tenants have not, one of each comes to be.
	moving := &movingStore{Store: store, move: func() {
		s.must("POST", "/v1/databases", databaseBody)
		s.must("PUT", "/v1/tenants/ten_acme/database", `{"database":"db_eu-1"}`)
		s.must("DELETE", "/v1/tenants/ten_acme/hostnames/acme.example", "")
		s.must("POST", "/v1/tenants", `{"id":"ten_thief","name":"T","hostnames":["acme.example"],"home_region":"eu-west","database":"db_eu-1"}`)
	}}
	export := newServerOn(t, moving).get("/v1/export").want(200)
	if lines := export.lines(); len(lines) != 1 {
		t.Fatalf("got %d lines, want only what was there at the start:\n%s", len(lines), export.body)
	}
	sameJSON(t, export.lines()[0], `{"id":"ten_acme","name":"Acme","hostnames":["acme.example","www.acme.example"],"home_region":"eu-west"}`)
}

// movingStore changes once the databases have been read.
type movingStore struct {
	events.Store
	move func()
}

func (m *movingStore) Streams(ctx context.Context, k events.Kind, after events.StreamID, limit int) ([][]events.Event, error) {
	if k == events.KindGroup && m.move != nil {
		m.move()
		m.move = nil
	}
	return m.Store.Streams(ctx, k, after, limit)
}
