// Package schemas holds what crosses a process boundary, as documents: a JSON Schema for
// every event type and version, OpenAPI for the admin and the query API, AsyncAPI for the
// topic, and golden encodings of every payload.
//
// What is guaranteed: the schema and the golden encoding of a released payload never
// change. Programs of the same major version answer what the OpenAPI documents describe and
// nothing else; package schematest is how the tests of the other packages hold them to it.
//
// A payload changes by a new version: a new type in package events with an upcaster from the old
// one, a new file in events/ here, a new message in events.asyncapi.yaml, and its golden encoding,
// which go test ./events -run TestGolden -write-missing-goldens writes. Nothing is edited.
//
// The package knows nothing of the rest of the project: the documents are the contract, and
// the code has to fit them.
package schemas
