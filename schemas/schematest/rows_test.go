package schematest

import (
	"slices"
	"strings"
	"testing"
)

// The rows of the contract. Other programs count on them: one that is missing breaks them.
var rows = map[string]string{
	"admin.openapi.yaml": `
		POST   /v1/tenants
		GET    /v1/tenants
		GET    /v1/tenants/{id}
		PATCH  /v1/tenants/{id}
		DELETE /v1/tenants/{id}
		GET    /v1/tenants/{id}/events
		POST   /v1/tenants/{id}/activate
		POST   /v1/tenants/{id}/suspend
		POST   /v1/tenants/{id}/resume
		POST   /v1/tenants/{id}/deactivate
		POST   /v1/tenants/{id}/restore
		PUT    /v1/tenants/{id}/hostnames/{hostname}
		DELETE /v1/tenants/{id}/hostnames/{hostname}
		PUT    /v1/tenants/{id}/products/{product}
		DELETE /v1/tenants/{id}/products/{product}
		PUT    /v1/tenants/{id}/database
		PUT    /v1/tenants/{id}/config/{key}
		DELETE /v1/tenants/{id}/config/{key}
		POST   /v1/databases
		GET    /v1/databases
		GET    /v1/databases/{id}
		GET    /v1/databases/{id}/events
		PATCH  /v1/databases/{id}
		POST   /v1/databases/{id}/drain
		POST   /v1/databases/{id}/retire
		POST   /v1/groups
		GET    /v1/groups
		GET    /v1/groups/{id}
		GET    /v1/groups/{id}/events
		PATCH  /v1/groups/{id}
		POST   /v1/groups/{id}/retire
		GET    /v1/events
		GET    /v1/export
		POST   /v1/import
		POST   /v1/topic/replay` + serviceRows,
	"query.openapi.yaml": `
		GET    /v1/lookup/{hostname}
		POST   /v1/lookup
		GET    /v1/tenants/{id}
		GET    /v1/status
		GET    /v1/snapshot` + serviceRows,
}

const serviceRows = `
		GET    /livez
		GET    /readyz
		GET    /metrics
		GET    /openapi.yaml
		GET    /docs
		GET    /docs/{asset}`

func TestOpenAPI_HasEveryRowOfTheContractAndNoOther(t *testing.T) {
	for name, d := range both(t) {
		var want, got []string
		for row := range strings.Lines(rows[name]) {
			if fields := strings.Fields(row); len(fields) == 2 {
				want = append(want, fields[0]+" "+fields[1])
			}
		}
		for path, item := range d.api.Paths.Map() {
			for method := range item.Operations() {
				got = append(got, method+" "+path)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q\nwant %q", name, got, want)
		}
	}
}

// Every command takes the parameters that the conventions promise for commands.
func TestOpenAPI_EveryCommandTakesWhatCommandsTake(t *testing.T) {
	d := both(t)["admin.openapi.yaml"]
	for path, item := range d.api.Paths.Map() {
		for method, op := range item.Operations() {
			if method == "GET" || op.OperationID == "importLines" || op.OperationID == "replayTopic" {
				continue
			}
			takes := make(map[string]bool)
			for _, p := range slices.Concat(item.Parameters, op.Parameters) {
				takes[p.Value.Name] = true
			}
			want := []string{"dry_run", "Idempotency-Key", "Tenantry-Actor", "Tenantry-Reason", "X-Request-Id", "traceparent"}
			if op.Responses.Value("201") == nil {
				want = append(want, "If-Match")
			}
			for _, name := range want {
				if !takes[name] {
					t.Errorf("%s %s does not take %s", method, path, name)
				}
			}
		}
	}
}
