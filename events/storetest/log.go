package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

var logContract = []contract{
	{"AfterIsUpToLimitEventsAfterAPositionInOrder", func(f *fixture) {
		for i, n := range []int{1, 5, 2, 1, 12, 3} { // batches, to be cut at each place
			f.create(tenant(fmt.Sprintf("t%d", i)), n)
		}
		all := f.sound()
		for from := range uint64(len(all)) + 3 {
			for _, limit := range []int{1, 2, 7, len(all), 10_000} {
				got, err := f.After(f.ctx(), from, limit)
				if err != nil {
					f.Fatalf("after %d: %v", from, err)
				}
				begin := min(int(from), len(all))
				f.sameEvents(got, all[begin:min(begin+limit, len(all))])
			}
		}
		for _, limit := range []int{0, -1} {
			if got, err := f.After(f.ctx(), 0, limit); err != nil || len(got) != 0 {
				f.Errorf("limit %d: got %d events, %v", limit, len(got), err)
			}
		}
	}},
	{"AfterNeverReturnsAnEventThatALaterCallCouldPrecede_SixteenWritersAndTailingReaders", func(f *fixture) {
		const each = 60
		var writing, appended atomic.Int64
		writing.Store(writers)
		race(writers+3, func(w int) {
			if w < writers {
				defer writing.Add(-1)
				for i := range uint64(each) {
					out, err := f.Append(f.ctx(), batch(tenant(fmt.Sprintf("t%d", w)), 2*i, 2))
					if err != nil {
						f.Errorf("append: %v", err)
						return
					}
					appended.Add(2)
					// What was answered is there to be read.
					got, err := f.After(f.ctx(), out.Position-1, 1)
					if err != nil || len(got) != 1 || got[0].Position != out.Position {
						f.Errorf("read the answered position %d: got %v, %v", out.Position, got, err)
					}
				}
				return
			}
			// A reader goes on where it is. If an event came behind its back, it would meet a hole.
			position, limit := uint64(0), 1+7*(w-writers)
			for {
				last := writing.Load() == 0
				page, err := f.After(f.ctx(), position, limit)
				if err != nil {
					f.Errorf("after %d: %v", position, err)
					return
				}
				for _, e := range page {
					if e.Position != position+1 {
						f.Errorf("after %d: got position %d", position, e.Position)
						return
					}
					position = e.Position
				}
				if last && len(page) == 0 {
					break
				}
			}
			if position != uint64(appended.Load()) {
				f.Errorf("the reader saw %d events, %d were answered", position, appended.Load())
			}
		})
		f.sound()
	}},
	{"WaitReturnsAtOnceWhenThereIsAnEventAfterThePosition", func(f *fixture) {
		f.create(tenant("acme"), 3)
		for position := range uint64(3) {
			if err := f.Wait(f.ctx(), position); err != nil {
				f.Errorf("wait for an event after %d: %v", position, err)
			}
		}
	}},
	{"WaitReturnsOnceThereIsAnEventAfterThePosition", func(f *fixture) {
		// Each event is appended by who has seen the one before, so each waits for the other.
		const events = 200
		race(2, func(w int) {
			for i := uint64(w); i < events; i += 2 {
				if i > 0 {
					if err := f.Wait(f.ctx(), i-1); err != nil {
						f.Errorf("wait for an event after %d: %v", i-1, err)
						return
					}
				}
				out, err := f.Append(f.ctx(), batch(tenant("acme"), i, 1))
				if err != nil || out.Position != i+1 {
					f.Errorf("append event %d: got position %d, %v", i+1, out.Position, err)
					return
				}
			}
		})
	}},
	{"WaitWakesAllWhoWaitAndNoneForAnEventThatIsNotAfter", func(f *fixture) {
		f.create(tenant("acme"), 1)
		var early atomic.Int64
		far := make(chan error, 1)
		ctx, cancel := context.WithCancel(f.ctx())
		defer cancel()
		go func() {
			err := f.Wait(ctx, 1000)
			early.Add(1)
			far <- err
		}()
		race(writers, func(w int) {
			if w == 0 {
				for i := range uint64(20) {
					if _, err := f.Append(f.ctx(), batch(tenant("acme"), 1+i, 1)); err != nil {
						f.Errorf("append: %v", err)
					}
				}
				return
			}
			for position := range uint64(21) {
				if err := f.Wait(f.ctx(), position); err != nil {
					f.Errorf("wait for an event after %d: %v", position, err)
				}
			}
		})
		if early.Load() != 0 {
			f.Error("a wait for position 1001 returned at position 21")
		}
		cancel()
		if err := <-far; !errors.Is(err, context.Canceled) {
			f.Errorf("wait: got %v, want the context's error", err)
		}
	}},
	{"WaitSeesNoDryRunNorRefusalNorReplay", func(f *fixture) {
		first := f.append(keyed(tenant("acme"), 0, 1, key("k", 1)))
		ctx, cancel := context.WithCancel(f.ctx())
		waited := make(chan error, 1)
		go func() { waited <- f.Wait(ctx, 1) }()
		f.replayed(keyed(tenant("acme"), 0, 1, key("k", 1)), first)
		f.refused(batch(tenant("acme"), 0, 1), events.ErrConflict)
		dry := batch(tenant("acme"), 1, 1)
		dry.DryRun = true
		f.append(dry)
		cancel()
		if err := <-waited; !errors.Is(err, context.Canceled) {
			f.Errorf("wait: got %v, want the context's error", err)
		}
	}},
	{"HeadIsThePositionOfTheLastEvent", func(f *fixture) {
		if got := f.head().Position; got != 0 {
			f.Errorf("an empty log: got %d", got)
		}
		for i, want := range []uint64{3, 4, 9} {
			f.create(tenant(fmt.Sprintf("t%d", i)), int(want-f.head().Position))
			if got := f.head().Position; got != want {
				f.Errorf("head: got %d, want %d", got, want)
			}
		}
	}},
	{"HeadNamesTheStore", func(f *fixture) {
		id := f.head().StoreID
		if id == uuid.Nil {
			f.Error("the store has no identity")
		}
		f.create(tenant("acme"), 1)
		if got := f.head().StoreID; got != id {
			f.Errorf("identity after an append: got %s, want %s", got, id)
		}
	}},
}
