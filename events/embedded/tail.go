package embedded

import (
	"context"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// tail is the end of the log as readers see it: what the last durable commit left. Badger's
// own read timestamps wait for the commits in flight, which would make every read as slow as
// an fsync; so the database is opened in managed mode, and the timestamps are kept here.
type tail struct {
	mu       sync.Mutex
	position uint64
	ts       uint64 // of the last durable commit
	closed   bool
	moved    chan struct{} // closed when position has moved, and replaced
	idle     *sync.Cond    // no reader is left
	// reading counts the readers of each timestamp. Versions of keys that none of them can see
	// any more are Badger's to discard.
	reading map[uint64]int
	discard func(ts uint64)
}

func (t *tail) init(position, ts uint64, discard func(uint64)) {
	t.position, t.ts, t.discard = position, ts, discard
	t.moved = make(chan struct{})
	t.idle = sync.NewCond(&t.mu)
	t.reading = make(map[uint64]int)
	discard(ts)
}

func (t *tail) end() (position, ts uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.position, t.ts
}

// publish lets readers see what was committed at ts, and wakes those who wait.
func (t *tail) publish(position, ts uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ts = ts
	if position != t.position {
		t.position = position
		close(t.moved)
		t.moved = make(chan struct{})
	}
	oldest := ts
	for reading := range t.reading {
		oldest = min(oldest, reading)
	}
	t.discard(oldest)
}

func (t *tail) wait(ctx context.Context, position uint64) error {
	for {
		t.mu.Lock()
		closed, moved, there := t.closed, t.moved, t.position > position
		t.mu.Unlock()
		switch {
		case closed:
			return errClosed
		case there:
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// close lets no new reader in and waits for those that are there.
func (t *tail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	close(t.moved)
	for len(t.reading) > 0 {
		t.idle.Wait()
	}
}

// view is one reader's snapshot.
type view struct {
	*badger.Txn
	tail     *tail
	position uint64
	ts       uint64
}

// begin is a snapshot of what is durable now; the caller calls done.
func (s *Store) begin(ctx context.Context) (view, error) {
	if err := ctx.Err(); err != nil {
		return view{}, err
	}
	t := &s.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return view{}, errClosed
	}
	t.reading[t.ts]++
	return view{Txn: s.db.NewTransactionAt(t.ts, false), tail: t, position: t.position, ts: t.ts}, nil
}

func (v view) done() {
	v.Discard()
	t := v.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reading[v.ts]--; t.reading[v.ts] == 0 {
		delete(t.reading, v.ts)
	}
	if len(t.reading) == 0 {
		t.idle.Broadcast()
	}
}
