package adminapi_test

import (
	"strings"
	"testing"
)

const (
	databaseBody = `{"id":"db_eu-1","engine":"postgres","region":"eu-west","host":"pg-1.internal","port":5432,"secret_ref":"vault://kv/eu-1","capacity":500}`
	groupBody    = `{"id":"grp_early","name":"Early adopters","ring":1}`
)

func TestTenant_RegisteredWithEverything_IsReadBack(t *testing.T) {
	s := newServer(t)
	s.must("POST", "/v1/databases", databaseBody)
	s.must("POST", "/v1/groups", groupBody)
	r := s.send("POST", "/v1/tenants", `{
		"id": "ten_acme", "name": "Acme GmbH", "hostnames": ["ACME.example.", "www.acme.example", "münchen.example"],
		"primary_hostname": "www.acme.example", "home_region": "eu-west", "group": "grp_early",
		"database": {"id": "db_eu-1", "name": "acme_main"},
		"products": {"jira": {"plan": "standard", "seats": 9223372036854775807, "features": ["roadmaps"], "trial_until": "2027-01-31T01:00:00+01:00"}},
		"config": {"theme": "dark", "limits": { "uploads": 123456789012345678901234567890 }, "nothing": null},
		"status": "active"}`).want(201)
	if got, want := r.header.Get("Location"), "/v1/tenants/ten_acme"; got != want {
		t.Errorf("got Location %q, want %q", got, want)
	}
	want := "tenant.registered tenant.hostname-attached tenant.hostname-attached tenant.hostname-attached tenant.primary-hostname-changed " +
		"tenant.product-activated tenant.database-assigned tenant.config-set tenant.config-set tenant.config-set tenant.activated"
	if got := r.done().types(); got != want {
		t.Errorf("got events %s\nwant       %s", got, want)
	}
	if d := r.done(); d.ID != "ten_acme" || d.Version != 11 || d.Position != 13 || d.Unchanged {
		t.Errorf("got %+v", d)
	}
	if got := r.header.Get("ETag"); got != `"11"` {
		t.Errorf("got ETag %s", got)
	}
	read := s.get("/v1/tenants/ten_acme").want(200)
	sameJSON(t, read.body, `{
		"id": "ten_acme", "name": "Acme GmbH", "status": "active",
		"hostnames": ["acme.example", "www.acme.example", "xn--mnchen-3ya.example"], "primary_hostname": "www.acme.example",
		"home_region": "eu-west", "group": "grp_early", "database": {"id": "db_eu-1", "name": "acme_main"},
		"products": {"jira": {"plan": "standard", "seats": 9223372036854775807, "features": ["roadmaps"], "trial_until": "2027-01-31T00:00:00Z"}},
		"config": {"theme": "dark", "limits": {"uploads": 123456789012345678901234567890}, "nothing": null},
		"version": 11, "position": 13, "created_at": "2026-11-21T12:00:00Z", "updated_at": "2026-11-21T12:00:00Z"}`)
	if !strings.Contains(read.body, "123456789012345678901234567890") {
		t.Errorf("a number of the configuration lost digits: %s", read.body)
	}
	if got := read.header.Get("ETag"); got != `"11"` {
		t.Errorf("got ETag %s", got)
	}
}

func TestTenant_RegisteredWithoutID_GetsOne(t *testing.T) {
	s := newServer(t)
	r := s.send("POST", "/v1/tenants", `{"name":"Acme","hostnames":[],"home_region":"eu-west"}`).want(201)
	id := r.done().ID
	if !strings.HasPrefix(id, "ten_") || r.header.Get("Location") != "/v1/tenants/"+id {
		t.Errorf("got id %q and Location %q", id, r.header.Get("Location"))
	}
	s.get("/v1/tenants/" + id).want(200)
}

func TestTenant_WhatIsTaken_NamesTheHolder(t *testing.T) {
	s := newServer(t)
	s.acme("")
	at := s.head()
	f := s.send("POST", "/v1/tenants", `{"id":"ten_other","name":"Other","hostnames":["free.example","acme.example"],"home_region":"eu-west"}`).refused(409, "hostname-taken")
	if f.Hostname != "acme.example" || f.Holder != "ten_acme" || f.pointers() != "/hostnames/1" || !strings.Contains(f.Detail, "ten_acme") {
		t.Errorf("got %+v", f)
	}
	f = s.send("POST", "/v1/tenants", `{"id":"ten_acme","name":"Acme","hostnames":[],"home_region":"eu-west"}`).refused(409, "exists")
	if !strings.Contains(f.Detail, "ten_acme") {
		t.Errorf("got %+v", f)
	}
	s.get("/v1/tenants/ten_other").refused(404, "not-found")
	s.unmoved(at)
}

// step is a command and the events that it has to append.
type step struct {
	request, body string
	events        string // "": unchanged
}

func (s *server) steps(steps []step) {
	s.t.Helper()
	for _, st := range steps {
		method, path, _ := strings.Cut(st.request, " ")
		before := s.head()
		r := s.send(method, path, st.body)
		if r.status != 200 && r.status != 201 {
			s.t.Fatalf("%s: got %d: %s", st.request, r.status, r.body)
		}
		d := r.done()
		if got := d.types(); got != st.events || d.Unchanged != (st.events == "") {
			s.t.Errorf("%s: got events %q, unchanged %t; want %q", st.request, got, d.Unchanged, st.events)
		}
		if got := s.head() - before; got != uint64(len(d.Events)) {
			s.t.Errorf("%s: answered %d events, and appended %d", st.request, len(d.Events), got)
		}
	}
}

func TestTenant_EveryCommandOfTheContract(t *testing.T) {
	s := newServer(t)
	s.must("POST", "/v1/databases", databaseBody)
	s.must("POST", "/v1/groups", groupBody)
	s.acme("")
	s.steps([]step{
		{"POST /v1/tenants/ten_acme/activate", "", "tenant.activated"},
		{"POST /v1/tenants/ten_acme/activate", "", ""},
		{"POST /v1/tenants/ten_acme/suspend", `{"reason":"unpaid"}`, "tenant.suspended"},
		{"POST /v1/tenants/ten_acme/resume", `{}`, "tenant.resumed"},
		{"PATCH /v1/tenants/ten_acme", `{"name":"Acme AG"}`, "tenant.renamed"},
		{"PATCH /v1/tenants/ten_acme", `{}`, ""},
		{"PATCH /v1/tenants/ten_acme", `{"name":"Acme AG","home_region":"us-east","group":"grp_early"}`, "tenant.home-region-changed tenant.group-changed"},
		{"PATCH /v1/tenants/ten_acme", `{"group":null}`, "tenant.group-changed"},
		{"PUT /v1/tenants/ten_acme/hostnames/Shop.Acme.Example", "", "tenant.hostname-attached"},
		{"PUT /v1/tenants/ten_acme/hostnames/shop.acme.example", "{}", ""},
		{"PUT /v1/tenants/ten_acme/hostnames/shop.acme.example", `{"primary":true}`, "tenant.primary-hostname-changed"},
		{"PUT /v1/tenants/ten_acme/hostnames/shop.acme.example", `{"primary":false}`, ""},
		{"DELETE /v1/tenants/ten_acme/hostnames/shop.acme.example", "", "tenant.primary-hostname-changed tenant.hostname-detached"},
		{"PUT /v1/tenants/ten_acme/hostnames/b%C3%BCcher.example", "", "tenant.hostname-attached"},
		{"PUT /v1/tenants/ten_acme/products/jira", `{"plan":"free","seats":0}`, "tenant.product-activated"},
		{"PUT /v1/tenants/ten_acme/products/jira", `{"plan":"free","seats":0}`, ""},
		{"PUT /v1/tenants/ten_acme/products/jira", `{"plan":"free"}`, "tenant.product-changed"},
		{"DELETE /v1/tenants/ten_acme/products/jira", "", "tenant.product-deactivated"},
		{"PUT /v1/tenants/ten_acme/database", `{"database":"db_eu-1"}`, "tenant.database-assigned"},
		{"PUT /v1/tenants/ten_acme/database", `{"database":"db_eu-1","name":"acme"}`, ""},
		{"PUT /v1/tenants/ten_acme/config/theme", `{"value":{"b":1,"a":[null]}}`, "tenant.config-set"},
		{"PUT /v1/tenants/ten_acme/config/theme", `{"value": {"b": 1, "a": [ null ]}}`, ""},
		{"PUT /v1/tenants/ten_acme/config/none", `{"value":null}`, "tenant.config-set"},
		{"DELETE /v1/tenants/ten_acme/config/theme", "", "tenant.config-unset"},
		{"POST /v1/tenants/ten_acme/deactivate", "", "tenant.deactivated"},
		{"POST /v1/tenants/ten_acme/restore", "", "tenant.restored"},
		{"POST /v1/tenants/ten_acme/deactivate", "", "tenant.deactivated"},
		{"DELETE /v1/tenants/ten_acme", "", "tenant.purged"},
	})
	sameJSON(t, s.get("/v1/tenants/ten_acme").want(200).body, `{
		"id":"ten_acme","name":"Acme AG","status":"purged","hostnames":[],"home_region":"us-east",
		"version":26,"position":28,"created_at":"2026-11-21T12:00:00Z","updated_at":"2026-11-21T12:00:00Z"}`)
	// What a purged tenant held is free.
	s.must("POST", "/v1/tenants", `{"id":"ten_next","name":"Next","hostnames":["acme.example","bücher.example"],"home_region":"eu-west"}`)
}

func TestDatabaseAndGroup_EveryCommandOfTheContract(t *testing.T) {
	s := newServer(t)
	r := s.send("POST", "/v1/databases", databaseBody).want(201)
	if got := r.header.Get("Location"); got != "/v1/databases/db_eu-1" {
		t.Errorf("got Location %q", got)
	}
	r = s.send("POST", "/v1/groups", groupBody).want(201)
	if got := r.header.Get("Location"); got != "/v1/groups/grp_early" {
		t.Errorf("got Location %q", got)
	}
	s.acme(`,"group":"grp_early","database":"db_eu-1"`)
	sameJSON(t, s.get("/v1/databases/db_eu-1").want(200).body, `{
		"id":"db_eu-1","status":"active","engine":"postgres","region":"eu-west","host":"pg-1.internal","port":5432,"secret_ref":"vault://kv/eu-1",
		"capacity":500,"tenants":1,"version":1,"position":1,"created_at":"2026-11-21T12:00:00Z","updated_at":"2026-11-21T12:00:00Z"}`)
	sameJSON(t, s.get("/v1/groups/grp_early").want(200).body, `{
		"id":"grp_early","status":"active","name":"Early adopters","ring":1,
		"tenants":1,"version":1,"position":2,"created_at":"2026-11-21T12:00:00Z","updated_at":"2026-11-21T12:00:00Z"}`)
	s.steps([]step{
		{"PATCH /v1/databases/db_eu-1", `{"host":"pg-2.internal"}`, "database.endpoint-changed"},
		{"PATCH /v1/databases/db_eu-1", `{"host":"pg-2.internal","port":5432}`, ""},
		{"POST /v1/databases/db_eu-1/drain", `{"reason":"old"}`, "database.draining"},
		{"POST /v1/databases/db_eu-1/drain", "", ""},
		{"PATCH /v1/groups/grp_early", `{"name":"Early birds"}`, "group.changed"},
		{"PATCH /v1/groups/grp_early", `{"ring":1}`, ""},
	})
	at := s.head()
	s.send("POST", "/v1/databases/db_eu-1/retire", "").refused(409, "still-referenced")
	s.send("POST", "/v1/groups/grp_early/retire", "").refused(409, "still-referenced")
	s.send("PUT", "/v1/tenants/ten_acme/database", `{"database":"db_nowhere"}`).refused(422, "unknown-database")
	s.send("POST", "/v1/tenants", `{"name":"Other","hostnames":[],"home_region":"eu-west","database":"db_eu-1"}`).refused(422, "unavailable-database")
	s.unmoved(at)
	s.steps([]step{
		{"POST /v1/tenants/ten_acme/deactivate", "", "tenant.deactivated"},
		{"DELETE /v1/tenants/ten_acme", "", "tenant.purged"},
		{"POST /v1/databases/db_eu-1/retire", "", "database.retired"},
		{"POST /v1/groups/grp_early/retire", "", "group.retired"},
	})
	s.send("POST", "/v1/tenants", `{"name":"Other","hostnames":[],"home_region":"eu-west","database":"db_eu-1"}`).refused(422, "unavailable-database")
	s.send("POST", "/v1/tenants", `{"name":"Other","hostnames":[],"home_region":"eu-west","group":"grp_early"}`).refused(422, "retired-group")
}

func TestCommand_TheStateForbids_SaysWhatItAllows(t *testing.T) {
	s := newServer(t)
	s.must("POST", "/v1/databases", strings.Replace(databaseBody, "500", "1", 1))
	s.acme(`,"database":"db_eu-1"`)
	at := s.head()
	for _, row := range []struct {
		request, body string
		status        int
		name, says    string
	}{
		{"POST /v1/tenants/ten_acme/suspend", "", 409, "wrong-state", "activate"},
		{"POST /v1/tenants/ten_acme/resume", "", 409, "wrong-state", "registered"},
		{"POST /v1/tenants/ten_acme/restore", "", 409, "wrong-state", "registered"},
		{"DELETE /v1/tenants/ten_acme", "", 409, "wrong-state", "deactivate"},
		{"POST /v1/tenants/ten_nobody/activate", "", 404, "not-found", "ten_nobody"},
		{"DELETE /v1/tenants/ten_acme/hostnames/other.example", "", 404, "not-found", "other.example"},
		{"DELETE /v1/tenants/ten_acme/products/jira", "", 404, "not-found", "jira"},
		{"DELETE /v1/tenants/ten_acme/config/theme", "", 404, "not-found", "theme"},
		{"GET /v1/tenants/ten_nobody", "", 404, "not-found", "ten_nobody"},
		{"GET /v1/tenants/ten_nobody/events", "", 404, "not-found", "ten_nobody"},
		{"GET /v1/databases/db_none", "", 404, "not-found", "db_none"},
		{"GET /v1/groups/grp_none", "", 404, "not-found", "grp_none"},
		{"PATCH /v1/tenants/ten_acme", `{"group":"grp_none"}`, 422, "unknown-group", "grp_none"},
		{"PATCH /v1/tenants/ten_acme", `{"home_region":"mars-1"}`, 422, "unknown-region", "eu-west"},
		{"POST /v1/tenants", `{"name":"B","hostnames":[],"home_region":"eu-west","database":"db_eu-1"}`, 422, "full", "db_eu-1"},
		{"POST /v1/databases", databaseBody, 409, "exists", "db_eu-1"},
	} {
		method, path, _ := strings.Cut(row.request, " ")
		f := s.send(method, path, row.body).refused(row.status, row.name)
		if !strings.Contains(f.Detail, row.says) {
			t.Errorf("%s: got detail %q, which does not speak of %s", row.request, f.Detail, row.says)
		}
	}
	s.unmoved(at)
}
