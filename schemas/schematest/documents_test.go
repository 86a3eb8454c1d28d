package schematest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tenantry/tenantry/schemas"
)

func both(t *testing.T) map[string]*document {
	t.Helper()
	docs := make(map[string]*document)
	for name, spec := range map[string][]byte{"admin.openapi.yaml": schemas.AdminOpenAPI, "query.openapi.yaml": schemas.QueryOpenAPI} {
		d, err := load(spec)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		docs[name] = d
	}
	return docs
}

// walk calls visit for every object in a tree, with its JSON pointer.
func walk(node any, pointer string, visit func(pointer string, object map[string]any)) {
	switch node := node.(type) {
	case map[string]any:
		visit(pointer, node)
		for _, key := range slices.Sorted(maps.Keys(node)) {
			walk(node[key], pointer+"/"+escape.Replace(key), visit)
		}
	case []any:
		for i, v := range node {
			walk(v, fmt.Sprintf("%s/%d", pointer, i), visit)
		}
	}
}

func inExample(pointer string) bool { return strings.Contains(pointer, "/example") }

func TestOpenAPI_EveryExampleFitsItsSchema(t *testing.T) {
	for name, d := range both(t) {
		checked := 0
		check := func(schema, at string, example any) {
			t.Helper()
			checked++
			s, err := d.schema(schema)
			if err == nil {
				err = s.Validate(example)
			}
			if err != nil {
				t.Errorf("%s: the example %s: %v", name, at, err)
			}
		}
		walk(d.tree, "", func(pointer string, object map[string]any) {
			if inExample(pointer) {
				return
			}
			switch examples := object["examples"].(type) {
			case map[string]any: // of a media type
				for key, e := range examples {
					check(pointer+"/schema", pointer+"/examples/"+key, e.(map[string]any)["value"])
				}
			case []any: // of a schema
				for i, e := range examples {
					check(pointer, fmt.Sprintf("%s/examples/%d", pointer, i), e)
				}
			}
			if e, ok := object["example"]; ok {
				check(pointer+"/schema", pointer+"/example", e)
			}
		})
		if checked < 20 {
			t.Errorf("%s: got %d examples checked, want 20 at least", name, checked)
		}
	}
}

func TestOpenAPI_EverySchemaCompilesAndEveryObjectIsClosed(t *testing.T) {
	for name, d := range both(t) {
		walk(d.tree, "", func(pointer string, object map[string]any) {
			if inExample(pointer) {
				return
			}
			if strings.HasSuffix(pointer, "/schema") || strings.HasPrefix(pointer, "/components/schemas/") && strings.Count(pointer, "/") == 3 {
				if _, err := d.schema(pointer); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if object["type"] != "object" {
				return
			}
			// The payload of an event is closed by the event's own schema.
			if object["additionalProperties"] == nil && pointer != "/components/schemas/Event/properties/data" {
				t.Errorf("%s: the object at %s is open: an answer could have any member", name, pointer)
			}
			properties, _ := object["properties"].(map[string]any)
			required, _ := object["required"].([]any)
			for _, r := range required {
				if properties[r.(string)] == nil {
					t.Errorf("%s: %s requires %q, which it does not describe", name, pointer, r)
				}
			}
		})
	}
}

func TestOpenAPI_EveryReferenceLeadsSomewhereAndEveryComponentIsUsed(t *testing.T) {
	for name, d := range both(t) {
		used := make(map[string]bool)
		walk(d.tree, "", func(pointer string, object map[string]any) {
			ref, ok := object["$ref"].(string)
			if !ok {
				return
			}
			target, ok := strings.CutPrefix(ref, "#")
			if _, _, found := d.at(split(target)...); !ok || !found {
				t.Errorf("%s: %s refers to %s, which is not there", name, pointer, ref)
			}
			used[target] = true
		})
		for kind := range d.names("components") {
			for component := range d.names("components", kind) {
				if at := "/components/" + kind + "/" + component; !used[at] {
					t.Errorf("%s: nothing refers to %s", name, at)
				}
			}
		}
	}
}

func TestOpenAPI_WhatBothDocumentsNameMeansTheSame(t *testing.T) {
	docs := both(t)
	admin, query := docs["admin.openapi.yaml"], docs["query.openapi.yaml"]
	shared := 0
	for component, schema := range admin.names("components", "schemas") {
		other, ok := query.names("components", "schemas")[component]
		if !ok {
			continue
		}
		shared++
		if !reflect.DeepEqual(withoutText(schema), withoutText(other)) {
			t.Errorf("the schema %s differs:\nadmin %v\nquery %v", component, schema, other)
		}
	}
	if shared < 15 {
		t.Errorf("got %d shared schemas, want 15 at least", shared)
	}
}

func withoutText(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		return v
	}
	object = maps.Clone(object)
	delete(object, "description")
	return object
}

func TestOpenAPI_EveryOperationIsNamedAndEveryAnswerOfV1CanFail(t *testing.T) {
	for name, d := range both(t) {
		ids := make(map[string]bool)
		for path, item := range d.api.Paths.Map() {
			for method, op := range item.Operations() {
				switch {
				case op.OperationID == "" || ids[op.OperationID]:
					t.Errorf("%s: %s %s has the operationId %q, want one of its own", name, method, path, op.OperationID)
				case op.Summary == "" || len(op.Tags) != 1:
					t.Errorf("%s: %s %s has no summary or not one tag", name, method, path)
				}
				ids[op.OperationID] = true
				if strings.HasPrefix(path, "/v1/") && (op.Responses.Value("500") == nil || op.Responses.Value("503") == nil) {
					t.Errorf("%s: %s %s describes no answer 500 or 503", name, method, path)
				}
			}
		}
	}
}

// The validator is what everything here stands on, so that it is shown to see what it should.
func TestSchema_SeesFormatsAndExactNumbers(t *testing.T) {
	d := both(t)["admin.openapi.yaml"]
	for _, c := range []struct {
		schema, value string
		valid         bool
	}{
		{"Product", `{"plan":"a","seats":9223372036854775807}`, true},
		{"Product", `{"plan":"a","seats":9223372036854775808}`, false},
		{"Product", `{"plan":"a","seats":1.5}`, false},
		{"Time", `"2026-11-21T02:14:00.123456Z"`, true},
		{"Time", `"2026-11-21T02:14:00+01:00"`, false},
		{"Time", `"2026-13-21T02:14:00Z"`, false},
		{"Name", `"Žluťoučký 株式会社 مؤسسة"`, true},
		{"Name", `"a\u0000b"`, false},
		{"Name", `"a\u2028b"`, false},
		{"Name", `"a\u007fb"`, false},
		{"Hostname", `"acme.example"`, true},
		{"Hostname", `"Acme.example"`, false},
		{"Hostname", `"acme_.example"`, false},
		{"Hostname", `"acme"`, false},
		{"TenantPatch", `{"group":null}`, true},
		{"TenantPatch", `{"group":"db_x"}`, false},
	} {
		s, err := d.schema("/components/schemas/" + c.schema)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(c.value))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); (err == nil) != c.valid {
			t.Errorf("%s %s: got %v, want valid: %t", c.schema, c.value, err, c.valid)
		}
	}
}
