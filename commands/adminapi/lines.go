package adminapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"
)

// The most that waits between reading lines and importing them. What is imported at once is
// taken out of it whole, so that twice this is held at a time.
const (
	chunkLines  = 256
	chunkOctets = 4 << 20
)

// lineReader reads lines of at most maxBody octets, and passes over the rest of longer ones.
type lineReader struct {
	r *bufio.Reader
	n int // lines so far
}

// next is the next line without its end, and whether it was too long, in which case there is
// nothing of it. A last line needs no end. The error is io.EOF after the last line.
func (l *lineReader) next() (line []byte, tooLong bool, err error) {
	for {
		part, err := l.r.ReadSlice('\n')
		ended := err == nil
		switch {
		case errors.Is(err, io.EOF) && len(part)+len(line) == 0 && !tooLong:
			return nil, false, io.EOF
		case ended, errors.Is(err, io.EOF), errors.Is(err, bufio.ErrBufferFull):
		default:
			return nil, false, err // a line that broke off is no line
		}
		part = bytes.TrimSuffix(part, []byte("\n"))
		if tooLong = tooLong || len(line)+len(part) > maxBody+1; tooLong {
			line = nil
		} else {
			line = append(line, part...)
		}
		if ended || errors.Is(err, io.EOF) {
			l.n++
			line = bytes.TrimSuffix(line, []byte("\r"))
			return line, tooLong || len(line) > maxBody, nil
		}
	}
}

// lineQueue stands between the goroutine that reads lines and the one that imports them: while a
// chunk is made durable, the next one is read.
type lineQueue struct {
	mu      sync.Mutex
	changed *sync.Cond
	lines   []importLine
	octets  int
	end     error // why no more lines come: io.EOF, or what went wrong
	stopped bool
}

func newLineQueue() *lineQueue {
	q := &lineQueue{}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// put waits until there is room. It is false once no one takes lines any more.
func (q *lineQueue) put(line importLine) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.stopped && (len(q.lines) >= chunkLines || q.octets >= chunkOctets) {
		q.changed.Wait()
	}
	if q.stopped {
		return false
	}
	q.lines = append(q.lines, line)
	q.octets += line.octets
	q.changed.Broadcast()
	return true
}

// finish says that no more lines come, and why.
func (q *lineQueue) finish(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.end = err
	q.changed.Broadcast()
}

// take waits for lines and takes all there are. When there are none any more it says why: io.EOF
// behind the last line; for anything else, lines that were still waiting are dropped.
func (q *lineQueue) take() ([]importLine, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.stopped && q.end == nil && len(q.lines) == 0 {
		q.changed.Wait()
	}
	switch {
	case q.stopped:
		return nil, errStopped
	case q.end != nil && (len(q.lines) == 0 || !errors.Is(q.end, io.EOF)):
		return nil, q.end
	}
	taken := q.lines
	q.lines, q.octets = nil, 0
	q.changed.Broadcast()
	return taken, nil
}

// waiting tells whether there are lines to take.
func (q *lineQueue) waiting() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.lines) > 0
}

// errStopped says that the import was ended from outside.
var errStopped = errors.New("import was stopped")

// stop wakes both sides and ends them.
func (q *lineQueue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.changed.Broadcast()
}
