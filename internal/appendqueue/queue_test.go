package appendqueue

import (
	"context"
	"errors"
	"testing"

	"github.com/tenantry/tenantry/events"
)

const most = 512

func put(t *testing.T, q *Queue, batches int) *Request {
	t.Helper()
	r := NewRequest(t.Context(), make([]events.Batch, batches))
	if !q.Put(r) {
		t.Fatal("the queue is closed")
	}
	return r
}

func TestQueue_WhoComesFirstIsTakenFirstAndNotTooManyAtOnce(t *testing.T) {
	q := New(most)
	var waiting []*Request
	for _, n := range []int{1, most - 1, 1, most + 1, 2, 3} {
		waiting = append(waiting, put(t, q, n))
	}
	next := 0
	for _, want := range []int{2, 1, 1, 2} { // the fourth is too many by itself, and taken alone
		taken, open := q.Take()
		if !open || len(taken) != want {
			t.Fatalf("Take: got %d requests, %v, want %d", len(taken), open, want)
		}
		for _, r := range taken {
			if r != waiting[next] {
				t.Errorf("request %d is not taken in its turn", next)
			}
			next++
		}
	}
	left := put(t, q, 1)
	q.Close()
	if q.Put(NewRequest(t.Context(), nil)) {
		t.Error("a closed queue takes a request")
	}
	if taken, open := q.Take(); open || len(taken) != 1 || taken[0] != left {
		t.Errorf("Take of a closed queue: got %d requests, %v, want what was left", len(taken), open)
	}
}

func TestQueue_ARequestIsWithdrawnOrTaken_NeverBoth(t *testing.T) {
	q := New(most)
	withdrawn, taken := put(t, q, 2), put(t, q, 1)
	if !withdrawn.Withdraw(context.Canceled) || withdrawn.Withdraw(context.Canceled) {
		t.Error("a request that waits is not withdrawn, or twice")
	}
	<-withdrawn.Answered()
	for i, r := range withdrawn.Results {
		if !errors.Is(r.Err, context.Canceled) {
			t.Errorf("result %d = %v, want %v", i, r.Err, context.Canceled)
		}
	}
	if got, _ := q.Take(); len(got) != 1 || got[0] != taken {
		t.Errorf("Take: got %d requests, want the one that was not withdrawn", len(got))
	}
	if taken.Withdraw(context.Canceled) {
		t.Error("a request is withdrawn that the appender has taken")
	}
	last := put(t, q, 1)
	if got := q.Drain(); len(got) != 1 || got[0] != last || !last.Taken() {
		t.Errorf("Drain: got %d requests, want the one that waits", len(got))
	}
}
