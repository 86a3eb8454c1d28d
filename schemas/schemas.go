package schemas

import (
	_ "embed"
)

// The documents of the two APIs (OpenAPI 3.1) and of the topic (AsyncAPI 3), in YAML. Treat
// them as read-only.
var (
	//go:embed admin.openapi.yaml
	AdminOpenAPI []byte
)
