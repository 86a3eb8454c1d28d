package schemas_test

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/schemas"
	"github.com/tenantry/tenantry/schemas/schematest"
)

// eventSchema is as much of a schema as the tests below look at.
type eventSchema struct {
	Schema      string `json:"$schema"`
	ID          string `json:"$id"`
	Title       string
	Description string
	Type        string
	Additional  *bool `json:"additionalProperties"`
	Required    []string
	Properties  map[string]struct {
		Description string
		Type        string
		Pattern     string
		MinLength   *int
		MaxLength   *int
		Minimum     *json.Number
		Maximum     *json.Number
		Items       *struct{ MaxLength *int }
	}
}

func TestEventSchemas_AreClosedAndDescribeAndBoundEveryMember(t *testing.T) {
	entries, err := fs.ReadDir(schemas.Files(), "events")
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"event.json"}
	for _, e := range entries {
		paths = append(paths, "events/"+e.Name())
	}
	if len(paths) != 27 {
		t.Errorf("got %d schemas, want the envelope's and 26 payloads'", len(paths))
	}
	for _, path := range paths {
		text, err := fs.ReadFile(schemas.Files(), path)
		if err != nil {
			t.Fatal(err)
		}
		var s eventSchema
		if err := json.Unmarshal(text, &s); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if want := schemas.Base + path; s.ID != want || s.Schema != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("%s: got $id %s and $schema %s, want %s and 2020-12", path, s.ID, s.Schema, want)
		}
		if name := strings.TrimSuffix(path[strings.LastIndex(path, "/")+1:], ".json"); s.Title != name {
			t.Errorf("%s: got the title %q, want %q", path, s.Title, name)
		}
		if s.Type != "object" || s.Additional == nil || *s.Additional || s.Description == "" {
			t.Errorf("%s: want a described object without other members", path)
		}
		for _, r := range s.Required {
			if _, ok := s.Properties[r]; !ok {
				t.Errorf("%s: %s is required and not described", path, r)
			}
		}
		for name, p := range s.Properties {
			if p.Description == "" {
				t.Errorf("%s: %s has no description", path, name)
			}
			bounded := map[string]bool{
				"string":  p.MaxLength != nil || strings.HasPrefix(p.Pattern, "^") && strings.HasSuffix(p.Pattern, "$") || name == "trial_until" || name == "time" || name == "id",
				"integer": p.Minimum != nil && p.Maximum != nil,
				"array":   p.Items != nil && p.Items.MaxLength != nil,
				"object":  true,
				"":        name == "value" || name == "type",
			}
			if !bounded[p.Type] {
				t.Errorf("%s: %s has no bounds", path, name)
			}
		}
	}
}

func TestEventSchemas_TellGoodPayloadsFromBad(t *testing.T) {
	for _, c := range []struct {
		typ, data string
		valid     bool
	}{
		{"tenantry.tenant.registered.v1", `{"name":"Acme","home_region":"eu-west"}`, true},
		{"tenantry.tenant.registered.v1", `{"name":"Acme","home_region":"eu-west","group":"grp_a"}`, true},
		{"tenantry.tenant.registered.v1", `{"name":"Acme"}`, false},
		{"tenantry.tenant.registered.v1", `{"name":"Acme","home_region":"eu-west","group":"db_a"}`, false},
		{"tenantry.tenant.registered.v1", `{"name":"","home_region":"eu-west"}`, false},
		{"tenantry.tenant.registered.v1", `{"name":"` + strings.Repeat("株", 200) + `","home_region":"eu-west"}`, true},
		{"tenantry.tenant.registered.v1", `{"name":"` + strings.Repeat("a", 201) + `","home_region":"eu-west"}`, false},
		{"tenantry.tenant.registered.v1", `{"name":"a\u0007","home_region":"eu-west"}`, false},
		{"tenantry.tenant.registered.v1", `{"name":"a\u202eb","home_region":"eu-west"}`, false},
		{"tenantry.tenant.activated.v1", `{}`, true},
		{"tenantry.tenant.activated.v1", `{"reason":"x"}`, false},
		{"tenantry.tenant.activated.v1", `[]`, false},
		{"tenantry.tenant.hostname-attached.v1", `{"hostname":"acme.example"}`, true},
		{"tenantry.tenant.hostname-attached.v1", `{"hostname":"acme.example."}`, false},
		{"tenantry.tenant.hostname-attached.v1", `{"hostname":"` + strings.Repeat("a", 64) + `.example"}`, false},
		{"tenantry.tenant.product-changed.v1", `{"product":"jira","plan":"a","seats":0}`, true},
		{"tenantry.tenant.product-changed.v1", `{"product":"jira","plan":"a","seats":-1}`, false},
		{"tenantry.tenant.product-changed.v1", `{"product":"jira","plan":"a","seats":9223372036854775808}`, false},
		{"tenantry.tenant.product-changed.v1", `{"product":"jira","plan":"a","trial_until":"soon"}`, false},
		{"tenantry.tenant.group-changed.v1", `{}`, true},
		{"tenantry.tenant.config-set.v1", `{"key":"k","value":null}`, true},
		{"tenantry.tenant.config-set.v1", `{"key":"k"}`, false},
		{"tenantry.database.endpoint-changed.v1", `{"host":"a","port":5432,"secret_ref":"vault://x"}`, true},
		{"tenantry.database.endpoint-changed.v1", `{"host":"a","port":65536,"secret_ref":"vault://x"}`, false},
		{"tenantry.database.endpoint-changed.v1", `{"host":"a","port":5432,"secret_ref":"hunter2"}`, false},
		{"tenantry.group.created.v1", `{"name":"A","ring":1001}`, false},
		{"tenantry.tenant.moved.v1", `{}`, false},
		{"../event", `{}`, false},
	} {
		if err := schematest.CheckPayload(c.typ, []byte(c.data)); (err == nil) != c.valid {
			t.Errorf("%s %.100s: got %v, want valid: %t", c.typ, c.data, err, c.valid)
		}
	}
}
