package daemon

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/events"
)

// forgetful is a store that is asked for nothing but to forget keys.
type forgetful struct {
	events.Store
	before []time.Time
	err    error // of the first call
}

func (f *forgetful) DropKeys(_ context.Context, before time.Time) (int, error) {
	f.before = append(f.before, before)
	err := f.err
	f.err = nil
	return 1, err
}

func TestDropKeys_ARunningCatalogue_ForgetsKeysThatAreOldEnoughAndNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &forgetful{err: errors.New("the store is away")}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			dropKeys(ctx, store, slog.New(slog.DiscardHandler))
		}()
		began := time.Now()
		const rounds = 5
		time.Sleep(rounds*keySweep + time.Second)
		synctest.Wait()
		if len(store.before) != rounds+1 {
			t.Errorf("in the time of %d sweeps the store was asked %d times, want one more, with the one at the start", rounds, len(store.before))
		}
		for i, before := range store.before {
			now := began.Add(time.Duration(i) * keySweep)
			if age := now.Sub(before); age != keyAge || age < 24*time.Hour {
				t.Errorf("sweep %d forgets keys that are %v old, want %v, and never under a day", i, age, keyAge)
			}
		}
		cancel()
		<-ended
	})
}
