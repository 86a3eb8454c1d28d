package adminapi

import (
	"bufio"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"
)

const ndjson = "application/x-ndjson"

// lineWriter writes an answer of many lines. It gathers them until it is flushed, or until there is
// a good deal; a client that does not read is cut off after a while. Until the first of them is
// sent, an error may still be answered as a problem; after that only a broken connection tells.
type lineWriter struct {
	response *echo.Response
	control  *http.ResponseController
	buffer   *bufio.Writer
	patience time.Duration
}

func (a *api) newLineWriter(c echo.Context) *lineWriter {
	header := c.Response().Header()
	header.Set("Content-Type", ndjson)
	header.Set("Cache-Control", "no-store")
	l := &lineWriter{response: c.Response(), control: http.NewResponseController(c.Response()), patience: a.patience}
	l.buffer = bufio.NewWriterSize(sending{l}, 64<<10)
	return l
}

// sending is a lineWriter's way to the connection.
type sending struct{ *lineWriter }

func (s sending) Write(b []byte) (int, error) {
	s.hurry()
	return s.response.Write(b)
}

// hurry gives the client its time to read, from now.
func (l *lineWriter) hurry() {
	// A connection that knows no deadline, such as a test's recorder, is never waited for either.
	_ = l.control.SetWriteDeadline(time.Now().Add(l.patience))
}

// write adds one value as a line.
func (l *lineWriter) write(v any) error {
	if err := json.MarshalWrite(l.buffer, v, json.Deterministic(true)); err != nil {
		return err
	}
	return l.buffer.WriteByte('\n')
}

// flush sends what has been gathered.
func (l *lineWriter) flush() error {
	if err := l.buffer.Flush(); err != nil {
		return err
	}
	if !l.response.Committed {
		l.response.WriteHeader(http.StatusOK)
	}
	l.hurry()
	if err := l.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// close flushes, and takes the deadline from the connection, which may serve other requests.
func (l *lineWriter) close() error {
	err := l.flush()
	_ = l.control.SetWriteDeadline(time.Time{})
	return err
}

// acceptLines refuses a client that says it cannot read NDJSON.
func acceptLines(c echo.Context) error {
	ranges := c.Request().Header.Values("Accept")
	if len(ranges) == 0 || accepts(strings.Join(ranges, ",")) {
		return nil
	}
	return kindAccept.problem("the answer is NDJSON: send Accept: %s", ndjson)
}

// accepts tells whether an Accept header takes NDJSON, by the most specific range that speaks of it.
func accepts(header string) bool {
	best, quality := -1, 0.0
	for part := range strings.SplitSeq(header, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		rank := -1
		switch media {
		case ndjson:
			rank = 2
		case "application/*":
			rank = 1
		case "*/*":
			rank = 0
		}
		if rank <= best {
			continue
		}
		best, quality = rank, 1
		if q, ok := params["q"]; ok {
			if quality, err = strconv.ParseFloat(q, 64); err != nil {
				quality = 0
			}
		}
	}
	return quality > 0
}
