package schematest

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/routers"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const ndjson = "application/x-ndjson"

// anywhere are the response headers that belong to HTTP itself rather than to one operation.
var anywhere = []string{
	"Allow", "Cache-Control", "Connection", "Content-Encoding", "Content-Length", "Content-Security-Policy", "Content-Type",
	"Date", "Keep-Alive", "Last-Modified", "Referrer-Policy", "Retry-After", "Server-Timing", "Traceparent",
	"Trailer", "Transfer-Encoding", "Vary", "X-Content-Type-Options", "X-Request-Id",
}

// exchange is one request and its answer, held against the document.
type exchange struct {
	doc *document
	req *http.Request // as it was sent; its body is in sent

	mu   sync.Mutex // a client's transport sends the body while it reads the answer
	sent []byte

	status  int
	header  http.Header
	route   *routers.Route // nil: the document has none for this request
	params  map[string]string
	missing error // why it has none

	content string // the media type of the answer, without parameters
	schema  string // pointer to its schema; "" where it has none
	lines   int    // of NDJSON, checked so far
	body    []byte
	problem error // the first thing that is wrong
}

// newExchange finds the operation of a request.
func newExchange(doc *document, r *http.Request) *exchange {
	x := &exchange{doc: doc, req: r}
	x.route, x.params, x.missing = doc.router.FindRoute(r)
	if r.Method == http.MethodHead && errors.Is(x.missing, routers.ErrMethodNotAllowed) {
		// HEAD is GET without the body, wherever there is a GET.
		get := r.Clone(r.Context())
		get.Method = http.MethodGet
		x.route, x.params, x.missing = doc.router.FindRoute(get)
	}
	return x
}

// keep takes a part of the request's body.
func (x *exchange) keep(p []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sent = append(x.sent, p...)
}

func (x *exchange) fail(format string, args ...any) {
	if x.problem == nil {
		x.problem = fmt.Errorf(format, args...)
	}
}

// begin takes the answer's head.
func (x *exchange) begin(status int, header http.Header) {
	x.status, x.header = status, header
	if ct := header.Get("Content-Type"); ct != "" {
		media, _, err := mime.ParseMediaType(ct)
		if err != nil {
			x.fail("the Content-Type %q cannot be read: %w", ct, err)
		}
		x.content = media
	}
	if x.route == nil {
		x.beginUnrouted()
		return
	}
	operation := x.operation()
	response := below(operation, "responses", strconv.Itoa(status))
	if _, _, ok := x.doc.at(response...); !ok {
		x.fail("the document describes no answer %d", status)
		return
	}
	x.checkHeaders(response)
	contents := x.doc.names(below(response, "content")...)
	switch {
	case len(contents) == 0 && x.content != "":
		x.fail("the document describes no body for this answer, but it is %s", x.content)
	case len(contents) > 0 && contents[x.content] == nil:
		x.fail("the document describes no answer of type %q", x.content)
	case len(contents) > 0:
		if _, pointer, ok := x.doc.at(below(response, "content", x.content, "schema")...); ok {
			x.schema = pointer
		}
	}
}

// beginUnrouted takes an answer to a path or method that the document does not have. It has
// to be the problem that says so.
func (x *exchange) beginUnrouted() {
	want := http.StatusNotFound
	if errors.Is(x.missing, routers.ErrMethodNotAllowed) {
		want = http.StatusMethodNotAllowed
		if x.header.Get("Allow") == "" {
			x.fail("a 405 has the header Allow")
		}
	}
	if x.status != want {
		x.fail("the document has no such operation (%w), so that the answer is %d", x.missing, want)
	}
	if x.content != "application/problem+json" {
		x.fail("an answer of %d is application/problem+json, not %q", x.status, x.content)
	}
	x.schema = "/components/schemas/Problem"
}

// operation is where the document describes the request.
func (x *exchange) operation() []string {
	return []string{"paths", x.route.Path, strings.ToLower(x.route.Method)}
}

// below is a longer path, which shares nothing with the shorter one.
func below(path []string, steps ...string) []string { return slices.Concat(path, steps) }

// checkHeaders holds the answer's headers to those that the document describes.
func (x *exchange) checkHeaders(response []string) {
	described := x.doc.names(below(response, "headers")...)
	for name := range x.header {
		known := slices.Contains(anywhere, name)
		for d := range described {
			known = known || http.CanonicalHeaderKey(d) == name
		}
		if !known {
			x.fail("the document does not describe the header %s: %s", name, x.header.Get(name))
		}
	}
	for name := range described {
		x.checkHeader(name, below(response, "headers", name))
	}
}

func (x *exchange) checkHeader(name string, path []string) {
	node, _, _ := x.doc.at(path...)
	header, _ := node.(map[string]any)
	values := x.header.Values(name)
	switch {
	case len(values) == 0 && header["required"] == true:
		x.fail("the header %s is missing", name)
		return
	case len(values) == 0:
		return
	case len(values) > 1:
		x.fail("the header %s is there %d times", name, len(values))
		return
	}
	_, pointer, ok := x.doc.at(below(path, "schema")...)
	if !ok {
		return
	}
	s, err := x.doc.schema(pointer)
	if err != nil {
		x.fail("%w", err)
		return
	}
	if err := validateText(s, values[0]); err != nil {
		x.fail("the header %s: %s is not as described: %w", name, values[0], err)
	}
}

// validateText holds the value of a header or a parameter to its schema. It fits as the string
// that it is, or as the JSON that it spells.
func validateText(s *jsonschema.Schema, text string) error {
	err := s.Validate(text)
	if err == nil {
		return nil
	}
	if v, jsonErr := jsonschema.UnmarshalJSON(strings.NewReader(text)); jsonErr == nil {
		return s.Validate(v)
	}
	return err
}

// write takes a part of the answer's body. Lines of NDJSON are checked as they come and then
// dropped, so that an answer of any length can be checked.
func (x *exchange) write(p []byte) {
	x.body = append(x.body, p...)
	if x.content != ndjson {
		return
	}
	for {
		line, rest, whole := bytes.Cut(x.body, []byte("\n"))
		if !whole {
			return
		}
		x.lines++
		if err := x.checkJSON(line); err != nil {
			x.fail("line %d of the answer: %w", x.lines, err)
		}
		x.body = append(x.body[:0], rest...)
	}
}

// end takes the end of the body, and says what was wrong with the whole exchange.
func (x *exchange) end() error {
	switch {
	case x.req.Method == http.MethodHead: // net/http drops the body
	case x.content == ndjson:
		if len(x.body) > 0 {
			x.fail("the answer's last line does not end")
		}
	case x.schema == "" && x.status == http.StatusNotModified:
		if len(x.body) > 0 {
			x.fail("a 304 has no body")
		}
	case x.schema != "" && isJSON(x.content):
		if err := x.checkJSON(x.body); err != nil {
			x.fail("the answer's body: %w", err)
		}
	}
	if x.route != nil && x.status >= 200 && x.status < 300 {
		x.checkRequest()
	}
	if x.problem == nil {
		return nil
	}
	return fmt.Errorf("%s %s answered %d, and the contract says otherwise: %w\n%.2000s", x.req.Method, x.req.URL.RequestURI(), x.status, x.problem, x.body)
}

func isJSON(media string) bool {
	return media == "application/json" || strings.HasSuffix(media, "+json")
}

// checkJSON holds one JSON document of the answer to its schema.
func (x *exchange) checkJSON(text []byte) error {
	if x.schema == "" {
		return nil
	}
	s, err := x.doc.schema(x.schema)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if err := s.Validate(v); err != nil {
		return err
	}
	return x.checkEvents(v)
}

// checkEvents holds events in an answer to the schemas of their payloads too, which the OpenAPI
// document leaves to the schemas of the events.
func (x *exchange) checkEvents(v any) error {
	switch {
	case x.doc.refersTo(x.schema, "Event"):
		return checkEvent(v)
	case x.doc.refersTo(x.schema, "EventList"):
		list, _ := v.(map[string]any)
		items, _ := list["items"].([]any)
		for i, item := range items {
			if err := checkEvent(item); err != nil {
				return fmt.Errorf("items[%d]: %w", i, err)
			}
		}
	}
	return nil
}

// checkParameters holds the parameters that the document describes to it. Others are the API's to
// refuse or to ignore.
func (x *exchange) checkParameters() {
	query := x.req.URL.Query()
	for _, at := range [][]string{below(x.operation()[:2], "parameters"), below(x.operation(), "parameters")} {
		list, _, _ := x.doc.at(at...)
		parameters, _ := list.([]any)
		for i := range parameters {
			node, pointer, _ := x.doc.at(below(at, strconv.Itoa(i))...)
			p, _ := node.(map[string]any)
			name, _ := p["name"].(string)
			var values []string
			switch p["in"] {
			case "path":
				value, err := url.PathUnescape(x.params[name])
				if err != nil {
					x.fail("it took a path that does not unescape: %w", err)
				}
				values = []string{value}
			case "query":
				values = query[name]
			case "header":
				values = x.req.Header.Values(name)
			}
			switch {
			case len(values) == 0 && p["required"] == true:
				x.fail("it took a request without %s", name)
			case len(values) == 0, values[0] == "" && p["allowEmptyValue"] == true:
			case len(values) > 1:
				x.fail("it took a request with %s %d times", name, len(values))
			default:
				s, err := x.doc.schema(pointer + "/schema")
				if err == nil {
					err = validateText(s, values[0])
				}
				if err != nil {
					x.fail("it took a request whose %s is not as described: %w", name, err)
				}
			}
		}
	}
}

// checkRequest holds a request that was carried out to the document.
func (x *exchange) checkRequest() {
	x.checkParameters()
	if isNDJSON(x.req.Header) {
		return // not kept, and each line has its own answer
	}
	x.mu.Lock()
	sent := x.sent
	x.mu.Unlock()
	operation := x.operation()
	contents := x.doc.names(below(operation, "requestBody", "content")...)
	switch {
	case len(sent) == 0:
		if body, _, ok := x.doc.at(below(operation, "requestBody")...); ok && body.(map[string]any)["required"] == true {
			x.fail("it took a request without a body")
		}
		return
	case len(contents) == 0:
		x.fail("it took a body, which the document does not describe")
		return
	}
	media, _, err := mime.ParseMediaType(x.req.Header.Get("Content-Type"))
	if x.req.Header.Get("Content-Type") == "" {
		media, err = "application/json", nil
	}
	if err != nil || contents[media] == nil {
		x.fail("it took a body of type %q, which the document does not describe", x.req.Header.Get("Content-Type"))
		return
	}
	_, pointer, _ := x.doc.at(below(operation, "requestBody", "content", media, "schema")...)
	s, err := x.doc.schema(pointer)
	if err != nil {
		x.fail("%w", err)
		return
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(sent))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		x.fail("it took a body that is not as described: %w", err)
	}
}
