package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/daemon"
)

func newDev() *cobra.Command {
	regions := &list{
		kind: "NAME=host:port", check: checkRegion, key: regionOf, none: "name one region at least, such as eu-west=127.0.0.1:8081",
		values: []string{"eu-west=127.0.0.1:8081", "us-east=127.0.0.1:8082"},
	}
	homes := &list{kind: "names", check: checkRegionName, values: []string{"eu-west", "us-east"}}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything in one process: the write side, a broker and two regions",
		Long: `Runs the whole system in one process with nothing to install: the event store and
a Kafka-protocol broker, both keeping their data under --data-dir, the admin API, and
a node of each region. A real database given with --database-url takes the embedded
store's place, and gets its schema; real brokers given with --kafka-brokers take the
embedded broker's place.

When it is ready it has printed every address, and written them to
tenantry.json in the data directory.`,
		Example: "  tenantry dev\n  tenantry dev --data-dir /tmp/t --listen 127.0.0.1:0 --region eu=127.0.0.1:0 --import roster.ndjson",
		Args:    takesNone,
	}
	flags := cmd.Flags()
	flags.Var(newDirectory(), "data-dir", "where everything is kept")
	flags.Var(newAddress("127.0.0.1:8080"), "listen", "address of the admin API")
	flags.Var(regions, "region", "a region and the address of its query API; once for each region")
	flags.Var(homes, "home-regions", "regions that a tenant's home may be in, besides those of --region")
	flags.Var(newAddress("127.0.0.1:0"), "kafka-listen", "address of the embedded broker")
	verify := addVerifyFlags(cmd)
	kafka := addKafkaFlags(cmd, "brokers of a real Kafka, in place of the embedded one")
	kafka.addTopicFlags(cmd)
	addDatabaseFlags(cmd, "a database of PostgreSQL, in place of the embedded store")
	addPoolFlags(cmd)
	flags.String("import", "", "NDJSON file of tenants to import before it is ready; lines that are there already change nothing")
	flags.Var(newLink(), "trace-url", "OTLP/HTTP collector to send traces to, such as http://127.0.0.1:4318; empty: no tracing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		observed, err := observedBy(cmd)
		if err != nil {
			return err
		}
		database, err := databaseConfig(cmd)
		if err != nil {
			return err
		}
		cfg := daemon.DevConfig{
			DataDir: flagValue(cmd, "data-dir"), Listen: flagValue(cmd, "listen"), HomeRegions: homes.values,
			KafkaListen: flagValue(cmd, "kafka-listen"),
			VerifyEvery: time.Duration(verify.every), Heal: flagValue(cmd, "heal") == "true",
			Database: database, Kafka: kafka.config(cmd), Observed: observed,
		}
		for _, s := range regions.values {
			r, err := parseRegion(s)
			if err != nil {
				return usage("--region: %w", err)
			}
			cfg.Regions = append(cfg.Regions, r)
		}
		return runDev(cmd, cfg, flagValue(cmd, "import"))
	}
	return cmd
}

// runDev runs until it is told to stop or a part of it fails.
func runDev(cmd *cobra.Command, cfg daemon.DevConfig, importFile string) (err error) {
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	if importFile != "" {
		if _, err := checkSource(importFile); err != nil {
			return fmt.Errorf("--import: %w", err) // before anything is started or made
		}
	}
	if open := beyondLoopback(cfg); len(open) > 0 {
		cfg.Logger.Warn("other machines can reach dev, and nothing authenticates who asks: keep both APIs on a private network", "listen", strings.Join(open, ", "))
	}
	dev, err := daemon.OpenDev(ctx, cfg)
	if err != nil {
		return ifStopped(cmd, err)
	}
	defer func() {
		if closeErr := dev.Close(); closeErr != nil && err == nil {
			err = closeErr
		}
	}()
	go func() {
		select {
		case err := <-dev.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	if importFile != "" {
		summary, err := importInto(ctx, cmd, dev.Addresses().Admin, importFile, exceptConflicts(reportRefused(cmd.ErrOrStderr())))
		if err != nil {
			return ifStopped(cmd, fmt.Errorf("import %s: %w", importFile, err))
		}
		if err := printf(cmd, "imported %s: %s\n", importFile, summary); err != nil {
			return err
		}
		note := ""
		switch {
		case summary.refused() > summary.conflict:
			note = "what is refused has changed nothing; 'tenantry import %s' says which lines, and why\n"
		case summary.conflict > 0:
			note = "a conflict is what was changed here since, and stays as it is; 'tenantry import %s' says what differs\n"
		}
		if note != "" {
			if err := printf(cmd, note, importFile); err != nil {
				return err
			}
		}
	}
	if err := dev.AwaitReady(ctx); err != nil {
		return ifStopped(cmd, causeOf(ctx, err))
	}
	if err := dev.Announce(); err != nil {
		return err
	}
	if err := printf(cmd, "%s", describe(dev.Addresses(), cfg.DataDir)); err != nil {
		return err
	}
	<-ctx.Done()
	return ifStopped(cmd, causeOf(ctx, ctx.Err()))
}

// beyondLoopback are the addresses of the two APIs that are not of this machine alone.
func beyondLoopback(cfg daemon.DevConfig) (open []string) {
	all := []string{cfg.Listen}
	for _, r := range cfg.Regions {
		all = append(all, r.Listen)
	}
	for _, at := range all {
		host, _, _ := net.SplitHostPort(at) // the flag has checked it
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			open = append(open, at)
		}
	}
	return open
}

// exceptConflicts passes over lines that are there with other content: at a later start these
// are what was changed since, and no fault.
func exceptConflicts(each func(importLine) error) func(importLine) error {
	return func(line importLine) error {
		if line.Status == "conflict" {
			return nil
		}
		return each(line)
	}
}

// causeOf is why a part of it failed, where that is why the context ended.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// ifStopped is nil where the user has told the program to stop: that is no failure.
func ifStopped(cmd *cobra.Command, err error) error {
	if cmd.Context().Err() != nil {
		return nil //nolint:nilerr // what was under way could only fail
	}
	return err
}

func describe(a daemon.Addresses, dataDir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Tenantry is ready. Its data is in %s.\n\n", dataDir)
	fmt.Fprintf(&b, "  admin API          %s   (docs: %s/docs)\n", a.Admin, a.Admin)
	for _, name := range slices.Sorted(maps.Keys(a.Regions)) {
		fmt.Fprintf(&b, "  region %-10s  %s\n", name, a.Regions[name])
	}
	fmt.Fprintf(&b, "  Kafka              %s\n", strings.Join(a.Kafka, ","))
	fmt.Fprintf(&b, "  these addresses    %s\n\n", filepath.Join(dataDir, daemon.AddressFile))
	b.WriteString("Stop it with Ctrl-C.\n")
	return b.String()
}
