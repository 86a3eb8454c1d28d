package queryapi_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/queryapi"
)

// filled is an API on a copy of 10,000 tenants, with nothing between it and the caller.
func filled(b *testing.B) *queryapi.API {
	b.Helper()
	live := new(readmodel.Live)
	live.Swap(openModel(b))
	const tenants = 10_000
	for first := 0; first < tenants; first += 1000 {
		batch := make([]events.Tenant, 1000)
		for i := range batch {
			batch[i] = tenant(b, fmt.Sprintf("ten_t%d", first+i), uint64(first+i+1), fmt.Sprintf("t%d.example", first+i))
		}
		if err := fill(live.Model(), uint64(first+len(batch)), batch...); err != nil {
			b.Fatal(err)
		}
	}
	return queryapi.New(queryapi.Config{Reader: live, Region: "eu-west", Ready: func() error { return nil }, Registerer: prometheus.NewRegistry()})
}

// nowhere takes an answer as net/http does, and forgets it.
type nowhere struct {
	header http.Header
	status int
}

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) WriteHeader(status int)      { w.status = status }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }

// repeat answers the same few requests over and over, the header map's making included, and
// the request's not.
func repeat(b *testing.B, h http.Handler, want int, requests ...*http.Request) {
	b.Helper()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			w := nowhere{header: make(http.Header), status: http.StatusOK}
			h.ServeHTTP(&w, requests[i%len(requests)])
			if w.status != want {
				b.Errorf("answered %d, want %d", w.status, want)
				return
			}
		}
	})
}

func asks(path string, count int) []*http.Request {
	requests := make([]*http.Request, count)
	for i := range requests {
		requests[i] = httptest.NewRequest(http.MethodGet, fmt.Sprintf(path, i), nil)
	}
	return requests
}

func BenchmarkLookup_OfAHundredHostnames(b *testing.B) {
	repeat(b, filled(b), http.StatusOK, asks("/v1/lookup/t%d.example", 100)...)
}

func BenchmarkLookup_OfTenThousandHostnames(b *testing.B) {
	repeat(b, filled(b), http.StatusOK, asks("/v1/lookup/t%d.example", 10_000)...)
}

func BenchmarkLookup_ThatAsksForAWriteWhichIsThere(b *testing.B) {
	repeat(b, filled(b), http.StatusOK, asks("/v1/lookup/t%d.example?at_least="+token(storeID, 1, 1), 100)...)
}

func BenchmarkLookup_OfAKnownETag(b *testing.B) {
	h, requests := filled(b), asks("/v1/lookup/t%d.example", 1)
	w := nowhere{header: make(http.Header)}
	h.ServeHTTP(&w, requests[0])
	requests[0].Header.Set("If-None-Match", w.header.Get("ETag"))
	repeat(b, h, http.StatusNotModified, requests...)
}

func BenchmarkLookup_OfAnUnknownHostname(b *testing.B) {
	repeat(b, filled(b), http.StatusNotFound, asks("/v1/lookup/nobody%d.example", 100)...)
}

func BenchmarkBatch_OfAThousand(b *testing.B) {
	h, names := filled(b), make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("t%d.example", i)
	}
	body := hostnames(names...)
	b.ReportAllocs()
	for b.Loop() {
		w := nowhere{header: make(http.Header), status: http.StatusOK}
		h.ServeHTTP(&w, httptest.NewRequest(http.MethodPost, "/v1/lookup", strings.NewReader(body)))
		if w.status != http.StatusOK {
			b.Fatalf("answered %d", w.status)
		}
	}
}

// overLoopback asks on one connection per goroutine. Client and server share the machine, so
// that a system benchmark (make bench) tells more; this one tells what the front saves.
func overLoopback(b *testing.B, front bool) {
	b.Helper()
	addr := listening(b, filled(b), front).String()
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		c, err := new(net.Dialer).DialContext(b.Context(), "tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		in := make([]byte, 8<<10)
		request := []byte("GET /v1/lookup/t77.example HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n\r\n")
		for pb.Next() {
			if _, err := c.Write(request); err != nil {
				b.Error(err)
				return
			}
			if n, err := c.Read(in); err != nil || !bytes.HasPrefix(in[:n], []byte("HTTP/1.1 200 ")) {
				b.Errorf("%v: %q", err, in[:n])
				return
			}
		}
	})
}

func BenchmarkLoopback_WithTheFront(b *testing.B)    { overLoopback(b, true) }
func BenchmarkLoopback_WithoutTheFront(b *testing.B) { overLoopback(b, false) }
