package schematest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// document is an OpenAPI document, made ready once however many tests use it.
type document struct {
	api    *openapi3.T
	router routers.Router
	tree   any // as JSON decodes it

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema // by JSON pointer into tree
}

// documents are those that were made ready, by their text.
var documents sync.Map // string -> func() (*document, error)

func load(spec []byte) (*document, error) {
	once, _ := documents.LoadOrStore(string(spec), sync.OnceValues(func() (*document, error) { return parse(spec) }))
	return once.(func() (*document, error))()
}

func parse(spec []byte) (*document, error) {
	api, err := openapi3.NewLoader().LoadFromData(spec)
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	if err := api.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("the OpenAPI document is not valid: %w", err)
	}
	// The document names its own server, which is where it was read from: requests are
	// matched by path alone.
	api.Servers = nil
	router, err := gorillamux.NewRouter(api)
	if err != nil {
		return nil, fmt.Errorf("make the OpenAPI document's routes: %w", err)
	}
	tree, err := treeOf(spec)
	if err != nil {
		return nil, err
	}
	d := &document{api: api, router: router, tree: tree, compiler: newCompiler(), schemas: make(map[string]*jsonschema.Schema)}
	if err := d.compiler.AddResource(documentURL, tree); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document's schemas: %w", err)
	}
	return d, nil
}

// documentURL is what schemas of the document are called in messages.
const documentURL = "openapi:///openapi.yaml"

func newCompiler() *jsonschema.Compiler {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	return c
}

// treeOf reads YAML as JSON would have it, with numbers exact.
func treeOf(spec []byte) (any, error) {
	var tree any
	if err := yaml.Unmarshal(spec, &tree); err != nil {
		return nil, fmt.Errorf("read YAML: %w", err)
	}
	b, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("turn YAML into JSON: %w", err)
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(b))
}

// at follows path from node, and every reference on the way. It returns what is there and its
// own place, as a JSON pointer.
func (d *document) at(path ...string) (node any, pointer string, ok bool) {
	node = d.tree
	for i := 0; ; i++ {
		for {
			object, isObject := node.(map[string]any)
			ref, isRef := object["$ref"].(string)
			// A schema may have other keywords beside its reference, so it is left to the
			// validator; every other object is replaced by what it refers to.
			if !isObject || !isRef || strings.Contains(pointer, "/schema") {
				break
			}
			if node, pointer, ok = d.at(split(strings.TrimPrefix(ref, "#"))...); !ok {
				return nil, "", false
			}
		}
		if i == len(path) {
			return node, pointer, true
		}
		switch parent := node.(type) {
		case map[string]any:
			if node, ok = parent[path[i]]; !ok {
				return nil, "", false
			}
		case []any:
			index, err := strconv.Atoi(path[i])
			if err != nil || index < 0 || index >= len(parent) {
				return nil, "", false
			}
			node = parent[index]
		default:
			return nil, "", false
		}
		pointer += "/" + escape.Replace(path[i])
	}
}

// schema is the compiled schema at a pointer.
func (d *document) schema(pointer string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.schemas[pointer]; ok {
		return s, nil
	}
	s, err := d.compiler.Compile(documentURL + "#" + pointer)
	if err != nil {
		return nil, fmt.Errorf("compile the schema at %s: %w", pointer, err)
	}
	d.schemas[pointer] = s
	return s, nil
}

// refersTo tells whether the schema at pointer is, or is only a reference to, the component.
func (d *document) refersTo(pointer, component string) bool {
	target := "/components/schemas/" + component
	if pointer == target {
		return true
	}
	node, _, _ := d.at(split(pointer)...)
	object, _ := node.(map[string]any)
	return object["$ref"] == "#"+target
}

// The steps of a JSON pointer (RFC 6901) are escaped.
var (
	escape   = strings.NewReplacer("~", "~0", "/", "~1")
	unescape = strings.NewReplacer("~1", "/", "~0", "~")
)

func split(pointer string) []string {
	steps := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i := range steps {
		steps[i] = unescape.Replace(steps[i])
	}
	return steps
}

// names are the keys of the object at path, each once, references followed.
func (d *document) names(path ...string) map[string]any {
	node, _, _ := d.at(path...)
	object, _ := node.(map[string]any)
	return maps.Clone(object)
}
