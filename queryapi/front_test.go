package queryapi_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/queryapi"
	"github.com/tenantry/tenantry/schemas"
	"github.com/tenantry/tenantry/schemas/schematest"
)

// listening serves an API on loopback, with its front or without, until the test ends.
func listening(t testing.TB, api *queryapi.API, front bool) net.Addr {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr()
	if front {
		l = api.Front(l)
	}
	server := &http.Server{Handler: api, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		ended.Wait()
	})
	return addr
}

// twoFaces is one API, listened for with the front and without.
func twoFaces(t testing.TB, adjust ...func(*queryapi.Config)) (front, plain net.Addr) {
	t.Helper()
	live := new(readmodel.Live)
	live.Swap(openModel(t))
	cfg := queryapi.Config{Reader: live, Region: "eu-west", Clock: func() time.Time { return noon.Add(time.Second) }}
	for _, a := range adjust {
		a(&cfg)
	}
	long := tenant(t, "ten_long", 2, "long.example")
	long.Config["text"] = []byte(`"` + strings.Repeat("x", 40_000) + `"`)
	quarantined := tenant(t, "ten_quarantined", 3, "quarantined.example")
	if err := fill(live.Model(), 3, tenant(t, "ten_acme", 1, "acme.example", "bücher.example"), long, quarantined); err != nil {
		t.Fatal(err)
	}
	if err := live.Model().Update(func(tx *readmodel.Tx) error {
		return tx.SetQuarantine(readmodel.Quarantine{Stream: quarantined.ID.Stream(), Position: 4, Version: 4, Error: "unknown event type", Since: noon})
	}); err != nil {
		t.Fatal(err)
	}
	api := queryapi.New(cfg)
	return listening(t, api, true), listening(t, api, false)
}

// exchange sends octets, then says that there are no more, and reads all that comes.
func exchange(t testing.TB, to net.Addr, parts ...string) []byte {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		for _, part := range parts {
			if _, err := c.Write([]byte(part)); err != nil {
				return // the server has said no already
			}
		}
		_ = c.(*net.TCPConn).CloseWrite()
	})
	got, err := io.ReadAll(c)
	writing.Wait()
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("no end to the answer to %.200q", parts)
	}
	return got // a reset comes where the server closes before it has read all
}

// answers is a stream of answers in a form that compares: what must not differ.
func answers(t testing.TB, stream []byte) []string {
	t.Helper()
	var out []string
	for r := bufio.NewReader(bytes.NewReader(stream)); ; {
		if _, err := r.Peek(1); err != nil {
			return out
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%v: no answer: %q", err, stream)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("%v: %q", err, stream)
		}
		if date := res.Header.Get("Date"); date != "" {
			if _, err := http.ParseTime(date); err != nil {
				t.Errorf("Date is %s: %v", date, err)
			}
			res.Header.Set("Date", "some time")
		}
		if id := res.Header.Get("X-Request-Id"); madeUp.MatchString(id) {
			res.Header.Set("X-Request-Id", "made up")
			body = bytes.ReplaceAll(body, []byte(id), []byte("made up"))
		}
		out = append(out, fmt.Sprintf("%s %s %v close=%v %s", res.Proto, res.Status, res.Header, res.Close, body))
	}
}

// madeUp is the ID of a request that had none.
var madeUp = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// requests are what the front has to answer as net/http does, or to leave to it.
var requests = []string{
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nhOST:h:8081\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nConnection: Keep-Alive\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: [::1]:80\r\nX-Request-Id: req-1 \r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
	"GET /v1/lookup/long.example HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/quarantined.example HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/xn--bcher-kva.example HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/b%C3%BCcher.example HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/ACME.example HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/acme.example. HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/nobody.example HTTP/1.1\r\nHost: h\r\nX-Request-Id: req-2\r\n\r\n",
	"GET /v1/lookup/10.0.0.1 HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/.. HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/ HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/acme.example?min_version=1 HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/acme.example/more HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/acme.example#x HTTP/1.1\r\nHost: h\r\n\r\n",
	"get /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\n\r\n",
	"POST /v1/lookup HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\n{\"hostnames\":[\"acme.example\"]}GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /livez HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\nhello",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nUser-Agent: x\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nUser-Agent: x\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nAccept: x\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\nHost: h\n\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\n\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost:\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: a b\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nAccept: a\x00b\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nAccept: \xff\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nAccept:\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nAccept\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nX-Request-Id: a b\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nX-Request-Id:\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /livez HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, close\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.0\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.10\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/2.0\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/acme.example  HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET  /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1 \r\nHost: h\r\n\r\n",
	"GET http://h/v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\n\r\n",
	"\r\nGET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\n",
	"GET /v1/lookup/acme.example HTTP/1.1\r\nHost: h\r\nUser-Agent: " + strings.Repeat("x", 5000) + "\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
	"",
}

func TestFront_OfAnyRequest_AnswersAsTheServerDoes(t *testing.T) {
	front, plain := twoFaces(t)
	for _, request := range requests {
		for _, octets := range []string{request, requests[0] + request, request + requests[0] + requests[3] + requests[0], strings.Repeat(request, 60)} {
			if diff := cmp.Diff(answers(t, exchange(t, plain, octets)), answers(t, exchange(t, front, octets))); diff != "" {
				t.Errorf("%.300q: the front differs: %s", octets, diff)
			}
		}
	}
}

func TestFront_OfAPlainLookup_AnswersWithoutTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		reader := newCopyInMemory()
		reader.commit(1)
		api := queryapi.New(queryapi.Config{Reader: reader, Region: "eu-west"})
		front := api.Front(p)
		var accepted sync.WaitGroup
		accepted.Go(func() {
			if c, err := front.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the server gets a connection: %v %v", c, err)
			}
		})
		c := p.dial()
		for _, request := range []string{requests[0], requests[1], requests[2], requests[3]} {
			if res := ask(t, c, request); res.StatusCode != http.StatusOK {
				t.Errorf("%q is answered %s", request, res.Status)
			}
		}
		if err := front.Close(); err != nil {
			t.Error(err)
		}
		accepted.Wait()
		_ = c.Close()
	})
}

func TestFront_OfARequestInParts_AnswersIt(t *testing.T) {
	front, plain := twoFaces(t)
	whole := requests[1] + requests[2]
	want := answers(t, exchange(t, plain, whole))
	for cut := range whole {
		if diff := cmp.Diff(want, answers(t, exchange(t, front, whole[:cut], whole[cut:]))); diff != "" {
			t.Errorf("cut at %d, the front differs: %s", cut, diff)
		}
	}
}

func FuzzFront(f *testing.F) {
	for _, request := range requests {
		f.Add(request)
		f.Add(requests[0] + request)
	}
	front, plain := twoFaces(f)
	f.Fuzz(func(t *testing.T, octets string) {
		if strings.Contains(octets, "wait") || strings.Contains(octets, "/metrics") || strings.Contains(octets, "/docs") {
			return // what takes long, and what differs each time
		}
		if strings.Contains(octets, "HEAD") {
			return // an answer to HEAD cannot be told from one that is cut off
		}
		want, got := answers(t, exchange(t, plain, octets)), answers(t, exchange(t, front, octets))
		// Where a connection ends with one to three octets, net/http closes it without a word, but
		// not where they are the first that it gets.
		if extra := len(got) - 1; extra == len(want) && strings.HasPrefix(got[extra], "HTTP/1.1 400") {
			got = got[:extra]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: the front differs: %s", octets, diff)
		}
	})
}

func TestFront_OfWhatItAnswers_KeepsTheContractAndCountsOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	front, _ := twoFaces(t, func(cfg *queryapi.Config) { cfg.Registerer = registry })
	transport := new(http.Transport)
	n := &node{t: t, url: "http://" + front.String(), client: &http.Client{Transport: schematest.Transport(t, schemas.QueryOpenAPI, transport)}}
	t.Cleanup(transport.CloseIdleConnections)
	a := n.get("/v1/lookup/acme.example").is(t, http.StatusOK)
	n.get("/v1/lookup/quarantined.example", "X-Request-Id", "req-1").is(t, http.StatusOK)
	n.get("/v1/lookup/nobody.example").is(t, http.StatusNotFound)
	n.get("/v1/lookup/acme.example", "If-None-Match", a.header.Get("ETag")).is(t, http.StatusNotModified)
	for outcome, want := range map[string]float64{"found": 2, "unknown": 1, "unmodified": 1, "failed": 0} {
		if got := lookupsCounted(t, registry, outcome); got != want {
			t.Errorf("%v look-ups are counted as %s, want %v", got, outcome, want)
		}
	}
}

func lookupsCounted(t testing.TB, registry *prometheus.Registry, outcome string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "tenantry_lookups_total" && l.GetName() == "outcome" && l.GetValue() == outcome {
					total += m.GetCounter().GetValue()
				}
			}
		}
	}
	return total
}

func TestFront_WhileNotReady_LeavesLookupsToTheServer(t *testing.T) {
	front, plain := twoFaces(t, func(cfg *queryapi.Config) { cfg.Ready = func() error { return errors.New("catching up") } })
	got := answers(t, exchange(t, front, requests[0]))
	if diff := cmp.Diff(answers(t, exchange(t, plain, requests[0])), got); diff != "" || !strings.Contains(got[0], "503") {
		t.Errorf("got %s, which differs: %s", got, diff)
	}
}

func TestFront_WhenALookupPanics_EndsThatConnectionAlone(t *testing.T) {
	var log bytes.Buffer
	front, _ := twoFaces(t, func(cfg *queryapi.Config) {
		cfg.Reader = panicking{cfg.Reader.(*readmodel.Live)}
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	if got := exchange(t, front, requests[0]); len(got) > 0 {
		t.Errorf("got %q", got)
	}
	if got := answers(t, exchange(t, front, "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")); len(got) != 1 {
		t.Errorf("after the panic the next connection gets %q", got)
	}
	if !strings.Contains(log.String(), "index out of range") {
		t.Errorf("the log does not say so: %s", log.String())
	}
}

func TestFront_WithATracer_IsNone(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	api := queryapi.New(queryapi.Config{Reader: newCopyInMemory(), Region: "eu-west", TracerProvider: noop.NewTracerProvider()})
	if api.Front(l) != l {
		t.Error("there is a front, and no spans for what it answers")
	}
}

// pipes is a listener in memory: each connection is a pipe.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// behind serves one tenant behind a front, inside a bubble of synctest.
func behind(p *pipes) (server *http.Server, ended chan error) {
	reader := newCopyInMemory()
	reader.commit(1)
	api := queryapi.New(queryapi.Config{Reader: reader, Region: "eu-west"})
	front := api.Front(p)
	ended = make(chan error, 1)
	server = &http.Server{Handler: api, ReadHeaderTimeout: time.Minute}
	go func() { ended <- server.Serve(front) }()
	return server, ended
}

func ask(t *testing.T, c net.Conn, request string) *http.Response {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res
}

func TestFront_OfAConnectionThatAsksNothing_ClosesItAfterTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		server, ended := behind(p)
		c, began := p.dial(), time.Now()
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("read %d octets, %v, want the end", n, err)
		}
		if silent := time.Since(began); silent != 10*time.Second {
			t.Errorf("closed after %s, want 10s", silent)
		}
		_ = c.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

func TestFront_OfAConnectionThatLiesIdle_ClosesItAfterTwoMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		server, ended := behind(p)
		c := p.dial()
		ask(t, c, requests[0])
		for range 10 { // as long as it is used, it stays
			time.Sleep(100 * time.Second)
			ask(t, c, requests[0])
		}
		began := time.Now()
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("read %d octets, %v, want the end", n, err)
		}
		if idle := time.Since(began); idle != 2*time.Minute {
			t.Errorf("closed after %s, want 2m", idle)
		}
		_ = c.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve ended with %v", err)
		}
	})
}

func TestFront_WhenTheServerStops_EndsIdleConnectionsAtOnceAndSlowOnesSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		server, ended := behind(p)
		idle, handed, slow := p.dial(), p.dial(), p.dial()
		ask(t, idle, requests[0])
		ask(t, handed, "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
		if _, err := io.WriteString(slow, requests[0]); err != nil { // and reads nothing
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve ended with %v", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("stopped after %s, want the second that a slow client has", took)
		}
		for _, c := range []net.Conn{idle, handed, slow} {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("a connection is still open: %v", err)
			}
			_ = c.Close()
		}
	})
}

// failing is a listener that fails now and then.
type failing struct {
	net.Listener
	errs chan error
}

func (l failing) Accept() (net.Conn, error) {
	select {
	case err := <-l.errs:
		return nil, err
	default:
		return l.Listener.Accept()
	}
}

func TestFront_WhenTheListenerFails_LetsTheServerDecide(t *testing.T) {
	broken := errors.New("the network is gone")
	synctest.Test(t, func(t *testing.T) {
		api := queryapi.New(queryapi.Config{Reader: newCopyInMemory(), Region: "eu-west"})
		l := failing{Listener: newPipes(), errs: make(chan error, 1)}
		l.errs <- broken
		if err := (&http.Server{Handler: api, ReadHeaderTimeout: time.Minute}).Serve(api.Front(l)); !errors.Is(err, broken) {
			t.Errorf("Serve ended with %v, want %v", err, broken)
		}
	})
}
