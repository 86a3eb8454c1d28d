package projections

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
)

// The errors of what is asked of a running node.
var (
	// ErrNotRunning: the node has not begun, or is stopping. Nothing was changed.
	ErrNotRunning = errors.New("the node is not running")
	// ErrBusy: the node is changing its generation already; the text says how. Ask again later.
	ErrBusy = errors.New("the node is busy")
)

// errYielded ends a build for which something else has come in place.
var errYielded = errors.New("a generation that is given to the node takes the place of the one that it was building")

// turns lets one at a time change which generation is live, or what is in it besides what the
// topic brings.
type turns struct {
	mu     sync.Mutex
	what   string                  // is done now; "": nothing
	yields context.CancelCauseFunc // ends it where it may be interrupted; nil: it may not be
	swaps  int                     // that wait for their turn: one at most
	// swapping tells that what is done now is a swap.
	swapping bool
	changed  chan struct{} // see next

	life  context.Context // the node's; nil: it has not begun
	over  bool            // it ends
	tasks sync.WaitGroup  // begun while it runs, and ended before it does
}

// take begins something, after waiting for what is being done, and says how it ends.
func (t *turns) take(ctx context.Context, what string, yields context.CancelCauseFunc) (done func(), err error) {
	for {
		taken, changed := t.tryTake(what, yields)
		if taken {
			return t.done, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryTake takes what is free; else changed is closed when it may be.
func (t *turns) tryTake(what string, yields context.CancelCauseFunc) (taken bool, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// Who yields does not go before what it would yield to.
	if t.what != "" || yields != nil && t.swaps > 0 {
		return false, t.next()
	}
	t.what, t.yields = what, yields
	return true, nil
}

func (t *turns) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.what, t.yields, t.swapping = "", nil, false
	close(t.next())
	t.changed = nil
}

// next is closed when something is over.
func (t *turns) next() chan struct{} {
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.changed
}

// swap begins to put another generation in the place of the live one. It waits for all but another swap,
// and has end what yields to it.
func (t *turns) swap(ctx context.Context, what string) (done func(), err error) {
	t.mu.Lock()
	if t.swapping || t.swaps > 0 {
		defer t.mu.Unlock()
		return nil, fmt.Errorf("%w: it is %s", ErrBusy, cmp.Or(t.what, "about to change its generation"))
	}
	if t.yields != nil {
		t.yields(errYielded)
	}
	t.swaps++
	t.mu.Unlock()
	done, err = t.take(ctx, what, nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.swaps--
	t.swapping = err == nil
	if err != nil && t.what == "" {
		close(t.next()) // who yielded may go on
		t.changed = nil
	}
	return done, err
}

// open lets tasks begin until close.
func (t *turns) open(life context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.life = life
}

// close waits for the tasks under way, which end with the context that open was given, and lets no
// more begin.
func (t *turns) close() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.tasks.Wait()
}

// task begins something that is asked from outside. Its context ends with the node's, too.
func (t *turns) task(ctx context.Context) (_ context.Context, end func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life == nil || t.over || t.life.Err() != nil {
		return nil, nil, ErrNotRunning
	}
	t.tasks.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(t.life, func() { cancel(ErrNotRunning) })
	return ctx, func() {
		stop()
		cancel(nil)
		t.tasks.Done()
	}, nil
}
