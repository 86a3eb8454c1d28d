package schemas_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/tenantry/tenantry/schemas"
)

// asyncAPI is the document of the topic, as JSON decodes it.
func asyncAPI(t *testing.T) map[string]any {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal(schemas.EventsAsyncAPI, &tree); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any)
}

func TestAsyncAPI_IsValid(t *testing.T) {
	text, err := os.Open("testdata/asyncapi/3.0.0.json")
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	definition, err := jsonschema.UnmarshalJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	const url = "http://asyncapi.com/definitions/3.0.0/asyncapi.json"
	if err := compiler.AddResource(url, definition); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(url)
	if err != nil {
		t.Fatal(err)
	}
	doc := asyncAPI(t)
	if err := schema.Validate(doc); err != nil {
		t.Errorf("the document is not AsyncAPI 3: %v", err)
	}
	doc["channel"] = map[string]any{} // so that the check above is known to check
	if err := schema.Validate(doc); err == nil {
		t.Error("a member that AsyncAPI does not have was taken")
	}
}

func TestAsyncAPI_EveryReferenceLeadsSomewhere(t *testing.T) {
	doc := asyncAPI(t)
	seen := 0
	var walk func(node any)
	walk = func(node any) {
		switch node := node.(type) {
		case map[string]any:
			if ref, ok := node["$ref"].(string); ok {
				seen++
				if path, local := strings.CutPrefix(ref, "#/"); local {
					if !leads(doc, strings.Split(path, "/")) {
						t.Errorf("%s is not there", ref)
					}
				} else if _, err := fs.Stat(schemas.Files(), ref); err != nil {
					t.Errorf("%s: %v", ref, err)
				}
			}
			for _, v := range node {
				walk(v)
			}
		case []any:
			for _, v := range node {
				walk(v)
			}
		}
	}
	walk(doc)
	if seen < 26*4 {
		t.Errorf("got %d references, want four a message at least", seen)
	}
}

// leads follows a path, and the references on the way.
func leads(doc map[string]any, path []string) bool {
	node := any(doc)
	for i, step := range path {
		object, ok := node.(map[string]any)
		if !ok {
			return false
		}
		if node, ok = object[step]; !ok {
			return false
		}
		if target, isRef := node.(map[string]any)["$ref"].(string); isRef && i < len(path)-1 {
			return leads(doc, append(strings.Split(strings.TrimPrefix(target, "#/"), "/"), path[i+1:]...))
		}
	}
	return true
}

func TestAsyncAPI_HasAMessageForEachEventSchemaAndForWatermarks(t *testing.T) {
	entries, err := fs.ReadDir(schemas.Files(), "events")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"tenantry.watermark.v1"}
	for _, e := range entries {
		want = append(want, strings.TrimSuffix(e.Name(), ".json"))
	}
	slices.Sort(want)

	doc := asyncAPI(t)
	at := func(path ...string) map[string]any {
		node := doc
		for _, step := range path {
			node, _ = node[step].(map[string]any)
		}
		return node
	}
	messages := at("components", "messages")
	if got := slices.Sorted(maps.Keys(messages)); !slices.Equal(got, want) {
		t.Errorf("got the messages %q, want %q", got, want)
	}
	if got := slices.Sorted(maps.Keys(at("channels", "events", "messages"))); !slices.Equal(got, want) {
		t.Errorf("got in the channel %q, want %q", got, want)
	}
	var operated []string
	list, _ := at("operations", "followEvents")["messages"].([]any)
	for _, m := range list {
		operated = append(operated, strings.TrimPrefix(m.(map[string]any)["$ref"].(string), "#/channels/events/messages/"))
	}
	slices.Sort(operated)
	if !slices.Equal(operated, want) {
		t.Errorf("got in the operation %q, want %q", operated, want)
	}
	for _, name := range want {
		if name == "tenantry.watermark.v1" {
			continue
		}
		if got := at("components", "messages", name, "payload", "schema")["$ref"]; got != "events/"+name+".json" {
			t.Errorf("%s: got the payload %v, want its own schema", name, got)
		}
		summary, _ := messages[name].(map[string]any)["summary"].(string)
		if described := description(t, name); summary != described {
			t.Errorf("%s: got the summary %q, want what its schema says: %q", name, summary, described)
		}
	}
}

func description(t *testing.T, typ string) string {
	t.Helper()
	text, err := fs.ReadFile(schemas.Files(), "events/"+typ+".json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct{ Description string }
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	return schema.Description
}
