package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	// idleAfter is when a system that was just started has come to rest.
	idleAfter = 5 * time.Second
	// sampleEvery is how often the kernel is asked; it keeps no maximum of one kind of memory.
	sampleEvery = 100 * time.Millisecond
)

// memory is what an import of many lines takes, above what a system takes that was just started. The
// process's own memory (anonymous) counts. What it has mapped of its files is the page cache's, which the kernel
// takes away where somebody needs it, and is told apart.
func memory(ctx context.Context, cfg *config) ([]row, error) {
	lines := fmt.Sprintf("import of %d lines: ", cfg.lines)
	above := row{what: lines + "own memory (RssAnon) above idle, at most", unit: "MB", goal: goal{below: 200}}
	idle := row{what: "own memory of an empty system, idle", unit: "MB"}
	files := row{what: lines + "mapped files (RssFile), at most", unit: "MB"}
	rate := row{what: lines + "until both regions hold them", unit: "events/s"}
	cost := row{what: lines + "processor time", unit: "µs/event"}
	if err := cfg.settle(ctx); err != nil {
		return nil, err
	}
	d, err := startDev(ctx, cfg, cfg.path("memory"))
	if err != nil {
		return nil, err
	}
	defer d.stop()
	if err := pause(ctx, idleAfter); err != nil {
		return nil, err
	}
	if err := idle.add(d, "RssAnon"); err != nil {
		return nil, err
	}
	before, err := d.cpu()
	if err != nil {
		return nil, err
	}
	watched := watchMemory(ctx, d)
	got, err := d.importLines(ctx, strings.NewReader(generated(cfg.lines)))
	most := watched()
	if err != nil {
		return nil, err
	}
	after, err := d.cpu()
	if err != nil {
		return nil, err
	}
	if most.err != nil {
		return nil, most.err
	}
	above.measured = []float64{most.own - idle.measured[0]}
	files.measured = []float64{most.mapped}
	rate.measured = []float64{float64(got.events) / got.visible.Seconds()}
	cost.measured = []float64{(after - before).Seconds() * 1e6 / float64(got.events)}
	cfg.say("memory: %.0f MB when idle, %.0f MB at most", idle.measured[0], most.own)
	return []row{idle, above, files, rate, cost}, nil
}

// most is the largest that was seen, in MB.
type most struct {
	own, mapped float64
	err         error
}

// watchMemory watches until the function that it returns is called.
func watchMemory(ctx context.Context, d *dev) (end func() most) {
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan most, 1)
	go func() {
		var m most
		for {
			own, err := d.memory("RssAnon")
			if err != nil {
				result <- most{err: err}
				return
			}
			mapped, err := d.memory("RssFile")
			if err != nil {
				result <- most{err: err}
				return
			}
			m.own, m.mapped = max(m.own, own), max(m.mapped, mapped)
			if pause(ctx, sampleEvery) != nil {
				result <- m
				return
			}
		}
	}()
	return func() most {
		cancel()
		return <-result
	}
}
