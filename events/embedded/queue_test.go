package embedded

import (
	"testing"

	"github.com/tenantry/tenantry/events"
)

func TestQueue_WhoComesFirstIsTakenFirstAndNotTooManyAtOnce(t *testing.T) {
	var q queue
	q.init()
	var put []*request
	for _, n := range []int{1, maxTake - 1, 1, maxTake + 1, 2, 3} {
		r := newRequest(t.Context(), make([]events.Batch, n))
		put = append(put, r)
		if !q.put(r) {
			t.Fatal("the queue is closed")
		}
	}
	next := 0
	for _, want := range []int{2, 1, 1, 2} { // the fourth is too many by itself, and taken alone
		taken, open := q.take()
		if !open || len(taken) != want {
			t.Fatalf("take: got %d requests, %v, want %d", len(taken), open, want)
		}
		for _, r := range taken {
			if r != put[next] {
				t.Errorf("request %d is not taken in its turn", next)
			}
			next++
		}
	}
	left := newRequest(t.Context(), make([]events.Batch, 1))
	if !q.put(left) {
		t.Fatal("the queue is closed")
	}
	q.close()
	if q.put(newRequest(t.Context(), nil)) {
		t.Error("a closed queue takes a request")
	}
	if taken, open := q.take(); open || len(taken) != 1 || taken[0] != left {
		t.Errorf("take of a closed queue: got %d requests, %v, want what was left", len(taken), open)
	}
}
