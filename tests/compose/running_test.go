package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var nodes = []string{"eu-west-1", "eu-west-2", "us-east-1", "us-east-2"}

func TestCompose_EveryServicesOwnCommandAndEnvironment_MakeOneSystem(t *testing.T) {
	st := start(t)
	admin := "http://" + st.addresses["catalogue:8080"]

	// What is registered at the one address is found at every node.
	token := st.command(t, "POST", admin+"/v1/tenants",
		`{"id":"ten_acme","name":"Acme","hostnames":["acme.example"],"home_region":"eu-west"}`)
	st.lookedUp(t, "acme.example", token, "ten_acme")

	// A region that is in nobody's TENANTRY_HOME_REGIONS is refused, so the setting has arrived.
	if answer := call(t, "POST", admin+"/v1/tenants", `{"name":"X","hostnames":[],"home_region":"mars"}`); !strings.Contains(answer, "unknown-region") {
		t.Errorf("a home region that there is not: got %s", answer)
	}

	// A person types an import; then a file goes in.
	converse(t, admin+"/v1/import", func(line string) string {
		var tenant struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal([]byte(line), &tenant); err != nil {
			t.Error(err)
		}
		n := strings.TrimPrefix(tenant.ID, "ten_line-")
		return fmt.Sprintf(`{"line":%c,"id":%q,"status":"created"}`+"\n", n[0]+1, tenant.ID)
	})
	roster, err := filepath.Abs(filepath.Join(root, "examples", "roster.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Count(read(t, roster), "\n")
	if out := st.tenantry(t, 4, "import", roster, "--admin", admin); !strings.Contains(out, fmt.Sprintf("%d lines: %d created, 0 unchanged, 1 conflict, 0 invalid", lines, lines-1)) {
		t.Errorf("import: got %s, want all created but ten_acme, which is there already", out)
	}
	if exported := strings.Count(call(t, "GET", admin+"/v1/export", ""), "\n"); exported != lines+5 {
		t.Errorf("export: got %d lines, want %d", exported, lines+5)
	}

	// With a catalogue gone, the other takes what comes, and still publishes it.
	gone := st.running["catalogue-1"]
	gone.stop(signalOf(gone.ServiceConfig), stopTime)
	delete(st.running, "catalogue-1")
	token = st.command(t, "POST", admin+"/v1/tenants/ten_acme/activate", "")
	for _, name := range nodes {
		at := "http://" + st.addresses[name+":8081"]
		if got := call(t, "GET", at+"/v1/lookup/acme.example?wait=30s&at_least="+token, ""); !strings.Contains(got, `"status":"active"`) {
			t.Errorf("%s: got %s, want it active", name, got)
		}
		if err := st.healthy(t.Context(), st.running[name]); err != nil {
			t.Errorf("%s is not healthy: %v", name, err)
		}
	}
	st.stop()
}

// command is the token that a command is answered with.
func (st *stack) command(t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", t.Name()+url+body)
	res, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s: %s, %v", method, url, res.Status, text, err)
	}
	return res.Header.Get("Tenantry-Token")
}

// lookedUp expects a hostname to be a tenant's at every node.
func (st *stack) lookedUp(t *testing.T, hostname, token, tenant string) {
	t.Helper()
	for _, name := range nodes {
		at := "http://" + st.addresses[name+":8081"]
		if got := call(t, "GET", at+"/v1/lookup/"+hostname+"?wait=30s&at_least="+token, ""); !strings.Contains(got, `"tenant_id":"`+tenant+`"`) {
			t.Errorf("%s: got %s, want %s", name, got, tenant)
		}
	}
}

// tenantry runs the program as a person would, and returns what it printed.
func (st *stack) tenantry(t *testing.T, code int, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), st.image.program, args...)
	cmd.Env = []string{}
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		t.Errorf("tenantry %v: %v, want exit code %d: %s", args, err, code, out)
	}
	return string(out)
}
