package adminapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/diskspace"
	"github.com/tenantry/tenantry/internal/problem"
	"github.com/tenantry/tenantry/internal/strictjson"
)

// importLine is one line of an import: a command, or what is wrong with it.
type importLine struct {
	number  int    // of the input, from 1; blank lines count
	octets  int    // that it had
	id      string // its own, where it has one
	command commands.Command
	err     error
}

// importAnswer is what became of one line.
type importAnswer struct {
	Line   int                   `json:"line"`
	ID     string                `json:"id,omitzero"`
	Status commands.ImportStatus `json:"status"`
	Error  *problem.Problem      `json:"error,omitzero"`
}

// importLines is POST /v1/import. Three things go on at a time, none of which waits for the
// client: reading lines, importing a chunk of them, sending answers.
//
//	body ──lineReader──▶ lineQueue ──ImportAll──▶ spool ──▶ answer
//
// A chunk is what has been read while the chunk before was made durable: one line where a person
// types them, chunkLines where they come from a file.
func (a *api) importLines(c echo.Context) (err error) {
	r := c.Request()
	if _, err := queryOf(c); err != nil {
		return err
	}
	meta, err := metadataOf(c)
	if err != nil {
		return err
	}
	if err := checkContentType(r, ndjson, "application/ndjson", "application/jsonl", "application/json"); err != nil {
		return err
	}
	if err := acceptLines(c); err != nil {
		return err
	}
	control := http.NewResponseController(c.Response())
	// Without it HTTP/1 reads the whole body before the first answer. HTTP/2 and test recorders
	// do not know it, and need it no more than the deadlines below.
	_ = control.EnableFullDuplex()
	// What ends the reading below ends the connection for good: net/http, which reads on behind the
	// body, would cancel whatever request came next.
	c.Response().Header().Set("Connection", "close")
	body := &paced{body: r.Body, control: control, pause: a.silence}

	queue := newLineQueue()
	defer context.AfterFunc(r.Context(), queue.stop)()
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		queue.finish(readLines(body, queue))
	}()
	defer func() {
		queue.stop()
		body.stop()
		<-reading
		if err != nil && body.silent {
			// net/http has ended the request's context as well, as if the client had left.
			err = bodyError(os.ErrDeadlineExceeded)
		}
	}()
	return a.importFrom(r.Context(), queue, meta, a.newImportWriter(c))
}

// readLines puts every line that is not blank into the queue. It returns io.EOF behind the last one.
func readLines(body io.Reader, queue *lineQueue) (err error) {
	defer func() {
		// A panic here would end the process, since no one else stands above this goroutine.
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, r, debug.Stack())
		}
	}()
	lines := lineReader{r: bufio.NewReaderSize(body, 64<<10)}
	drained := make(drainedDatabases)
	for {
		text, tooLong, err := lines.next()
		switch {
		case err != nil:
			return err
		case !tooLong && len(bytes.TrimSpace(text)) == 0:
			continue
		}
		line := importLine{number: lines.n, octets: len(text)}
		if tooLong {
			line.err = kindTooLarge.problem("the line has more than %d octets: make it shorter", maxBody)
		} else {
			line.id, line.command, line.err = parseLine(text)
			line.command = drained.seen(line.command)
		}
		if !queue.put(line) {
			return errStopped
		}
	}
}

// drainedDatabases are those that lines of an import had as draining. Such a database takes no new
// tenant, but who moves a catalogue has to bring those that are on it already.
type drainedDatabases map[events.DatabaseID]bool

// seen is the command of a line that comes behind those seen before.
func (d drainedDatabases) seen(c commands.Command) commands.Command {
	switch c := c.(type) {
	case commands.RegisterDatabase:
		d[c.ID] = c.Status == events.DatabaseIsDraining
	case commands.RegisterTenant:
		c.OnDraining = d[c.Database]
		return c
	}
	return c
}

// parseLine reads a line by what its ID begins with: a database, a group, or else a tenant.
func parseLine(text []byte) (id string, command commands.Command, err error) {
	o, err := strictjson.ParseLine(text)
	if err != nil {
		return "", nil, err
	}
	if o.IsString("id") {
		id, _ = o.String("id")
	}
	switch {
	case strings.HasPrefix(id, "db_"):
		command, err = databaseFrom(o)
	case strings.HasPrefix(id, "grp_"):
		command, err = groupFrom(o)
	default:
		command, err = tenantFrom(o, func() events.TenantID { return idOfLine(text) })
	}
	if err != nil {
		err = alsoChecked(command, err)
	}
	return id, command, err
}

// idOfLine is the ID of a tenant whose line has none: the same for the same content, however it is
// spaced, ordered and escaped, so that importing the line again changes nothing.
func idOfLine(text []byte) events.TenantID {
	content := jsontext.Value(text).Clone()
	// The digits of numbers stay: they are what tells two values apart. What is no JSON has an ID as
	// well, and is refused.
	_ = content.Format(jsontext.ReorderRawObjects(true))
	return events.TenantIDOf(content)
}

// importFrom imports what comes through the queue until its end, or until the client is gone or the
// store fails. Answered lines are durable whatever happens then.
func (a *api) importFrom(ctx context.Context, queue *lineQueue, meta events.Metadata, answers *importWriter) (err error) {
	defer func() { err = answers.close(err) }()
	for {
		lines, err := queue.take()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errPanic):
			return err
		case err != nil:
			return bodyError(err)
		}
		failed, err := a.importChunk(ctx, meta, lines, answers)
		if err != nil {
			return err
		}
		if failed {
			return nil // the last lines say so; what follows them was not tried
		}
		answers.lines.hurry() // from now: a client that still sends may read later
		if !queue.waiting() {
			if err := answers.flush(); err != nil {
				return err
			}
		}
	}
}

// importChunk imports some lines and answers each. It tells whether the store failed on any.
func (a *api) importChunk(ctx context.Context, meta events.Metadata, lines []importLine, answers *importWriter) (failed bool, err error) {
	batch := make([]commands.Command, 0, len(lines))
	for _, line := range lines {
		if line.err == nil {
			batch = append(batch, line.command)
		}
	}
	results := a.commands.ImportAll(ctx, meta, batch)
	if len(results) != len(batch) {
		return false, fmt.Errorf("import of %d lines has %d results", len(batch), len(results))
	}
	if err := allFailed(results); err != nil && len(batch) == len(lines) && !answers.begun {
		return false, err // nothing is answered yet, so that the status can still tell
	}
	for _, line := range lines {
		result := commands.ImportResult{Status: commands.ImportInvalid, Err: line.err}
		if line.err == nil {
			result, results = results[0], results[1:]
		}
		if result.Status == commands.ImportFailed {
			if err := ctx.Err(); err != nil {
				return true, err // it is the request that ended, and not the store that failed
			}
			failed = true
			a.log.ErrorContext(ctx, "import stopped", "line", line.number, "id", line.id, "err", result.Err)
		}
		a.metrics.lines.WithLabelValues(string(result.Status)).Inc()
		if err := answers.write(answerLine(line, result)); err != nil {
			return failed, err
		}
	}
	return failed, nil
}

// allFailed is the store's error if it failed on every line: one that says that nothing was stored
// only where that holds for all of them.
func allFailed(results []commands.ImportResult) error {
	var failure error
	for _, r := range results {
		if r.Status != commands.ImportFailed {
			return nil
		}
		if failure == nil || errors.Is(failure, events.ErrUnavailable) {
			failure = r.Err
		}
	}
	return failure
}

func answerLine(line importLine, result commands.ImportResult) importAnswer {
	out := importAnswer{Line: line.number, ID: line.id, Status: result.Status}
	if result.Status == commands.ImportCreated || result.Status == commands.ImportUnchanged {
		out.ID = result.ID.String() // made for it, where the line has none
		return out
	}
	out.Error = problemOf(result.Err)
	out.Error.Status = 0 // the answer's own status is another
	if result.Status == commands.ImportFailed {
		// What problemOf says is for who sent one command.
		out.Error.Detail = "it is not known whether the line was stored: import it again, with those behind it, which changes nothing where it was"
		if errors.Is(result.Err, events.ErrUnavailable) {
			out.Error.Detail = "the event store takes nothing now, and the line was not stored: import it again in a moment, with those behind it"
		}
		if errors.Is(result.Err, events.ErrUnavailable) && errors.Is(result.Err, diskspace.ErrFull) {
			out.Error.Detail = "the event store's disk is full, and the line was not stored: have whoever runs it make room there, then import it again, with those behind it"
		}
	}
	return out
}
