package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json"
)

// input has lines of every fate: six good ones, one refused for what it is and one for a hostname.
const input = `{"id":"db_1","engine":"postgres","region":"eu-west","host":"db.example","port":5432,"secret_ref":"vault://db/1"}
{"id":"grp_early","name":"Early","ring":1}
{"id":"ten_acme","name":"Acme","hostnames":["acme.example","www.acme.example"],"home_region":"eu-west","group":"grp_early","database":"db_1","products":{"wiki":{"plan":"free","seats":5,"features":["drafts","macros"],"trial_until":"2027-01-31T00:00:00Z"}},"config":{"locale":"en"},"status":"active"}
{"id":"ten_bad","name":"","hostnames":[],"home_region":"eu-west"}
{"id":"ten_late","name":"Late","hostnames":["acme.example"],"home_region":"eu-west"}

{"id":"ten_umlaut","name":"Übung","hostnames":["übung.example"],"home_region":"us-east","primary_hostname":"übung.example"}
`

func TestImport_SaysWhatBecameOfEachRefusedLine_AndASum(t *testing.T) {
	_, dir := openDev(t)
	roster := file(t, "roster.ndjson", input)

	r := tenantry(t, "import", roster, "--data-dir", dir).exits(exitPartial)
	r.prints("line 4: invalid: ten_bad: ", "/name", "line 5: conflict: ten_late: ", "acme.example is held by ten_acme",
		"6 lines: 4 created, 0 unchanged, 1 conflict, 1 invalid (")
	if n := strings.Count(r.stdout, "\n"); n != 3 {
		t.Errorf("got %d lines, want one for each refused line and the sum:\n%s", n, r.stdout)
	}

	// Again, from standard input: nothing changes.
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir).exits(exitPartial).
		prints("6 lines: 0 created, 4 unchanged, 1 conflict, 1 invalid (")

	// Only good lines: exit code 0.
	good := strings.Split(input, "\n")[:3]
	tenantryWith(t.Context(), t, strings.Join(good, "\n"), "import", "-", "--data-dir", dir).exits(exitDone).
		prints("3 lines: 0 created, 3 unchanged, 0 conflict, 0 invalid (")
	tenantryWith(t.Context(), t, "", "import", "-", "--data-dir", dir).exits(exitDone).prints("0 lines: ")
}

func TestImport_AsJSON_IsTheAnswerToEachLine_AndTheSumForThePerson(t *testing.T) {
	_, dir := openDev(t)
	r := tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir, "--output", "json").
		exits(exitPartial, "6 lines: 4 created, 0 unchanged, 1 conflict, 1 invalid (")
	var got []string
	for line := range strings.Lines(r.stdout) {
		var a struct {
			Line   int            `json:"line"`
			ID     string         `json:"id"`
			Status string         `json:"status"`
			Error  map[string]any `json:"error"`
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if (a.Error == nil) != (a.Status == "created") {
			t.Errorf("line %d is %s with the error %v", a.Line, a.Status, a.Error)
		}
		got = append(got, fmt.Sprintf("%d %s %s", a.Line, a.ID, a.Status))
	}
	want := "1 db_1 created, 2 grp_early created, 3 ten_acme created, 4 ten_bad invalid, 5 ten_late conflict, 7 ten_umlaut created"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
}

func TestExport_ImportedIntoAnEmptyCatalogue_IsExportedTheSame(t *testing.T) {
	first, dir := openDev(t)
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir).exits(exitPartial)
	roster := filepath.Join("..", "..", "examples", "roster.ndjson")
	tenantry(t, "import", roster, "--data-dir", dir) // acme.example is taken, which is as good
	exported := tenantry(t, "export", "--admin", first.Addresses().Admin).exits(exitDone)
	if n := strings.Count(exported.stdout, "\n"); n < 1000 {
		t.Fatalf("got %d lines", n)
	}

	_, other := openDev(t)
	tenantryWith(t.Context(), t, exported.stdout, "import", "-", "--data-dir", other).exits(exitDone)
	again := tenantry(t, "export", "--data-dir", other).exits(exitDone)
	if again.stdout != exported.stdout {
		a, b := strings.Split(exported.stdout, "\n"), strings.Split(again.stdout, "\n")
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("line %d was\n%s\nand is\n%s", i+1, a[i], b[i])
			}
		}
		t.Errorf("got %d lines, want %d", len(b), len(a))
	}
}

func TestImport_ThatCannotBegin_SaysWhy(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	tenantry(t, "import", none, "--admin", "http://127.0.0.1:1").exits(exitFailed, none)
	tenantryWith(t.Context(), t, input, "import", "-", "--admin", "http://127.0.0.1:1").exits(exitFailed, "no answer from http://127.0.0.1:1", "is Tenantry running there?", "--admin or --data-dir\n")
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", none).exits(exitFailed, "no dev is running on "+none)
	tenantry(t, "export", "--admin", "http://127.0.0.1:1").exits(exitFailed, "is Tenantry running there?")
	damaged := t.TempDir()
	writeFile(t, filepath.Join(damaged, "tenantry.json"), "{")
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", damaged).exits(exitFailed, "tenantry.json")
}

func TestImport_OfWhatCannotBeRead_BlamesNoServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer server.Close()
	dir := t.TempDir()
	tenantry(t, "import", dir, "--admin", server.URL).exits(exitFailed, "tenantry: "+dir+" is a directory: name a file of NDJSON\n")

	var stdout, stderr output
	broken := io.MultiReader(strings.NewReader(input), iotest.ErrReader(errors.New("the disk is gone")))
	code := run(t.Context(), []string{"import", "-", "--admin", server.URL}, broken, &stdout, &stderr)
	httpClient.CloseIdleConnections()
	r := ran{t, []string{"import"}, code, stdout.String(), stderr.String()}.exits(exitFailed, "tenantry: read standard input: the disk is gone")
	if strings.Contains(r.stderr, "no answer") {
		t.Errorf("the server is blamed: %s", r.stderr)
	}
}

func TestImport_OfAServerThatAnswersSomethingElse_SaysWhatItAnswered(t *testing.T) {
	for _, c := range []struct {
		status  int
		kind    string
		body    string
		phrases []string
	}{
		{503, "application/problem+json", `{"type":"x","title":"Busy","status":503,"detail":"come back"}`, []string{"tenantry: come back\n"}},
		{422, "application/problem+json", `{"type":"x","title":"Wrong","status":422,"detail":"one thing","errors":[{"pointer":"/a","detail":"b"},{"pointer":"/c","detail":"d"}]}`, []string{"tenantry: /a: b; /c: d\n"}},
		{503, "application/problem+json", `{"type":"x","title":"Busy","status":503}`, []string{"tenantry: Busy\n"}},
		{503, "application/problem+json", `{"type":"https://tenantry.dev/problems/unavailable","title":"Not now","status":503,"detail":"Idempotency-Key"}`, []string{"tenantry: the server could not do it (Not now): try again"}},
		{500, "text/html", "<h1>Oops</h1>", []string{"500", "Oops"}},
		{200, "text/html", "<h1>Welcome</h1>", []string{"read the answer"}},
	} {
		server := httptest.NewServer(answering(c.status, c.kind, c.body))
		tenantryWith(t.Context(), t, input, "import", "-", "--admin", server.URL).exits(exitFailed, c.phrases...)
		httpClient.CloseIdleConnections()
		server.Close()
	}
}

func TestImport_WhoseAnswerBreaksOff_SaysThatTheRestHasToBeSentAgain(t *testing.T) {
	for _, half := range []string{"", `{"line":2,"id":"grp_`} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"line":1,"id":"db_1","status":"created"}`+"\n"+half)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}))
		tenantryWith(t.Context(), t, input, "import", "-", "--admin", server.URL).
			exits(exitFailed, "after 1 line ", "what was answered is done", "import the file again")
		httpClient.CloseIdleConnections()
		server.Close()
	}
}

func TestImport_Interrupted_StopsAndSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"line":1,"id":"db_1","status":"created"}`+"\n")
		_ = http.NewResponseController(w).Flush()
		cancel() // Ctrl-C, in the middle of it
		<-r.Context().Done()
	}))
	defer server.Close()
	r := tenantryWith(ctx, t, input, "import", "-", "--admin", server.URL).exits(exitFailed, "stopped")
	if strings.Contains(r.stderr, "running there") {
		t.Errorf("an import that the user stopped blames the server: %s", r.stderr)
	}
	r = tenantryWith(ctx, t, input, "import", "-", "--admin", server.URL).exits(exitFailed, "stopped")
	if strings.Contains(r.stderr, "running there") {
		t.Errorf("an import that the user stopped blames the server: %s", r.stderr)
	}
}

func TestExport_ThatBreaksOff_Fails(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "{}\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	tenantry(t, "export", "--admin", server.URL).exits(exitFailed, "cut short")
}
