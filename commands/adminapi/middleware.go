package adminapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// contextRequestID is where the request's ID stands in echo's context.
const contextRequestID = "request_id"

// maxRequestID is the most characters of a request ID that is taken from a client.
const maxRequestID = 128

// identify takes the client's request ID, or makes one, and echoes it. It is the correlation ID of the
// events that the request leads to, so only what is safe in logs and headers is taken over.
func identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(headerRequestID)
		if !saneRequestID(id) {
			id = uuid.NewString()
		}
		c.Set(contextRequestID, id)
		c.Response().Header().Set(headerRequestID, id)
		return next(c)
	}
}

func saneRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=', c == '@':
		default:
			return false
		}
	}
	return true
}

func requestID(c echo.Context) string {
	id, _ := c.Get(contextRequestID).(string)
	return id
}

// errPanic is a bug in this program that was caught at the edge.
var errPanic = errors.New("panic")

// catch turns a panic into an error, so that one bad request ends alone.
func catch(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			r := recover()
			if r == nil {
				return
			}
			if e, ok := r.(error); ok && errors.Is(e, http.ErrAbortHandler) {
				panic(r) // how a handler breaks the connection off
			}
			err = fmt.Errorf("%w: %v\n%s", errPanic, r, debug.Stack())
		}()
		return next(c)
	}
}

// observe counts and logs each request, under its route and not its path.
func (a *api) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		defer func() { // deferred, since an answer that is broken off leaves by a panic
			r, status, took := c.Request(), outcomeOf(c), time.Since(began)
			route := c.Path()
			if route == "" {
				route = "none"
			}
			a.metrics.requests.WithLabelValues(methodLabel(r.Method), route, strconv.Itoa(status)).Inc()
			a.metrics.seconds.WithLabelValues(methodLabel(r.Method), route).Observe(took.Seconds())
			a.log.LogAttrs(r.Context(), slog.LevelDebug, "request answered",
				slog.String("method", r.Method), slog.String("route", route), slog.Int("status", status),
				slog.Duration("took", took), slog.String("request_id", requestID(c)))
		}()
		if err := next(c); err != nil {
			// Answered here rather than by echo, so that the status above is the one sent.
			c.Error(err)
		}
		return nil
	}
}

// methodLabel keeps a client from making a metric of its own for every method it thinks up.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// nameSpan names the request's span after its route, once that is known.
func nameSpan(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		span, route := trace.SpanFromContext(c.Request().Context()), c.Path()
		if span.IsRecording() && route != "" {
			span.SetName(c.Request().Method + " " + route)
			span.SetAttributes(attribute.String("http.route", route))
		}
		return next(c)
	}
}

// traced wraps a handler in a span that continues the trace of the request's traceparent.
func traced(h http.Handler, provider trace.TracerProvider) http.Handler {
	return otelhttp.NewHandler(h, "adminapi",
		otelhttp.WithTracerProvider(provider),
		otelhttp.WithPropagators(propagation.TraceContext{}))
}

// traceparent is the current span's, so that what the events lead to joins it. Without a tracer of
// our own that is the client's span; without either it is "".
func traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier.Get("traceparent")
}

// answerError is echo's HTTPErrorHandler: every error of every route becomes a problem here.
func (a *api) answerError(err error, c echo.Context) {
	ctx := c.Request().Context()
	p := problemOf(err)
	outcome, level, message := p.Status, slog.LevelError, "request failed"
	if clientLeft(c, err) {
		outcome, level, message = statusGone, slog.LevelInfo, "client left before its answer was whole"
	}
	if outcome >= http.StatusInternalServerError || outcome == statusGone {
		a.log.LogAttrs(ctx, level, message, slog.String("method", c.Request().Method), slog.String("route", c.Path()),
			slog.String("request_id", requestID(c)), slog.Int("status", outcome), slog.Any("err", err))
	}
	c.Set(contextOutcome, outcome)
	if c.Response().Committed {
		// Half an answer is out. Only a broken connection still tells the client that it is half.
		panic(http.ErrAbortHandler)
	}
	p.RequestID = requestID(c)
	header := c.Response().Header()
	if header.Get(headerPosition) != "" { // of lines that did not come to be
		header.Del(headerPosition)
		header.Del(headerStoreID)
	}
	if p.Status == http.StatusServiceUnavailable {
		header.Set("Retry-After", "1")
	}
	if p.CurrentVersion != nil && *p.CurrentVersion > 0 {
		header.Set("ETag", etagOf(*p.CurrentVersion))
	}
	if err := p.Write(c.Response()); err != nil && ctx.Err() == nil {
		a.log.DebugContext(ctx, "problem was not sent", "request_id", requestID(c), "err", err)
	}
}
