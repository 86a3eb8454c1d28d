// Package schematest holds the tests of other packages to the documents of package schemas.
//
//	h := schematest.Validate(t, schemas.AdminOpenAPI)(adminapi.New(…))   // each answer, as it is sent
//	c.Transport = schematest.Transport(t, schemas.QueryOpenAPI, nil)     // the same, from outside
//	schematest.Event(t, line)                                            // a line of /v1/events
//	schematest.Payload(t, string(p.EventType()), data)                   // a payload alone
//
// What is guaranteed: an answer with a status, a header, a media type or a member that the
// document does not describe fails the test, as does one that lacks what the document
// requires. A request is held to the document only where it was answered 2xx, since a test
// of bad input sends what the document forbids.
//
// Documents are validated, and requests routed, by kin-openapi. Values and bodies are checked by
// the JSON Schema 2020-12 validator itself on the whole document, since kin-openapi compiles the
// schema anew for each value (3 ms a request) and falls back to OpenAPI 3.0 rules for some.
package schematest
