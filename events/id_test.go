package events_test

import (
	"encoding"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
)

func TestParseID_TakesItsOwnKindWithAGoodSuffixAndNothingElse(t *testing.T) {
	longest := strings.Repeat("a", 63)
	parsers := map[string]func(string) (string, error){
		"ten_": func(s string) (string, error) { id, err := events.ParseTenantID(s); return id.String(), err },
		"db_":  func(s string) (string, error) { id, err := events.ParseDatabaseID(s); return id.String(), err },
		"grp_": func(s string) (string, error) { id, err := events.ParseGroupID(s); return id.String(), err },
	}
	good := []string{"a", "0", "acme", "a-b", "a-", "a--b", "0193f3a1-6f7e-7c3a-9a51-0d2a4c1b7e90", longest}
	bad := []string{"", "-a", "A", "a_b", "a.b", "a b", "a/b", "a\x00", "é", "a\n", longest + "a", " a"}
	for prefix, parse := range parsers {
		for _, suffix := range good {
			got, err := parse(prefix + suffix)
			if err != nil || got != prefix+suffix {
				t.Errorf("%q: got %q, %v, want it as it is", prefix+suffix, got, err)
			}
			if id, err := events.ParseStreamID(prefix + suffix); err != nil || id.String() != prefix+suffix {
				t.Errorf("ParseStreamID(%q): got %q, %v, want it as it is", prefix+suffix, id, err)
			}
			for other, parse := range parsers {
				if other == prefix {
					continue
				}
				if got, err := parse(prefix + suffix); err == nil || got != "" {
					t.Errorf("%q as %q…: got %q, %v, want it refused", prefix+suffix, other, got, err)
				}
			}
		}
		for _, suffix := range bad {
			if got, err := parse(prefix + suffix); err == nil || !strings.Contains(err.Error(), prefix) {
				t.Errorf("%q: got %q, %v, want an error that tells what an ID looks like", prefix+suffix, got, err)
			}
			if id, err := events.ParseStreamID(prefix + suffix); err == nil || !id.IsZero() {
				t.Errorf("ParseStreamID(%q): got %q, %v, want it refused", prefix+suffix, id, err)
			}
		}
	}
	for _, s := range []string{"", "ten", "tena", "TEN_a", "xten_a", "usr_a", "a"} {
		if id, err := events.ParseStreamID(s); err == nil || !id.IsZero() {
			t.Errorf("ParseStreamID(%q): got %q, %v, want it refused", s, id, err)
		}
	}
}

func TestNewID_IsGoodAndNoOneElses(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		for _, id := range []events.StreamID{events.NewTenantID().Stream(), events.NewDatabaseID().Stream(), events.NewGroupID().Stream()} {
			if parsed, err := events.ParseStreamID(id.String()); err != nil || parsed != id {
				t.Fatalf("%q: got %v, %v, want it to parse as itself", id, parsed, err)
			}
			if seen[id.String()] {
				t.Fatalf("%q was made twice", id)
			}
			seen[id.String()] = true
		}
	}
}

func TestStreamID_IsOfOneKind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := eventstest.StreamID().Draw(t, "id")
		tenant, isTenant := id.Tenant()
		database, isDatabase := id.Database()
		group, isGroup := id.Group()
		want := map[events.Kind][3]bool{
			events.KindTenant: {true, false, false}, events.KindDatabase: {false, true, false}, events.KindGroup: {false, false, true},
		}[id.Kind()]
		if got := [3]bool{isTenant, isDatabase, isGroup}; got != want {
			t.Fatalf("%s: got tenant, database, group %v, want %v", id, got, want)
		}
		if got := tenant.String() + database.String() + group.String(); got != id.String() {
			t.Fatalf("%s: got the typed ID %q, want the same", id, got)
		}
		for _, back := range []struct {
			is     bool
			stream events.StreamID
			suffix string
		}{{isTenant, tenant.Stream(), tenant.Suffix()}, {isDatabase, database.Stream(), database.Suffix()}, {isGroup, group.Stream(), group.Suffix()}} {
			if !back.is {
				continue
			}
			if back.stream != id || !strings.HasSuffix(id.String(), "_"+back.suffix) {
				t.Fatalf("%s: got stream %s, suffix %q, want the same stream and what is behind the prefix", id, back.stream, back.suffix)
			}
		}
	})
}

func TestID_ReadsWhatItWrites_AndTheEmptyTextIsTheZeroID(t *testing.T) {
	type text interface {
		encoding.TextMarshaler
		IsZero() bool
		String() string
	}
	read := func(s string) []func() (text, error) {
		return []func() (text, error){
			func() (text, error) { var id events.TenantID; err := id.UnmarshalText([]byte(s)); return id, err },
			func() (text, error) { var id events.DatabaseID; err := id.UnmarshalText([]byte(s)); return id, err },
			func() (text, error) { var id events.GroupID; err := id.UnmarshalText([]byte(s)); return id, err },
			func() (text, error) { var id events.StreamID; err := id.UnmarshalText([]byte(s)); return id, err },
		}
	}
	for i, s := range []string{"ten_a", "db_a", "grp_a"} {
		for j, read := range read(s) {
			id, err := read()
			if fits := i == j || j == 3; !fits {
				if err == nil || !id.IsZero() {
					t.Errorf("%q read as kind %d: got %v, %v, want it refused", s, j, id, err)
				}
				continue
			}
			if b, merr := id.MarshalText(); err != nil || merr != nil || string(b) != s || id.IsZero() {
				t.Errorf("%q read as kind %d: got %q, %v, %v, want it as it is", s, j, b, err, merr)
			}
		}
	}
	for j, read := range read("") {
		if id, err := read(); err != nil || !id.IsZero() || id.String() != "" {
			t.Errorf("the empty text read as kind %d: got %v, %v, want the zero ID", j, id, err)
		}
	}
	// What omitzero is used for: an ID that names nothing is not there.
	b, err := json.Marshal(events.TenantGroupChanged{})
	if err != nil || string(b) != `{}` {
		t.Errorf("no group: got %s, %v, want {}", b, err)
	}
}

func TestTenantIDOf_IsOneIDForOneContent(t *testing.T) {
	// It is kept in catalogues that were filled by an import: it must never become another.
	const want = "ten_ac138f0a-0fff-8a6d-a02a-43906c4e0d77"
	id := events.TenantIDOf([]byte("acme"))
	if id.String() != want {
		t.Errorf("got %s, want %s", id, want)
	}
	if parsed, err := events.ParseTenantID(id.String()); err != nil || parsed != id {
		t.Errorf("%s is read as %s, %v", id, parsed, err)
	}
	if other := events.TenantIDOf([]byte("acme ")); other == id {
		t.Errorf("two contents have the ID %s", id)
	}
}
