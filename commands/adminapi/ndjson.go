package adminapi

import (
	"bufio"
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
// a good deal; a client that does not read is cut off after a while.
type lineWriter struct {
	buffer   *bufio.Writer
	control  *http.ResponseController
	patience time.Duration
}

// newLineWriter begins the answer; from here on only a broken connection can tell of an error.
func (a *api) newLineWriter(c echo.Context) *lineWriter {
	w := c.Response()
	w.Header().Set("Content-Type", ndjson)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold lines back
	l := &lineWriter{control: http.NewResponseController(w), patience: a.patience}
	l.buffer = bufio.NewWriterSize(deadlineWriter{w: w, l: l}, 64<<10)
	w.WriteHeader(http.StatusOK)
	return l
}

// deadlineWriter gives each write to the connection its own time.
type deadlineWriter struct {
	w http.ResponseWriter
	l *lineWriter
}

func (d deadlineWriter) Write(b []byte) (int, error) {
	// A writer that knows no deadlines (a test's recorder) cannot hang either.
	_ = d.l.control.SetWriteDeadline(time.Now().Add(d.l.patience))
	return d.w.Write(b)
}

// write adds one value as a line.
func (l *lineWriter) write(v any) error {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return err
	}
	if _, err := l.buffer.Write(b); err != nil {
		return err
	}
	return l.buffer.WriteByte('\n')
}

// flush sends what has been gathered.
func (l *lineWriter) flush() error {
	if err := l.buffer.Flush(); err != nil {
		return err
	}
	_ = l.control.SetWriteDeadline(time.Now().Add(l.patience))
	return l.control.Flush()
}

// close flushes, and takes the deadline from the connection, which may serve other requests.
func (l *lineWriter) close() error {
	err := l.flush()
	_ = l.control.SetWriteDeadline(time.Time{})
	return err
}

// acceptLines refuses a client that says it cannot read NDJSON.
func acceptLines(c echo.Context) error {
	for _, value := range c.Request().Header.Values("Accept") {
		if accepts(value) {
			return nil
		}
	}
	if len(c.Request().Header.Values("Accept")) == 0 {
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
