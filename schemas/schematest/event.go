package schematest

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tenantry/tenantry/schemas"
)

// Event fails the test unless line is an event as GET /v1/events lists it, with a payload as
// the event's type has it.
func Event(t testing.TB, line []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err == nil {
		err = checkEvent(v)
	}
	if err != nil {
		t.Errorf("this is no event as its schema describes it: %v\n%.2000s", err, line)
	}
}

// Payload fails the test unless data is the payload of an event of the type.
func Payload(t testing.TB, typ string, data []byte) {
	t.Helper()
	if err := CheckPayload(typ, data); err != nil {
		t.Error(err)
	}
}

// CheckPayload says why data is not the payload of an event of the type; nil where it is.
func CheckPayload(typ string, data []byte) error {
	s, err := eventSchema("events/" + typ + ".json")
	if err != nil {
		return fmt.Errorf("%s has no schema: %w", typ, err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		return fmt.Errorf("this is no payload of %s as its schema describes it: %w\n%.2000s", typ, err, data)
	}
	return nil
}

// checkEvent holds a decoded event to the envelope's schema, which leads to the payload's.
func checkEvent(v any) error {
	s, err := eventSchema("event.json")
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// eventSchemas are the compiled schemas of the events, by their path.
var eventSchemas = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	c := newCompiler()
	var names []string
	err := fs.WalkDir(schemas.Files(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".json" || strings.HasPrefix(name, "golden/") {
			return err
		}
		text, err := fs.ReadFile(schemas.Files(), name)
		if err != nil {
			return err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		names = append(names, name)
		return c.AddResource(schemas.Base+name, doc)
	})
	if err != nil {
		return nil, err
	}
	compiled := make(map[string]*jsonschema.Schema, len(names))
	for _, name := range names {
		if compiled[name], err = c.Compile(schemas.Base + name); err != nil {
			return nil, fmt.Errorf("compile %s: %w", name, err)
		}
	}
	return compiled, nil
})

func eventSchema(name string) (*jsonschema.Schema, error) {
	all, err := eventSchemas()
	if err != nil {
		return nil, err
	}
	s, ok := all[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return s, nil
}
