package giveway

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestBulk_Pause_SleepsAsLongAsWasWorked_WhereLookUpsAreAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		worked  time.Duration
		lookups int
		over    bool // the context is
		want    time.Duration
	}{
		"no look-ups":         {worked: 5 * time.Millisecond},
		"one look-up":         {worked: 5 * time.Millisecond, lookups: 1, want: 5 * time.Millisecond},
		"many":                {worked: 2 * time.Millisecond, lookups: 1000, want: 2 * time.Millisecond},
		"hardly any work":     {worked: slice - 1, lookups: 1000},
		"nobody waits for it": {worked: 5 * time.Millisecond, lookups: 1, over: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.over {
					cancel()
				}
				for range 3 {
					b := Begin()
					time.Sleep(c.worked)
					for range c.lookups {
						LookedUp()
					}
					before := time.Now()
					b.Pause(ctx)
					if got := time.Since(before); got != c.want {
						t.Errorf("slept %s, want %s", got, c.want)
					}
				}
			})
		})
	}
}

func TestBulk_Pause_CountsWorkUntilItIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Begin()
		slept := time.Duration(0)
		for range 10 {
			time.Sleep(slice / 4)
			LookedUp()
			before := time.Now()
			b.Pause(t.Context())
			slept += time.Since(before)
		}
		if slept != 2*slice {
			t.Errorf("slept %s after 10 pieces of %s, want %s", slept, slice/4, 2*slice)
		}
	})
}
