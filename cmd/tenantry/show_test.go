package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

func TestLookup_ShowsWhatAComputeNodeWouldBeTold(t *testing.T) {
	d, dir := openDev(t)
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir).exits(exitPartial)
	ready(t, d)

	tenantry(t, "lookup", "ACME.example.", "--data-dir", dir).exits(exitDone).prints(
		"acme.example\n", `ten_acme, "Acme", active, version `, "acme.example, www.acme.example\n", "primary    acme.example\n", "eu-west",
		"grp_early, ring 1", "wiki: plan free, 5 seats, features (drafts, macros), trial until 2027-01-31T00:00:00Z\n", "db_1: postgres at db.example:5432, name acme, secret vault://db/1, epoch ", `locale = "en"`,
		"by eu-west at position ")
	tenantry(t, "lookup", "übung.example", "--query", d.Addresses().Regions["us-east"]).exits(exitDone).prints("xn--bung-zra.example", "by us-east")

	r := tenantry(t, "lookup", "acme.example", "--data-dir", dir, "--output", "json").exits(exitDone)
	var doc map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || doc["tenant_id"] != "ten_acme" || doc["hostname"] != "acme.example" {
		t.Errorf("got %s, %v", r.stdout, err)
	}

	// The others are shown all the same.
	r = tenantry(t, "lookup", "nobody.example", "acme.example", "not_a_hostname", "--data-dir", dir).
		exits(exitFailed, "tenantry: nobody.example: no tenant has this hostname", "tenantry: not_a_hostname: a hostname has no underscore").prints("ten_acme")
	for _, word := range []string{"Tenantry-", "at_least", "/hostname"} {
		if strings.Contains(r.stderr, word) {
			t.Errorf("%s is a word of the API, and got\n%s", word, r.stderr)
		}
	}
	tenantry(t, "lookup", "acme.example", "--query", "http://127.0.0.1:1").exits(exitFailed,
		"no answer from http://127.0.0.1:1 (connection refused): is Tenantry running there? name another server with --query or --data-dir\n")
}

func TestLookup_OfSeveralAsJSON_IsOneArrayInTheOrderAsked(t *testing.T) {
	d, dir := openDev(t)
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir).exits(exitPartial)
	ready(t, d)
	r := tenantry(t, "lookup", "www.acme.example", "nobody.example", "not_a_hostname", "acme.example", "--data-dir", dir, "--output", "json").
		exits(exitFailed, "tenantry: nobody.example: no tenant has this hostname (asked http://", "tenantry: not_a_hostname: a hostname has no underscore")
	var got []struct {
		Hostname string `json:"hostname"`
		Context  struct {
			ID       string `json:"tenant_id"`
			Hostname string `json:"hostname"`
		} `json:"context"`
		Error *problemError `json:"error"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("%v:\n%s", err, r.stdout)
	}
	var all []string
	for _, g := range got {
		all = append(all, fmt.Sprintf("%s %s %s %t", g.Hostname, g.Context.ID, g.Context.Hostname, g.Error != nil))
	}
	want := "www.acme.example ten_acme www.acme.example false, nobody.example   true, not_a_hostname   true, acme.example ten_acme acme.example false"
	if strings.Join(all, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(all, ", "), want)
	}

	tenantry(t, "lookup", "acme.example", "www.acme.example", "--data-dir", dir, "--output", "json").exits(exitDone)
	many := make([]string, 1001) // more than a query API takes at once
	for i := range many {
		many[i] = "acme.example"
	}
	r = tenantry(t, append([]string{"lookup", "--data-dir", dir, "--output", "json"}, many...)...).exits(exitDone)
	got = nil
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || len(got) != len(many) {
		t.Errorf("got %d answers, %v", len(got), err)
	}
}

func TestLookup_OfSeveralWhereTheAnswerIsNoAnswerToThem_SaysSo(t *testing.T) {
	for _, body := range []string{`[]`, `{}`, `[1,2]`} {
		server := httptest.NewServer(answering(200, "application/json", body))
		tenantry(t, "lookup", "a.example", "b.example", "--output", "json", "--query", server.URL).exits(exitFailed, "read the answer of "+server.URL+"/v1/lookup")
		httpClient.CloseIdleConnections()
		server.Close()
	}
}

func TestLookup_PrintsEverythingThatAComputeNodeIsTold_EvenWhatThisProgramDoesNotKnow(t *testing.T) {
	server := httptest.NewServer(answering(200, "application/json", `{"tenant_id":"ten_a","name":"A \"b\" ü","status":"suspended",
		"hostname":"a.example","hostnames":["a.example","b.example"],"primary_hostname":"b.example","home_region":"eu-west",
		"group":{"id":"grp_x","ring":3,"colour":"teal"},"version":17,"future":{"deep":["quark"]},"labels":["gold","silver"],
		"products":{"desk":{"plan":"premium","seats":1,"features":["alpha","beta"],"trial_until":"2027-01-31T00:00:00Z","addon":"extra"},"wiki":{}},
		"database":{"id":"db_x","engine":"postgres","host":"pg.example","port":5432,"name":"aaa","secret_ref":"vault://x","epoch":99,"tls":"verify-full"},
		"config":{"limits":{"rps":250},"word":"true","flag":true}}`))
	defer server.Close()
	tenantry(t, "lookup", "a.example", "--query", server.URL).exits(exitDone).prints(
		"a.example\n", "ten_a", `"A \"b\" ü"`, "suspended", "version 17", "a.example, b.example", "primary    b.example", "eu-west", "grp_x, ring 3, colour teal",
		"desk: plan premium, 1 seat, features (alpha, beta), trial until 2027-01-31T00:00:00Z, addon extra\n", "wiki: no plan\n",
		"db_x: postgres at pg.example:5432, name aaa, secret vault://x, epoch 99, tls verify-full\n",
		`limits = {"rps":250}`, `word = "true"`, "flag = true", `future {"deep":["quark"]}`, "labels gold, silver")
}

func TestLookup_OfAnAnswerThatIsNoTenantContext_SaysSo(t *testing.T) {
	for _, body := range []string{`[]`, `{"products":[]}`, `{"products":{"wiki":3}}`, `{"group":"grp_x"}`} {
		server := httptest.NewServer(answering(200, "application/json", body))
		tenantry(t, "lookup", "a.example", "--query", server.URL).exits(exitFailed, "the tenant context")
		httpClient.CloseIdleConnections()
		server.Close()
	}
}

func TestLookup_WarnsOfATenantInQuarantineAndOfWhatIsPending(t *testing.T) {
	server := httptest.NewServer(answering(200, "application/json",
		`{"tenant_id":"ten_a","name":"A","status":"active","hostname":"a.example","hostnames":["a.example"],"primary_hostname":"a.example",
		"home_region":"eu-west","group":{"id":"grp_x","pending":true},"database":{"id":"db_x","pending":true},"products":{"wiki":{"plan":"free"}},"config":{},"version":3}`))
	defer server.Close()
	tenantry(t, "lookup", "a.example", "--query", server.URL).exits(exitDone).
		prints("grp_x (not known here yet)", "db_x (not known here yet)", "wiki: plan free\n", "by ? at position")
}

func TestTenant_ShowsOneItsHistoryAndAll(t *testing.T) {
	d, dir := openDev(t)
	before := time.Now().Add(-time.Hour)
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir).exits(exitPartial)

	tenantry(t, "tenant", "show", "ten_acme", "--data-dir", dir).exits(exitDone).
		prints("id", "ten_acme", "status", "active", "hostnames", "www.acme.example", "version")
	r := tenantry(t, "tenant", "show", "ten_acme", "--data-dir", dir, "--version", "1", "--output", "json").exits(exitDone)
	var past struct {
		Version uint64 `json:"version"`
		Status  string `json:"status"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &past); err != nil || past.Version != 1 || past.Status != "registered" {
		t.Errorf("version 1: got %s, %v", r.stdout, err)
	}
	tenantry(t, "tenant", "show", "ten_acme", "--data-dir", dir, "--as-of", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)).exits(exitDone).prints("active")
	tenantry(t, "tenant", "show", "ten_acme", "--data-dir", dir, "--as-of", before.UTC().Format(time.RFC3339)).exits(exitFailed, "tenantry: ")
	tenantry(t, "tenant", "show", "ten_nobody", "--data-dir", dir).exits(exitFailed, "ten_nobody")

	tenantry(t, "tenant", "events", "ten_acme", "--admin", d.Addresses().Admin).exits(exitDone).
		prints("VERSION", "registered.v1", "hostname-attached.v1", `{"hostname":"www.acme.example"}`, "activated.v1")
	r = tenantry(t, "tenant", "events", "ten_acme", "--data-dir", dir, "--output", "json").exits(exitDone)
	for i, line := range strings.Split(strings.TrimSpace(r.stdout), "\n") {
		var e struct {
			Version int `json:"version"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Version != i+1 {
			t.Errorf("event %d: got %s, %v", i+1, line, err)
		}
	}
	tenantry(t, "tenant", "events", "ten_nobody", "--data-dir", dir).exits(exitFailed, "ten_nobody")

	tenantry(t, "tenant", "list", "--data-dir", dir).exits(exitDone).prints("ID", "ten_acme", "ten_umlaut", "Übung", "xn--bung-zra.example")
	if r := tenantry(t, "tenant", "list", "--status", "registered", "--home-region", "us-east", "--data-dir", dir).exits(exitDone); strings.Contains(r.stdout, "ten_acme") {
		t.Errorf("the filter lets an active tenant through:\n%s", r.stdout)
	}
	tenantry(t, "tenant", "list", "--group", "grp_early", "--data-dir", dir).exits(exitDone).prints("ten_acme")
}

func TestTenantList_GoesThroughAllPages(t *testing.T) {
	_, dir := openDev(t)
	var lines strings.Builder
	for i := range 2345 {
		fmt.Fprintf(&lines, `{"id":"ten_%04d","name":"T","hostnames":[],"home_region":"eu-west"}`+"\n", i)
	}
	tenantryWith(t.Context(), t, lines.String(), "import", "-", "--data-dir", dir).exits(exitDone)
	r := tenantry(t, "tenant", "list", "--data-dir", dir, "--output", "json").exits(exitDone)
	got := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if len(got) != 2345 {
		t.Fatalf("got %d lines, want 2345", len(got))
	}
	for i, line := range got {
		if want := fmt.Sprintf(`"ten_%04d"`, i); !strings.Contains(line, want) {
			t.Fatalf("line %d: got %s, want %s", i+1, line, want)
		}
	}
}

func TestStatus_ShowsEveryRegion_AndFailsWhereOneIsNotWell(t *testing.T) {
	d, dir := openDev(t)
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir).exits(exitPartial)
	ready(t, d)
	r := tenantry(t, "status", "--data-dir", dir).exits(exitDone).prints("REGION", "eu-west  true", "us-east  true", "gen-0001", d.Addresses().Regions["us-east"])
	if n := strings.Count(r.stdout, "\n"); n != 3 {
		t.Errorf("got %d lines, want a head and two regions:\n%s", n, r.stdout)
	}
	r = tenantry(t, "status", "--data-dir", dir, "--output", "json").exits(exitDone)
	var all []struct {
		Region   string `json:"region"`
		Ready    bool   `json:"ready"`
		Position uint64 `json:"position"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &all); err != nil || len(all) != 2 || all[0].Region != "eu-west" || !all[1].Ready || all[1].Position == 0 {
		t.Errorf("got %s, %v", r.stdout, err)
	}

	notReady := httptest.NewServer(answering(200, "application/json", `{"region":"eu-west","node":"n","ready":false,"position":3,"quarantined":[{}]}`))
	defer notReady.Close()
	tenantry(t, "status", "--query", notReady.URL).exits(exitFailed, "region eu-west", "is not ready", "/readyz?verbose").prints("false", "unknown", "none")
}

func TestStatus_OfACopyThatIsBeingBuilt_SaysThatItsStalenessIsUnknown(t *testing.T) {
	server := httptest.NewServer(answering(200, "application/json",
		`{"region":"eu-west","node":"n","ready":false,"position":3,"staleness_ms":null,"quarantined":[]}`))
	defer server.Close()
	r := tenantry(t, "status", "--query", server.URL).exits(exitFailed, "is not ready").prints("unknown")
	if strings.Contains(r.stdout, "h47m") {
		t.Errorf("got a time that nobody can wait for:\n%s", r.stdout)
	}
}

func TestStatus_OfARegionThatIsNotWell_SaysWhatIsWrongBelowTheTable(t *testing.T) {
	for answer, want := range map[string]string{
		`"ready":true,"notice":"gen-0002 is not served any more: it is damaged"`:                                                                     "eu-west: gen-0002 is not served any more: it is damaged\n",
		`"ready":true,"not_following":"the disk is full"`:                                                                                            "eu-west: it is not kept up to date: the disk is full\n",
		`"ready":true,"verified":{"at":"2026-11-21T03:00:00Z","result":"different","position":7,"different":3,"healed":2}`:                           "eu-west: 1 stream not what the source says, at position 7 on 2026-11-21T03:00:00Z: 'tenantry replay --region eu-west --verify' names what is different\n",
		`"ready":true,"verified":{"at":"2026-11-21T03:00:00Z","result":"failed","position":0,"different":0,"healed":0,"error":"the source is away"}`: "eu-west: it could not be compared with the source on 2026-11-21T03:00:00Z: the source is away\n",
		`"ready":true,"verified":{"at":"2026-11-21T03:00:00Z","result":"different","position":7,"different":3,"healed":3}`:                           "",
		`"ready":true,"verified":{"at":"2026-11-21T03:00:00Z","result":"equal","position":7,"different":0,"healed":0}`:                               "",
	} {
		server := httptest.NewServer(answering(200, "application/json", `{"region":"eu-west","node":"n","position":3,"staleness_ms":4,"quarantined":[],`+answer+`}`))
		r := tenantry(t, "status", "--query", server.URL).exits(exitDone)
		server.Close()
		lines := strings.SplitAfterN(r.stdout, "\n", 3)
		if len(lines) != 3 || lines[2] != want {
			t.Errorf("%s: got\n%s\nwant below the table %q", answer, r.stdout, want)
		}
	}
	building := httptest.NewServer(answering(200, "application/json", `{"region":"eu-west","node":"n","ready":false,"not_ready":"1 of 2 events read","position":0,"quarantined":[]}`))
	defer building.Close()
	tenantry(t, "status", "--query", building.URL).exits(exitFailed, "region eu-west at "+building.URL+" is not ready: 1 of 2 events read\n")
}

func TestStatus_WhereNobodyAnswers_IsAnErrorAndNoTable(t *testing.T) {
	r := tenantry(t, "status", "--query", "http://127.0.0.1:1").exits(exitFailed, "tenantry: no answer from http://127.0.0.1:1 (connection refused)", "--query or --data-dir")
	if r.stdout != "" || strings.Contains(r.stderr, "--admin") {
		t.Errorf("got %q and %q, want no table, and no flag that status has not", r.stdout, r.stderr)
	}
	other := httptest.NewServer(answering(200, "text/html", "<h1>Welcome</h1>"))
	defer other.Close()
	if r := tenantry(t, "status", "--query", other.URL).exits(exitFailed, "read the answer of "+other.URL); r.stdout != "" {
		t.Errorf("got %q, want no table", r.stdout)
	}
}

func TestStatus_WhereOneRegionDoesNotAnswer_MarksItAndShowsTheRest(t *testing.T) {
	well := httptest.NewServer(answering(200, "application/json", `{"region":"us-east","node":"n-7","ready":true,"position":3,"staleness_ms":4,"quarantined":[]}`))
	defer well.Close()
	dir := t.TempDir()
	announce(t, dir, os.Getpid(), well.URL, map[string]string{"eu-west": "http://127.0.0.1:1", "us-east": well.URL})
	tenantry(t, "status", "--data-dir", dir).exits(exitFailed, "region eu-west: no answer from http://127.0.0.1:1").
		prints("REGION", "eu-west  no answer", "us-east  true", "n-7")
	r := tenantry(t, "status", "--data-dir", dir, "--output", "json").exits(exitFailed, "region eu-west")
	var all []struct {
		Region string `json:"region"`
		Ready  bool   `json:"ready"`
		Error  string `json:"error"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &all); err != nil || len(all) != 2 || all[0].Error == "" || all[0].Ready || all[1].Error != "" || !all[1].Ready {
		t.Errorf("got %s, %v", r.stdout, err)
	}
}
