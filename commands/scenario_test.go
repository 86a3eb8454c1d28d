package commands

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// scenario is one sentence about one command: given events, when command, then events or a
// refusal.
type scenario struct {
	name  string
	given []events.Payload                     // of the stream that the command is for
	other map[events.StreamID][]events.Payload // that it may refer to
	when  Command
	then  []events.Payload // none: nothing changes
	// Of a refusal; "" for none. says is a part of what it says.
	refused Code
	at      string
	says    string
}

var began = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

var regions = []string{"eu-west", "us-east"}

func runScenarios(t *testing.T, scenarios []scenario) {
	t.Helper()
	for _, s := range scenarios {
		t.Run(s.name, s.run)
	}
}

func (sc scenario) run(t *testing.T) {
	position := uint64(0)
	fold := func(id events.StreamID, payloads []events.Payload) state {
		stream, err := events.New(id, 0, events.Metadata{Time: began}, payloads...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range stream {
			position++
			stream[i].Position = position
		}
		s, err := state{id: id}.apply(stream)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	f := facts{homeRegions: regions, others: map[events.StreamID]state{}}
	for id, payloads := range sc.other {
		f.others[id] = fold(id, payloads)
	}
	before := fold(sc.when.Target(), sc.given)

	got, err := []events.Payload(nil), Check(sc.when)
	if err == nil {
		got, err = decide(sc.when, before, f)
	}
	if sc.refused != "" || err != nil {
		sc.checkRefusal(t, got, err)
		return
	}
	if g, w := encoded(t, got), encoded(t, sc.then); !slices.Equal(g, w) {
		t.Fatalf("got\n  %s\nwant\n  %s", strings.Join(g, "\n  "), strings.Join(w, "\n  "))
	}
	// What was decided has to fold, and what it claims has to be what the fold says.
	h := NewHandler(nil, Config{HomeRegions: regions, Clock: func() time.Time { return began }})
	b, after, err := h.batch(before, f, events.Metadata{}, got)
	if err != nil {
		t.Fatal(err)
	}
	checkClaims(t, before, after, b)
}

func (sc scenario) checkRefusal(t *testing.T, got []events.Payload, err error) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got %v and the error %v, want the refusal %s", encoded(t, got), err, sc.refused)
	}
	if r.Code != sc.refused {
		t.Fatalf("refused as %q (%s), want %q", r.Code, r, sc.refused)
	}
	if len(got) != 0 {
		t.Errorf("refused, and yet decided %v", encoded(t, got))
	}
	if !strings.Contains(r.Error(), sc.says) {
		t.Errorf("the refusal says %q, want it to say %q", r, sc.says)
	}
	if !slices.ContainsFunc(r.Fields, func(f FieldError) bool { return f.Pointer == sc.at }) && (sc.at != "" || len(r.Fields) > 0) {
		t.Errorf("the refusal is about the fields %v, want %q", r.Fields, sc.at)
	}
	checkAdvice(t, r)
}

// checkAdvice holds promise 7 for one refusal: it says what to do.
func checkAdvice(t *testing.T, r *Refusal) {
	t.Helper()
	for _, says := range append([]string{r.Detail}, details(r.Fields)...) {
		if strings.HasSuffix(says, "things are wrong") {
			continue // the fields say what
		}
		if len(says) < 20 || !strings.ContainsAny(says, ":;") && !strings.Contains(says, " is not") {
			t.Errorf("the refusal %q does not say what to do", says)
		}
	}
}

func details(fields []FieldError) []string {
	var out []string
	for _, f := range fields {
		out = append(out, f.Detail)
	}
	return out
}

// checkClaims compares a batch's effects with the folds before and after it.
func checkClaims(t *testing.T, before, after state, b events.Batch) {
	t.Helper()
	held := slices.Clone(before.tenant.Hostnames)
	for _, h := range b.Release {
		i := slices.Index(held, h)
		if i < 0 {
			t.Errorf("the batch releases %s, which the tenant does not have", h)
			continue
		}
		held = slices.Delete(held, i, i+1)
	}
	held = append(held, b.Take...)
	if !slices.Equal(sortedHostnames(held), sortedHostnames(after.tenant.Hostnames)) {
		t.Errorf("claims lead to %v, the fold to %v", held, after.tenant.Hostnames)
	}
	refers := referencesOf(before.tenant)
	for _, id := range b.Unrefer {
		delete(refers, id)
	}
	for _, r := range b.Refer {
		refers[r.To] = true
	}
	want := referencesOf(after.tenant)
	if len(refers) != len(want) {
		t.Errorf("references lead to %v, the fold to %v", refers, want)
	}
	for id := range want {
		if !refers[id] {
			t.Errorf("references lead to %v, the fold to %v", refers, want)
		}
	}
}

func referencesOf(t events.Tenant) map[events.StreamID]bool {
	out := map[events.StreamID]bool{}
	if !t.Database.ID.IsZero() {
		out[t.Database.ID.Stream()] = true
	}
	if !t.Group.IsZero() {
		out[t.Group.Stream()] = true
	}
	return out
}

func sortedHostnames(hostnames []events.Hostname) []string {
	out := []string{}
	for _, h := range hostnames {
		out = append(out, h.String())
	}
	slices.Sort(out)
	return out
}

// encoded is payloads as they are stored, which is what counts.
func encoded(tb testing.TB, payloads []events.Payload) []string {
	tb.Helper()
	out := []string{}
	for _, p := range payloads {
		data, err := events.Encode(p)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, string(p.EventType())+" "+string(data))
	}
	return out
}

// must is for what a test writes itself.
func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

func ten(s string) events.TenantID  { return must(events.ParseTenantID("ten_" + s)) }
func db(s string) events.DatabaseID { return must(events.ParseDatabaseID("db_" + s)) }
func grp(s string) events.GroupID   { return must(events.ParseGroupID("grp_" + s)) }
func host(s string) events.Hostname { return must(events.ParseHostname(s)) }
func raw(s string) jsontext.Value   { return jsontext.Value(s) }
func hosts(s ...string) []events.Hostname {
	out := make([]events.Hostname, len(s))
	for i := range s {
		out[i] = host(s[i])
	}
	return out
}

func attached(names ...string) []events.Payload {
	var out []events.Payload
	for _, n := range names {
		out = append(out, events.HostnameAttached{Hostname: host(n)})
	}
	return out
}

// streams that scenarios begin with
var (
	acme       = ten("acme")
	registered = events.TenantRegistered{Name: "Acme", HomeRegion: "eu-west"}
	// endpoint is where all databases of the tests are.
	endpoint = events.Endpoint{Host: "pg-1.internal.example", Port: 5432, SecretRef: "vault://kv/pg-1"}
	pg       = events.DatabaseRegistered{Engine: "postgres", Region: "eu-west-1", Endpoint: endpoint}
	early    = events.GroupCreated{Name: "Early birds", Ring: 1}
)

func given(payloads ...any) []events.Payload {
	var out []events.Payload
	for _, p := range payloads {
		switch p := p.(type) {
		case events.Payload:
			out = append(out, p)
		case []events.Payload:
			out = append(out, p...)
		}
	}
	return out
}

func only(id events.StreamID, payloads ...events.Payload) map[events.StreamID][]events.Payload {
	return map[events.StreamID][]events.Payload{id: payloads}
}
