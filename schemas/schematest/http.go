package schematest

import (
	"io"
	"mime"
	"net/http"
	"sync"
	"testing"
)

// Validate returns a middleware that holds each answer of a handler, and each request that was
// answered 2xx, to an OpenAPI document, and fails the test where they differ. Answers pass
// through as they are written. A handler that panics is not judged.
func Validate(t testing.TB, spec []byte) func(http.Handler) http.Handler {
	t.Helper()
	doc, err := load(spec)
	if err != nil {
		t.Fatal(err)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			x := newExchange(doc, copyOf(r))
			if r.Body != nil && !isNDJSON(r.Header) {
				r.Body = tee{ReadCloser: r.Body, x: x}
			}
			rec := &recorder{ResponseWriter: w, x: x}
			next.ServeHTTP(rec, r)
			rec.WriteHeader(http.StatusOK) // which is what net/http sends, unless something was
			if err := x.end(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Transport holds the answers that base (nil: http.DefaultTransport) brings to an OpenAPI document,
// as [Validate] does. An answer is judged when its body was read to the end, or closed.
func Transport(t testing.TB, spec []byte, base http.RoundTripper) http.RoundTripper {
	t.Helper()
	doc, err := load(spec)
	if err != nil {
		t.Fatal(err)
	}
	if base == nil {
		base = http.DefaultTransport
	}
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		x := newExchange(doc, copyOf(r))
		if r.Body != nil && !isNDJSON(r.Header) {
			r = r.Clone(r.Context())
			r.Body = tee{ReadCloser: r.Body, x: x}
		}
		res, err := base.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		x.begin(res.StatusCode, res.Header.Clone())
		res.Body = &judged{ReadCloser: res.Body, x: x, end: sync.OnceFunc(func() {
			if err := x.end(); err != nil {
				t.Error(err)
			}
		})}
		return res, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// copyOf keeps a request as it was sent: handlers are free to change theirs.
func copyOf(r *http.Request) *http.Request {
	c := r.Clone(r.Context())
	c.Body = http.NoBody
	return c
}

// isNDJSON tells a stream of lines. It is not kept: it may be long, and each of its bad lines
// is answered on its own.
func isNDJSON(h http.Header) bool {
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && media == ndjson
}

// tee keeps what is read of a request's body.
type tee struct {
	io.ReadCloser
	x *exchange
}

func (b tee) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.x.keep(p[:n])
	return n, err
}

// recorder shows an answer to the exchange as it is written.
type recorder struct {
	http.ResponseWriter
	x     *exchange
	wrote bool
}

func (w *recorder) WriteHeader(status int) {
	if w.wrote {
		return
	}
	if status >= 200 { // 1xx come before the answer
		w.wrote = true
		w.x.begin(status, w.Header().Clone())
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if !w.wrote {
		if w.Header().Get("Content-Type") == "" && len(p) > 0 {
			w.Header().Set("Content-Type", http.DetectContentType(p)) // as net/http would
		}
		w.WriteHeader(http.StatusOK)
	}
	w.x.write(p)
	return w.ResponseWriter.Write(p)
}

// Flush is there for those who ask by type.
func (w *recorder) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// judged shows an answer to the exchange as it is read.
type judged struct {
	io.ReadCloser
	x   *exchange
	end func()
}

func (b *judged) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.x.write(p[:n])
	if err == io.EOF {
		b.end()
	}
	return n, err
}

// Close reads what is left, since a JSON decoder stops before the end. A stream may have no
// end; one that is left early is not judged.
func (b *judged) Close() error {
	if b.x.content != ndjson && b.x.content != "text/event-stream" {
		_, _ = io.Copy(io.Discard, b)
	}
	return b.ReadCloser.Close()
}
