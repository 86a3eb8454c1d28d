package adminapi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/problem"
	"github.com/tenantry/tenantry/internal/strictjson"
)

// build makes the command that a request asks for. It is a pure function of the request, but for
// new IDs.
type build func(q *request) (commands.Command, error)

// answer is the body of every command's answer.
type answer struct {
	ID        events.StreamID   `json:"id"`
	Version   uint64            `json:"version"`
	Position  uint64            `json:"position"`
	Events    []events.Appended `json:"events"`
	Unchanged bool              `json:"unchanged"`
	DryRun    bool              `json:"dry_run,omitzero"`
}

// creates is a POST that makes a stream.
func (a *api) creates(b build) echo.HandlerFunc {
	return func(c echo.Context) error {
		q, err := newRequest(c, true, a.clock())
		if err != nil {
			return err
		}
		if q.ifMatch != nil || q.anyVersion {
			return badRequest("If-Match speaks of a version that exists, and this creates one: leave If-Match out")
		}
		return a.do(q, b, http.StatusCreated)
	}
}

// changes is a command on a stream that is there, with a body.
func (a *api) changes(b build) echo.HandlerFunc { return a.command(b, true) }

// removes is a command on a stream that is there, without a body.
func (a *api) removes(b build) echo.HandlerFunc { return a.command(b, false) }

func (a *api) command(b build, takesBody bool) echo.HandlerFunc {
	return func(c echo.Context) error {
		q, err := newRequest(c, takesBody, a.clock())
		if err != nil {
			return err
		}
		return a.do(q, b, http.StatusOK)
	}
}

// do builds the command, carries it out, and writes what became of it.
func (a *api) do(q *request, b build, success int) error {
	command, err := b(q)
	if err != nil {
		return alsoChecked(command, err)
	}
	ctx := q.c.Request().Context()
	done, err := a.commands.Do(ctx, commands.Request{
		Command: command, IfMatch: q.ifMatch, Key: q.key, Meta: q.meta, DryRun: q.dryRun,
	})
	if err != nil {
		return q.inPath(err)
	}
	header := q.c.Response().Header()
	if done.Replayed {
		header.Set(headerReplayed, "true")
	}
	if q.dryRun {
		return writeJSON(q.c, http.StatusOK, answerOf(done, true))
	}
	header.Set("ETag", etagOf(done.Version))
	header.Set(headerPosition, strconv.FormatUint(done.Position, 10))
	a.setToken(q.c, done.Outcome)
	if success == http.StatusCreated {
		header.Set("Location", locationOf(done.Stream))
	}
	return writeJSON(q.c, success, answerOf(done, false))
}

// alsoChecked adds to the faults of a body those that the command finds in the rest of it, so that
// a person who mends the one does not meet the other next.
func alsoChecked(command commands.Command, err error) error {
	fields, ok := errors.AsType[*strictjson.FieldsError](err)
	if !ok || command == nil {
		return err
	}
	refusal, ok := errors.AsType[*commands.Refusal](commands.Check(command))
	if !ok {
		return err
	}
	// What could not be read is missing from the command, and what depends on it would be
	// reported for that alone.
	faulty := make(map[string]bool)
	for _, f := range fields.Fields {
		faulty[topOf(f.Pointer)] = true
	}
	faulty["primary_hostname"] = faulty["primary_hostname"] || faulty["hostnames"]
	for _, f := range refusal.Fields {
		if !faulty[topOf(f.Pointer)] {
			fields.Fields = append(fields.Fields, problem.Field{Pointer: f.Pointer, Detail: f.Detail})
		}
	}
	return fields
}

// topOf is the member of the body that a pointer leads into.
func topOf(pointer string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(pointer, "/"), "/")
	return name
}

func answerOf(done commands.Answer, dryRun bool) answer {
	return answer{
		// Of a command that was replayed this is the first one's stream: a generated ID is the
		// same however often the request is sent.
		ID:      done.Stream,
		Version: done.Version, Position: done.Position, Events: done.Events,
		Unchanged: done.Unchanged, DryRun: dryRun,
	}
}

// setToken names the write for readers. The command is done by now, so that a store which cannot
// tell its identity costs the token and not the answer.
func (a *api) setToken(c echo.Context, done events.Outcome) {
	id, err := a.storeID(c.Request().Context())
	if err != nil {
		a.log.WarnContext(c.Request().Context(), "command answered without a token", "request_id", requestID(c), "err", err)
		return
	}
	token := events.Token{
		StoreID: id, Position: done.Position,
		Partition: events.Partition(done.Stream.String(), a.partitions),
	}
	c.Response().Header().Set(headerToken, token.String())
}

// locationOf is where a stream can be read.
func locationOf(id events.StreamID) string {
	switch id.Kind() {
	case events.KindDatabase:
		return "/v1/databases/" + id.String()
	case events.KindGroup:
		return "/v1/groups/" + id.String()
	}
	return "/v1/tenants/" + id.String()
}

func writeJSON(c echo.Context, status int, v any) error {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return err
	}
	if h := c.Response().Header(); h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	return c.Blob(status, "application/json", append(b, '\n'))
}
