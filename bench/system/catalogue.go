package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"
)

// catalogue is a running system with many tenants.
type catalogue struct {
	dev   *dev
	paths []string // of look-ups, one a hostname
}

// openCatalogue starts a system and imports generated tenants into it through the API.
func openCatalogue(ctx context.Context, cfg *config) (*catalogue, []row, error) {
	cfg.say("importing %d generated tenants", cfg.tenants)
	d, err := startDev(ctx, cfg, cfg.path("catalogue"))
	if err != nil {
		return nil, nil, err
	}
	got, err := d.importLines(ctx, strings.NewReader(generated(cfg.tenants)))
	if err == nil && got.refused > 0 {
		err = fmt.Errorf("%d lines of the generated roster were refused", got.refused)
	}
	if err != nil {
		d.stop()
		return nil, nil, err
	}
	c := &catalogue{dev: d}
	for i := range cfg.tenants {
		c.paths = append(c.paths, "/v1/lookup/"+hostname(i))
	}
	return c, []row{{
		what: fmt.Sprintf("import of %d tenants (%d events), until both regions hold them", cfg.tenants, got.events),
		unit: "events/s", measured: []float64{float64(got.events) / got.visible.Seconds()},
	}}, nil
}

func hostname(i int) string { return fmt.Sprintf("app.company-%d.example", i) }
func tenantID(i int) string { return fmt.Sprintf("ten_company-%d", i) }

// generated is a roster: 20 databases, 5 groups, and so many tenants, each with a hostname and
// two products.
func generated(tenants int) string {
	var b bytes.Buffer
	const databases, groups = 20, 5
	for i := range databases {
		fmt.Fprintf(&b, `{"id":"db_pg-%d","engine":"postgres","region":"eu-west","host":"pg-%d.internal.example","port":5432,"secret_ref":"vault://bench/pg-%d"}`+"\n", i, i, i)
	}
	for i := range groups {
		fmt.Fprintf(&b, `{"id":"grp_ring-%d","name":"Ring %d","ring":%d}`+"\n", i, i, i)
	}
	for i := range tenants {
		fmt.Fprintf(&b, `{"id":"%s","name":"Company %d","hostnames":["%s"],"home_region":"eu-west","group":"grp_ring-%d",`+
			`"database":{"id":"db_pg-%d","name":"company_%d"},"products":{"boards":{"plan":"standard","seats":%d},"wiki":{"plan":"free","seats":5}}}`+"\n",
			tenantID(i), i, hostname(i), i%groups, i%databases, i, i%1000+1)
	}
	return b.String()
}

// idle is what a system that holds all this costs while nobody asks for anything.
func idle(ctx context.Context, cfg *config, c *catalogue) ([]row, error) {
	busy := row{what: "idle processor time, two regions and broker included", unit: "% of a core"}
	for range cfg.rounds {
		before, err := c.dev.cpu()
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if err := pause(ctx, cfg.duration); err != nil {
			return nil, err
		}
		after, err := c.dev.cpu()
		if err != nil {
			return nil, err
		}
		busy.measured = append(busy.measured, 100*(after-before).Seconds()/time.Since(began).Seconds())
		cfg.say("idle: %.1f%% of a core", busy.measured[len(busy.measured)-1])
	}
	rss, err := c.dev.memory("VmRSS")
	if err != nil {
		return nil, err
	}
	return []row{busy, {what: fmt.Sprintf("resident with %d tenants, after their import", cfg.tenants), unit: "MB", measured: []float64{rss}}}, nil
}
