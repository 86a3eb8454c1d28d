package system

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/tests/truth"
)

func TestPromise7_WhatIsRefused_SaysWhatToDo_AndChangesNothing(t *testing.T) {
	t.Parallel()
	d := start(t, t.TempDir(), "--import", roster)
	c := newClient(t)
	before := checkRegions(t, c, d)
	exported := export(t, c, d.Admin)

	tenant := func(members string) string {
		return `{"id":"ten_refused","name":"Refused","hostnames":["refused.example"],"home_region":"eu-west"` + members + `}`
	}
	for _, r := range []struct {
		what, method, path, body string
		header                   []string
		status                   int
		kind, pointer            string
	}{
		{what: "broken JSON", method: "POST", path: "/v1/tenants", body: `{"id":`, status: 400, kind: "invalid-json"},
		{what: "two documents", method: "POST", path: "/v1/tenants", body: tenant("") + tenant(""), status: 400, kind: "invalid-json"},
		{what: "an unknown field", method: "POST", path: "/v1/tenants", body: tenant(`,"nickname":"x"`), status: 422, kind: "invalid", pointer: "/nickname"},
		{what: "no name", method: "POST", path: "/v1/tenants", body: `{"hostnames":[],"home_region":"eu-west"}`, status: 422, kind: "invalid", pointer: "/name"},
		{what: "a hostname that is none", method: "POST", path: "/v1/tenants", body: strings.Replace(tenant(""), "refused.example", "not a hostname", 1), status: 422, kind: "invalid", pointer: "/hostnames/0"},
		{what: "an ID of another kind", method: "POST", path: "/v1/tenants", body: strings.Replace(tenant(""), "ten_", "db_", 1), status: 422, kind: "invalid", pointer: "/id"},
		{what: "an ID that is taken", method: "POST", path: "/v1/tenants", body: strings.Replace(tenant(""), "ten_refused", "ten_acme", 1), status: 409, kind: "exists"},
		{what: "a hostname that is taken", method: "POST", path: "/v1/tenants", body: strings.Replace(tenant(""), "refused.example", "acme.example", 1), status: 409, kind: "hostname-taken", pointer: "/hostnames/0"},
		{what: "one good hostname and one that is taken", method: "POST", path: "/v1/tenants", body: strings.Replace(tenant(""), `"refused.example"`, `"refused.example","acme.example"`, 1), status: 409, kind: "hostname-taken", pointer: "/hostnames/1"},
		{what: "an unknown region", method: "POST", path: "/v1/tenants", body: strings.Replace(tenant(""), "eu-west", "atlantis", 1), status: 422, kind: "unknown-region"},
		{what: "an unknown database", method: "POST", path: "/v1/tenants", body: tenant(`,"database":"db_nowhere"`), status: 422, kind: "unknown-database"},
		{what: "a database that is full", method: "POST", path: "/v1/tenants", body: tenant(`,"database":"db_eu-west-own-1"`), status: 422, kind: "full"},
		{what: "an unknown group", method: "POST", path: "/v1/tenants", body: tenant(`,"group":"grp_nobody"`), status: 422, kind: "unknown-group"},
		{what: "a secret", method: "POST", path: "/v1/tenants", body: tenant(`,"config":{"url":"postgres://u:hunter2@db/x"}`), status: 422, kind: "invalid", pointer: "/config/url"},
		{what: "a body of more than 1 MiB", method: "POST", path: "/v1/tenants", body: tenant(`,"config":{"a":"` + strings.Repeat("x", 1<<20) + `"}`), status: 413, kind: "too-large"},
		{what: "another media type", method: "POST", path: "/v1/tenants", body: tenant(""), header: []string{"Content-Type: text/plain"}, status: 415, kind: "unsupported-media-type"},
		{what: "a tenant that is not there", method: "PATCH", path: "/v1/tenants/ten_nobody", body: `{"name":"x"}`, status: 404, kind: "not-found"},
		{what: "an old version", method: "PATCH", path: "/v1/tenants/ten_acme", body: `{"name":"x"}`, header: []string{`If-Match: "1"`}, status: 412, kind: "version-mismatch"},
		{what: "a state that does not allow it", method: "POST", path: "/v1/tenants/" + deactivated(t, before) + "/suspend", status: 409, kind: "wrong-state"},
		{what: "a purge of an active tenant", method: "DELETE", path: "/v1/tenants/ten_acme", status: 409, kind: "wrong-state"},
		{what: "a database with tenants retired", method: "POST", path: "/v1/databases/db_eu-west-pg-1/retire", status: 409, kind: "still-referenced"},
		{what: "no such path", method: "POST", path: "/v1/tenant", body: tenant(""), status: 404, kind: "no-such-route"},
		{what: "a method that the path has not", method: "PUT", path: "/v1/tenants", body: tenant(""), status: 405, kind: "method-not-allowed"},
		{what: "an unknown parameter", method: "POST", path: "/v1/tenants?dry=true", body: tenant(""), status: 400, kind: "bad-request"},
	} {
		got := c.send(r.method, d.Admin+r.path, r.body, r.header...)
		var p problem
		got.as(t, &p)
		if got.status != r.status || p.Status != r.status || p.kind() != r.kind || p.Title == "" || len(p.Detail) < 10 ||
			got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %d %s, want %d %s", r.what, got.status, got.body, r.status, r.kind)
		}
		pointed := r.pointer == ""
		for _, e := range p.Errors {
			pointed = pointed || e.Pointer == r.pointer && e.Detail != ""
		}
		if !pointed {
			t.Errorf("%s: got %s, want an error at %s", r.what, got.body, r.pointer)
		}
		if head := c.must("GET", fmt.Sprintf("%s/v1/events?after=%d", d.Admin, before.Head()), ""); len(head.body) > 0 {
			t.Fatalf("%s: refused, and it appended %s", r.what, head.body)
		}
	}

	// A dry run is answered, and changes nothing either.
	c.must("POST", d.Admin+"/v1/tenants?dry_run=true", tenant(""))
	// Nor does what is refused of an import; the good line goes in.
	r := c.must("POST", d.Admin+"/v1/import", tenant(`,"group":"grp_nobody"`)+"\nnot JSON\n"+tenant("")+"\n", "Content-Type: application/x-ndjson")
	counts := tally(readAnswers(t, string(r.body)))
	if counts["invalid"] != 2 || counts["created"] != 1 {
		t.Errorf("the import: got %v, want two invalid lines and one created", counts)
	}
	after := checkRegions(t, c, d)
	if after.Head() != before.Head()+2 {
		t.Errorf("the log ends at %d, want 2 events behind %d: the registration and its hostname", after.Head(), before.Head())
	}
	now := export(t, c, d.Admin)
	delete(now, "ten_refused")
	for id, line := range exported {
		if now[id] != line {
			t.Errorf("%s was\n%s\nand is\n%s", id, line, now[id])
		}
	}
	if len(now) != len(exported) {
		t.Errorf("got %d lines of export, want %d", len(now), len(exported))
	}
	d.stop()
}

// deactivated is some tenant of the roster that is.
func deactivated(t *testing.T, w *truth.Log) string {
	t.Helper()
	for id, tenant := range w.Tenants {
		if tenant.Status == events.StatusDeactivated {
			return id.String()
		}
	}
	t.Fatal("no tenant of the roster is deactivated")
	return ""
}
