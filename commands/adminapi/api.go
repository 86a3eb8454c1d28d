package adminapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/schemas"
)

// Commands carries out commands and reads what they made; *commands.Handler does.
type Commands interface {
	Do(ctx context.Context, r commands.Request) (commands.Answer, error)
	ImportAll(ctx context.Context, meta events.Metadata, lines []commands.Command) []commands.ImportResult
	Tenant(ctx context.Context, id events.TenantID, at commands.At) (events.Tenant, error)
	Database(ctx context.Context, id events.DatabaseID) (events.Database, error)
	Group(ctx context.Context, id events.GroupID) (events.Group, error)
}

// Config is what the API is made of.
type Config struct {
	Commands   Commands
	Store      events.Store // for lists, histories and the log
	Partitions int          // of the topic; Tenantry-Token names one

	Logger         *slog.Logger          // nil: nowhere
	Gatherer       prometheus.Gatherer   // what /metrics shows; nil: nothing
	Registerer     prometheus.Registerer // nil: requests are counted and not exposed
	TracerProvider trace.TracerProvider  // nil: no spans; a client's traceparent is passed on as it is
	Checks         []Check               // what /readyz asks besides the store
	// ReplayTopic publishes events again, and tells how far it is; the first time before it begins, and
	// never with done. ErrNotLeading, ErrReplaying: it is refused. nil: this API cannot.
	ReplayTopic func(ctx context.Context, what TopicReplay, told func(TopicProgress) error) (TopicProgress, error)
	Clock       func() time.Time // nil: time.Now
	Loopback    bool             // it is served on loopback, and to the names of that alone
	// Patience is how long a client may take to read the next part of a long answer before it
	// is cut off; 0: 30 s.
	Patience time.Duration
	// Silence is how long the client of an import may send nothing before it is cut off; 0: 60 s.
	// Of all other requests it is the server that limits how long their bodies take.
	Silence time.Duration
}

// api is the routes' common ground.
type api struct {
	commands   Commands
	store      events.Store
	storeID    func(context.Context) (uuid.UUID, error)
	partitions int
	log        *slog.Logger
	checks     []Check
	replay     func(context.Context, TopicReplay, func(TopicProgress) error) (TopicProgress, error)
	clock      func() time.Time
	patience   time.Duration
	silence    time.Duration
	metrics    *metrics
}

// New is the admin API's handler. It starts nothing, and needs no closing.
func New(cfg Config) (http.Handler, error) {
	if cfg.Commands == nil || cfg.Store == nil || cfg.Partitions < 1 {
		return nil, errors.New("admin API: commands, store and partitions are needed")
	}
	a := &api{
		commands: cfg.Commands, store: cfg.Store, partitions: cfg.Partitions,
		log: cfg.Logger, checks: cfg.Checks, replay: cfg.ReplayTopic, clock: cfg.Clock, patience: cfg.Patience, silence: cfg.Silence,
	}
	a.storeID = func(ctx context.Context) (uuid.UUID, error) {
		head, err := cfg.Store.Head(ctx)
		return head.StoreID, err
	}
	if s, ok := cfg.Store.(interface {
		StoreID(ctx context.Context) (uuid.UUID, error)
	}); ok { // where asking for the head is a journey
		a.storeID = s.StoreID
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.clock == nil {
		a.clock = time.Now
	}
	if a.patience == 0 {
		a.patience = 30 * time.Second
	}
	if a.silence == 0 {
		a.silence = time.Minute
	}
	var err error
	if a.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, err
	}
	gatherer := cfg.Gatherer
	if gatherer == nil {
		gatherer = prometheus.NewRegistry()
	}
	provider := cfg.TracerProvider
	if provider == nil {
		provider = noop.NewTracerProvider()
	}

	e := echo.New()
	e.HTTPErrorHandler = a.answerError
	// Before routing, so that a path that is not there is answered in the same way.
	e.Pre(identify, watch, a.observe, catch, refuseForeign)
	if cfg.Loopback {
		e.Pre(refuseNames)
	}
	e.Use(nameSpan)
	a.routes(e)
	docs := echo.WrapHandler(schemas.Docs("Tenantry admin API", schemas.AdminOpenAPI))
	get(e, "/openapi.yaml", docs)
	get(e, "/docs", docs)
	get(e, "/docs/:asset", docs)
	get(e, "/livez", a.livez)
	get(e, "/readyz", a.readyz)
	get(e, "/metrics", echo.WrapHandler(promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{})))
	return traced(e, provider), nil
}

// routes are the rows of the contract.
func (a *api) routes(e *echo.Echo) {
	e.POST("/v1/tenants", a.creates(registerTenant))
	get(e, "/v1/tenants", a.listTenants)
	get(e, "/v1/tenants/:id", a.getTenant)
	get(e, "/v1/tenants/:id/events", a.tenantEvents)
	e.PATCH("/v1/tenants/:id", a.changes(changeTenant))
	e.DELETE("/v1/tenants/:id", a.removes(purgeTenant))
	e.POST("/v1/tenants/:id/activate", a.changes(activateTenant))
	e.POST("/v1/tenants/:id/suspend", a.changes(suspendTenant))
	e.POST("/v1/tenants/:id/resume", a.changes(resumeTenant))
	e.POST("/v1/tenants/:id/deactivate", a.changes(deactivateTenant))
	e.POST("/v1/tenants/:id/restore", a.changes(restoreTenant))
	e.PUT("/v1/tenants/:id/hostnames/:hostname", a.changes(attachHostname))
	e.DELETE("/v1/tenants/:id/hostnames/:hostname", a.removes(detachHostname))
	e.PUT("/v1/tenants/:id/products/:product", a.changes(setProduct))
	e.DELETE("/v1/tenants/:id/products/:product", a.removes(deactivateProduct))
	e.PUT("/v1/tenants/:id/database", a.changes(assignDatabase))
	e.PUT("/v1/tenants/:id/config/:key", a.changes(setConfig))
	e.DELETE("/v1/tenants/:id/config/:key", a.removes(unsetConfig))

	e.POST("/v1/databases", a.creates(registerDatabase))
	get(e, "/v1/databases", a.listDatabases)
	get(e, "/v1/databases/:id", a.getDatabase)
	get(e, "/v1/databases/:id/events", a.databaseEvents)
	e.PATCH("/v1/databases/:id", a.changes(changeEndpoint))
	e.POST("/v1/databases/:id/drain", a.changes(drainDatabase))
	e.POST("/v1/databases/:id/retire", a.changes(retireDatabase))

	e.POST("/v1/groups", a.creates(createGroup))
	get(e, "/v1/groups", a.listGroups)
	get(e, "/v1/groups/:id", a.getGroup)
	get(e, "/v1/groups/:id/events", a.groupEvents)
	e.PATCH("/v1/groups/:id", a.changes(changeGroup))
	e.POST("/v1/groups/:id/retire", a.changes(retireGroup))

	get(e, "/v1/events", a.readLog)
	get(e, "/v1/export", a.exportLines)
	e.POST("/v1/import", a.importLines)
	e.POST("/v1/topic/replay", a.replayTopic)
}

// get is a GET route and its HEAD, of which net/http drops the body.
func get(e *echo.Echo, path string, h echo.HandlerFunc) {
	e.GET(path, h)
	e.HEAD(path, h)
}
