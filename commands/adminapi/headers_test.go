package adminapi_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tenantry/tenantry/commands/adminapi"
	"github.com/tenantry/tenantry/events"
)

func TestCommand_TheTokenNamesThisWrite(t *testing.T) {
	s := newServer(t)
	r := s.acme("")
	token, err := events.ParseToken(r.header.Get("Tenantry-Token"))
	if err != nil {
		t.Fatal(err)
	}
	head, err := s.store.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := events.Token{StoreID: head.StoreID, Position: 3, Partition: events.Partition("ten_acme", partitions)}
	if token != want {
		t.Errorf("got token %+v, want %+v", token, want)
	}
	if got := r.header.Get("Tenantry-Position"); got != "3" {
		t.Errorf("got Tenantry-Position %q, want 3", got)
	}
	// What changed nothing names the write that made it so.
	s.must("POST", "/v1/groups", groupBody)
	r = s.must("PATCH", "/v1/tenants/ten_acme", `{"name":"Acme"}`)
	if token, err = events.ParseToken(r.header.Get("Tenantry-Token")); err != nil || token != want {
		t.Errorf("got token %+v, %v, want %+v", token, err, want)
	}
}

func TestCommand_DryRun_SaysWhatWouldHappenAndAppendsNothing(t *testing.T) {
	s := newServer(t)
	s.acme("")
	at := s.head()
	for _, row := range []struct {
		request, body, events string
		version               uint64
	}{
		{"POST /v1/tenants/ten_acme/activate?dry_run=true", "", "tenant.activated", 4},
		{"POST /v1/tenants/ten_acme/activate?dry_run", "", "tenant.activated", 4},
		{"PUT /v1/tenants/ten_acme/products/jira?dry_run=true", `{"plan":"free"}`, "tenant.product-activated", 4},
		{"POST /v1/tenants?dry_run=true", `{"name":"B","hostnames":["b.example"],"home_region":"eu-west"}`, "tenant.registered tenant.hostname-attached", 2},
		{"POST /v1/databases?dry_run=true", databaseBody, "database.registered", 1},
		{"POST /v1/groups?dry_run=true", groupBody, "group.created", 1},
	} {
		method, path, _ := strings.Cut(row.request, " ")
		r := s.send(method, path, row.body).want(200)
		d := r.done()
		if d.types() != row.events || d.Version != row.version || d.Position != 0 || d.Unchanged || !d.DryRun {
			t.Errorf("%s: got %+v", row.request, d)
		}
		for _, name := range []string{"ETag", "Location", "Tenantry-Position", "Tenantry-Token"} {
			if got := r.header.Get(name); got != "" {
				t.Errorf("%s: got %s %q for what was not done", row.request, name, got)
			}
		}
	}
	s.send("POST", "/v1/tenants?dry_run=true", `{"name":"B","hostnames":["acme.example"],"home_region":"eu-west"}`).refused(409, "hostname-taken")
	s.send("POST", "/v1/tenants/ten_acme/suspend?dry_run=true", "").refused(409, "wrong-state")
	s.unmoved(at)
	if d := s.must("POST", "/v1/tenants/ten_acme/activate?dry_run=false", "").done(); d.Position != at+1 {
		t.Errorf("dry_run=false appended nothing: %+v", d)
	}
}

func TestCommand_IfMatch(t *testing.T) {
	s := newServer(t)
	s.acme("") // at version 3
	for _, row := range []struct {
		ifMatch string
		status  int
	}{
		{`"2"`, 412}, {`"4"`, 412}, {`W/"2"`, 412}, {`"0"`, 412},
		{`3`, 400}, {`"3`, 400}, {`"x"`, 400}, {`"3", "4"`, 400}, {`""`, 400}, {`"-3"`, 400}, {`"99999999999999999999"`, 400},
		{`"3"`, 200}, {`W/"4"`, 200}, {`*`, 200},
	} {
		// Each that succeeds renames the tenant, so that the next is at one version more.
		r := s.send("PATCH", "/v1/tenants/ten_acme", fmt.Sprintf(`{"name":%q}`, "Acme "+row.ifMatch), "If-Match: "+row.ifMatch)
		switch row.status {
		case 412:
			f := r.refused(412, "version-mismatch")
			if f.CurrentVersion == nil || *f.CurrentVersion != 3 || r.header.Get("ETag") != `"3"` {
				t.Errorf("If-Match %s: got ETag %s and %s", row.ifMatch, r.header.Get("ETag"), r.body)
			}
		case 400:
			r.refused(400, "bad-request")
		default:
			r.want(row.status)
		}
	}
	s.send("POST", "/v1/groups", groupBody, `If-Match: "1"`).refused(400, "bad-request")
	s.send("PATCH", "/v1/tenants/ten_nobody", `{"name":"B"}`, `If-Match: "1"`).refused(404, "not-found")
}

func TestCommand_IdempotencyKey_AnswersTheFirstAnswerAgain(t *testing.T) {
	s := newServer(t)
	body := `{"name":"Acme","hostnames":["acme.example"],"home_region":"eu-west"}`
	first := s.send("POST", "/v1/tenants", body, "Idempotency-Key: k-1").want(201)
	if got := first.header.Get("Idempotency-Replayed"); got != "" {
		t.Errorf("the first answer says Idempotency-Replayed: %s", got)
	}
	at := s.head()
	s.clock.now = s.clock.now.Add(23 * time.Hour)
	again := s.send("POST", "/v1/tenants", body, "Idempotency-Key: k-1", "X-Request-Id: another").want(201)
	if got := again.header.Get("Idempotency-Replayed"); got != "true" {
		t.Errorf("got Idempotency-Replayed %q, want true", got)
	}
	sameJSON(t, again.body, first.body)
	for _, name := range []string{"Location", "ETag", "Tenantry-Position", "Tenantry-Token"} {
		if got, want := again.header.Get(name), first.header.Get(name); got != want || got == "" {
			t.Errorf("got %s %q, want %q as at first", name, got, want)
		}
	}
	s.unmoved(at)

	// Another body, another path, another query: another command.
	s.send("POST", "/v1/tenants", strings.Replace(body, "Acme", "Bcme", 1), "Idempotency-Key: k-1").refused(422, "key-reused")
	s.send("POST", "/v1/tenants/"+first.done().ID+"/activate", "", "Idempotency-Key: k-1").refused(422, "key-reused")
	for _, key := range []string{"two words", "täst", strings.Repeat("k", 256)} {
		s.send("POST", "/v1/tenants", body, "Idempotency-Key: "+key).refused(400, "bad-request")
	}
	s.unmoved(at)

	// What was refused may be tried again with the same key, and what was tried may be done.
	s.send("POST", "/v1/tenants/"+first.done().ID+"/resume", "", "Idempotency-Key: k-2").refused(409, "wrong-state")
	s.must("POST", "/v1/tenants/"+first.done().ID+"/activate?dry_run=true", "", "Idempotency-Key: k-3")
	if d := s.must("POST", "/v1/tenants/"+first.done().ID+"/activate", "", "Idempotency-Key: k-3").done(); d.Unchanged || d.DryRun {
		t.Errorf("the dry run took the key: %+v", d)
	}
}

func TestCommand_IdempotencyKey_SentManyTimesAtOnce_HappensOnce(t *testing.T) {
	s := newServer(t)
	var answers [16]reply
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			answers[i] = s.send("POST", "/v1/tenants", `{"name":"Acme","hostnames":["acme.example"],"home_region":"eu-west"}`, "Idempotency-Key: k")
		})
	}
	wg.Wait()
	replayed := 0
	for _, a := range answers {
		a.want(201)
		if a.header.Get("Idempotency-Replayed") == "true" {
			replayed++
		}
		if got, want := a.done().ID, answers[0].done().ID; got != want {
			t.Errorf("got two tenants, %s and %s", got, want)
		}
	}
	if replayed != len(answers)-1 {
		t.Errorf("%d of %d answers are the first one's again, want all but one", replayed, len(answers))
	}
	s.unmoved(2)
}

func TestCommand_ActorReasonAndRequest_AreKeptWithTheEvents(t *testing.T) {
	s := newServer(t)
	s.acme("")
	s.must("POST", "/v1/tenants/ten_acme/activate", "", "Tenantry-Actor: jürgen@example.com", "Tenantry-Reason: signed", "X-Request-Id: req-1")
	s.must("POST", "/v1/tenants/ten_acme/suspend", `{"reason":"unpaid since März"}`, "Tenantry-Reason: overdue")
	s.must("DELETE", "/v1/tenants/ten_acme/hostnames/www.acme.example", "", "Tenantry-Reason: no longer ours")
	var history struct{ Items []events.Event }
	s.get("/v1/tenants/ten_acme/events").want(200).as(&history)
	if len(history.Items) != 6 {
		t.Fatalf("got %d events", len(history.Items))
	}
	activated, suspended, detached := history.Items[3], history.Items[4], history.Items[5]
	if activated.Actor != "jürgen@example.com" || activated.Reason != "signed" || activated.CorrelationID != "req-1" {
		t.Errorf("got %+v", activated)
	}
	if suspended.Reason != "unpaid since März" || detached.Reason != "no longer ours" {
		t.Errorf("got %+v and %+v", suspended, detached)
	}

	at := s.head()
	for _, row := range []struct {
		header string
		status int
		name   string
	}{
		{"Tenantry-Actor: " + strings.Repeat("a", 501), 400, "bad-request"},
		{"Tenantry-Reason: " + strings.Repeat("a", 501), 400, "bad-request"},
		{"Tenantry-Actor: \xff", 400, "bad-request"},
		{"Tenantry-Actor: a\tb", 400, "bad-request"},
		{"Tenantry-Reason: postgres://u:p4ssw0rd@db.internal/x", 422, "invalid"},
	} {
		s.send("POST", "/v1/tenants/ten_acme/resume", "", row.header).refused(row.status, row.name)
	}
	f := s.send("POST", "/v1/tenants/ten_acme/resume", fmt.Sprintf(`{"reason":%q}`, strings.Repeat("a", 501))).refused(422, "invalid")
	if f.pointers() != "/reason" {
		t.Errorf("got pointers %s", f.pointers())
	}
	s.send("POST", "/v1/tenants/ten_acme/resume", `{"reason":7}`).refused(422, "invalid")
	s.unmoved(at)
}

func TestRequestID_IsEchoedOrMade(t *testing.T) {
	s := newServer(t)
	for given, taken := range map[string]bool{
		"req-81b2": true, "a/b+c=:@._-": true, strings.Repeat("x", 128): true,
		"": false, strings.Repeat("x", 129): false, "two words": false, "tab\tbed": false, "ümlaut": false, `"quoted"`: false, "<b>": false,
	} {
		for _, path := range []string{"/v1/tenants", "/v1/tenants/ten_x", "/no/such/path"} {
			got := s.get(path, "X-Request-Id: "+given).header.Get("X-Request-Id")
			if taken && got != given || !taken && (got == given || len(got) != 36) {
				t.Errorf("X-Request-Id %q: got %q", given, got)
			}
		}
	}
	f := s.get("/v1/tenants/ten_x", "X-Request-Id: req-7").refused(404, "not-found")
	if f.RequestID != "req-7" {
		t.Errorf("the problem names request %q", f.RequestID)
	}
}

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent  = "00-" + traceID + "-00f067aa0ba902b7-01"
)

func TestTraceparent_IsKeptWithTheEvents(t *testing.T) {
	s := newServer(t)
	s.must("POST", "/v1/groups", groupBody, "Traceparent: "+parent)
	s.must("PATCH", "/v1/groups/grp_early", `{"ring":2}`, "Traceparent: 00-garbage")
	log, err := s.store.After(context.Background(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if got := log[0].Traceparent; got != parent {
		t.Errorf("got traceparent %q, want the client's own %q", got, parent)
	}
	if got := log[1].Traceparent; got != "" {
		t.Errorf("got traceparent %q, want none", got)
	}
}

func TestTraceparent_WithATracer_EventsJoinTheRequestsSpan(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	s := newServer(t, func(c *adminapi.Config) { c.TracerProvider = provider })
	s.must("POST", "/v1/groups", groupBody, "Traceparent: "+parent)
	log, err := s.store.After(context.Background(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	span := ended(t, spans)
	want := fmt.Sprintf("00-%s-%s-01", traceID, span.SpanContext().SpanID())
	if got := log[0].Traceparent; got != want {
		t.Errorf("got traceparent %q, want the span's %q", got, want)
	}
	if got := span.Name(); got != "POST /v1/groups" {
		t.Errorf("got span %q", got)
	}
	if got := span.Parent().SpanID().String(); got != "00f067aa0ba902b7" {
		t.Errorf("got parent %s", got)
	}
	if !slices.ContainsFunc(span.Attributes(), func(a attribute) bool { return a.Key == "http.route" && a.Value.AsString() == "/v1/groups" }) {
		t.Errorf("got attributes %v, without the route", span.Attributes())
	}
}
