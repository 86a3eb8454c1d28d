package schematest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tenantry/tenantry/schemas"
)

// Record fails the test unless a Kafka record's headers and value are those of a message that
// the AsyncAPI document describes, an event or a watermark.
func Record(t testing.TB, headers map[string]string, value []byte) {
	t.Helper()
	if err := CheckRecord(headers, value); err != nil {
		t.Error(err)
	}
}

// CheckRecord says why a record is no message of the topic; nil where it is one.
func CheckRecord(headers map[string]string, value []byte) error {
	typ := headers["ce_type"]
	s, err := messageHeaders(typ)
	if err != nil {
		return fmt.Errorf("the topic has no message %q: %w", typ, err)
	}
	object := make(map[string]any, len(headers))
	for name, v := range headers {
		object[name] = v
	}
	if err := s.Validate(object); err != nil {
		return fmt.Errorf("these are no headers of %s as its document describes them: %w\n%v", typ, err, headers)
	}
	if typ != "tenantry.watermark.v1" {
		return CheckPayload(typ, value)
	}
	if len(value) > 0 {
		return fmt.Errorf("a watermark has no value: %.200s", value)
	}
	return nil
}

// asyncAPI is the document of the topic, made ready for its headers' schemas.
var asyncAPI = sync.OnceValues(func() (*document, error) {
	tree, err := treeOf(schemas.EventsAsyncAPI)
	if err != nil {
		return nil, err
	}
	d := &document{tree: tree, compiler: newCompiler(), schemas: make(map[string]*jsonschema.Schema)}
	return d, d.compiler.AddResource(documentURL, tree)
})

func messageHeaders(typ string) (*jsonschema.Schema, error) {
	d, err := asyncAPI()
	if err != nil {
		return nil, err
	}
	path := []string{"components", "messages", typ, "headers"}
	if _, _, ok := d.at(path...); !ok {
		return nil, errors.New("it is not in the AsyncAPI document")
	}
	return d.schema("/components/messages/" + typ + "/headers")
}
