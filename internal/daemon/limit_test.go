package daemon

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/queryapi"
)

func TestConnectionLimit_SharesTheFilesThatAreSpare(t *testing.T) {
	for _, c := range []struct {
		files   uint64
		servers int
		want    int
	}{
		{1024, 1, 768}, {1024, 3, 256}, {256, 1, 64}, {100, 1, 64}, {300, 3, 64}, {1 << 63, 2, 1 << 19},
	} {
		if got := connectionLimit(c.files, c.servers); got != c.want {
			t.Errorf("of %d files, each of %d servers has %d connections, want %d", c.files, c.servers, got, c.want)
		}
	}
}

func TestLimited_WithAsManyConnectionsAsMayBe_AcceptsTheNextWhenOneCloses(t *testing.T) {
	ln, err := listen(t.Context(), "127.0.0.1:0", "--listen")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	l := limit(ln, 2, slog.New(slog.NewTextHandler(&log, nil)))
	accepted, ended := make(chan net.Conn), make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- c
		}
	}()
	for range 3 {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	first, second := <-accepted, <-accepted
	if len(l.free) != cap(l.free) {
		t.Errorf("%d of %d count", len(l.free), cap(l.free))
	}
	_, _ = first.Close(), first.Close() // which counts once
	third := <-accepted
	_ = l.Close() // Accept waits for a connection to close by now, or will
	if err := <-ended; err == nil {
		t.Error("accepts after Close")
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("warned %d times, want once: %s", n, log.String())
	}
	_, _ = second.Close(), third.Close()
	if len(l.free) != 0 {
		t.Errorf("%d connections count when all are closed", len(l.free))
	}
}

func TestLimited_BehindTheFront_CountsConnectionsUntilTheyClose(t *testing.T) {
	ln, err := listen(t.Context(), "127.0.0.1:0", "--listen")
	if err != nil {
		t.Fatal(err)
	}
	l := limit(ln, 1, silent)
	api := queryapi.New(queryapi.Config{Region: "eu-west"})
	s := serve(api.Front(l), api, silent)
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	// Each is served only when the one before no longer counts; the last by the front alone.
	for range 3 {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
}

func TestServerLog_ThatNothingIsAccepted_IsAWarningNowAndThen(t *testing.T) {
	var out bytes.Buffer
	w := &serverLog{log: slog.New(slog.NewTextHandler(&out, nil))}
	for range 3 {
		_, _ = io.WriteString(w, "http: Accept error: accept tcp: "+syscall.EMFILE.Error()+"; retrying in 5ms\n")
		_, _ = io.WriteString(w, "http: TLS handshake error from 127.0.0.1:1: EOF\n")
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "too many open files") {
		t.Errorf("got %q, want one warning", got)
	}
}
