package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/go-json-experiment/json"
)

// imports is what a real roster costs: to import, to start again with, and to hold in memory.
func imports(ctx context.Context, cfg *config) ([]row, error) {
	answered := row{what: "import of universities.ndjson through the API, until answered", unit: "s", goal: goal{below: 10}}
	seen := row{what: "the same, until both regions hold it", unit: "s"}
	restart := row{what: "start with it, until ready", unit: "s", goal: goal{below: 2}}
	after := row{what: "resident after the import", unit: "MB", goal: goal{below: 300}}
	most := row{what: "resident at most, during the import", unit: "MB"}
	later := row{what: "resident after a restart and a look-up of each hostname in both regions", unit: "MB", goal: goal{below: 300}}
	roster, err := os.ReadFile(cfg.university)
	if errors.Is(err, fs.ErrNotExist) {
		answered.note = "not measured: " + cfg.university + " is not there"
		return []row{answered}, nil
	}
	if err != nil {
		return nil, err
	}
	for round := range cfg.rounds {
		if err := cfg.settle(ctx); err != nil {
			return nil, err
		}
		dir := cfg.path(fmt.Sprintf("universities-%d", round))
		err := func() error {
			d, err := startDev(ctx, cfg, dir)
			if err != nil {
				return err
			}
			defer d.stop()
			got, err := d.importLines(ctx, bytes.NewReader(roster))
			if err != nil {
				return err
			}
			cfg.say("import: %d created, %d refused, %d events in %.2f s, visible after %.2f s",
				got.created, got.refused, got.events, got.answered.Seconds(), got.visible.Seconds())
			answered.measured = append(answered.measured, got.answered.Seconds())
			seen.measured = append(seen.measured, got.visible.Seconds())
			return errors.Join(after.add(d, "VmRSS"), most.add(d, "VmHWM"))
		}()
		if err != nil {
			return nil, err
		}
		err = func() error {
			began := time.Now()
			d, err := startDev(ctx, cfg, dir)
			if err != nil {
				return err
			}
			defer d.stop()
			restart.measured = append(restart.measured, time.Since(began).Seconds())
			if err := d.lookUpAll(ctx, roster); err != nil {
				return err
			}
			return later.add(d, "VmRSS")
		}()
		if err != nil {
			return nil, err
		}
		cfg.say("start: %.2f s; resident %.0f MB after the import, %.0f MB after a restart",
			restart.measured[round], after.measured[round], later.measured[round])
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	return []row{answered, seen, restart, after, most, later}, nil
}

// add measures a process's memory.
func (r *row) add(d *dev, field string) error {
	mb, err := d.memory(field)
	r.measured = append(r.measured, mb)
	return err
}

// lookUpAll looks up every hostname of a roster in both regions.
func (d *dev) lookUpAll(ctx context.Context, roster []byte) error {
	unknown := 0
	for line := range bytes.Lines(roster) {
		var tenant struct {
			Hostnames []string `json:"hostnames"`
		}
		if err := json.Unmarshal(line, &tenant); err != nil {
			return err
		}
		for _, name := range tenant.Hostnames {
			for _, region := range d.regions {
				_, err := get(ctx, region+"/v1/lookup/"+name)
				switch {
				case errors.Is(err, errNotFound):
					unknown++
				case err != nil:
					return err
				}
			}
		}
	}
	// Three lines of the roster are refused, and one hostname stands on nothing but one of them.
	if unknown > len(d.regions) {
		return fmt.Errorf("%d look-ups found nothing", unknown)
	}
	return nil
}
