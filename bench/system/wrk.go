package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// wrkScript formats each path's request once, before wrk looks at the clock, so that a request
// costs it one random number. Each thread has another sequence of them.
const wrkScript = `
local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("seed", threads)
end
local requests = {}
function init(args)
  math.randomseed(seed)
  for path in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", path)
  end
end
function request()
  return requests[math.random(#requests)]
end
`

// throughput is how many look-ups a second wrk gets out of one region, and out of nginx, and how
// much processor time each took: a number that others at work on the machine hardly change.
func throughput(ctx context.Context, cfg *config, c *catalogue) ([]row, error) {
	rate := row{what: fmt.Sprintf("look-ups of random hostnames among %d, wrk -t2 -c64", cfg.tenants), unit: "/s", goal: goal{ratio: 0.7}}
	cost := row{what: "the server's processor time for one of them", unit: "µs"}
	if !installed("wrk") {
		rate.note = "not measured: wrk is not installed"
		return []row{rate}, nil
	}
	script, paths := cfg.path("lookup.lua"), cfg.path("paths")
	if err := os.WriteFile(script, []byte(wrkScript), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(paths, []byte(strings.Join(c.paths, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	err := beside(ctx, cfg, c, &rate, func(ctx context.Context, server *process, url string) (float64, error) {
		before, err := server.cpu()
		if err != nil {
			return 0, err
		}
		perSecond, requests, err := wrk(ctx, cfg.duration, script, paths, url)
		if err != nil {
			return 0, err
		}
		after, err := server.cpu()
		if err != nil {
			return 0, err
		}
		each := (after - before).Seconds() * 1e6 / requests
		if server == c.dev.process {
			cost.measured = append(cost.measured, each)
		} else {
			cost.peer = append(cost.peer, each)
		}
		return perSecond, nil
	})
	return []row{rate, cost}, err
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// beside measures a region and nginx in turn, in each round the other one first.
func beside(ctx context.Context, cfg *config, c *catalogue, r *row, measure func(ctx context.Context, server *process, url string) (float64, error)) error {
	like, err := ask(ctx, c.dev.regions[0], c.paths[len(c.paths)/2])
	if err != nil {
		return err
	}
	var peer *nginx
	if !installed("nginx") {
		cfg.say("nginx is not installed: nothing to compare with")
	} else {
		if peer, err = startNginx(ctx, cfg, like); err != nil {
			return err
		}
		defer peer.stop()
	}
	ours := func() error {
		v, err := measure(ctx, c.dev.process, c.dev.regions[0])
		r.measured = append(r.measured, v)
		cfg.say("%s: %s %s", r.what, number(v), r.unit)
		return err
	}
	theirs := func() error {
		if peer == nil {
			return nil
		}
		v, err := measure(ctx, peer.process, peer.url)
		r.peer = append(r.peer, v)
		cfg.say("  nginx: %s %s", number(v), r.unit)
		return err
	}
	for round := range cfg.rounds {
		turn := [...]func() error{ours, theirs}
		if round%2 == 1 {
			slices.Reverse(turn[:])
		}
		if err := cfg.settle(ctx); err != nil {
			return err
		}
		for _, measure := range turn {
			if err := measure(); err != nil {
				return err
			}
		}
	}
	return nil
}

var (
	wrkRate     = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkRequests = regexp.MustCompile(`(\d+) requests in `)
	wrkFaults   = regexp.MustCompile(`(Non-2xx or 3xx responses|Socket errors): .*`)
)

func wrk(ctx context.Context, d time.Duration, script, paths, url string) (perSecond, requests float64, err error) {
	p := exec.CommandContext(ctx, "wrk", "-t2", "-c64", fmt.Sprintf("-d%ds", int(d.Seconds())), "-s", script, url, "--", paths)
	dieWithUs(p)
	out, err := p.CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if fault := wrkFaults.Find(out); fault != nil {
		return 0, 0, fmt.Errorf("wrk on %s: %s", url, fault)
	}
	for into, number := range map[*float64]*regexp.Regexp{&perSecond: wrkRate, &requests: wrkRequests} {
		found := number.FindSubmatch(out)
		if found == nil {
			return 0, 0, fmt.Errorf("wrk says no %s: %s", number, out)
		}
		if *into, err = strconv.ParseFloat(string(found[1]), 64); err != nil {
			return 0, 0, err
		}
	}
	return perSecond, requests, nil
}
