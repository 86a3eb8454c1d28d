package adminapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/commands/adminapi"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/diskspace"
)

func TestHTTP_NoSuchPathOrMethod_IsAProblem(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{"/", "/v1", "/v1/tenants/", "/v1/tenants/ten_a/nothing", "/v2/tenants", "/v1/tenants/ten_a/suspend/", "/v1/%zz"} {
		if strings.Contains(path, "%zz") {
			continue // net/http itself refuses it
		}
		s.get(path).refused(404, "no-such-route")
	}
	for request, allow := range map[string]string{
		"PUT /v1/tenants":                   "GET HEAD POST",
		"POST /v1/tenants/ten_a":            "DELETE GET HEAD PATCH",
		"GET /v1/tenants/ten_a/suspend":     "POST",
		"GET /v1/import":                    "POST",
		"DELETE /v1/events":                 "GET HEAD",
		"POST /v1/tenants/ten_a/database":   "PUT",
		"BREW /v1/groups":                   "GET HEAD POST",
		"GET /v1/tenants/ten_a/config/them": "DELETE PUT",
	} {
		method, path, _ := strings.Cut(request, " ")
		r := s.send(method, path, "")
		r.refused(405, "method-not-allowed")
		for m := range strings.FieldsSeq(allow) {
			if !strings.Contains(r.header.Get("Allow"), m) {
				t.Errorf("%s: got Allow %q, without %s", request, r.header.Get("Allow"), m)
			}
		}
	}
}

func TestHTTP_HEAD_IsGETWithoutTheBody(t *testing.T) {
	s := newServer(t)
	s.acme("")
	for _, path := range []string{"/v1/tenants", "/v1/tenants/ten_acme", "/v1/tenants/ten_acme/events", "/v1/databases", "/v1/groups", "/v1/events", "/v1/export", "/livez", "/readyz"} {
		r := s.send("HEAD", path, "").want(200)
		if r.body != "" || r.header.Get("Content-Type") != s.get(path).header.Get("Content-Type") {
			t.Errorf("HEAD %s: got %v", path, r.header)
		}
	}
	s.send("HEAD", "/v1/tenants/ten_nobody", "").want(404)
}

func TestHTTP_TooLargeABody_IsRefused(t *testing.T) {
	s := newServer(t)
	pad := func(size int) string {
		body := `{"id":"grp_x","name":"X"}`
		return body + strings.Repeat(" ", size-len(body))
	}
	s.send("POST", "/v1/groups", pad(mebi+1)).refused(413, "too-large")
	// Without a Content-Length it is found out while it is read.
	r, err := http.NewRequest(http.MethodPost, s.url+"/v1/groups", io.MultiReader(strings.NewReader(pad(mebi+1))))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	s.do(r).refused(413, "too-large")
	s.unmoved(0)
	s.send("POST", "/v1/groups", pad(mebi)).want(201)
}

func TestHTTP_ContentType(t *testing.T) {
	s := newServer(t)
	s.acme("")
	at := s.head()
	for header, says := range map[string]string{
		"Content-Type: application/x-www-form-urlencoded":    "-H 'Content-Type: application/json'",
		"Content-Type: text/plain":                           "Content-Type: application/json",
		"Content-Type: application/json; charset=iso-8859-1": "UTF-8",
		"Content-Type: application/x-ndjson":                 "application/json",
		"Content-Type: ;":                                    "application/json",
		"Content-Encoding: gzip":                             "Content-Encoding",
	} {
		f := s.send("PATCH", "/v1/tenants/ten_acme", `{"name":"B"}`, header).refused(415, "unsupported-media-type")
		if !strings.Contains(f.Detail, says) {
			t.Errorf("%s: got %q, which does not say %s", header, f.Detail, says)
		}
	}
	s.send("POST", "/v1/import", groupBody, "Content-Type: application/x-www-form-urlencoded").refused(415, "unsupported-media-type")
	s.send("POST", "/v1/import", groupBody, "Content-Type: text/csv").refused(415, "unsupported-media-type")
	s.send("DELETE", "/v1/tenants/ten_acme/hostnames/acme.example", `{"reason":"x"}`).refused(400, "bad-request")
	s.unmoved(at)
	for i, header := range []string{"Content-Type: application/json", "Content-Type: application/json; charset=UTF-8", "Content-Type: Application/JSON", "Content-Type: application/merge-patch+json"} {
		s.send("PATCH", "/v1/tenants/ten_acme", fmt.Sprintf(`{"name":"B %d"}`, i), header).want(200)
	}
}

// TestHTTP_NoContentType_IsTakenForJSON is apart from the others, since the document describes no
// request without a Content-Type.
func TestHTTP_NoContentType_IsTakenForJSON(t *testing.T) {
	store := openStore(t)
	web := httptest.NewServer(mustNew(t, adminapi.Config{
		Commands: commands.NewHandler(store, commands.Config{HomeRegions: []string{"eu-west"}}), Store: store, Partitions: partitions,
	}))
	defer web.Close()
	s := &server{t: t, url: web.URL, store: store}
	s.send("POST", "/v1/groups", groupBody, "Content-Type: ").want(201)
	if got := s.send("POST", "/v1/import", groupBody, "Content-Type: ").want(200).body; !strings.Contains(got, "unchanged") {
		t.Errorf("got %s", got)
	}
}

func mustNew(t testing.TB, cfg adminapi.Config) http.Handler {
	t.Helper()
	h, err := adminapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHTTP_APageOfAnotherSite_IsRefused(t *testing.T) {
	store := openStore(t)
	web := httptest.NewServer(mustNew(t, adminapi.Config{
		Commands: commands.NewHandler(store, commands.Config{HomeRegions: []string{"eu-west"}}), Store: store, Partitions: partitions,
	}))
	defer web.Close()
	s := &server{t: t, url: web.URL, store: store}
	for _, header := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example", "Origin: null"} {
		s.send("POST", "/v1/groups", groupBody, header).refused(403, "cross-origin")
		s.send("POST", "/v1/import", groupBody, header, "Content-Type: ").refused(403, "cross-origin")
		s.get("/v1/groups", header).want(200) // a browser does not show it to that page
	}
	s.unmoved(0)
	s.send("POST", "/v1/groups", groupBody, "Sec-Fetch-Site: same-origin").want(201)
	s.send("PATCH", "/v1/groups/grp_early", `{"ring":2}`, "Origin: "+web.URL).want(200)
}

func TestHTTP_OnLoopback_UnderAnotherName_IsRefused(t *testing.T) {
	store := openStore(t)
	api := mustNew(t, adminapi.Config{
		Commands: commands.NewHandler(store, commands.Config{}), Store: store, Partitions: partitions, Loopback: true,
	})
	ask := func(method, host, header, value string) reply {
		r := httptest.NewRequest(method, "/v1/groups", nil)
		if method == http.MethodPost {
			r = httptest.NewRequest(method, "/v1/groups", strings.NewReader(groupBody))
		}
		r.Host = host
		if header != "" {
			r.Header.Set(header, value)
		}
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		return reply{t: t, status: w.Code, header: w.Header(), body: w.Body.String()}
	}
	for _, host := range []string{"evil.example", "evil.example:8080", "localhost.evil.example", "notlocalhost", "10.0.0.1:8080", "127.0.0.1.evil.example", "[fe80::1]:8080", ""} {
		ask("POST", host, "", "").refused(403, "cross-origin")
		ask("POST", host, "Origin", "http://"+host).refused(403, "cross-origin") // the same, to a browser
		ask("GET", host, "Origin", "http://"+host).refused(403, "cross-origin")
		ask("GET", host, "Sec-Fetch-Site", "same-origin").refused(403, "cross-origin")
		ask("GET", host, "User-Agent", "Mozilla/5.0 (X11)").refused(403, "cross-origin")
		ask("GET", host, "User-Agent", "curl/8.5").want(200)
	}
	for i, host := range []string{"localhost", "localhost:8080", "LOCALHOST.", "tenantry.localhost:8080", "127.0.0.1", "127.1.2.3:8080", "[::1]", "[::1]:8080"} {
		status := 201
		if i > 0 {
			status = 409 // it is there
		}
		ask("POST", host, "Origin", "http://"+host).want(status)
		ask("GET", host, "User-Agent", "Mozilla/5.0 (X11)").want(200)
	}
}

// cramped is a store on a full disk.
type cramped struct{ events.Store }

var errCramped = fmt.Errorf("%w: %w: /data has 3 MiB free and needs 64 MiB: make room", events.ErrUnavailable, diskspace.ErrFull)

func (cramped) Room(context.Context) error { return errCramped }

func TestHTTP_OnAFullDisk_TheAnswersSaySo(t *testing.T) {
	s := newServer(t, func(c *adminapi.Config) {
		c.Store = cramped{c.Store}
		c.Commands = stubCommands{
			Commands: c.Commands,
			do:       func() (commands.Answer, error) { return commands.Answer{}, errCramped },
			importAll: func(_ context.Context, lines []commands.Command) []commands.ImportResult {
				out := allCreated(lines)
				out[len(out)-1] = commands.ImportResult{Status: commands.ImportFailed, Err: errCramped}
				return out
			},
		}
	})
	if r := s.send("POST", "/v1/groups", groupBody); r.status != 503 || !strings.Contains(r.body, "disk is full") || !strings.Contains(r.body, "make room") {
		t.Errorf("a command: got %d %s", r.status, r.body)
	}
	if r := s.send("POST", "/v1/import", groupBody, "Content-Type: application/x-ndjson"); r.status != 503 || !strings.Contains(r.body, "disk is full") {
		t.Errorf("an import of one line: got %d %s", r.status, r.body)
	}
	if r := s.send("POST", "/v1/import", groupBody+"\n"+groupBody, "Content-Type: application/x-ndjson"); !strings.Contains(r.body, "disk is full") {
		t.Errorf("an import: got %d %s", r.status, r.body)
	}
	if got, want := s.get("/readyz?verbose").want(200).body, "[!]store takes no commands: "+errCramped.Error()+"\nready\n"; !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want %q at its end", got, want)
	}
	s.get("/readyz").want(200) // it can be read
}

func TestHTTP_UnknownParameters_AreRefused(t *testing.T) {
	s := newServer(t)
	s.acme("")
	at := s.head()
	for _, query := range []string{"dryrun=true", "dry-run=true", "dry_run=yes", "dry_run=1", "dry_run=true&dry_run=false", "dry_run=true;x=1", "dry_run=%zz"} {
		s.send("POST", "/v1/tenants/ten_acme/activate?"+query, "").refused(400, "bad-request")
	}
	s.send("POST", "/v1/import?dry_run=true", groupBody, "Content-Type: application/x-ndjson").refused(400, "bad-request")
	s.unmoved(at)
}

func TestHTTP_TheBodyDoesNotCome_TimesOut(t *testing.T) {
	store := openStore(t)
	web := httptest.NewUnstartedServer(mustNew(t, adminapi.Config{
		Commands: commands.NewHandler(store, commands.Config{HomeRegions: []string{"eu-west"}}), Store: store, Partitions: partitions,
	}))
	web.Config.ReadTimeout = 50 * time.Millisecond
	web.Start()
	defer web.Close()
	for _, request := range []string{"POST /v1/groups", "DELETE /v1/tenants/ten_acme"} {
		conn, err := net.Dial("tcp", web.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = io.WriteString(conn, request+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		reply{t: t, status: answer.StatusCode, header: answer.Header, body: string(b)}.refused(408, "request-timeout")
	}
}

func TestImport_AClientThatFallsSilent_TimesOut(t *testing.T) {
	store := openStore(t)
	web := httptest.NewServer(mustNew(t, adminapi.Config{
		Commands: commands.NewHandler(store, commands.Config{}), Store: store, Partitions: partitions, Silence: 100 * time.Millisecond,
	}))
	defer web.Close()
	conn, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "POST /v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	reply{t: t, status: answer.StatusCode, header: answer.Header, body: string(b)}.refused(408, "request-timeout")
}

func TestImport_AClientThatSendsNowAndThen_IsGivenItsTimeAnew(t *testing.T) {
	const silence = 300 * time.Millisecond
	store := openStore(t)
	web := httptest.NewServer(mustNew(t, adminapi.Config{
		Commands: commands.NewHandler(store, commands.Config{}), Store: store, Partitions: partitions, Silence: silence,
	}))
	defer web.Close()
	body, client := io.Pipe()
	go func() {
		for began := time.Now(); time.Since(began) < 2*silence; <-time.After(silence / 10) {
			_, _ = io.WriteString(client, "\n")
		}
		_, _ = io.WriteString(client, groupBody+"\n")
		_ = client.Close()
	}()
	answer, err := http.Post(web.URL+"/v1/import", "application/x-ndjson", body)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(b), "created") {
		t.Errorf("got %s %s %v", answer.Status, b, err)
	}
}

// stubCommands answers what a test says; it embeds what it does not.
type stubCommands struct {
	adminapi.Commands
	do        func() (commands.Answer, error)
	importAll func(ctx context.Context, lines []commands.Command) []commands.ImportResult
}

func (s stubCommands) Do(context.Context, commands.Request) (commands.Answer, error) { return s.do() }

func (s stubCommands) ImportAll(ctx context.Context, _ events.Metadata, lines []commands.Command) []commands.ImportResult {
	return s.importAll(ctx, lines)
}

func TestHTTP_WhatGoesWrongInside_IsLoggedAndNotTold(t *testing.T) {
	var fails func() (commands.Answer, error)
	s := newServer(t, func(c *adminapi.Config) {
		c.Commands = stubCommands{Commands: c.Commands, do: func() (commands.Answer, error) { return fails() }}
	})
	for name, row := range map[string]struct {
		fails   func() (commands.Answer, error)
		status  int
		problem string
		logged  bool
	}{
		"a panic":  {func() (commands.Answer, error) { panic("hunter2") }, 500, "internal", true},
		"an error": {func() (commands.Answer, error) { return commands.Answer{}, errors.New("hunter2") }, 500, "internal", true},
		"no store": {func() (commands.Answer, error) {
			return commands.Answer{}, fmt.Errorf("append: hunter2: %w", events.ErrUnavailable)
		}, 503, "unavailable", true},
		"no right to store": {func() (commands.Answer, error) {
			return commands.Answer{}, fmt.Errorf("append: hunter2: %w", events.ErrForbidden)
		}, 503, "unavailable", true},
		"no answer of the store": {func() (commands.Answer, error) {
			return commands.Answer{}, fmt.Errorf("append: hunter2: %w", events.ErrUnknownOutcome)
		}, 503, "unknown-outcome", true},
		"a plain refusal": {func() (commands.Answer, error) {
			return commands.Answer{}, &commands.Refusal{Code: commands.Invalid, Detail: "no"}
		}, 422, "invalid", false},
	} {
		t.Run(name, func(t *testing.T) {
			fails = row.fails
			s.log.Reset()
			r := s.send("POST", "/v1/groups", groupBody, "X-Request-Id: req-42")
			r.refused(row.status, row.problem)
			if strings.Contains(r.body, "hunter2") || strings.Contains(r.body, "goroutine") {
				t.Errorf("the answer tells what happened inside: %s", r.body)
			}
			if got := strings.Contains(s.log.String(), "req-42"); got != row.logged {
				t.Errorf("got log %q", s.log.String())
			}
			if row.logged && !strings.Contains(s.log.String(), "hunter2") {
				t.Errorf("the log does not tell why: %q", s.log.String())
			}
			if (r.header.Get("Retry-After") == "") != (row.status != 503) {
				t.Errorf("got Retry-After %q with %d", r.header.Get("Retry-After"), row.status)
			}
		})
	}
}

// codes are all that package commands declares.
func codes(t *testing.T) []commands.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []commands.Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Code" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, commands.Code(value))
		}
		return true
	})
	return out
}

func TestProblems_EveryRefusalHasItsOwnTypeAndA4xx(t *testing.T) {
	var code commands.Code
	store := openStore(t)
	web := httptest.NewServer(mustNew(t, adminapi.Config{
		Commands: stubCommands{do: func() (commands.Answer, error) {
			return commands.Answer{}, &commands.Refusal{Code: code, Detail: "because"}
		}},
		Store: store, Partitions: partitions,
	}))
	defer web.Close()
	s := &server{t: t, url: web.URL, store: store}
	all := codes(t)
	if len(all) < 14 {
		t.Fatalf("found only %v", all)
	}
	for _, code = range all {
		r := s.send("POST", "/v1/groups", groupBody)
		if r.status < 400 || r.status >= 500 {
			t.Errorf("%s: got %d", code, r.status)
		}
		r.refused(r.status, string(code))
	}
}

func TestHealth_LivezReadyzAndMetrics(t *testing.T) {
	var relay error
	trouble := ""
	s := newServer(t, func(c *adminapi.Config) {
		c.Checks = []adminapi.Check{{Name: "relay", Ready: func(context.Context) error { return relay }, Trouble: func() string { return trouble }}}
	})
	if got := s.get("/livez").want(200).body; got != "ok\n" {
		t.Errorf("got %q", got)
	}
	if got := s.get("/readyz").want(200).body; got != "ok\n" {
		t.Errorf("got %q", got)
	}
	if got, want := s.get("/readyz?verbose").want(200).body, "[+]store ok\n[+]relay ok\nready\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	trouble = "publishes nothing now:\nKafka is away"
	if got, want := s.get("/readyz?verbose").want(200).body, "[+]store ok\n[+]relay ok\n[!]relay publishes nothing now: Kafka is away\nready\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	relay = errors.New("Kafka is away\nsince 12:00")
	if got, want := s.get("/readyz").want(503).body, "[+]store ok\n[-]relay: Kafka is away since 12:00\nnot ready\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.get("/livez").want(200)

	s.acme("")
	s.get("/v1/tenants/ten_nobody").want(404)
	s.get("/no/such/path/of/many").want(404)
	s.importing(groupBody + "\nbroken\n")
	metrics := s.get("/metrics").want(200).body
	if n := strings.Count(metrics, "import_lines_total counter"); n != 1 {
		t.Errorf("the lines of imports are counted by %d metrics, want one", n)
	}
	for _, want := range []string{
		`tenantry_admin_requests_total{method="POST",route="/v1/tenants",status="201"} 1`,
		`tenantry_admin_requests_total{method="GET",route="/v1/tenants/:id",status="404"} 1`,
		`tenantry_admin_requests_total{method="GET",route="none",status="404"} 1`,
		`tenantry_admin_request_seconds_count{method="POST",route="/v1/tenants"} 1`,
		`tenantry_import_lines_total{status="created"} 1`,
		`tenantry_import_lines_total{status="invalid"} 1`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestHealth_WithoutTheStore_IsNotReady(t *testing.T) {
	store := openStore(t)
	s := newServerOn(t, headless{store})
	if got, want := s.get("/readyz").want(503).body, "[-]store: event store is unavailable\nnot ready\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.get("/livez").want(200)
	s.get("/v1/events").refused(503, "unavailable")
	s.get("/v1/export").refused(503, "unavailable")
	// A command that is done is answered, though nothing can be said of where the log ends.
	r := s.send("POST", "/v1/groups", groupBody).want(201)
	if token := r.header.Get("Tenantry-Token"); token != "" || r.header.Get("Tenantry-Position") != "1" {
		t.Errorf("got token %q and %v", token, r.header)
	}
}

// headless is a store that cannot tell where it ends.
type headless struct{ events.Store }

func (headless) Head(context.Context) (events.Head, error) {
	return events.Head{}, events.ErrUnavailable
}

func TestDocs_TheDocumentAndItsPage(t *testing.T) {
	s := newServer(t)
	if r := s.get("/openapi.yaml").want(200); !strings.HasPrefix(r.body, "openapi: 3.1") || r.header.Get("Content-Type") != "application/yaml" {
		t.Errorf("got %v and %.40q", r.header, r.body)
	}
	if r := s.get("/docs").want(200); !strings.Contains(r.body, "<html") {
		t.Errorf("got %.100q", r.body)
	}
	s.get("/docs/no-such-file").refused(404, "no-such-route")
}
