package problem_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/problem"
)

// serving is an http.Server behind a Listener, until the test ends.
func serving(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, MaxHeaderBytes: 4 << 10, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := s.Serve(problem.Listener(l)); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		ended.Wait()
	})
	return l.Addr().String()
}

// send is the answer to some octets, its body read.
func send(t *testing.T, address, octets string) (*http.Response, string) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, octets); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%.60q: %v", octets, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", octets, err)
	}
	return res, string(body)
}

func TestListener_WhereNetHTTPAnswersByItself_AnswersAProblem(t *testing.T) {
	address := serving(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a handler was asked") }))
	for octets, status := range map[string]int{
		"rubbish\r\n\r\n":        400,
		"GET /\r\n\r\n":          400,
		"GET / HTTP/1.1\r\n\r\n": 400, // no Host
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n":                       400,
		"GET / HTTP/1.1\r\nHost: a b\r\n\r\n":                                400,
		"GET / HTTP/1.1\r\nHost: h\r\nX-A: a\x00b\r\n\r\n":                   400,
		"GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n":                           400,
		"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n":                               400,
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n":            400,
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n":      501,
		"GET / HTTP/3.1\r\nHost: h\r\n\r\n":                                  505,
		"GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 16<<10):     431,
		"GET /" + strings.Repeat("x", 16<<10) + " HTTP/1.1\r\nHost: h\r\n\r": 431,
	} {
		res, body := send(t, address, octets)
		var p problem.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Errorf("%.60q is answered %d %q", octets, res.StatusCode, body)
			continue
		}
		if res.StatusCode != status || p.Status != status || p.Type != problem.Base+"bad-request" || p.Title == "" || p.Detail == "" {
			t.Errorf("%.60q is answered %d %s, want %d", octets, res.StatusCode, body, status)
		}
		h := res.Header
		if h.Get("Content-Type") != problem.ContentType || h.Get("Cache-Control") != "no-store" || !res.Close || p.RequestID == "" || h.Get("X-Request-Id") != p.RequestID {
			t.Errorf("%.60q is answered with the headers %v", octets, h)
		}
	}
}

// Nothing that a handler sends is touched, even where it looks alike.
func TestListener_OfAHandlersAnswer_ChangesNothing(t *testing.T) {
	alike := "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
	address := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		if r.URL.Path == "/error" {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat(alike, 300))
	}))
	if res, body := send(t, address, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); res.StatusCode != http.StatusOK || body != strings.Repeat(alike, 300) {
		t.Errorf("got %d and %d octets", res.StatusCode, len(body))
	}
	if res, body := send(t, address, "GET /error HTTP/1.1\r\nHost: h\r\n\r\n"); res.StatusCode != http.StatusBadRequest || body != "no\n" || res.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
}
