package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

// Whoever reads the pages runs their commands from top to bottom: so does this test, each page on
// a dev of its own as `make run` leaves it. What a page shows as an answer is the answer.
func TestDocs_EveryCommandRunsFromTopToBottom_AndAnswersWhatThePageShows(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("REQUIRE_SERVICES") == "1" {
				t.Fatalf("%s is needed: install it", tool)
			}
			t.Skipf("%s is not installed", tool)
		}
	}
	for page, refused := range map[string][]string{
		"README.md": nil,
		"docs/quickstart.md": {
			"409 PUT /v1/tenants/ten_tutorial/hostnames/acme.example",
			"422 PATCH /v1/databases/db_tutorial",
		},
		"docs/admin-api.md": {
			"422 PUT /v1/tenants/ten_acme/products/wiki",
			"409 POST /v1/databases/db_demo/retire",
		},
		"docs/query-api.md": nil,
	} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			followPage(t, page, refused)
		})
	}
}

// followPage runs a page's commands, and expects just these requests to be refused.
func followPage(t *testing.T, page string, refused []string) {
	work := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(work, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"bin/tenantry": program(t), "examples": filepath.Join(root, "examples")} {
		if err := os.Symlink(to, filepath.Join(work, name)); err != nil {
			t.Fatal(err)
		}
	}
	d := start(t, filepath.Join(work, "tenantry-data"), "--import", roster)
	commands := pageCommands(t, filepath.Join(root, page))
	if len(commands) == 0 {
		t.Fatal("the page has no commands: the test does not read it right")
	}
	// Where a page has the ports of `make run`, this dev has others.
	at := strings.NewReplacer("127.0.0.1:8080", strings.TrimPrefix(d.Admin, "http://"),
		"127.0.0.1:8081", strings.TrimPrefix(d.Regions["eu-west"], "http://"),
		"127.0.0.1:8082", strings.TrimPrefix(d.Regions["us-east"], "http://"))
	var script strings.Builder
	script.WriteString(at.Replace(`set -e
A=http://127.0.0.1:8080 Q=http://127.0.0.1:8081 J='Content-Type: application/json'
curl() { command curl -sS -w '%{stderr}%{http_code} %{method} %{url}\n' "$@" 2>>requests; }
`))
	for i, c := range commands {
		fmt.Fprintf(&script, "{\n%s\n} >answer.%d\n", at.Replace(c.text), i)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script.String())
	cmd.Dir, cmd.Env = work, environment()
	dieWithTests(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s\nof\n%s", err, out, script.String())
	}
	if got := refusals(t, filepath.Join(work, "requests")); !slices.Equal(got, refused) {
		t.Errorf("got refused\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(refused, "\n"))
	}
	for i, c := range commands {
		if c.answer != "" {
			got, err := os.ReadFile(filepath.Join(work, fmt.Sprintf("answer.%d", i)))
			if err != nil {
				t.Fatal(err)
			}
			compareAnswer(t, c, string(got))
		}
	}
	d.stop()
}

// pageCommand is a block of a page: commands alone, or one behind a $ and what it answers.
type pageCommand struct{ text, answer string }

var indented = regexp.MustCompile(`(?m)(?:^    .*\n|^\n)+`)

// pageCommands are the blocks that are run. What starts, stops or destroys dev is left out: other
// tests do that.
func pageCommands(t *testing.T, path string) []pageCommand {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page, _, _ := strings.Cut(string(b), "\n## Watch it lose things\n")
	var out []pageCommand
	for _, block := range indented.FindAllString(page, -1) {
		var lines []string
		for line := range strings.Lines(block) {
			line = strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "    ")
			if !strings.HasPrefix(line, "make ") {
				lines = append(lines, line)
			}
		}
		text := strings.TrimSpace(strings.Join(lines, "\n"))
		if command, ok := strings.CutPrefix(text, "$ "); ok {
			command, answer, _ := strings.Cut(command, "\n")
			out = append(out, pageCommand{command, answer})
		} else if text != "" && !strings.HasPrefix(text, "{") { // else it is a part of an answer
			out = append(out, pageCommand{text: text})
		}
	}
	return out
}

// refusals are the requests of a log that were not answered 2xx, in order.
func refusals(t *testing.T, log string) []string {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			t.Errorf("curl said %s", line)
			continue
		}
		if !strings.HasPrefix(fields[0], "2") {
			_, path, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(fields[2], "http://"), "https://"), "/")
			out = append(out, fields[0]+" "+fields[1]+" /"+path)
		}
	}
	return out
}

// compareAnswer holds an answer against what the page shows.
func compareAnswer(t *testing.T, c pageCommand, got string) {
	t.Helper()
	if strings.HasPrefix(c.answer, "HTTP/") || strings.HasPrefix(c.answer, "{") {
		compareDocument(t, c, got)
	} else {
		compareLines(t, c, got)
	}
}

// unstable is what differs from run to run: times, how long it took or how old it is, ports, the
// node's name. Columns are as wide as these make them.
var unstable = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z|\(\d+\.\d s\)|\b\d+ ?ms\b|127\.0\.0\.1:\d+|\b[\w.-]+-\d+\b +http:| +`)

// compareLines finds each line that the page shows in the answer; it may show a part of it.
func compareLines(t *testing.T, c pageCommand, got string) {
	t.Helper()
	got = unstable.ReplaceAllString(got, " ")
	for line := range strings.Lines(c.answer + "\n") {
		if !strings.Contains(got, unstable.ReplaceAllString(line, " ")) {
			t.Errorf("%s\nshows %sand answers\n%s", c.text, line, got)
		}
	}
}

// compareDocument compares status, versions and positions, and the whole document, which a page
// may break into lines.
func compareDocument(t *testing.T, c pageCommand, got string) {
	t.Helper()
	split := func(answer string) (head string, body any) {
		at := strings.Index(answer, "{\"")
		if at < 0 {
			t.Fatalf("there is no JSON in %q", answer)
		}
		var document map[string]any
		if err := json.Unmarshal([]byte(answer[at:]), &document); err != nil {
			t.Fatalf("%v: %s", err, answer)
		}
		delete(document, "request_id")
		return strings.ReplaceAll(answer[:at], "\r", ""), document
	}
	wantHead, wantBody := split(c.answer)
	gotHead, gotBody := split(got)
	for line := range strings.Lines(wantHead) {
		for _, stable := range []string{"HTTP/1.1 ", "Etag: ", "Content-", "Tenantry-Position: ", "Tenantry-Version: ", "Tenantry-Region: "} {
			if strings.HasPrefix(line, stable) && !strings.Contains(gotHead, line) {
				t.Errorf("%s\nshows %sand answers\n%s", c.text, line, gotHead)
			}
		}
	}
	if diff := cmp.Diff(wantBody, gotBody); diff != "" {
		t.Errorf("%s\nanswers another document than the page shows (-page +answer):\n%s", c.text, diff)
	}
}
