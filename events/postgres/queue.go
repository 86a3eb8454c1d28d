package postgres

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/tenantry/tenantry/events"
)

// request is what one caller of Append or AppendAll waits for.
type request struct {
	ctx     context.Context
	batches []events.Batch
	results []events.Result
	done    chan struct{}
	// claimed is set by the appender that takes the request or the caller that gives it up,
	// whoever is first. So a caller whose context ends either knows that nothing is stored, or
	// waits for the answer that is on its way.
	claimed atomic.Bool
}

func newRequest(ctx context.Context, batches []events.Batch) *request {
	return &request{ctx: ctx, batches: batches, results: make([]events.Result, len(batches)), done: make(chan struct{})}
}

func (r *request) refuse(err error) {
	for i := range r.results {
		r.results[i] = events.Result{Err: err}
	}
	close(r.done)
}

// queue is the requests that wait for the appender, in their order.
type queue struct {
	mu      sync.Mutex
	filled  *sync.Cond
	waiting []*request
	closed  bool
}

func (q *queue) init() { q.filled = sync.NewCond(&q.mu) }

// put appends a request; false when the queue is closed.
func (q *queue) put(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waiting = append(q.waiting, r)
	q.filled.Signal()
	return true
}

// take waits for requests and returns those that wait, up to maxGroup batches but at least one
// request; false when the queue is closed, with what was left in it.
func (q *queue) take() ([]*request, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.filled.Wait()
	}
	if q.closed {
		left := q.waiting
		q.waiting = nil
		return left, false
	}
	n, batches := 0, 0
	for n < len(q.waiting) && (n == 0 || batches+len(q.waiting[n].batches) <= maxGroup) {
		batches += len(q.waiting[n].batches)
		n++
	}
	taken := q.waiting[:n:n]
	if n == len(q.waiting) {
		q.waiting = nil
	} else {
		q.waiting = q.waiting[n:]
	}
	return taken, true
}

// drain returns all that wait, at once.
func (q *queue) drain() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := q.waiting
	q.waiting = nil
	return left
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}
