package queryapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/internal/problem"
	"github.com/tenantry/tenantry/internal/strictjson"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// kind is how one sort of problem is answered.
type kind struct {
	status int
	name   string // of the type, behind problem.Base
	title  string
}

// All problems of this API.
var (
	kindUnknownHostname = kind{http.StatusNotFound, "unknown-hostname", "No tenant has this hostname"}
	kindUnknownTenant   = kind{http.StatusNotFound, "unknown-tenant", "There is no such tenant"}
	kindInvalid         = kind{http.StatusUnprocessableEntity, "invalid", "Some fields are not what they should be"}
	kindOtherStore      = kind{http.StatusConflict, "token-of-another-store", "The token belongs to another history"}
	kindNotYet          = kind{http.StatusGatewayTimeout, "not-yet-visible", "The write is not visible here yet"}
	kindNotReady        = kind{http.StatusServiceUnavailable, "not-ready", "This node has no complete copy yet"}
	kindTooManyWaiting  = kind{http.StatusServiceUnavailable, "too-many-waiting", "Too many requests wait for a write"}
	kindUnavailable     = kind{http.StatusServiceUnavailable, "unavailable", "The request cannot be served now"}
	kindBadRequest      = kind{http.StatusBadRequest, "bad-request", "A parameter or header is not what it should be"}
	kindInvalidJSON     = kind{http.StatusBadRequest, "invalid-json", "The body is not one JSON document"}
	kindNoSnapshots     = kind{http.StatusForbidden, "snapshots-off", "This node gives no copies of its read model"}
	kindNoRoute         = kind{http.StatusNotFound, "no-such-route", "There is nothing at this path"}
	kindMethod          = kind{http.StatusMethodNotAllowed, "method-not-allowed", "The path does not take this method"}
	kindTimeout         = kind{http.StatusRequestTimeout, "request-timeout", "The request did not arrive in time"}
	kindTooLarge        = kind{http.StatusRequestEntityTooLarge, "too-large", "The body is too large"}
	kindUnsupported     = kind{http.StatusUnsupportedMediaType, "unsupported-media-type", "The body has the wrong media type"}
	kindInternal        = kind{http.StatusInternalServerError, "internal", "Something went wrong in this program"}
)

func (k kind) problem(format string, args ...any) *problem.Problem {
	return problem.New(k.status, k.name, k.title, fmt.Sprintf(format, args...))
}

// item is a problem of one item of a batch, which has no HTTP status of its own.
func (k kind) item(detail string) *problem.Problem {
	return problem.New(0, k.name, k.title, clip(detail))
}

// is tells whether an error is a problem of this kind.
func (k kind) is(err error) bool {
	var p *problem.Problem
	return errors.As(err, &p) && p.Type == problem.Base+k.name
}

// invalidAt is a request that says something wrong at one place.
func invalidAt(pointer string, err error) *problem.Problem {
	detail := clip(err.Error())
	p := kindInvalid.problem("%s", detail)
	p.Errors = []problem.Field{{Pointer: pointer, Detail: detail}}
	return p
}

// clip keeps an ID or hostname of many kilobytes from being sent back.
func clip(detail string) string {
	if len(detail) <= 500 {
		return detail
	}
	return strings.ToValidUTF8(detail[:500], "") + "…"
}

func notReady(why error) *problem.Problem {
	return kindNotReady.problem("%s: ask another node, or again in a moment", why)
}

// explain turns what the reader says of a subject into what the client is told.
func explain(err error, s subject) error {
	switch {
	case errors.Is(err, readmodel.ErrUnknown) && s.hostname.IsZero():
		return kindUnknownTenant.problem("there is no tenant %s, or no longer, at the position that Tenantry-Position tells", s.tenant)
	case errors.Is(err, readmodel.ErrUnknown):
		return kindUnknownHostname.problem("no tenant has %s at the position that Tenantry-Position tells: attach it to one, or ask with at_least if that was just done", s.hostname)
	case unserved(err):
		return notReady(err)
	}
	return err
}

// unserved tells whether there is no model to ask.
func unserved(err error) bool {
	return errors.Is(err, readmodel.ErrNoModel) || errors.Is(err, readmodel.ErrClosed)
}

// problemOf turns any error into what the client is told. What it is told of an error inside
// leaves out what happened; that is in the log.
func problemOf(err error) *problem.Problem {
	var (
		own    *problem.Problem
		syntax *strictjson.SyntaxError
		fields *strictjson.FieldsError
		routed *echo.HTTPError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &syntax):
		p := kindInvalidJSON.problem("%s", syntax.Detail)
		p.Errors = []problem.Field{{Pointer: syntax.Pointer, Detail: syntax.Detail}}
		return p
	case errors.As(err, &fields):
		p := kindInvalid.problem("%s", fields.Error())
		p.Errors = fields.Fields
		return p
	case errors.As(err, &routed) && routed.Code == http.StatusNotFound:
		return kindNoRoute.problem("check the path: /openapi.yaml lists all there are")
	case errors.As(err, &routed) && routed.Code == http.StatusMethodNotAllowed:
		return kindMethod.problem("use one of the methods that the Allow header lists")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return kindUnavailable.problem("the node is stopping, or the connection broke: ask again, or another node")
	}
	return kindInternal.problem("the node's log tells what: ask another node, or again")
}

// bodyError is why a body could not be read to its end.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return kindTooLarge.problem("a body may have %d octets at most: ask for fewer hostnames at a time", tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return kindTimeout.problem("the body did not arrive in time: send it without a pause")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return kindBadRequest.problem("the body ended before its announced length: send all of it")
	}
	return kindBadRequest.problem("the body could not be read to its end: send the request again")
}

// answerError is echo's HTTPErrorHandler: every error of every route becomes a problem here.
func (a *API) answerError(err error, c echo.Context) {
	r, w := c.Request(), c.Response()
	p := problemOf(err)
	if w.Committed {
		// Part of an answer is out. Only a broken connection still tells the client so.
		a.log.ErrorContext(r.Context(), "look-up broken off", "route", c.Path(), "err", err)
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	if len(h[headerRequestID]) == 0 {
		h[headerRequestID] = []string{uuid.NewString()}
	}
	p.RequestID = h[headerRequestID][0]
	if p.Status == http.StatusInternalServerError {
		a.log.ErrorContext(r.Context(), "request failed", "route", c.Path(), "path", r.URL.Path, "request_id", p.RequestID, "err", err)
	}
	if p.Status == http.StatusServiceUnavailable {
		h["Retry-After"] = []string{"1"}
	}
	a.metrics.problems.WithLabelValues(strings.TrimPrefix(p.Type, problem.Base)).Inc()
	_ = p.Write(w) // an error is the client's going away, which is none of ours
}

// errPanic is a bug in this program that was caught at the edge.
var errPanic = errors.New("panic")

// panicked is what was recovered, as an error that tells where.
func panicked(r any) error { return fmt.Errorf("%w: %v\n%s", errPanic, r, debug.Stack()) }

// catch turns a panic into an error, so that one bad request ends alone. It is to be deferred.
func catch(err *error) {
	r := recover()
	if r == nil {
		return
	}
	if abort, ok := r.(error); ok && errors.Is(abort, http.ErrAbortHandler) {
		panic(r) // how a handler breaks the connection off
	}
	*err = panicked(r)
}
