package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// describeMachine says on what, of what and when it was measured.
func describeMachine(ctx context.Context) string {
	commit := "unknown"
	if out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		commit = strings.TrimSpace(string(out))
	}
	model := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(b), "model name"); ok {
			model, _, _ = strings.Cut(strings.TrimLeft(rest, "\t :"), "\n")
		}
	}
	return fmt.Sprintf("%s, commit %s, %s, %d cores (%s); load average %s at the start",
		time.Now().UTC().Format(time.DateOnly), commit, runtime.Version(), runtime.NumCPU(), model, loadAverage())
}

// loadAverage is the kernel's of the last minute. Much more than 0 at the start says that
// others were at work too.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(b), " ")
	return one
}

// quiet is the part of the processors that others may use when a round begins.
const quiet = 0.15

// settle waits until the machine is quiet, as long as the user has patience left for it: what a round
// measures beside other work is that work.
func (cfg *config) settle(ctx context.Context) error {
	began := time.Now()
	deadline := began.Add(cfg.patience)
	defer func() { cfg.patience = max(0, cfg.patience-time.Since(began)+time.Second) }() // the second is measured anyway
	for told := false; ; told = true {
		before, ok := processors()
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		after, _ := processors()
		all := after.busy + after.idle - before.busy - before.idle
		if !ok || all == 0 {
			return nil // not known here
		}
		busy := (after.busy - before.busy) / all
		switch {
		case busy <= quiet:
			return nil
		case !time.Now().Before(deadline):
			cfg.say("others use %.0f%% of the processors: this round is measured all the same", 100*busy)
			return nil
		case !told:
			cfg.say("others use %.0f%% of the processors: waiting for up to %s", 100*busy, cfg.patience)
		}
	}
}

// usage is in some unit of time, of all processors since the start.
type usage struct{ busy, idle float64 }

func processors() (u usage, ok bool) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u, false
	}
	first, _, _ := strings.Cut(string(b), "\n")
	// cpu user nice system idle iowait irq softirq steal …
	fields := strings.Fields(first)
	for i, f := range fields[1:min(len(fields), 9)] {
		n, err := strconv.ParseFloat(f, 64)
		switch {
		case err != nil:
			return u, false
		case i == 3, i == 4:
			u.idle += n
		default:
			u.busy += n
		}
	}
	return u, true
}
