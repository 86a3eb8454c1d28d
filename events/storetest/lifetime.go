package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenantry/tenantry/events"
)

// history appends some of everything, by sixteen writers, and returns the keyed batches with
// their outcomes.
func (f *fixture) history() map[string]events.Outcome {
	f.Helper()
	f.create(database("main"), 1)
	var mu sync.Mutex
	outcomes := make(map[string]events.Outcome)
	race(writers, func(w int) {
		id := tenant(fmt.Sprintf("t%d", w))
		for i := range uint64(5) {
			k := key(fmt.Sprintf("k-%d-%d", w, i), 1)
			b := keyed(id, i, 1, k)
			if i == 0 {
				b.Take = hosts(fmt.Sprintf("h%d", w))
				b.Refer = to(database("main"), 1, 0)
			}
			out, err := f.Append(f.ctx(), b)
			if err != nil {
				f.Errorf("append: %v", err)
				return
			}
			mu.Lock()
			outcomes[k.Key] = out
			mu.Unlock()
		}
	})
	return outcomes
}

// unchanged proves that all of a history is there.
func (f *fixture) unchanged(before []events.Event, head events.Head, outcomes map[string]events.Outcome) {
	f.Helper()
	f.sameEvents(f.sound(), before)
	if got := f.head(); got != head {
		f.Errorf("head: got %+v, want %+v", got, head)
	}
	for name, first := range outcomes {
		out, known, err := f.Recall(f.ctx(), *key(name, 1))
		if err != nil || !known {
			f.Errorf("recall %s: got %v, %v", name, known, err)
		}
		f.sameOutcome(out, first)
	}
	for w := range writers {
		f.wantHolder(host(fmt.Sprintf("h%d", w)), tenant(fmt.Sprintf("t%d", w)))
	}
	f.wantReferences(database("main"), writers)
}

// calls is each method once, against a store that has ten_acme.
func (f *fixture) calls(s events.Store) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Append": func(ctx context.Context) error {
			_, err := s.Append(ctx, batch(tenant("acme"), 1, 1))
			return err
		},
		"Append with a known key": func(ctx context.Context) error {
			_, err := s.Append(ctx, keyed(tenant("acme"), 0, 1, key("k", 1)))
			return err
		},
		"AppendAll": func(ctx context.Context) error {
			results := s.AppendAll(ctx, []events.Batch{batch(tenant("acme"), 1, 1), batch(tenant("other"), 0, 1)})
			if len(results) != 2 || (results[0].Err == nil) != (results[1].Err == nil) {
				return fmt.Errorf("got %d results: %+v", len(results), results)
			}
			return errors.Join(results[0].Err, results[1].Err)
		},
		"Recall": func(ctx context.Context) error {
			_, _, err := s.Recall(ctx, *key("k", 1))
			return err
		},
		"Load": func(ctx context.Context) error {
			_, err := s.Load(ctx, tenant("acme"), 0)
			return err
		},
		"History": func(ctx context.Context) error {
			_, err := s.History(ctx, tenant("acme"), 0, 10)
			return err
		},
		"Streams": func(ctx context.Context) error {
			_, err := s.Streams(ctx, events.KindTenant, events.StreamID{}, 10)
			return err
		},
		"References": func(ctx context.Context) error {
			_, err := s.References(ctx, tenant("acme"))
			return err
		},
		"After": func(ctx context.Context) error {
			_, err := s.After(ctx, 0, 10)
			return err
		},
		"Wait": func(ctx context.Context) error { return s.Wait(ctx, 1) },
		"Head": func(ctx context.Context) error {
			_, err := s.Head(ctx)
			return err
		},
		"DropKeys": func(ctx context.Context) error {
			_, err := s.DropKeys(ctx, epoch.Add(time.Hour))
			return err
		},
	}
}

var lifetimeContract = []contract{
	{"OpenedAnewItIsAsItWas", func(f *fixture) {
		outcomes := f.history()
		before, head := f.sound(), f.head()
		for range 3 {
			f.reopen()
			f.unchanged(before, head, outcomes)
		}
		out := f.append(batch(tenant("t0"), 5, 1))
		if out.Position != head.Position+1 {
			f.Errorf("position after it was opened: got %d, want %d", out.Position, head.Position+1)
		}
	}},
	{"KilledItHasAllThatWasAnswered", func(f *fixture) {
		outcomes := f.history()
		before, head := f.sound(), f.head()
		f.kill()
		f.unchanged(before, head, outcomes)
		out := f.append(batch(tenant("t0"), 5, 1))
		if out.Position != head.Position+1 {
			f.Errorf("position after the kill: got %d, want %d", out.Position, head.Position+1)
		}
		f.kill()
		f.sound()
	}},
	{"KilledWhileEmptyItIsEmpty", func(f *fixture) {
		id := f.head().StoreID
		f.kill()
		if got := f.head(); got != (events.Head{StoreID: id}) {
			f.Errorf("head: got %+v, want position 0 of %s", got, id)
		}
	}},
	{"ClosedItSaysUnavailableOfEachMethod", func(f *fixture) {
		f.append(keyed(tenant("acme"), 0, 1, key("k", 1)))
		s := f.Store
		f.close()
		for name, call := range f.calls(s) {
			if err := call(f.ctx()); !errors.Is(err, events.ErrUnavailable) {
				f.Errorf("%s: got %v, want ErrUnavailable", name, err)
			}
		}
		f.open()
		if got := len(f.sound()); got != 1 {
			f.Errorf("events in the log: got %d, want 1", got)
		}
	}},
	{"ClosedTwiceItSaysNothing", func(f *fixture) {
		s := f.Store
		f.close()
		if err := s.Close(); err != nil {
			f.Errorf("second close: %v", err)
		}
	}},
	{"ClosedItEndsEachWait", func(f *fixture) {
		s := f.Store
		var began sync.WaitGroup
		began.Add(writers)
		race(writers+1, func(w int) {
			if w == writers {
				began.Wait()
				if err := s.Close(); err != nil {
					f.Errorf("close: %v", err)
				}
				return
			}
			began.Done()
			if err := s.Wait(f.ctx(), 0); !errors.Is(err, events.ErrUnavailable) {
				f.Errorf("wait: got %v, want ErrUnavailable", err)
			}
		})
	}},
	{"ClosedUnderLoadItAnswersEachCallAndKeepsWhatItAnswered", func(f *fixture) {
		s := f.Store
		var answered, began atomic.Int64
		closing := make(chan struct{})
		race(writers+3, func(w int) {
			switch {
			case w == writers:
				<-closing
				if err := s.Close(); err != nil {
					f.Errorf("close: %v", err)
				}
			case w > writers:
				for position := uint64(0); ; {
					page, err := s.After(f.ctx(), position, 10)
					if err == nil && len(page) == 0 {
						err = s.Wait(f.ctx(), position)
					}
					if err != nil {
						if !errors.Is(err, events.ErrUnavailable) {
							f.Errorf("read: %v", err)
						}
						return
					}
					position += uint64(len(page))
				}
			default:
				for i := uint64(0); ; i++ {
					_, err := s.Append(f.ctx(), batch(tenant(fmt.Sprintf("t%d", w)), i, 1))
					if err != nil {
						if !errors.Is(err, events.ErrUnavailable) {
							f.Errorf("append: %v", err)
						}
						return
					}
					answered.Add(1)
					if began.Add(1) == 4*writers {
						close(closing)
					}
				}
			}
		})
		f.open()
		if got := len(f.sound()); int64(got) != answered.Load() {
			f.Errorf("events in the log: got %d, answered were %d, and refused the rest", got, answered.Load())
		}
	}},
	{"AContextThatHasEndedIsTheErrorOfEachMethodAndNothingIsStored", func(f *fixture) {
		f.append(keyed(tenant("acme"), 0, 1, key("k", 1)))
		for cause, ended := range map[error]func() (context.Context, context.CancelFunc){
			context.Canceled: func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(f.ctx())
				cancel()
				return ctx, cancel
			},
			context.DeadlineExceeded: func() (context.Context, context.CancelFunc) {
				return context.WithDeadline(f.ctx(), time.Unix(0, 0))
			},
		} {
			ctx, cancel := ended()
			for name, call := range f.calls(f.Store) {
				if err := call(ctx); !errors.Is(err, cause) {
					f.Errorf("%s: got %v, want %v", name, err, cause)
				}
			}
			cancel()
		}
		if got := len(f.sound()); got != 1 {
			f.Errorf("events in the log: got %d, want 1", got)
		}
		f.wantKey(*key("k", 1), true)
	}},
	{"AContextThatEndsMeanwhileLeavesAllOrNothingAndARetryWithTheKeyIsSafe", func(f *fixture) {
		race(writers, func(w int) {
			id := tenant(fmt.Sprintf("t%d", w))
			for i := range uint64(30) {
				b := keyed(id, 2*i, 2, key(fmt.Sprintf("k-%d-%d", w, i), 1))
				ctx, cancel := context.WithCancel(f.ctx())
				go cancel() // before, while or after the batch is stored
				out, err := f.Append(ctx, b)
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						f.Errorf("append: %v", err)
					}
					if out, err = f.Append(f.ctx(), b); err != nil {
						f.Errorf("append again: %v", err)
						return
					}
				}
				if out.Version != 2*i+2 {
					f.Errorf("version: got %d, want %d", out.Version, 2*i+2)
				}
			}
		})
		if got := len(f.sound()); got != writers*60 {
			f.Errorf("events in the log: got %d, want %d", got, writers*60)
		}
	}},
	{"AContextEndsAWait", func(f *fixture) {
		ctx, cancel := context.WithCancel(f.ctx())
		waited := make(chan error, 1)
		go func() { waited <- f.Wait(ctx, 0) }()
		cancel()
		if err := <-waited; !errors.Is(err, context.Canceled) {
			f.Errorf("got %v, want the context's error", err)
		}
	}},
}
