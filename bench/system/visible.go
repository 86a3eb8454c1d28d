package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// visibleFor is how long commands are sent in a round.
const visibleFor = 15 * time.Second

// visible is the time from a command's answer until look-ups with its token have been answered,
// with what it changed, in both regions.
func visible(ctx context.Context, cfg *config, c *catalogue) ([]row, error) {
	at := fmt.Sprintf("at %d commands/s", cfg.commands)
	p50 := row{what: "command answered → visible in both regions, p50 " + at, unit: "ms", goal: goal{below: 3}}
	p99 := row{what: "the same, p99", unit: "ms", goal: goal{below: 15}}
	answered := row{what: "command sent → answered (synced to disk), p50 " + at, unit: "ms"}
	for round := range cfg.rounds {
		if err := cfg.settle(ctx); err != nil {
			return nil, err
		}
		w := writing{catalogue: c, round: round}
		if err := w.run(ctx, cfg); err != nil {
			return nil, err
		}
		slices.Sort(w.seen)
		slices.Sort(w.answered)
		p50.measured = append(p50.measured, quantile(w.seen, 0.5))
		p99.measured = append(p99.measured, quantile(w.seen, 0.99))
		answered.measured = append(answered.measured, quantile(w.answered, 0.5))
		cfg.say("visible in both regions: p50 %.2f ms, p99 %.2f ms of %d commands", quantile(w.seen, 0.5), quantile(w.seen, 0.99), len(w.seen))
	}
	return []row{answered, p50, p99}, nil
}

// writing is one round of commands.
type writing struct {
	*catalogue
	round int

	mu             sync.Mutex
	answered, seen []float64 // ms
}

// run sends commands when they are due, whether those before are done or not.
func (w *writing) run(ctx context.Context, cfg *config) error {
	every := time.Second / time.Duration(cfg.commands)
	tick := time.NewTicker(every)
	defer tick.Stop()
	group, ctx := errgroup.WithContext(ctx)
	for i := range int(visibleFor / every) {
		select {
		case <-tick.C:
			group.Go(func() error { return w.rename(ctx, (w.round*len(w.paths)/3+i)%len(w.paths), i) })
		case <-ctx.Done():
			return group.Wait()
		}
	}
	return group.Wait()
}

// rename changes a tenant's name, and looks it up in both regions with the command's token.
func (w *writing) rename(ctx context.Context, tenant, n int) error {
	name := fmt.Sprintf("Renamed %d in round %d", n, w.round)
	began := time.Now()
	answer, err := w.dev.command(ctx, http.MethodPatch, "/v1/tenants/"+tenantID(tenant), fmt.Appendf(nil, `{"name":%q}`, name))
	if err != nil {
		return err
	}
	answered := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, region := range w.dev.regions {
		group.Go(func() error {
			body, err := get(ctx, region+w.paths[tenant]+"?wait=30s&at_least="+url.QueryEscape(answer.token))
			if err == nil && !bytes.Contains(body, []byte(name)) {
				err = fmt.Errorf("%s says that it holds %q, and answers %s", region, answer.token, body)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	seen := time.Since(answered)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered = append(w.answered, answered.Sub(began).Seconds()*1000)
	w.seen = append(w.seen, seen.Seconds()*1000)
	return nil
}
