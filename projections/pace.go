package projections

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"sync/atomic"
	"time"
)

// pace spaces out what is tried again and again: each time in a row twice as long as the
// time before. After a minute of rest it begins anew.
type pace struct {
	first, longest time.Duration
	next           time.Duration
	last           time.Time
}

// rested tells that nothing was to be waited for in the last minute.
func (p *pace) rested() bool { return time.Since(p.last) > p.longest+time.Minute }

// wait waits its time, or returns the context's error.
func (p *pace) wait(ctx context.Context) error {
	if p.rested() {
		p.next = p.first
	}
	err := sleep(ctx, p.next)
	p.next = min(max(2*p.next, retryDelay), p.longest)
	p.last = time.Now()
	return err
}

// troubles tells of what fails again and again, and waits before the next try.
type troubles struct {
	log  *slog.Logger
	why  *atomic.Pointer[string] // what those see who ask
	pace pace
	told string
}

// wait tells of an error and waits its time, or returns the context's error.
func (t *troubles) wait(ctx context.Context, err error) error {
	text := err.Error()
	t.why.Store(&text)
	if t.pace.longest == 0 {
		t.pace.first, t.pace.longest = retryDelay, 10*time.Second
	}
	// The same at every try would hide everything else in the log.
	if why := reason(err); why != t.told || t.pace.rested() {
		t.log.Error("stopped keeping the read model up to date; trying again", "err", err)
		t.told = why
	}
	return t.pace.wait(ctx)
}

// reason is what an error says, but for the names of generations, which differ with each try.
func reason(err error) string { return generationNames.ReplaceAllString(err.Error(), "gen") }

var generationNames = regexp.MustCompile(`gen-[0-9]+(\.building)?`)

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// patiently runs try until it succeeds or the context ends, and logs when trying begins and
// ends to be of no use.
func patiently(ctx context.Context, log *slog.Logger, what string, try func() error) error {
	for tries := 0; ; tries++ {
		err := try()
		if err == nil {
			if tries > 0 {
				log.Info("succeeded at last to "+what, "tries", tries+1)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errOtherStore) || errors.Is(err, errDiverged) {
			return err
		}
		if tries == 0 {
			log.Warn("cannot "+what+" now; trying until it works", "err", err)
		}
		if err := sleep(ctx, retryDelay); err != nil {
			return err
		}
	}
}
