package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tenantry/tenantry/events"
)

const committed = "../../examples/roster.ndjson"

func TestRoster_CommittedFileIsWhatTheGeneratorWrites(t *testing.T) {
	want, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a map's order would show in the second
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("the generator writes %d bytes that differ from the %d of %s: run go generate ./internal/roster", got.Len(), len(want), committed)
		}
	}
}

// roster is the committed file, read back.
type roster struct {
	ids       []string // in the order of lines
	databases map[string]databaseLine
	groups    map[string]groupLine
	tenants   []tenantLine
}

// read reads the file strictly: what is decoded and encoded again must be the very line, so
// no member is unknown, doubled or lost.
func read(t *testing.T) roster {
	t.Helper()
	file, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	r := roster{databases: map[string]databaseLine{}, groups: map[string]groupLine{}}
	for line := range bytes.Lines(file) {
		var head struct{ ID string }
		if err := json.Unmarshal(line, &head); err != nil {
			t.Fatalf("line %d: %v", len(r.ids)+1, err)
		}
		r.ids = append(r.ids, head.ID)
		switch {
		case strings.HasPrefix(head.ID, "db_"):
			r.databases[head.ID] = strict[databaseLine](t, line)
		case strings.HasPrefix(head.ID, "grp_"):
			r.groups[head.ID] = strict[groupLine](t, line)
		default:
			r.tenants = append(r.tenants, strict[tenantLine](t, line))
		}
	}
	return r
}

func strict[T any](t *testing.T, line []byte) T {
	t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	var back bytes.Buffer
	e := json.NewEncoder(&back)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if !bytes.Equal(back.Bytes(), line) {
		t.Fatalf("got %s back from %s", back.Bytes(), line)
	}
	return v
}

func TestRoster_LinesStandInTheOrderOfValidIDs(t *testing.T) {
	r := read(t)
	if !slices.IsSorted(r.ids) {
		t.Error("the lines are not in the order of their IDs")
	}
	if unique := len(slices.Compact(slices.Clone(r.ids))); unique != len(r.ids) {
		t.Errorf("%d IDs for %d lines", unique, len(r.ids))
	}
	for _, id := range r.ids {
		if _, err := events.ParseStreamID(id); err != nil {
			t.Error(err)
		}
	}
}

func TestRoster_HostnamesAreNormalAndBelongToOneTenant(t *testing.T) {
	holder := map[string]string{}
	for _, tenant := range read(t).tenants {
		if len(tenant.Hostnames) < 2 {
			t.Errorf("%s has the hostnames %q, want several", tenant.ID, tenant.Hostnames)
		}
		if p := tenant.PrimaryHostname; p != "" && (p == tenant.Hostnames[0] || !slices.Contains(tenant.Hostnames, p)) {
			t.Errorf("%s has the primary hostname %s, want one of %q that is not the first", tenant.ID, p, tenant.Hostnames)
		}
		for _, name := range tenant.Hostnames {
			h, err := events.ParseHostname(name)
			if err != nil || h.String() != name {
				t.Errorf("%s: got hostname %s (%v) from %s, want the same", tenant.ID, h, err, name)
			}
			if !strings.HasSuffix(name, ".example") {
				t.Errorf("%s: hostname %s is not below .example, and may belong to somebody", tenant.ID, name)
			}
			if other, taken := holder[name]; taken {
				t.Errorf("%s has hostname %s, which %s has as well", tenant.ID, name, other)
			}
			holder[name] = tenant.ID
		}
	}
}

func TestRoster_TenantsReferToWhatStandsInItAndHasRoom(t *testing.T) {
	r := read(t)
	placed := map[string]int{}
	for _, tenant := range r.tenants {
		if _, ok := r.groups[tenant.Group]; !ok && tenant.Group != "" {
			t.Errorf("%s is in group %s, which is not in the file", tenant.ID, tenant.Group)
		}
		if tenant.Database == nil {
			if tenant.Status != "" {
				t.Errorf("%s is %s without a database", tenant.ID, tenant.Status)
			}
			continue
		}
		d, ok := r.databases[tenant.Database.ID]
		if placed[d.ID]++; !ok || d.Region != tenant.HomeRegion || (d.Capacity > 0 && placed[d.ID] > d.Capacity) {
			t.Errorf("%s of %s is tenant %d of database %+v", tenant.ID, tenant.HomeRegion, placed[d.ID], d)
		}
		if len(tenant.Database.Name) > 63 {
			t.Errorf("%s: the database name %q is longer than PostgreSQL takes", tenant.ID, tenant.Database.Name)
		}
	}
	for id := range r.databases {
		if placed[id] == 0 {
			t.Errorf("no tenant is on %s", id)
		}
	}
}

func TestRoster_ValuesKeepToTheLimitsOfTheAPI(t *testing.T) {
	r := read(t)
	slug := regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	key := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	for _, d := range r.databases {
		if !slug.MatchString(d.Engine) || !strings.HasSuffix(d.Host, ".internal.example") || d.Port == 0 || !strings.HasPrefix(d.SecretRef, "vault://") {
			t.Errorf("database %+v", d)
		}
	}
	for _, tenant := range r.tenants {
		if n := utf8.RuneCountInString(tenant.Name); n < 1 || n > 200 || strings.ContainsFunc(tenant.Name, unicode.IsControl) {
			t.Errorf("%s: name %q", tenant.ID, tenant.Name)
		}
		if tenant.HomeRegion != euWest && tenant.HomeRegion != usEast {
			t.Errorf("%s: home region %q", tenant.ID, tenant.HomeRegion)
		}
		for name, p := range tenant.Products {
			_, err := time.Parse(time.RFC3339, p.TrialUntil)
			if !slug.MatchString(name) || !slug.MatchString(p.Plan) || p.Seats < 1 || (p.TrialUntil != "" && err != nil) {
				t.Errorf("%s: product %s %+v", tenant.ID, name, p)
			}
		}
		for k := range tenant.Config {
			if !key.MatchString(k) {
				t.Errorf("%s: config key %q", tenant.ID, k)
			}
		}
	}
}

func TestRoster_ShowsEveryKindOfTenant(t *testing.T) {
	r := read(t)
	if len(r.tenants) != 1000 || len(r.databases) != len(servers) || len(r.groups) != len(rings) {
		t.Errorf("got %d tenants, %d databases, %d groups, want 1000, %d, %d", len(r.tenants), len(r.databases), len(r.groups), len(servers), len(rings))
	}
	if first := r.tenants[0]; first.ID != "ten_acme" || first.Hostnames[0] != "acme.example" || first.Status != "active" {
		t.Errorf("the first tenant is %s (%s, %s), want ten_acme (acme.example, active): the README looks it up", first.ID, first.Hostnames[0], first.Status)
	}
	got := map[string]int{}
	for _, tenant := range r.tenants {
		got["home region "+tenant.HomeRegion]++
		got["status "+tenant.Status]++
		got["group "+tenant.Group]++
		if len(tenant.Products) == 0 {
			t.Errorf("%s has no product", tenant.ID)
		}
		for name, script := range scripts {
			if strings.ContainsFunc(tenant.Name, func(c rune) bool { return unicode.Is(script, c) }) {
				got["name in "+name]++
			}
		}
		if strings.ContainsFunc(tenant.Name, func(c rune) bool { return c > unicode.MaxASCII && unicode.Is(unicode.Latin, c) }) {
			got["name in Latin with marks"]++
		}
		if strings.HasPrefix(tenant.Hostnames[0], "xn--") {
			got["hostname in its own script"]++
		}
		if tenant.PrimaryHostname != "" {
			got["primary hostname that is not the first"]++
		}
		if tenant.Database != nil && tenant.Database.Name != "" {
			got["database name of its own"]++
		}
	}
	atLeast := map[string]int{
		"home region eu-west": 300, "home region us-east": 300,
		"status active": 800, "status suspended": 20, "status deactivated": 15, "status ": 40,
		"group grp_canary": 10, "group grp_early": 10, "group grp_general": 10, "group grp_careful": 10, "group grp_regulated": 10, "group ": 10,
		"name in Latin with marks": 200, "hostname in its own script": 100, "primary hostname that is not the first": 50, "database name of its own": 50,
	}
	for name := range scripts {
		atLeast["name in "+name] = 20
	}
	for what, want := range atLeast {
		if got[what] < want {
			t.Errorf("got %d tenants with %s, want at least %d", got[what], what, want)
		}
	}
}

var scripts = map[string]*unicode.RangeTable{
	"Latin": unicode.Latin, "Cyrillic": unicode.Cyrillic, "Greek": unicode.Greek, "Arabic": unicode.Arabic, "Hebrew": unicode.Hebrew,
	"Devanagari": unicode.Devanagari, "Han": unicode.Han, "Hiragana": unicode.Hiragana, "Katakana": unicode.Katakana,
	"Hangul": unicode.Hangul, "Thai": unicode.Thai,
}

func TestRoster_ReadmeCountsRight(t *testing.T) {
	readme, err := os.ReadFile("../../examples/README.md")
	if err != nil {
		t.Fatal(err)
	}
	r := read(t)
	hostnames, byStatus := 0, map[string]int{}
	for _, tenant := range r.tenants {
		hostnames += len(tenant.Hostnames)
		byStatus[tenant.Status]++
	}
	for _, want := range []string{
		fmt.Sprintf("%d databases, %d groups", len(r.databases), len(r.groups)),
		fmt.Sprintf("%d,%03d tenants", len(r.tenants)/1000, len(r.tenants)%1000),
		fmt.Sprintf("%d,%03d hostnames", hostnames/1000, hostnames%1000),
		fmt.Sprintf("%d active, %d registered", byStatus["active"], byStatus[""]),
		fmt.Sprintf("%d suspended, %d deactivated", byStatus["suspended"], byStatus["deactivated"]),
	} {
		if !strings.Contains(strings.Join(strings.Fields(string(readme)), " "), want) {
			t.Errorf("examples/README.md does not say %q, which is so", want)
		}
	}
}
