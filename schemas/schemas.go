package schemas

import (
	"embed"
	"io/fs"
)

// AdminOpenAPI describes the admin API: OpenAPI 3.1, in YAML. Treat it as read-only.
//
//go:embed admin.openapi.yaml
var AdminOpenAPI []byte

// QueryOpenAPI describes the query API: OpenAPI 3.1, in YAML. Treat it as read-only.
//
//go:embed query.openapi.yaml
var QueryOpenAPI []byte

// EventsAsyncAPI describes the topic tenantry.events.v1: AsyncAPI 3, in YAML. Its references to
// events/… lead into [Files]. Treat it as read-only.
//
//go:embed events.asyncapi.yaml
var EventsAsyncAPI []byte

// Base is what the $id of every JSON Schema of this package begins with; the rest of it is the
// schema's path in [Files]. It is a name, not an address.
const Base = "https://tenantry.dev/schemas/"

//go:embed event.json events golden
var files embed.FS

// Files has the JSON Schemas and golden encodings:
//
//	event.json             a line of GET /v1/events
//	events/<type>.json     the payload of an event type
//	golden/<type>.json     encodings of it: an object with one payload a member
func Files() fs.FS { return files }
