package adminapi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// paced reads an import's body, whose client may take as long as it likes in all, but has to send
// something now and then. Time in which nobody reads does not count: it is ours.
type paced struct {
	body    io.Reader
	control *http.ResponseController
	pause   time.Duration
	silent  bool // the client sent nothing for too long; valid when nobody reads any more

	mu      sync.Mutex
	stopped bool
}

// Read gives the client its time anew.
func (p *paced) Read(b []byte) (int, error) {
	late := time.Now().Add(p.pause)
	p.until(late)
	n, err := p.body.Read(b)
	switch {
	case errors.Is(err, io.EOF):
		// net/http reads on behind the body, and would take the deadline for the client's leaving.
		p.until(time.Time{})
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.silent = !time.Now().Before(late) // else it is stop that ended the wait
	}
	return n, err
}

func (p *paced) until(deadline time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		_ = p.control.SetReadDeadline(deadline) // test recorders have none
	}
}

// stop wakes a reader that waits for the client, and lets none wait again.
func (p *paced) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	_ = p.control.SetReadDeadline(time.Now())
}
