package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"time"

	"github.com/go-json-experiment/json"
)

// rebuildRate is how many look-ups a second there are while a region is rebuilt.
const rebuildRate = 20_000

// rebuild is what look-ups at a fixed rate notice of it when their region is rebuilt, again and again, by
// `tenantry replay`, which runs on the same cores. One that is not answered 200 ends the measurement with
// an error.
func rebuild(ctx context.Context, cfg *config, c *catalogue) ([]row, error) {
	before := row{what: fmt.Sprintf("look-up p99 at %d/s, while nothing is rebuilt", rebuildRate), unit: "ms"}
	during := row{what: "the same, while replay rebuilds the region and swaps", unit: "ms"}
	times := row{what: "the second to the first", unit: "×", goal: goal{below: 3.001}}
	took := row{what: fmt.Sprintf("one rebuild of %d tenants under these look-ups", cfg.tenants), unit: "s"}
	failed := row{what: "look-ups that failed then", unit: "", goal: goal{below: 1}}
	base, err := url.Parse(c.dev.regions[0])
	if err != nil {
		return nil, err
	}
	s := steady{rate: rebuildRate, duration: cfg.duration}
	for _, path := range c.paths {
		s.requests = append(s.requests, request(base.Host, path))
	}
	for range cfg.rounds {
		if err := cfg.settle(ctx); err != nil {
			return nil, err
		}
		all, err := s.run(ctx, base.Host)
		if err != nil {
			return nil, err
		}
		quiet := quantile(all, 0.99)
		over, end := context.WithCancel(ctx)
		type outcome struct {
			took []float64
			err  error
		}
		rebuilt := make(chan outcome, 1)
		go func() {
			var o outcome
			for over.Err() == nil && o.err == nil {
				var one float64
				if one, o.err = cfg.replay(ctx); o.err == nil {
					o.took = append(o.took, one)
				}
			}
			rebuilt <- o
		}()
		all, err = s.run(ctx, base.Host)
		end()
		o := <-rebuilt
		if err != nil {
			return nil, fmt.Errorf("a look-up failed while the region was rebuilt: %w", err)
		}
		if o.err != nil {
			return nil, o.err
		}
		busy := quantile(all, 0.99)
		before.measured, during.measured = append(before.measured, quiet), append(during.measured, busy)
		times.measured, failed.measured = append(times.measured, busy/quiet), append(failed.measured, 0)
		took.measured = append(took.measured, o.took...)
		cfg.say("rebuild: p99 %.2f ms before, %.2f ms while %d rebuilds went on", quiet, busy, len(o.took))
	}
	return []row{before, during, times, failed, took}, nil
}

// replay rebuilds the first region, and says how many seconds it took.
func (cfg *config) replay(ctx context.Context) (seconds float64, err error) {
	cmd := exec.CommandContext(ctx, cfg.binary, "replay", "--region", "eu-west", "--data-dir", cfg.path("catalogue"), "--output", "json")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("replay: %w: %s", err, stderr.Bytes())
	}
	var out struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal(stdout.Bytes(), &out); err != nil {
		return 0, err
	}
	if out.PID == 0 {
		return 0, fmt.Errorf("replay found no node that runs: %s", stdout.Bytes())
	}
	return time.Since(began).Seconds(), nil
}
