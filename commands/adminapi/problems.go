package adminapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/diskspace"
	"github.com/tenantry/tenantry/internal/problem"
	"github.com/tenantry/tenantry/internal/strictjson"
)

// kind is how one sort of problem is answered.
type kind struct {
	status int
	name   string // of the type, behind problem.Base
	title  string
}

// refusals is the one table from a command's refusal to HTTP. A refused command was understood:
// 404 and 409 speak of the state, 412 of If-Match, 422 of what the request says.
var refusals = map[commands.Code]kind{
	commands.Invalid:             {http.StatusUnprocessableEntity, "invalid", "Some fields are not what they should be"},
	commands.NotFound:            {http.StatusNotFound, "not-found", "There is no such thing"},
	commands.Exists:              {http.StatusConflict, "exists", "It exists already"},
	commands.HostnameTaken:       {http.StatusConflict, "hostname-taken", "A hostname belongs to another tenant"},
	commands.WrongState:          {http.StatusConflict, "wrong-state", "The status does not allow it"},
	commands.StillReferenced:     {http.StatusConflict, "still-referenced", "Tenants still depend on it"},
	commands.Full:                {http.StatusUnprocessableEntity, "full", "The database takes no more tenants"},
	commands.UnknownDatabase:     {http.StatusUnprocessableEntity, "unknown-database", "There is no such database"},
	commands.UnavailableDatabase: {http.StatusUnprocessableEntity, "unavailable-database", "The database takes no new tenant"},
	commands.UnknownGroup:        {http.StatusUnprocessableEntity, "unknown-group", "There is no such group"},
	commands.RetiredGroup:        {http.StatusUnprocessableEntity, "retired-group", "The group is retired"},
	commands.UnknownRegion:       {http.StatusUnprocessableEntity, "unknown-region", "There is no such region"},
	commands.VersionMismatch:     {http.StatusPreconditionFailed, "version-mismatch", "The stream has moved on"},
	commands.KeyReused:           {http.StatusUnprocessableEntity, "key-reused", "The idempotency key belongs to another command"},
}

// The problems that are not a command's refusal.
var (
	kindBadRequest  = kind{http.StatusBadRequest, "bad-request", "A parameter or header is not what it should be"}
	kindInvalidJSON = kind{http.StatusBadRequest, "invalid-json", "The body is not one JSON document"}
	kindForeign     = kind{http.StatusForbidden, "cross-origin", "Another site's page sent this"}
	kindNoRoute     = kind{http.StatusNotFound, "no-such-route", "There is nothing at this path"}
	kindMethod      = kind{http.StatusMethodNotAllowed, "method-not-allowed", "The path does not take this method"}
	kindAccept      = kind{http.StatusNotAcceptable, "not-acceptable", "There is no answer in the format asked for"}
	kindNotLeading  = kind{http.StatusConflict, "not-leading", "Another catalogue publishes"}
	kindReplaying   = kind{http.StatusConflict, "replay-running", "The topic is being replayed already"}
	kindTimeout     = kind{http.StatusRequestTimeout, "request-timeout", "The request did not arrive in time"}
	kindTooLarge    = kind{http.StatusRequestEntityTooLarge, "too-large", "The body is too large"}
	kindUnsupported = kind{http.StatusUnsupportedMediaType, "unsupported-media-type", "The body has the wrong media type"}
	kindInternal    = kind{http.StatusInternalServerError, "internal", "Something went wrong in this program"}
	kindUnavailable = kind{http.StatusServiceUnavailable, "unavailable", "The request cannot be served now"}
	kindUnknown     = kind{http.StatusServiceUnavailable, "unknown-outcome", "Whether it was carried out is not known"}
	kindInvalid     = refusals[commands.Invalid]
	kindMissing     = refusals[commands.NotFound]
)

func (k kind) problem(format string, args ...any) *problem.Problem {
	return problem.New(k.status, k.name, k.title, fmt.Sprintf(format, args...))
}

// badRequest is a parameter, a header or a path that cannot be read.
func badRequest(format string, args ...any) error { return kindBadRequest.problem(format, args...) }

func errUnsupported(detail string) error { return kindUnsupported.problem("%s", detail) }

func errTooLarge() *problem.Problem {
	return kindTooLarge.problem("a body may have %d octets at most: send less, or send many tenants to POST /v1/import", maxBody)
}

// maxDetail is the most octets of a sentence that repeats what the client sent.
const maxDetail = 500

// invalid is a request that says something wrong at one place.
func invalid(pointer, format string, args ...any) error {
	detail := fmt.Sprintf(format, args...)
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + "…"
	}
	p := kindInvalid.problem("%s", detail)
	p.Errors = []problem.Field{{Pointer: pointer, Detail: detail}}
	return p
}

// problemOf turns any error into what the client is told. What it is told of an error that is no
// refusal leaves out what happened inside; that is in the log.
func problemOf(err error) *problem.Problem {
	var (
		own     *problem.Problem
		refusal *commands.Refusal
		syntax  *strictjson.SyntaxError
		fields  *strictjson.FieldsError
		routed  *echo.HTTPError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &refusal):
		return refused(refusal)
	case errors.As(err, &syntax):
		p := kindInvalidJSON.problem("%s", syntax.Detail)
		p.Errors = []problem.Field{{Pointer: syntax.Pointer, Detail: syntax.Detail}}
		return p
	case errors.As(err, &fields):
		p := kindInvalid.problem("%s", fields.Error())
		p.Errors = fields.Fields
		return p
	case errors.As(err, &routed):
		return routing(routed)
	case errors.Is(err, events.ErrUnknownOutcome):
		return kindUnknown.problem("the event store went away while it was storing this: send it again with the same Idempotency-Key, which happens once however often it is sent; if it had none, read what is there first")
	case errors.Is(err, events.ErrUnavailable) && errors.Is(err, diskspace.ErrFull):
		return kindUnavailable.problem("the event store's disk is full, and nothing was changed: have whoever runs it make room there, then send the request again; the log and /readyz?verbose say how much is missing")
	case errors.Is(err, events.ErrForbidden):
		return kindUnavailable.problem("the event store's server does not let this program do that, and nothing was changed: have whoever runs it grant the right that is missing, which the log names together with the command that does it, then send the request again")
	case errors.Is(err, events.ErrUnavailable):
		return kindUnavailable.problem("the event store takes nothing now, and nothing was changed: send the request again in a moment")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return kindUnavailable.problem("the request was broken off: send it again, with the same Idempotency-Key if it had one")
	}
	return kindInternal.problem("whether a command was carried out is not known: send it again with the same Idempotency-Key, or read what is there first")
}

// refused is a command's refusal over HTTP.
func refused(r *commands.Refusal) *problem.Problem {
	k, ok := refusals[r.Code]
	if !ok {
		k = kindInvalid // a test holds the table complete
	}
	p := k.problem("%s", r.Detail)
	for _, f := range r.Fields {
		p.Errors = append(p.Errors, problem.Field{Pointer: f.Pointer, Detail: f.Detail})
	}
	switch r.Code {
	case commands.HostnameTaken:
		p.Hostname, p.Holder = r.Hostname.String(), r.Holder.String()
	case commands.VersionMismatch:
		p.CurrentVersion = &r.Version
	case commands.Invalid:
		if len(p.Errors) == 0 { // at fault is no field of the body
			p.Errors = []problem.Field{{Detail: r.Detail}}
		}
	}
	return p
}

// routing is what echo found before a handler was reached.
func routing(err *echo.HTTPError) *problem.Problem {
	switch err.Code {
	case http.StatusNotFound:
		return kindNoRoute.problem("check the path: /openapi.yaml lists all there are")
	case http.StatusMethodNotAllowed:
		return kindMethod.problem("use one of the methods that the Allow header lists")
	case http.StatusRequestEntityTooLarge:
		return errTooLarge()
	case http.StatusUnsupportedMediaType:
		return kindUnsupported.problem("send Content-Type: application/json")
	case http.StatusRequestTimeout:
		return kindTimeout.problem("send the whole request without a pause")
	}
	if err.Code >= 400 && err.Code < 500 {
		return kindBadRequest.problem("correct the request and send it again")
	}
	return kindInternal.problem("send the request again, or read what is there first")
}

// bodyError is why a body could not be read to its end.
func bodyError(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return kindTimeout.problem("the body did not arrive in time: send it without a pause")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return kindInvalidJSON.problem("the body ended before its announced length: send all of it")
	}
	return kindInvalidJSON.problem("the body could not be read to its end: send the request again")
}
