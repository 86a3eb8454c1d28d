package adminapi_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/commands/adminapi"
	"github.com/tenantry/tenantry/events"
)

func TestImport_LinesOfEachKind_InOrder(t *testing.T) {
	s := newServer(t)
	lines := strings.Join([]string{
		`{"id":"ten_early","name":"Early","hostnames":[],"home_region":"eu-west","group":"grp_early"}`, // its group comes later
		databaseBody,
		``,
		groupBody + "\r",
		"   \t\r",
		`{"id":"ten_a","name":"A","hostnames":["a.example"],"home_region":"eu-west","group":"grp_early","database":"db_eu-1"}`,
		`{"name":"No ID","hostnames":["b.example"],"home_region":"eu-west"}`,
		`{"id":"ten_c","name":"C","hostnames":["a.example"],"home_region":"eu-west"}`,
		`{"id":"ten_a","name":"Another A","hostnames":["a.example"],"home_region":"eu-west"}`,
		`{"id":"usr_a","name":"A","hostnames":[],"home_region":"eu-west"}`,
		`{"id":"ten_a","name":"A","hostnames":["a.example"],"home_region":"eu-west"}`, // no line end
	}, "\n")
	want := []struct {
		line       int
		id, status string
		problem    string
	}{
		{1, "ten_early", "invalid", "unknown-group"},
		{2, "db_eu-1", "created", ""},
		{4, "grp_early", "created", ""},
		{6, "ten_a", "created", ""},
		{7, "ten_…", "created", ""},
		{8, "ten_c", "conflict", "hostname-taken"},
		{9, "ten_a", "conflict", "exists"},
		{10, "usr_a", "invalid", "invalid"},
		{11, "ten_a", "unchanged", ""},
	}
	answers := s.importing(lines, "Tenantry-Actor: mara", "Tenantry-Reason: take-over", "X-Request-Id: req-9")
	if len(answers) != len(want) {
		t.Fatalf("got %d answers, want %d: %+v", len(answers), len(want), answers)
	}
	for i, w := range want {
		a := answers[i]
		name := ""
		if a.Error != nil {
			name = strings.TrimPrefix(a.Error.Type, "https://tenantry.dev/problems/")
		}
		if a.Line != w.line || a.Status != w.status || name != w.problem || a.ID != w.id && w.id != "ten_…" {
			t.Errorf("got %+v with %q, want %+v", a, name, w)
		}
	}
	if e := answers[5].Error; e.Holder != "ten_a" || e.Hostname != "a.example" || e.pointers() != "/hostnames/0" {
		t.Errorf("got %+v", e)
	}
	log, err := s.store.After(context.Background(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if e := log[0]; e.Actor != "mara" || e.Reason != "take-over" || e.CorrelationID != "req-9" {
		t.Errorf("got %+v", e)
	}
	if got := s.importing(""); len(got) != 0 {
		t.Errorf("an empty import: got %+v", got)
	}
	if got := s.importing("\n\n \n"); len(got) != 0 {
		t.Errorf("an import of blank lines: got %+v", got)
	}
}

func TestImport_OfLinesWithoutAnID_AgainChangesNothing(t *testing.T) {
	s := newServer(t)
	lines := []string{
		`{"name":"Plain","hostnames":[],"home_region":"eu-west"}`,
		`{"name":"Rich","hostnames":["rich.example","www.rich.example"],"home_region":"eu-west","config":{"theme":{"dark":true,"n":12345678901234567890}}}`,
		`{"name":"Plain","hostnames":[],"home_region":"us-east"}`,
		`{"name":"Plain","hostnames":[],"home_region":"us-east","config":{"n":12345678901234567890}}`,
		`{"name":"Plain","hostnames":[],"home_region":"us-east","config":{"n":12345678901234567891}}`,
	}
	ids := make(map[string]bool)
	first := s.importing(strings.Join(lines, "\n"))
	for _, a := range first {
		if _, err := events.ParseTenantID(a.ID); err != nil || a.Status != "created" {
			t.Errorf("got %+v (%v), want it created", a, err)
		}
		ids[a.ID] = true
	}
	if len(ids) != len(lines) {
		t.Errorf("%d different lines have the IDs %v", len(lines), ids)
	}
	at := s.head()
	// The same content, spaced, ordered and escaped in other ways.
	lines[0] = ` { "home_region" : "eu-west", "name" : "Pl\u0061in", "hostnames" : [ ] }`
	lines[1] = `{"name":"Rich","hostnames":["rich.example","www.rich.example"],"home_region":"eu-west","config":{"theme":{"n":12345678901234567890, "dark":true}}}`
	for i, a := range s.importing(strings.Join(lines, "\n")) {
		if a.Status != "unchanged" || a.ID != first[i].ID {
			t.Errorf("line %d again: got %+v, want %s unchanged", i+1, a, first[i].ID)
		}
	}
	s.unmoved(at)
	twice := `{"name":"Twice","hostnames":["twice.example"],"home_region":"eu-west"}`
	got := s.importing(twice + "\n" + twice)
	if got[0].Status != "created" || got[1].Status != "unchanged" || got[0].ID != got[1].ID {
		t.Errorf("the same line twice in one import: got %+v", got)
	}
	s.must("PATCH", "/v1/tenants/"+got[0].ID, `{"name":"Thrice"}`)
	if again := s.importing(twice); again[0].Status != "conflict" || !strings.HasSuffix(again[0].Error.Type, "/exists") {
		t.Errorf("a line whose tenant was changed since: got %+v", again)
	}
}

// piped is an import under way: lines are written while answers are read.
type piped struct {
	t       *testing.T
	lines   *io.PipeWriter
	answers *bufio.Scanner
	close   func()
}

func (s *server) pipe() *piped {
	s.t.Helper()
	in, out := io.Pipe()
	s.t.Cleanup(func() { _ = out.Close() })
	r, err := http.NewRequest(http.MethodPost, s.url+"/v1/import", in)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	type begun struct {
		answer *http.Response
		err    error
	}
	begins := make(chan begun, 1)
	go func() {
		answer, err := http.DefaultClient.Do(r)
		begins <- begun{answer, err}
	}()
	p := &piped{t: s.t, lines: out}
	p.write(groupBody) // without a line there is no answer to begin with
	b := <-begins
	if b.err != nil {
		s.t.Fatal(b.err)
	}
	p.answers = bufio.NewScanner(b.answer.Body)
	p.close = func() { _ = b.answer.Body.Close() }
	p.read()
	return p
}

func (p *piped) write(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.lines, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *piped) read() imported {
	p.t.Helper()
	if !p.answers.Scan() {
		p.t.Fatalf("no answer: %v", p.answers.Err())
	}
	var a imported
	if err := json.Unmarshal(p.answers.Bytes(), &a, json.MatchCaseInsensitiveNames(true)); err != nil {
		p.t.Fatal(err)
	}
	return a
}

func TestImport_EachLineIsAnsweredBeforeTheNextIsSent(t *testing.T) {
	s := newServer(t)
	p := s.pipe()
	defer p.close()
	for i := range 20 {
		p.write(fmt.Sprintf(`{"id":"ten_%d","name":"T","hostnames":[],"home_region":"eu-west"}`, i))
		if a := p.read(); a.Line != i+2 || a.Status != "created" {
			t.Fatalf("got %+v", a)
		}
		// What is answered is there, though the import goes on.
		s.get(fmt.Sprintf("/v1/tenants/ten_%d", i)).want(200)
	}
	_ = p.lines.Close()
	if p.answers.Scan() {
		t.Errorf("got one answer too many: %s", p.answers.Text())
	}
	s.get("/v1/tenants").want(200)
}

func TestImport_TheClientGoesAway_WhatWasAnsweredIsStored(t *testing.T) {
	store := openStore(t)
	ended := make(chan struct{}, 1)
	h := mustNew(t, adminapi.Config{
		Commands: commands.NewHandler(store, commands.Config{HomeRegions: []string{"eu-west"}}), Store: store, Partitions: partitions,
	})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		h.ServeHTTP(w, r)
	}))
	defer web.Close()
	conn, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// Announces more than it sends, and breaks off inside of a line.
	_, _ = io.WriteString(conn, "POST /v1/import HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000000\r\n\r\n")
	_, _ = io.WriteString(conn, `{"id":"ten_a","name":"A","hostnames":[],"home_region":"eu-west"}`+"\n")
	answers := bufio.NewScanner(conn)
	for answers.Scan() && !strings.Contains(answers.Text(), `"ten_a"`) {
	}
	_, _ = io.WriteString(conn, `{"id":"ten_b","name":"B","hostnames":[],"home_region":"eu-west"}`) // no end: not a line yet
	_ = conn.Close()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the import did not notice that its client is gone")
	}
	log, err := store.After(context.Background(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(log) != 1 || log[0].Stream.String() != "ten_a" {
		t.Errorf("got %+v, want ten_a alone", log)
	}
}

func TestImport_TheStoreFails_SaysOnWhichLinesAndEnds(t *testing.T) {
	var good atomic.Int64
	s := newServer(t, func(c *adminapi.Config) {
		c.Commands = stubCommands{importAll: func(_ context.Context, lines []commands.Command) []commands.ImportResult {
			out := make([]commands.ImportResult, len(lines))
			for i, l := range lines {
				out[i] = commands.ImportResult{ID: l.Target(), Status: commands.ImportCreated}
				if good.Add(-1) < 0 {
					out[i].Status, out[i].Err = commands.ImportFailed, fmt.Errorf("hunter2: %w", events.ErrUnavailable)
				}
			}
			return out
		}}
	})
	// At once: the status can still tell.
	s.send("POST", "/v1/import", groupBody, "Content-Type: application/x-ndjson").refused(503, "unavailable")

	// Later: the lines tell, and those behind them are not tried.
	good.Store(1)
	p := s.pipe()
	defer p.close()
	p.write(databaseBody)
	a := p.read()
	if a.Line != 2 || a.Status != "failed" || a.Error == nil || !strings.HasSuffix(a.Error.Type, "/unavailable") || strings.Contains(a.Error.Detail, "hunter2") {
		t.Errorf("got %+v", a)
	}
	wantForALine(t, *a.Error)
	if p.answers.Scan() || p.answers.Err() != nil {
		t.Errorf("got %q, %v behind the line that failed", p.answers.Text(), p.answers.Err())
	}
}

func TestImport_TheStoreDoesNotSayWhatItStored_NeitherDoTheAnswers(t *testing.T) {
	var good, unknown atomic.Int64
	s := newServer(t, func(c *adminapi.Config) {
		c.Commands = stubCommands{importAll: func(_ context.Context, lines []commands.Command) []commands.ImportResult {
			out := make([]commands.ImportResult, len(lines))
			for i, l := range lines {
				out[i] = commands.ImportResult{ID: l.Target(), Status: commands.ImportCreated}
				if good.Add(-1) < 0 {
					out[i].Status, out[i].Err = commands.ImportFailed, fmt.Errorf("hunter2: %w", events.ErrUnavailable)
					if unknown.Add(-1) >= 0 {
						out[i].Err = fmt.Errorf("hunter2: %w", events.ErrUnknownOutcome)
					}
				}
			}
			return out
		}}
	})
	// One of several is unknown, so nobody may say that nothing was stored.
	unknown.Store(1)
	r := s.send("POST", "/v1/import", groupBody+"\n"+databaseBody, "Content-Type: application/x-ndjson")
	r.refused(503, "unknown-outcome")
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}

	good.Store(1)
	unknown.Store(1)
	p := s.pipe()
	defer p.close()
	p.write(databaseBody)
	a := p.read()
	if a.Line != 2 || a.Status != "failed" || a.Error == nil || !strings.HasSuffix(a.Error.Type, "/unknown-outcome") || !strings.Contains(a.Error.Detail, "not known") {
		t.Errorf("got %+v", a)
	}
	wantForALine(t, *a.Error)
}

func TestImport_TheServerStops_TheImportEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	store := openStore(t)
	h := mustNew(t, adminapi.Config{
		Commands: commands.NewHandler(store, commands.Config{HomeRegions: []string{"eu-west"}}), Store: store, Partitions: partitions,
	})
	web := httptest.NewUnstartedServer(h)
	web.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	web.Start()
	defer web.Close()
	s := &server{t: t, url: web.URL, store: store}
	p := s.pipe()
	defer p.close()
	cancel()
	if p.answers.Scan() || !errors.Is(p.answers.Err(), io.ErrUnexpectedEOF) {
		t.Errorf("got %q, %v, want the answer broken off", p.answers.Text(), p.answers.Err())
	}
	_ = p.lines.Close()
}

// generator writes so many lines of an import, without ever holding more than a few.
type generator struct {
	lines, next int
	rest        []byte
}

func (g *generator) Read(b []byte) (int, error) {
	for len(g.rest) == 0 {
		if g.next == g.lines {
			return 0, io.EOF
		}
		g.rest = fmt.Appendf(g.rest[:0], `{"id":"ten_one-of-very-many-tenants-that-were-made-for-a-test-%07d","name":"Generated","hostnames":["t-%07d.example","www.t-%07d.example"],"home_region":"eu-west","products":{"learn":{"plan":"free","seats":25}}}`+"\n", g.next, g.next, g.next)
		g.next++
	}
	n := copy(b, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// allCreated is an import without a store.
func allCreated(lines []commands.Command) []commands.ImportResult {
	out := make([]commands.ImportResult, len(lines))
	for i, l := range lines {
		out[i] = commands.ImportResult{ID: l.Target(), Status: commands.ImportCreated}
	}
	return out
}

func liveHeap() int64 {
	least := int64(math.MaxInt64)
	for range 5 { // what others make between the collection and the look is no longer there at the next
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least = min(least, int64(m.HeapAlloc))
	}
	return least
}

func TestImport_ManyLines_MemoryDoesNotGrow(t *testing.T) {
	const many = 100_000
	for name, readsLate := range map[string]bool{"a client that reads as it sends": false, "a client that reads at the end": true} {
		t.Run(name, func(t *testing.T) {
			seen, first, last := 0, int64(0), int64(0)
			h := mustNew(t, adminapi.Config{
				Commands: stubCommands{importAll: func(_ context.Context, lines []commands.Command) []commands.ImportResult {
					if first == 0 && seen > many/10 {
						first = liveHeap()
					}
					if last == 0 && seen > many*9/10 {
						last = liveHeap()
					}
					seen += len(lines)
					return allCreated(lines)
				}},
				Store: openStore(t), Partitions: partitions,
			})
			web := httptest.NewUnstartedServer(h)
			web.Config.ConnState = func(c net.Conn, state http.ConnState) {
				if tcp, ok := c.(*net.TCPConn); ok && state == http.StateNew {
					_ = tcp.SetWriteBuffer(32 << 10) // what the kernel keeps is no merit of ours
				}
			}
			web.Start()
			defer web.Close()
			conn, err := net.Dial("tcp", web.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			r, err := http.NewRequest(http.MethodPost, web.URL+"/v1/import", &generator{lines: many})
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-ndjson")
			sent := make(chan error, 1)
			go func() { sent <- r.Write(conn) }()
			if readsLate {
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
			}
			answer, err := http.ReadResponse(bufio.NewReader(conn), r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = answer.Body.Close() }()
			lines := bufio.NewScanner(answer.Body)
			n := 0
			for lines.Scan() {
				if want := fmt.Appendf(nil, `{"line":%d,"id":"ten_one-of-very-many-tenants-that-were-made-for-a-test-%07d","status":"created"}`, n+1, n); !bytes.Equal(lines.Bytes(), want) {
					t.Fatalf("got %s, want %s", lines.Bytes(), want)
				}
				n++
			}
			if n != many || lines.Err() != nil {
				t.Fatalf("got %d answers and %v, want %d", n, lines.Err(), many)
			}
			// 80,000 lines lie between the two: 18 MB, and 8 MB of answers. What is under way at a time
			// is 2 MB at most.
			const bound = 5 << 20
			if grown := last - first; first == 0 || last == 0 || grown > bound {
				t.Errorf("the live heap grew by %d octets, from %d to %d; it must not grow with the input", grown, first, last)
			}
		})
	}
}

func TestImport_TheUniversities_GiveExactlyTheNumbersOfTheirReadme(t *testing.T) {
	const file = "../../../shared/data/universities.ndjson"
	roster, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("%s is not on this machine", file)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	conflicts := map[int][3]string{ // by line: who wants what that whom has
		6503: {"khio.no", "ten_khio-no"},
		7545: {"jazanu.edu.sa", "ten_jazanu-edu-sa"},
		8215: {"marun.edu.tr", "ten_marmara-edu-tr"},
	}
	for _, round := range []string{"created", "unchanged"} {
		before := s.head()
		counts := map[string]int{}
		for i, a := range s.importing(string(roster)) {
			counts[a.Status]++
			want, isConflict := conflicts[a.Line]
			switch {
			case a.Line != i+1:
				t.Fatalf("answer %d is for line %d", i+1, a.Line)
			case isConflict && (a.Status != "conflict" || a.Error.Hostname != want[0] || a.Error.Holder != want[1]):
				t.Errorf("line %d: got %+v, want a conflict on %v", a.Line, a, want)
			case !isConflict && a.Status != round:
				t.Errorf("line %d: got %+v, want it %s", a.Line, a, round)
			}
		}
		if got, want := fmt.Sprint(counts), fmt.Sprint(map[string]int{round: 10_248, "conflict": 3}); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if round == "unchanged" {
			s.unmoved(before)
		}
	}

	tenants, hostnames := 0, map[string]bool{}
	for token := ""; ; {
		var page struct {
			Items []struct{ Hostnames []string }
			Next  string `json:"next_page_token"`
		}
		s.get("/v1/tenants?page_size=1000" + token).want(200).as(&page)
		for _, item := range page.Items {
			tenants++
			for _, h := range item.Hostnames {
				hostnames[h] = true
			}
		}
		if page.Next == "" {
			break
		}
		token = "&page_token=" + page.Next
	}
	if tenants != 10_248 || len(hostnames) != 10_571 {
		t.Errorf("got %d tenants with %d hostnames, want 10248 with 10571", tenants, len(hostnames))
	}
	if hostnames["mu.edu.tr"] {
		t.Error("mu.edu.tr was taken from a line that was refused")
	}
}

// BenchmarkImport imports b.N lines into the embedded store, through HTTP, and tells the most that
// the heap grew by: go test -run '^$' -bench Import -benchtime 1000000x ./commands/adminapi
func BenchmarkImport(b *testing.B) {
	store := openStore(b)
	handler := commands.NewHandler(store, commands.Config{HomeRegions: []string{"eu-west"}})
	benchmarkImport(b, store, func(ctx context.Context, lines []commands.Command) []commands.ImportResult {
		return handler.ImportAll(ctx, events.Metadata{}, lines)
	})
}

// BenchmarkImportWithoutStore is what the API itself costs.
func BenchmarkImportWithoutStore(b *testing.B) {
	benchmarkImport(b, openStore(b), func(_ context.Context, lines []commands.Command) []commands.ImportResult { return allCreated(lines) })
}

func benchmarkImport(b *testing.B, store events.Store, importAll func(context.Context, []commands.Command) []commands.ImportResult) {
	idle := liveHeap()
	var most, calls int64
	web := httptest.NewServer(mustNew(b, adminapi.Config{
		Commands: stubCommands{importAll: func(ctx context.Context, lines []commands.Command) []commands.ImportResult {
			if calls++; calls%50 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, int64(m.HeapInuse)-idle)
			}
			return importAll(ctx, lines)
		}},
		Store: store, Partitions: partitions,
	}))
	defer web.Close()
	b.ResetTimer()
	answer, err := http.Post(web.URL+"/v1/import", "application/x-ndjson", &generator{lines: b.N})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	lines, created := bufio.NewScanner(answer.Body), 0
	for lines.Scan() {
		if bytes.Contains(lines.Bytes(), []byte(`"created"`)) {
			created++
		}
	}
	if created != b.N {
		b.Fatalf("%d of %d lines were created: %v", created, b.N, lines.Err())
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(float64(most)/(1<<20), "MiB-above-idle")
}
