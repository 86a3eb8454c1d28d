package queryapi

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/schemas"
)

// Reader is the copy that look-ups are answered from; *readmodel.Live is one.
type Reader interface {
	Lookup(h events.Hostname) (*readmodel.Document, error)
	Tenant(id events.TenantID) (*readmodel.Document, error)
	// Progress is never behind what an earlier call returned, and a look-up that begins after
	// it is never behind it.
	Progress() *readmodel.Progress
	// Changed is closed at the next commit.
	Changed() <-chan struct{}
	Quarantined(ctx context.Context) ([]readmodel.Quarantine, error)
}

// Config is what the API is made of.
type Config struct {
	Reader Reader
	Region string
	Node   string // this process's name among the region's nodes

	Ready      func() error  // nil once look-ups may be answered, else why not; asked at each look-up. Not given: once the copy is complete
	Following  func() error  // nil while the copy is kept up to date, else why not; it is told and refuses nothing. nil: it is
	Generation func() string // the read model's, for /v1/status; nil: ""
	Notice     func() string // why that is another one than before the start, for /v1/status; nil: ""
	// Verified is how the copy's last comparison with the source went, for /v1/status; nil, or nil returned: there was none.
	Verified func() *Verified

	// Snapshot writes a copy of the whole read model, for whoever asks; nil: nobody gets one.
	Snapshot Snapshot

	// MaxWaiting is how many requests may wait for a write at a time; 0: 10,000. Each of them
	// is woken at every commit, so that without a limit clients could keep the node from
	// answering anyone else. One too many is answered 503 at once.
	MaxWaiting int

	Clock          func() time.Time      // nil: time.Now
	Logger         *slog.Logger          // nil: nowhere
	Gatherer       prometheus.Gatherer   // what /metrics shows; nil: nothing
	Registerer     prometheus.Registerer // nil: look-ups are counted and not exposed
	TracerProvider trace.TracerProvider  // nil: no spans
}

// API is the query API of one node: an http.Handler.
type API struct {
	reader     Reader
	region     []string // as a header's values
	node       string
	ready      func() error
	following  func() error
	generation func() string
	notice     func() string
	verified   func() *Verified
	copyTo     Snapshot
	snapshots  atomic.Int64 // being sent
	maxWaiting int64
	waiting    atomic.Int64
	clock      func() time.Time
	log        *slog.Logger
	metrics    *metrics
	lastStamp  atomic.Pointer[stamp]
	lastDate   atomic.Pointer[date]
	traced     bool
	handler    http.Handler
	echo       *echo.Echo
}

// New is the query API. It starts nothing, and needs no closing. Requests that wait
// for a write end when their context does, so a server that is to stop quickly cancels its
// BaseContext.
func New(cfg Config) *API {
	a := &API{
		reader: cfg.Reader, region: []string{cfg.Region}, node: cfg.Node,
		ready: cfg.Ready, following: cfg.Following, generation: cfg.Generation, notice: cfg.Notice, verified: cfg.Verified, maxWaiting: int64(cfg.MaxWaiting), copyTo: cfg.Snapshot,
		clock: cfg.Clock, log: cfg.Logger, traced: cfg.TracerProvider != nil,
	}
	if a.ready == nil {
		a.ready = a.complete
	}
	if a.following == nil {
		a.following = func() error { return nil }
	}
	if a.generation == nil {
		a.generation = func() string { return "" }
	}
	if a.notice == nil {
		a.notice = func() string { return "" }
	}
	if a.verified == nil {
		a.verified = func() *Verified { return nil }
	}
	if a.maxWaiting == 0 {
		a.maxWaiting = 10_000
	}
	if a.clock == nil {
		a.clock = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.metrics = newMetrics(cfg.Registerer, cfg.Region, &a.waiting)
	gatherer := cfg.Gatherer
	if gatherer == nil {
		gatherer = prometheus.NewRegistry()
	}

	a.echo = echo.New()
	a.echo.HTTPErrorHandler = a.answerError
	a.get("/v1/lookup/:hostname", a.lookup)
	a.get("/v1/tenants/:id", a.tenant)
	a.handle(http.MethodPost, "/v1/lookup", a.lookupAll)
	a.get("/v1/status", a.status)
	a.handle(http.MethodGet, "/v1/snapshot", a.snapshot)
	a.get("/livez", a.livez)
	a.get("/readyz", a.readyz)
	a.get("/metrics", echo.WrapHandler(promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{})))
	docs := echo.WrapHandler(schemas.Docs("Tenantry query API", schemas.QueryOpenAPI))
	a.get("/openapi.yaml", docs)
	a.get("/docs", docs)
	a.get("/docs/*", docs)
	a.handler = http.HandlerFunc(a.serve)
	if a.traced {
		a.handler = traced(a.handler, cfg.TracerProvider)
	}
	return a
}

// get is a GET route and its HEAD, of which net/http drops the body.
func (a *API) get(path string, h echo.HandlerFunc) {
	a.handle(http.MethodGet, path, h)
	a.handle(http.MethodHead, path, h)
}

// handle adds a route. What all routes have in common is put around the handler here and in
// serve, once, because echo's middleware costs each look-up two allocations apiece.
func (a *API) handle(method, path string, h echo.HandlerFunc) {
	a.echo.Add(method, path, func(c echo.Context) (err error) {
		defer catch(&err)
		if a.traced {
			nameSpan(c)
		}
		return h(c)
	})
}

// ServeHTTP answers any request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// serve does for each request, routed or not, what its answer's headers need.
func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if id := r.Header[headerRequestID]; len(id) == 1 && saneRequestID(id[0]) {
		h[headerRequestID] = id
	}
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		a.stampAt(a.clock()).write(h, a.region)
	}
	a.echo.ServeHTTP(w, r)
}

// maxRequestID is the most characters of a request ID that is taken from a client.
const maxRequestID = 128

// saneRequestID lets through what is safe in a header and in a log.
func saneRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' || id[i] == '"' || id[i] == '\\' {
			return false
		}
	}
	return true
}
