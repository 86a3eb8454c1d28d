package schemas_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tenantry/tenantry/schemas"
	"github.com/tenantry/tenantry/schemas/schematest"
)

// browser is the path of Chromium. Without one the test is skipped, unless the machine is one
// that has to have all services.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("REQUIRE_SERVICES") == "1" {
		t.Fatal("chromium is not installed, and REQUIRE_SERVICES=1")
	}
	t.Skip("chromium is not installed")
	return ""
}

func TestDocs_InABrowser_ShowsEveryOperationAndLoadsNothingFromElsewhere(t *testing.T) {
	chromium := browser(t)
	for _, c := range []struct {
		title string
		spec  []byte
	}{
		{"Tenantry admin API", schemas.AdminOpenAPI},
		{"Tenantry query API", schemas.QueryOpenAPI},
	} {
		t.Run(c.title, func(t *testing.T) {
			server := httptest.NewServer(schematest.Validate(t, c.spec)(schemas.Docs(c.title, c.spec)))
			defer server.Close()

			dom, log, requests := visit(t, chromium, server.URL, "/docs")

			if !strings.Contains(dom, "<title>"+c.title+"</title>") {
				t.Error("the page does not have its title")
			}
			// How Swagger UI says that it does not understand a document, wholly or in part.
			for _, complaint := range []string{"errors-wrapper", "Unable to render", ">Warning<"} {
				if strings.Contains(dom, complaint) {
					t.Errorf("the viewer complains of the document: the page has %q", complaint)
				}
			}
			api, err := openapi3.NewLoader().LoadFromData(c.spec)
			if err != nil {
				t.Fatal(err)
			}
			for path, item := range api.Paths.Map() {
				for method, op := range item.Operations() {
					if want := `id="operations-` + op.Tags[0] + "-" + op.OperationID + `"`; !strings.Contains(dom, want) {
						t.Errorf("the page does not show %s %s: no %s", method, path, want)
					}
				}
			}
			for _, request := range requests {
				if !strings.HasPrefix(request, server.URL+"/") && !strings.HasPrefix(request, "data:") {
					t.Errorf("the page asked for %s", request)
				}
			}
			if len(requests) < 4 { // two scripts, a style sheet, the document
				t.Errorf("the browser logged only the requests %q, so that the check above proves nothing", requests)
			}
			for line := range strings.Lines(log) {
				if strings.Contains(line, "CONSOLE") {
					t.Errorf("the browser's console says: %s", line)
				}
			}
		})
	}
}

// visit opens a page, and returns what it became, what the browser wrote to its console and log, and
// the URL of every request that the page made.
func visit(t *testing.T, chromium, origin, path string) (dom, log string, requests []string) {
	t.Helper()
	dir := t.TempDir()
	netlog := filepath.Join(dir, "net.json")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, chromium,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir="+filepath.Join(dir, "profile"),
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", // whatever it may try stays on this machine
		"--enable-logging=stderr", "--log-net-log="+netlog, "--net-log-capture-mode=Default",
		"--virtual-time-budget=20000", "--dump-dom", origin+path)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		t.Fatalf("run chromium: %v\n%.4000s", err, &stderr)
	}
	return stdout.String(), stderr.String(), loggedRequests(t, netlog, origin)
}

// loggedRequests are the URLs that pages of an origin asked for, in a log of Chromium's network
// stack. What the browser wants for itself is in there as well.
func loggedRequests(t *testing.T, netlog, origin string) []string {
	t.Helper()
	text, err := os.ReadFile(netlog)
	if err != nil {
		t.Fatal(err)
	}
	var log struct {
		Constants struct {
			Types map[string]int `json:"logEventTypes"`
		} `json:"constants"`
		Events []struct {
			Type   int `json:"type"`
			Params struct {
				URL       string `json:"url"`
				Initiator string `json:"initiator"` // the origin that wanted it; none: the browser itself
			} `json:"params"`
		} `json:"events"`
	}
	if err := json.Unmarshal(text, &log); err != nil {
		t.Fatalf("read Chromium's network log: %v", err)
	}
	var urls []string
	for _, e := range log.Events {
		if e.Type != log.Constants.Types["URL_REQUEST_START_JOB"] || e.Params.URL == "" {
			continue
		}
		if e.Params.Initiator == origin {
			urls = append(urls, e.Params.URL)
		}
	}
	return urls
}
