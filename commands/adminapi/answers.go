package adminapi

import (
	"bufio"
	"errors"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"
)

// importWriter sends an import's answers through a spool.
type importWriter struct {
	lines   *lineWriter
	spool   *spool
	buffer  *bufio.Writer
	begun   bool
	sending chan struct{} // closed when all is sent
	sent    error         // why not, valid then
}

func (a *api) newImportWriter(c echo.Context) *importWriter {
	w := &importWriter{lines: a.newLineWriter(c), spool: newSpool(), sending: make(chan struct{})}
	w.buffer = bufio.NewWriterSize(w.spool, 64<<10)
	return w
}

// write adds an answer, which is sent with the next flush at the latest.
func (w *importWriter) write(answer importAnswer) error {
	if !w.begun {
		w.begun = true
		go w.send()
	}
	if err := json.MarshalWrite(w.buffer, answer); err != nil {
		return err
	}
	return w.buffer.WriteByte('\n')
}

// flush hands on what has been gathered.
func (w *importWriter) flush() error { return w.buffer.Flush() }

// send sends what comes through the spool.
func (w *importWriter) send() {
	defer close(w.sending)
	for {
		b, err := w.spool.next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			_, err = sending{w.lines}.Write(b)
		}
		if err == nil {
			err = w.lines.flush()
		}
		if err != nil {
			w.sent = err
			w.spool.finish(err) // the next write of an answer fails, which ends the import
			return
		}
	}
}

// close sends what is left, and ends the answer: without an error at its end; with one, by a problem
// where nothing was sent, or else in the middle, so that the client knows that it is not all.
func (w *importWriter) close(err error) error {
	if !w.begun {
		if err != nil {
			return err
		}
		return w.lines.close()
	}
	if err == nil {
		err = w.buffer.Flush()
	}
	if err == nil {
		w.spool.finish(io.EOF)
	} else {
		w.spool.finish(err)
		_ = w.lines.control.SetWriteDeadline(time.Now()) // wakes a sender that waits for the client
	}
	<-w.sending
	err = errors.Join(err, w.sent)
	if cerr := w.spool.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return w.lines.close()
}
