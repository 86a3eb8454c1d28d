package queryapi_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/queryapi"
)

func at(now time.Time) func(*queryapi.Config) {
	return func(cfg *queryapi.Config) { cfg.Clock = func() time.Time { return now } }
}

func TestLookup_OfAHostname_AnswersTheTenantContextAndWhereItComesFrom(t *testing.T) {
	n := newNode(t, at(noon.Add(1234*time.Millisecond)))
	n.commit(7, tenant(t, "ten_acme", 7, "acme.example", "www.acme.example"))

	a := n.get("/v1/lookup/www.acme.example", "X-Request-Id", "req-1").is(t, http.StatusOK)
	want := `{"hostname":"www.acme.example","tenant_id":"ten_acme","name":"Acme <&> Ünïcode 東京","status":"active",` +
		`"hostnames":["acme.example","www.acme.example"],"primary_hostname":"acme.example","home_region":"eu-west",` +
		`"products":{"jira":{"plan":"standard"}},"config":{"theme":"dark"},"version":7}`
	if a.body != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
	got := map[string]string{}
	for _, name := range []string{"Content-Type", "Tenantry-Version", "Tenantry-Position", "Tenantry-Region", "Tenantry-Staleness", "Tenantry-Quarantined", "X-Request-Id"} {
		got[name] = a.header.Get(name)
	}
	if diff := cmp.Diff(map[string]string{
		"Content-Type": "application/json", "Tenantry-Version": "7", "Tenantry-Position": "7", "Tenantry-Region": "eu-west",
		"Tenantry-Staleness": "1234", "Tenantry-Quarantined": "", "X-Request-Id": "req-1",
	}, got); diff != "" {
		t.Error(diff)
	}
	if a.header.Get("ETag") == n.get("/v1/lookup/acme.example").is(t, http.StatusOK).header.Get("ETag") {
		t.Error("two documents have one ETag")
	}
}

func TestLookup_OfATenant_AnswersItsContextByThePrimaryHostname(t *testing.T) {
	n := newNode(t)
	n.commit(2, tenant(t, "ten_acme", 1, "acme.example", "www.acme.example"), tenant(t, "ten_bare", 2))
	if got := n.get("/v1/tenants/ten_acme").context(t)["hostname"]; got != "acme.example" {
		t.Errorf("hostname is %v, want acme.example", got)
	}
	if got, there := n.get("/v1/tenants/ten_bare").context(t)["hostname"]; there {
		t.Errorf("a tenant without hostnames has hostname %v", got)
	}
	n.get("/v1/tenants/ten_nobody").isProblem(t, http.StatusNotFound, "unknown-tenant", "-")
	for _, id := range []string{"db_acme", "grp_acme", "acme", "ten_", "ten_-a", "ten_Acme", "ten_%00", "ten_%FF", "ten_" + strings.Repeat("a", 64), strings.Repeat("x", 9000)} {
		n.get("/v1/tenants/"+id).isProblem(t, http.StatusUnprocessableEntity, "invalid", "/id")
	}
}

func TestLookup_OfAnySpelling_FindsTheOneHostname(t *testing.T) {
	n := newNode(t)
	n.commit(1, tenant(t, "ten_acme", 1, "bücher.example", "acme.example"))
	for path, want := range map[string]string{
		"acme.example":                "acme.example",
		"ACME.Example":                "acme.example",
		"acme.example.":               "acme.example",
		"acme%2Eexample":              "acme.example",
		"acme%2eexample":              "acme.example",
		"xn--bcher-kva.example":       "xn--bcher-kva.example",
		"XN--BCHER-KVA.EXAMPLE.":      "xn--bcher-kva.example",
		"b%C3%BCcher.example":         "xn--bcher-kva.example",
		"b%c3%bccher.example":         "xn--bcher-kva.example",
		"B%C3%9CCHER.example":         "xn--bcher-kva.example",
		"bu%CC%88cher.example":        "xn--bcher-kva.example", // u and a combining diaeresis
		"b%C3%BCcher%E3%80%82example": "xn--bcher-kva.example", // an ideographic full stop
		"acme.example?":               "acme.example",
		"acme.example?unknown=%zz":    "", // refused below
		"acme.example?unknown=1":      "", // refused below
	} {
		a := n.get("/v1/lookup/" + path)
		if want == "" {
			a.isProblem(t, http.StatusBadRequest, "bad-request", "-")
			continue
		}
		if got := a.context(t)["hostname"]; got != want {
			t.Errorf("%s: found by %v, want %s", path, got, want)
		}
	}
}

func TestLookup_OfWhatIsNoHostname_SaysWhatIsWrong(t *testing.T) {
	n := newNode(t)
	label64 := strings.Repeat("a", 64)
	for _, path := range []string{
		"acme..example", ".acme.example", "acme.example..", label64 + ".example", strings.Repeat("abcdefgh.", 28) + "ab", // 254
		"under_score.example", "acme.example:443", "acme.example%3A443", "10.0.0.1", "10.0.0.1:80", "%5B::1%5D", "::1", "1.2.3",
		"*.acme.example", "example", "-a.example", "a-.example", "xn--a.example", "xn--bcher-.example", "xn--BUCHER-.example",
		"a%20b.example", "a%00b.example", "a%FFb.example", "a%2Fb.example", "a%40b.example", "%E2%80%AE.example", strings.Repeat("a.", 20000),
		"http:%2F%2Facme.example", "%25.example", "acme%5C.example",
	} {
		n.get("/v1/lookup/"+path).isProblem(t, http.StatusUnprocessableEntity, "invalid", "/hostname")
	}
}

func TestLookup_OfAnUnknownHostname_SaysAsOfWhen(t *testing.T) {
	n := newNode(t, at(noon.Add(time.Second)))
	n.commit(9, tenant(t, "ten_acme", 9, "acme.example"))
	a := n.get("/v1/lookup/nobody.example")
	a.isProblem(t, http.StatusNotFound, "unknown-hostname", "-")
	if a.header.Get("Tenantry-Position") != "9" || a.header.Get("Tenantry-Staleness") != "1000" {
		t.Errorf("headers are %v", a.header)
	}

	purged := tenant(t, "ten_acme", 10)
	purged.Status = events.StatusPurged
	n.commit(10, purged)
	n.get("/v1/lookup/acme.example").isProblem(t, http.StatusNotFound, "unknown-hostname", "-")
	n.get("/v1/tenants/ten_acme").isProblem(t, http.StatusNotFound, "unknown-tenant", "-")
}

func TestLookup_OfASuspendedTenant_FindsIt(t *testing.T) {
	n := newNode(t)
	suspended := tenant(t, "ten_acme", 3, "acme.example")
	suspended.Status = events.StatusSuspended
	n.commit(3, suspended)
	if got := n.get("/v1/lookup/acme.example").context(t)["status"]; got != "suspended" {
		t.Errorf("status is %v, want suspended", got)
	}
}

func TestLookup_OfAKnownETag_AnswersNotModifiedUntilTheDocumentChanges(t *testing.T) {
	n := newNode(t)
	n.commit(1, tenant(t, "ten_acme", 1, "acme.example"))
	for _, path := range []string{"/v1/lookup/acme.example", "/v1/tenants/ten_acme"} {
		etag := n.get(path).is(t, http.StatusOK).header.Get("ETag")
		for _, tags := range []string{etag, "W/" + etag, `"other", ` + etag, "*", `"other",W/` + etag + `,"third"`} {
			a := n.get(path, "If-None-Match", tags).is(t, http.StatusNotModified)
			if a.body != "" || a.header.Get("ETag") != etag || a.header.Get("Tenantry-Version") != "1" || a.header.Get("Tenantry-Position") != "1" {
				t.Errorf("%s with If-None-Match %s: %v %q", path, tags, a.header, a.body)
			}
		}
		n.get(path, "If-None-Match", `"other"`).is(t, http.StatusOK)
		n.get(path, "If-None-Match", `"other"`, "If-None-Match", etag).is(t, http.StatusNotModified)
	}

	// Nothing of the tenant's own changes here: the group that it is in becomes known.
	grouped := tenant(t, "ten_acme", 2, "acme.example")
	var err error
	if grouped.Group, err = events.ParseGroupID("grp_early"); err != nil {
		t.Fatal(err)
	}
	n.commit(2, grouped)
	before := n.get("/v1/lookup/acme.example").is(t, http.StatusOK)
	if err := n.live.Model().Update(func(tx *readmodel.Tx) error {
		tx.PutGroup(events.Group{ID: grouped.Group, Version: 1, Position: 3, Status: events.GroupActive, Name: "Early", Ring: 1})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	after := n.get("/v1/lookup/acme.example", "If-None-Match", before.header.Get("ETag")).is(t, http.StatusOK)
	if after.header.Get("ETag") == before.header.Get("ETag") || after.header.Get("Tenantry-Version") != "2" {
		t.Errorf("after the group came: ETag %s, before %s; version %s", after.header.Get("ETag"), before.header.Get("ETag"), after.header.Get("Tenantry-Version"))
	}
}

func TestLookup_ByHead_AnswersTheHeadersOfGet(t *testing.T) {
	n := newNode(t, at(noon))
	n.commit(1, tenant(t, "ten_acme", 1, "acme.example"))
	for _, path := range []string{"/v1/lookup/acme.example", "/v1/lookup/nobody.example", "/v1/lookup/_", "/v1/tenants/ten_acme", "/v1/status", "/livez", "/readyz", "/openapi.yaml"} {
		get, head := n.get(path, "X-Request-Id", "req-1"), n.do(http.MethodHead, path, "", "X-Request-Id", "req-1")
		get.header.Del("Date")
		head.header.Del("Date")
		if diff := cmp.Diff(get.header, head.header); diff != "" || head.status != get.status || head.body != "" {
			t.Errorf("%s: GET %d, HEAD %d %q, headers differ: %s", path, get.status, head.status, head.body, diff)
		}
	}
}

func TestLookup_OfATenantInQuarantine_AnswersItsLastGoodContextAndSaysSo(t *testing.T) {
	n := newNode(t)
	acme := tenant(t, "ten_acme", 1, "acme.example")
	n.commit(1, acme, tenant(t, "ten_other", 1, "other.example"))
	if err := n.live.Model().Update(func(tx *readmodel.Tx) error {
		return tx.SetQuarantine(readmodel.Quarantine{Stream: acme.ID.Stream(), Position: 2, Version: 2, Error: "unknown event type", Since: noon})
	}); err != nil {
		t.Fatal(err)
	}
	a := n.get("/v1/lookup/acme.example").is(t, http.StatusOK)
	if a.header.Get("Tenantry-Quarantined") != "true" || a.header.Get("Tenantry-Version") != "1" {
		t.Errorf("headers are %v", a.header)
	}
	if q := n.get("/v1/lookup/other.example").is(t, http.StatusOK).header.Get("Tenantry-Quarantined"); q != "" {
		t.Errorf("another tenant has Tenantry-Quarantined: %s", q)
	}
	if q := n.post("/v1/lookup", `{"hostnames":["other.example","acme.example"]}`).is(t, http.StatusOK).header.Get("Tenantry-Quarantined"); q != "true" {
		t.Errorf("a batch with the tenant has Tenantry-Quarantined: %q", q)
	}
}

func TestLookup_WhileNotReady_AsksToComeAgain(t *testing.T) {
	why := errors.New("the region is rebuilding, 40% done")
	n := newNode(t, func(cfg *queryapi.Config) { cfg.Ready = func() error { return why } })
	n.commit(1, tenant(t, "ten_acme", 1, "acme.example"))
	for _, path := range []string{"/v1/lookup/acme.example", "/v1/tenants/ten_acme", "/v1/lookup/acme.example?at_least=" + token(storeID, 1, 0)} {
		a := n.get(path)
		a.isProblem(t, http.StatusServiceUnavailable, "not-ready", "-")
		if a.header.Get("Retry-After") == "" || !strings.Contains(a.body, why.Error()) {
			t.Errorf("%s: Retry-After %q, %s", path, a.header.Get("Retry-After"), a.body)
		}
	}
	n.post("/v1/lookup", `{"hostnames":[]}`).isProblem(t, http.StatusServiceUnavailable, "not-ready", "-")

	n = newNode(t)
	n.live.Swap(nil)
	n.get("/v1/lookup/acme.example").isProblem(t, http.StatusServiceUnavailable, "not-ready", "-")
	n.get("/v1/lookup/acme.example?min_position=1").isProblem(t, http.StatusServiceUnavailable, "not-ready", "-")
	n.post("/v1/lookup", `{"hostnames":["acme.example"]}`).isProblem(t, http.StatusServiceUnavailable, "not-ready", "-")
}
