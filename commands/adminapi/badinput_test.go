package adminapi_test

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// badTenant is a body of POST /v1/tenants that has to be refused. The same body is a bad line of
// an import, unless it has a line break in it.
type badTenant struct {
	name     string
	body     string
	status   int // 0: it looks bad, and is taken, with the hostname that it says
	problem  string
	pointers string // of the fields at fault; several are divided by a space
	says     string // part of a sentence that says what to do
}

const (
	mebi = 1 << 20
	// good is a body to which one wrong member can be added or put in place of a right one.
	good = `{"id":"ten_bad","name":"Bad","hostnames":["bad.example"],"home_region":"eu-west"%s}`
)

func with(more string) string { return fmt.Sprintf(good, ","+more) }

func named(name string) string {
	return fmt.Sprintf(`{"id":"ten_bad","name":%s,"hostnames":["bad.example"],"home_region":"eu-west"}`, name)
}

func hosted(hostname string) string {
	return fmt.Sprintf(`{"id":"ten_bad","name":"Bad","hostnames":["fine.example",%s],"home_region":"eu-west"}`, hostname)
}

func identified(id string) string {
	return fmt.Sprintf(`{"id":%s,"name":"Bad","hostnames":["bad.example"],"home_region":"eu-west"}`, id)
}

// spelled is a hostname that is written in another way than it is kept.
func spelled(name, hostname, kept string) badTenant {
	id := "ten_" + strings.ReplaceAll(strings.TrimPrefix(kept, "xn--"), ".", "-")
	return badTenant{
		name: name, body: `{"id":"` + id + `","name":"Spelled","hostnames":["` + hostname + `"],"home_region":"eu-west"}`,
		says: fmt.Sprintf("[%q]", kept),
	}
}

func seated(seats string) string {
	return with(fmt.Sprintf(`"products":{"jira":{"plan":"free","seats":%s}}`, seats))
}

func badTenants() []badTenant {
	return []badTenant{
		// What is no JSON, or not one document.
		{"broken", `{"id":"ten_bad","name":`, 400, "invalid-json", "/name", "close what is still open"},
		{"no JSON", `name=Bad`, 400, "invalid-json", "", "correct "},
		{"single quotes", `{'name':'Bad'}`, 400, "invalid-json", "", "correct "},
		{"a comma too many", `{"name":"Bad",}`, 400, "invalid-json", "", "correct "},
		{"two documents", fmt.Sprintf(good, "") + " " + fmt.Sprintf(good, ""), 400, "invalid-json", "", "exactly one"},
		{"something behind it", fmt.Sprintf(good, "") + "]", 400, "invalid-json", "", "exactly one"},
		{"duplicate member", with(`"name":"Worse"`), 400, "invalid-json", "/name", "give it once"},
		{"duplicate member by escape", with(`"n\u0061me":"Worse"`), 400, "invalid-json", "/name", "give it once"},
		{"duplicate product", with(`"products":{"jira":{"plan":"a"},"jira":{"plan":"b"}}`), 400, "invalid-json", "/products/jira", "give it once"},
		{"duplicate inside of a value", with(`"config":{"a":{"b":1,"b":2}}`), 400, "invalid-json", "/config/a/b", "give it once"},
		{"invalid UTF-8", named("\"Bad\xff\""), 400, "invalid-json", "/name", "UTF-8"},
		{"overlong UTF-8", named("\"\xc0\xaf\""), 400, "invalid-json", "/name", "UTF-8"},
		{"lone surrogate", named(`"\ud800"`), 400, "invalid-json", "/name", "surrogate"},
		{"NUL", named("\"Bad\x00\""), 400, "invalid-json", "/name", "correct "},
		{"escaped NUL", named(`"Bad\u0000"`), 400, "invalid-json", "/name", "take it out"},
		{"escaped NUL in a value", with(`"config":{"a":["b","c\u0000d"]}`), 400, "invalid-json", "/config/a/1", "take it out"},
		{"byte order mark", "\ufeff" + fmt.Sprintf(good, ""), 400, "invalid-json", "", "byte order mark"},
		{"deep nesting", with(`"config":{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`), 400, "invalid-json", "*", "flatter"},
		{"too deep by one", with(`"config":{"a":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`), 400, "invalid-json", "*", "flatter"},

		// What is another type, or is unknown, or missing.
		{"an array", `[]`, 422, "invalid", "", "a JSON object"},
		{"a string", `"ten_bad"`, 422, "invalid", "", "a JSON object"},
		{"null", `null`, 422, "invalid", "", "a JSON object"},
		{"nothing in it", `{}`, 422, "invalid", "/name /hostnames /home_region", "missing"},
		{"unknown field", with(`"color":"red"`), 422, "invalid", "/color", "leave it out"},
		{"a field in another case", `{"Name":"Bad","hostnames":[],"home_region":"eu-west"}`, 422, "invalid", "/name /Name", "correct its name"},
		{"a number for a name", named(`7`), 422, "invalid", "/name", "has to be a string"},
		{"null for a name", named(`null`), 422, "invalid", "/name", "has to be a string"},
		{"a string for hostnames", `{"name":"Bad","hostnames":"bad.example","home_region":"eu-west"}`, 422, "invalid", "/hostnames", "has to be an array"},
		{"a number for a hostname", hosted(`7`), 422, "invalid", "/hostnames/1", "has to be a string"},
		{"an array for products", with(`"products":["jira"]`), 422, "invalid", "/products", "has to be an object"},
		{"a string for a product", with(`"products":{"jira":"free"}`), 422, "invalid", "/products/jira", "has to be an object"},
		{"unknown product field", with(`"products":{"jira":{"plan":"free","seat":5}}`), 422, "invalid", "/products/jira/seat", "seats"},
		{"product without plan", with(`"products":{"jira":{}}`), 422, "invalid", "/products/jira/plan", "missing"},
		{"negative seats", seated("-1"), 422, "invalid", "/products/jira/seats", "0"},
		{"seats beyond int64", seated("9223372036854775808"), 422, "invalid", "/products/jira/seats", "9223372036854775807"},
		{"seats far beyond int64", seated(strings.Repeat("9", 1000)), 422, "invalid", "/products/jira/seats", "9223372036854775807"},
		{"seats with a fraction", seated("2.5"), 422, "invalid", "/products/jira/seats", "whole number"},
		{"seats with an exponent", seated("1e3"), 422, "invalid", "/products/jira/seats", "whole number"},
		{"seats in quotes", seated(`"5"`), 422, "invalid", "/products/jira/seats", "has to be a number"},
		{"a product's bad name", with(`"products":{"Jira!":{"plan":"free"}}`), 422, "invalid", "/products/Jira!", "a-z"},
		{"a pointer that needs escaping", with(`"products":{"a/b~c":{"plan":"free"}}`), 422, "invalid", "/products/a~1b~0c", "a-z"},
		{"a trial without a date", with(`"products":{"jira":{"plan":"free","trial_until":"tomorrow"}}`), 422, "invalid", "/products/jira/trial_until", "RFC 3339"},
		{"a feature that is no string", with(`"products":{"jira":{"plan":"free","features":["a",1]}}`), 422, "invalid", "/products/jira/features/1", "string"},
		{"status to begin with", with(`"status":"purged"`), 422, "invalid", "/status", "registered"},
		{"a foreign primary hostname", with(`"primary_hostname":"other.example"`), 422, "invalid", "/primary_hostname", "one of the hostnames"},
		{"a database of two parts", with(`"database":{"id":"db_x","host":"pg"}`), 422, "invalid", "/database/host", "leave it out"},
		{"several at once", `{"id":"ten_bad","name":"","hostnames":["a_b.example","fine.example","c..example"],"home_region":"eu-west","products":{"jira":{"plan":"free","seats":-1}},"what":1}`,
			422, "invalid", "/hostnames/0 /hostnames/2 /products/jira/seats /what /name", ""},

		// IDs of the wrong kind, or with bad characters.
		{"a database's ID", with(`"group":"db_eu-1"`), 422, "invalid", "/group", "grp_"},
		{"a group's ID", with(`"database":"grp_early"`), 422, "invalid", "/database", "db_"},
		{"no prefix", identified(`"acme"`), 422, "invalid", "/id", "ten_"},
		{"another prefix", identified(`"usr_acme"`), 422, "invalid", "/id", "ten_"},
		{"nothing behind the prefix", identified(`"ten_"`), 422, "invalid", "/id", "ten_"},
		{"empty ID", identified(`""`), 422, "invalid", "/id", "ten_"},
		{"upper case", identified(`"ten_Acme"`), 422, "invalid", "/id", "a-z"},
		{"a space", identified(`"ten_ac me"`), 422, "invalid", "/id", "a-z"},
		{"a slash", identified(`"ten_../x"`), 422, "invalid", "/id", "a-z"},
		{"a leading hyphen", identified(`"ten_-a"`), 422, "invalid", "/id", "not beginning with -"},
		{"64 characters", identified(`"ten_` + strings.Repeat("a", 64) + `"`), 422, "invalid", "/id", "1 to 63"},
		{"a number for an ID", identified(`7`), 422, "invalid", "/id", "has to be a string"},

		// Hostnames.
		{"empty hostname", hosted(`""`), 422, "invalid", "/hostnames/1", "DNS name"},
		{"empty label", hosted(`"a..example"`), 422, "invalid", "/hostnames/1", "empty label"},
		{"leading dot", hosted(`".a.example"`), 422, "invalid", "/hostnames/1", "empty label"},
		{"two trailing dots", hosted(`"a.example.."`), 422, "invalid", "/hostnames/1", "empty label"},
		{"64-octet label", hosted(`"` + strings.Repeat("a", 64) + `.example"`), 422, "invalid", "/hostnames/1", "at most 63"},
		{"254 octets", hosted(`"` + strings.Repeat("a.", 124) + `aaaaaa"`), 422, "invalid", "/hostnames/1", "at most 253"},
		{"underscore", hosted(`"a_b.example"`), 422, "invalid", "/hostnames/1", "underscore"},
		{"port", hosted(`"a.example:443"`), 422, "invalid", "/hostnames/1", "port"},
		{"IPv4", hosted(`"192.0.2.7"`), 422, "invalid", "/hostnames/1", "IP address"},
		{"IPv4 in short", hosted(`"192.0.519"`), 422, "invalid", "/hostnames/1", "IP address"},
		{"IPv6", hosted(`"2001:db8::7"`), 422, "invalid", "/hostnames/1", "IP address"},
		{"IPv6 in brackets", hosted(`"[2001:db8::7]"`), 422, "invalid", "/hostnames/1", "IP address"},
		{"wildcard", hosted(`"*.acme.example"`), 422, "invalid", "/hostnames/1", "wildcard"},
		{"bare TLD", hosted(`"example"`), 422, "invalid", "/hostnames/1", "single label"},
		{"URL", hosted(`"https://acme.example/"`), 422, "invalid", "/hostnames/1", "scheme"},
		{"hyphen at the end of a label", hosted(`"acme-.example"`), 422, "invalid", "/hostnames/1", "hyphen"},
		{"punycode that does not round-trip", hosted(`"xn--acme-.example"`), 422, "invalid", "/hostnames/1", "*"},
		spelled("trailing dot", "dot.example.", "dot.example"),
		spelled("upper case in a hostname", "UPPER.Example", "upper.example"),
		spelled("IDN U-label", "bücher.example", "xn--bcher-kva.example"),
		spelled("IDN U-label in upper case, with parts", "ZU\u0308RICH.example", "xn--zrich-kva.example"),
		spelled("punycode of upper case", "xn--Mnchen-3YA.example", "xn--mnchen-3ya.example"),
		{"punycode of plain ASCII", hosted(`"xn--acme.example"`), 422, "invalid", "/hostnames/1", "*"},
		{"the same hostname twice", hosted(`"FINE.example."`), 422, "invalid", "/hostnames/1", "twice"},

		// Names.
		{"name of 0 characters", named(`""`), 422, "invalid", "/name", "1 to 200"},
		{"name of 201 characters", named(`"` + strings.Repeat("é", 201) + `"`), 422, "invalid", "/name", "at most 200"},
		{"name of white space", named(`" \u00a0 "`), 422, "invalid", "/name", "white space"},
		{"line feed in a name", named(`"a\nb"`), 422, "invalid", "/name", "control character"},
		{"escape in a name", named(`"a\u001bb"`), 422, "invalid", "/name", "control character"},
		{"C1 control in a name", named(`"a\u0085b"`), 422, "invalid", "/name", "control character"},
		{"control sequence in a name", named(`"a\u009bb"`), 422, "invalid", "/name", "control character"},
		{"quotes of Windows-1252 in a name", `{"id":"ten_quoted","name":"\u0093Q\u0094","hostnames":[],"home_region":"eu-west"}`, 0, "", "", "[]"}, // real rosters have them
		{"bidi override in a name", named(`"a\u202eb"`), 422, "invalid", "/name", "control character"},

		// What the catalogue does not know.
		{"unknown region", strings.Replace(fmt.Sprintf(good, ""), "eu-west", "mars-1", 1), 422, "unknown-region", "/home_region", "us-east"},
		{"unknown group", with(`"group":"grp_none"`), 422, "unknown-group", "/group", "grp_none"},
		{"unknown database", with(`"database":"db_none"`), 422, "unknown-database", "/database", "db_none"},

		// Secrets.
		{"a DSN in the configuration", with(`"config":{"db":{"dsn":"postgres://app:hunter2@db.internal/app"}}`), 422, "invalid", "/config/db/dsn", "vault://"},
		{"a private key in the configuration", with(`"config":{"tls":["-----BEGIN PRIVATE KEY-----\nMIIE"]}`), 422, "invalid", "/config/tls/0", "vault://"},
		{"a DSN for a name", named(`"mysql://root:hunter2@db.internal/app"`), 422, "invalid", "/name", "*"},
	}
}

// check holds a fault against the row; pointers of "*" are any, and so is what it says.
func (row badTenant) check(t *testing.T, f fault) {
	t.Helper()
	if got, want := f.Type, "https://tenantry.dev/problems/"+row.problem; got != want {
		t.Errorf("got type %s, want %s: %+v", got, want, f)
	}
	if got := f.pointers(); got != row.pointers && row.pointers != "*" || len(f.Errors) == 0 {
		t.Errorf("got pointers %q, want %q: %+v", got, row.pointers, f)
	}
	said := f.Detail
	for _, e := range f.Errors {
		said += "\n" + e.Detail
	}
	if row.says != "*" && !strings.Contains(said, row.says) {
		t.Errorf("nothing of %q is said in %q", row.says, said)
	}
	if strings.Contains(said, "hunter2") {
		t.Errorf("the secret is told again: %q", said)
	}
	for _, e := range f.Errors {
		if len(e.Detail) > 600 {
			t.Errorf("a detail of %d octets is no sentence", len(e.Detail))
		}
	}
}

// checkKept holds what was taken against the row.
func (row badTenant) checkKept(t *testing.T, s *server) {
	t.Helper()
	var sent, kept struct {
		ID        string
		Hostnames jsontext.Value
	}
	if err := json.Unmarshal([]byte(row.body), &sent, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	s.get("/v1/tenants/" + sent.ID).want(200).as(&kept)
	if got := string(kept.Hostnames); got != row.says {
		t.Errorf("got hostnames %s, want %s", got, row.says)
	}
}

func TestBadInput_ATenant_IsRefusedAndChangesNothing(t *testing.T) {
	s := newServer(t)
	for _, row := range badTenants() {
		t.Run(row.name, func(t *testing.T) {
			s.t = t
			if row.status == 0 {
				s.must("POST", "/v1/tenants", row.body)
				row.checkKept(t, s)
				return
			}
			at := s.head()
			row.check(t, s.send("POST", "/v1/tenants", row.body).refused(row.status, row.problem))
			s.unmoved(at)
			s.get("/v1/tenants/ten_bad").refused(404, "not-found")
		})
	}
}

func TestBadInput_LinesOfAnImport_TheGoodOnesGoIn(t *testing.T) {
	s := newServer(t)
	rows := badTenants()
	rows = append(rows, badTenant{"1 MiB + 1", with(`"config":{"a":"` + strings.Repeat("a", mebi) + `"}`), 413, "too-large", "-", "make it shorter"})
	for _, row := range badOthers() {
		if (row.request == "POST /v1/databases" || row.request == "POST /v1/groups") && strings.Contains(row.body, `"id":"`+row.kind()) {
			rows = append(rows, badTenant{row.request + " " + row.pointers, row.body, row.status, row.problem, row.pointers, row.says})
		}
	}
	var lines strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&lines, `{"id":"ten_good-%d","name":"Good","hostnames":["good-%d.example"],"home_region":"eu-west"}`+"\n", i, i)
		lines.WriteString(row.body + "\n")
	}
	answers := s.importing(lines.String())
	if len(answers) != 2*len(rows) {
		t.Fatalf("got %d answers for %d lines", len(answers), 2*len(rows))
	}
	for i, row := range rows {
		good, bad := answers[2*i], answers[2*i+1]
		if good.Line != 2*i+1 || good.Status != "created" || good.ID != fmt.Sprintf("ten_good-%d", i) || good.Error != nil {
			t.Errorf("the good line before %q: got %+v", row.name, good)
		}
		t.Run(row.name, func(t *testing.T) {
			switch {
			case bad.Line != 2*i+2:
				t.Errorf("got line %d, want %d", bad.Line, 2*i+2)
			case row.status == 0:
				if bad.Status != "created" {
					t.Errorf("got %+v, want it created", bad)
				}
				row.checkKept(t, s)
			case bad.Status != "invalid" || bad.Error == nil:
				t.Errorf("got %+v, want it invalid", bad)
			case row.pointers == "-":
				if !strings.HasSuffix(bad.Error.Type, row.problem) || !strings.Contains(bad.Error.Detail, row.says) {
					t.Errorf("got %+v", bad.Error)
				}
			default:
				row.check(t, *bad.Error)
			}
			if bad.Error != nil {
				wantForALine(t, *bad.Error)
			}
		})
	}
	// Nothing in the log is of a line that was refused.
	created := make(map[string]bool)
	for _, a := range answers {
		if a.Status == "created" {
			created[a.ID] = true
		}
	}
	log, err := s.store.After(t.Context(), 0, 10*len(rows))
	if err != nil {
		t.Fatal(err)
	}
	logged := make(map[string]bool)
	for _, e := range log {
		logged[e.Stream.String()] = true
	}
	if !maps.Equal(logged, created) || len(created) < len(rows) {
		t.Errorf("got events of %v, want those of %v", logged, created)
	}
}

// ofARequest is what only makes sense to who sends one.
var ofARequest = regexp.MustCompile(`(?i)\b(send|sent|body|request|if-match|idempotency-key|line 1)\b`)

// wantForALine wants sentences for a person who mends a line of a file.
func wantForALine(t *testing.T, f fault) {
	t.Helper()
	said := []string{f.Detail}
	for _, e := range f.Errors {
		said = append(said, e.Detail)
	}
	for _, s := range said {
		if word := ofARequest.FindString(s); word != "" {
			t.Errorf("a line is told %q: %q", word, s)
		}
	}
}

// badCommand is a request that has to be refused.
type badCommand struct {
	request, body string
	status        int
	problem       string
	pointers      string
	says          string
}

// kind is what the IDs begin with of what the request is about.
func (row badCommand) kind() string {
	if strings.HasSuffix(row.request, "/v1/groups") {
		return "grp_"
	}
	return "db_"
}

func badOthers() []badCommand {
	return []badCommand{
		{"PATCH /v1/tenants/ten_acme", `{"name":null}`, 422, "invalid", "/name", "null would remove"},
		{"PATCH /v1/tenants/ten_acme", `{"home_region":null}`, 422, "invalid", "/home_region", "null would remove"},
		{"PATCH /v1/tenants/ten_acme", `{"group":""}`, 422, "invalid", "/group", "null to leave"},
		{"PATCH /v1/tenants/ten_acme", `{"group":"ten_acme"}`, 422, "invalid", "/group", "grp_"},
		{"PATCH /v1/tenants/ten_acme", `{"status":"active"}`, 422, "invalid", "/status", "leave it out"},
		{"PATCH /v1/tenants/ten_acme", `{"name":"a\tb","group":7}`, 422, "invalid", "/group /name", ""},
		{"PATCH /v1/tenants/ten_acme", ``, 400, "invalid-json", "", "empty"},
		{"PATCH /v1/tenants/db_eu-1", `{"name":"B"}`, 422, "invalid", "/id", "ten_"},
		{"GET /v1/tenants/db_eu-1", ``, 422, "invalid", "/id", "ten_"},
		{"GET /v1/tenants/ten_%00", ``, 422, "invalid", "/id", "a-z"},
		{"GET /v1/tenants/ten_%2e%2e%2f", ``, 422, "invalid", "/id", "a-z"},
		{"GET /v1/databases/ten_acme", ``, 422, "invalid", "/id", "db_"},
		{"GET /v1/groups/db_eu-1", ``, 422, "invalid", "/id", "grp_"},
		{"POST /v1/tenants/ten_acme/activate", `{"reason":"x","force":true}`, 422, "invalid", "/force", "leave it out"},
		{"POST /v1/tenants/ten_acme/activate", `[]`, 422, "invalid", "", "object"},
		{"PUT /v1/tenants/ten_acme/hostnames/a_b.example", ``, 422, "invalid", "/hostname", "underscore"},
		{"PUT /v1/tenants/ten_acme/hostnames/acme.example%3A443", ``, 422, "invalid", "/hostname", "port"},
		{"PUT /v1/tenants/ten_acme/hostnames/192.0.2.1", ``, 422, "invalid", "/hostname", "IP address"},
		{"PUT /v1/tenants/ten_acme/hostnames/%5B2001%3Adb8%3A%3A1%5D", ``, 422, "invalid", "/hostname", "IP address"},
		{"PUT /v1/tenants/ten_acme/hostnames/%2A.acme.example", ``, 422, "invalid", "/hostname", "wildcard"},
		{"PUT /v1/tenants/ten_acme/hostnames/localhost", ``, 422, "invalid", "/hostname", "single label"},
		{"PUT /v1/tenants/ten_acme/hostnames/a%2Fb.example", ``, 422, "invalid", "/hostname", "path"},
		{"PUT /v1/tenants/ten_acme/hostnames/new.example", `{"primary":"yes"}`, 422, "invalid", "/primary", "true or false"},
		{"PUT /v1/tenants/ten_acme/hostnames/new.example", `{"main":true}`, 422, "invalid", "/main", "primary"},
		{"DELETE /v1/tenants/ten_acme/hostnames/a..example", ``, 422, "invalid", "/hostname", "empty label"},
		{"PUT /v1/tenants/ten_acme/products/Jira", `{"plan":"free"}`, 422, "invalid", "/product", "a-z"},
		{"PUT /v1/tenants/ten_acme/products/jira", `{"seats":5}`, 422, "invalid", "/plan", "missing"},
		{"PUT /v1/tenants/ten_acme/products/jira", `{"plan":"free","seats":-1}`, 422, "invalid", "/seats", "0"},
		{"PUT /v1/tenants/ten_acme/products/jira", `{"plan":"free","seats":9223372036854775808}`, 422, "invalid", "/seats", "9223372036854775807"},
		{"PUT /v1/tenants/ten_acme/products/jira", `{"plan":"free","color":"red"}`, 422, "invalid", "/color", "plan, seats, features, trial_until"},
		{"PUT /v1/tenants/ten_acme/products/jira", `{"plan":"f r e e"}`, 422, "invalid", "/plan", ""},
		{"PUT /v1/tenants/ten_acme/database", `{"database":"grp_early"}`, 422, "invalid", "/database", "db_"},
		{"PUT /v1/tenants/ten_acme/database", `{"name":"acme"}`, 422, "invalid", "/database", "missing"},
		{"PUT /v1/tenants/ten_acme/database", `{"database":"db_eu-1","name":""}`, 422, "invalid", "/name", "empty"},
		{"PUT /v1/tenants/ten_acme/config/theme", `{}`, 422, "invalid", "/value", "missing"},
		{"PUT /v1/tenants/ten_acme/config/theme", `"dark"`, 422, "invalid", "", "object"},
		{"PUT /v1/tenants/ten_acme/config/th%20eme", `{"value":1}`, 422, "invalid", "/key", ""},
		{"PUT /v1/tenants/ten_acme/config/db", `{"value":["x",{"url":"postgres://u:hunter2@h/x"}]}`, 422, "invalid", "/value/1/url", "vault://"},
		{"PUT /v1/tenants/ten_acme/config/api_key", `{"value":"0123456789abcdef"}`, 422, "invalid", "/value", "vault://"},
		{"PUT /v1/tenants/ten_acme/config/rate", `{"value":{"limit":1e999}}`, 422, "invalid", "/value", "64-bit floating point"},
		{"PUT /v1/tenants/ten_acme/config/large", `{"value":"` + strings.Repeat("a", 16<<10) + `"}`, 422, "invalid", "/value", "at most"},
		{"POST /v1/databases", `{"id":"db_x","engine":"Postgres","region":"eu","host":"h_o_s_t","port":0,"secret_ref":"hunter2","capacity":-1}`, 422, "invalid",
			"/port /capacity /engine /host /secret_ref", ""},
		{"POST /v1/databases", `{"id":"db_x","engine":"postgres","region":"eu","host":"h","port":65536,"secret_ref":"env://X"}`, 422, "invalid", "/port", "65535"},
		{"POST /v1/databases", `{"id":"db_x","engine":"postgres","region":"eu","host":"h","port":5432,"secret_ref":"vault://u:hunter2@h/x"}`, 422, "invalid", "/secret_ref", ""},
		{"POST /v1/databases", `{"id":"ten_x","engine":"postgres","region":"eu","host":"h","port":5432,"secret_ref":"env://X"}`, 422, "invalid", "/id", "db_"},
		{"POST /v1/databases", `{"id":"db_X","engine":"postgres","region":"eu","host":"h","port":5432,"secret_ref":"env://X"}`, 422, "invalid", "/id", "a-z"},
		{"POST /v1/databases", `{"id":"db_x","engine":"postgres","region":"eu","host":"h","port":5432,"secret_ref":"env://X","capacity":9223372036854775808}`, 422, "invalid", "/capacity", "9223372036854775807"},
		{"POST /v1/databases", `{"id":"db_x","engine":"postgres","region":"eu","host":"h","port":5432,"secret_ref":"env://X","status":"retired"}`, 422, "invalid", "/status", "active or draining"},
		{"POST /v1/databases", `{"id":"db_x","engine":"postgres","region":"eu","host":"h","port":"5432","secret_ref":"env://X","tls":true}`, 422, "invalid", "/port /tls", "has to be a number"},
		{"POST /v1/databases", `{"id":"db_x","engine":"postgres","engine":"mysql"}`, 400, "invalid-json", "/engine", "give it once"},
		{"POST /v1/databases", `{}`, 422, "invalid", "/engine /region /host /port /secret_ref", "missing"},
		{"PATCH /v1/databases/db_eu-1", `{"port":null}`, 422, "invalid", "/port", "null would remove"},
		{"PATCH /v1/databases/db_eu-1", `{"engine":"mysql"}`, 422, "invalid", "/engine", "host, port, secret_ref"},
		{"POST /v1/groups", `{"id":"grp_x","name":"","ring":1001}`, 422, "invalid", "/ring /name", "1000"},
		{"POST /v1/groups", `{"id":"grp_x","name":"` + strings.Repeat("x", 201) + `"}`, 422, "invalid", "/name", "at most 200"},
		{"POST /v1/groups", `{"id":"grp_x","name":"a\u001bb"}`, 422, "invalid", "/name", "control character"},
		{"POST /v1/groups", "{\"id\":\"grp_x\",\"name\":\"\xff\"}", 400, "invalid-json", "/name", "UTF-8"},
		{"POST /v1/groups", `{"id":"grp_x!","name":"X"}`, 422, "invalid", "/id", "a-z"},
		{"POST /v1/groups", `{"id":"grp_x","name":"X","ring":0.5}`, 422, "invalid", "/ring", "whole number"},
		{"PATCH /v1/groups/grp_early", `{"ring":null}`, 422, "invalid", "/ring", "null would remove"},
		{"POST /v1/databases/db_eu-1/drain", `{"why":"x"}`, 422, "invalid", "/why", "reason"},
		{"POST /v1/groups/grp_early/retire", `{"reason":`, 400, "invalid-json", "/reason", ""},
	}
}

func TestBadInput_OtherCommands_AreRefusedAndChangeNothing(t *testing.T) {
	s := newServer(t)
	s.must("POST", "/v1/databases", databaseBody)
	s.must("POST", "/v1/groups", groupBody)
	s.acme("")
	at := s.head()
	for _, row := range badOthers() {
		t.Run(row.request, func(t *testing.T) {
			s.t = t
			method, path, _ := strings.Cut(row.request, " ")
			f := s.send(method, path, row.body).refused(row.status, row.problem)
			badTenant{problem: row.problem, pointers: row.pointers, says: row.says}.check(t, f)
			s.unmoved(at)
		})
	}
}

func TestBadInput_HostnamesInAnySpelling_AreOneHostname(t *testing.T) {
	s := newServer(t)
	s.must("POST", "/v1/tenants", `{"id":"ten_m","name":"M","hostnames":["münchen.example"],"home_region":"eu-west"}`)
	for _, spelling := range []string{"MÜNCHEN.example.", "xn--mnchen-3ya.example", "XN--MNCHEN-3YA.Example", "mu\u0308nchen.example"} {
		f := s.send("POST", "/v1/tenants", fmt.Sprintf(`{"name":"N","hostnames":[%q],"home_region":"eu-west"}`, spelling)).refused(409, "hostname-taken")
		if f.Hostname != "xn--mnchen-3ya.example" || f.Holder != "ten_m" {
			t.Errorf("%s: got %+v", spelling, f)
		}
	}
}
