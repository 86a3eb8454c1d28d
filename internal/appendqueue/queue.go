// Package appendqueue is where callers of a store's Append wait for its one appender, which takes as
// many of them at a time as one commit should hold.
package appendqueue

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/tenantry/tenantry/events"
)

// Request is what one caller of Append or AppendAll waits for.
type Request struct {
	Ctx     context.Context //nolint:containedctx // the caller's, who waits for the answer
	Batches []events.Batch
	Results []events.Result // one a batch; to be read after Answered

	done chan struct{}
	// claimed is set by the appender that takes the request or the caller that gives it up,
	// whoever is first. So a caller whose context ends either knows that nothing is stored, or
	// waits for the answer that is on its way.
	claimed atomic.Bool
}

// NewRequest is one that nobody has taken yet.
func NewRequest(ctx context.Context, batches []events.Batch) *Request {
	return &Request{Ctx: ctx, Batches: batches, Results: make([]events.Result, len(batches)), done: make(chan struct{})}
}

// Answered is closed when the results are there.
func (r *Request) Answered() <-chan struct{} { return r.done }

// Answer is the appender's word that all results are there.
func (r *Request) Answer() { close(r.done) }

// Refuse answers every batch with an error.
func (r *Request) Refuse(err error) {
	for i := range r.Results {
		r.Results[i] = events.Result{Err: err}
	}
	r.Answer()
}

// Withdraw refuses a request that the appender has not taken yet. False: it has, and the answer is
// on its way, which to know is worth more than the wait.
func (r *Request) Withdraw(err error) bool {
	withdrawn := r.claim()
	if withdrawn {
		r.Refuse(err)
	}
	return withdrawn
}

// Taken tells that the appender has taken the request, or its caller has withdrawn it.
func (r *Request) Taken() bool { return r.claimed.Load() }

func (r *Request) claim() bool { return r.claimed.CompareAndSwap(false, true) }

// Queue is the requests that wait for the appender, in their order.
type Queue struct {
	most int // batches that are taken at a time

	mu      sync.Mutex
	filled  *sync.Cond
	waiting []*Request
	closed  bool
}

// New is an empty queue, of which up to most batches are taken at a time.
func New(most int) *Queue {
	q := &Queue{most: most}
	q.filled = sync.NewCond(&q.mu)
	return q
}

// Put appends a request; false when the queue is closed.
func (q *Queue) Put(r *Request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waiting = append(q.waiting, r)
	q.filled.Signal()
	return true
}

// Take waits for requests and returns those that wait, without those that were withdrawn, up to the
// queue's most batches but at least one request; false when the queue is closed, with what was left
// in it. The caller answers them all.
func (q *Queue) Take() (taken []*Request, open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.filled.Wait()
	}
	if q.closed {
		return q.takeFirst(len(q.waiting)), false
	}
	n, batches := 0, 0
	for n < len(q.waiting) && (n == 0 || batches+len(q.waiting[n].Batches) <= q.most) {
		batches += len(q.waiting[n].Batches)
		n++
	}
	return q.takeFirst(n), true
}

// Drain returns all that wait, at once.
func (q *Queue) Drain() []*Request {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.takeFirst(len(q.waiting))
}

func (q *Queue) takeFirst(n int) []*Request {
	first := q.waiting[:n:n]
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	taken := first[:0]
	for _, r := range first {
		if r.claim() {
			taken = append(taken, r)
		}
	}
	return taken
}

// Close refuses what is put later, and has Take return.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}
