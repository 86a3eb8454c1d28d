package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/daemon"
)

func newCatalogue() *cobra.Command {
	homes := &list{kind: "names", check: checkRegionName}
	cmd := &cobra.Command{
		Use:   "catalogue",
		Short: "Run the write side: the admin API and the relay, on PostgreSQL and Kafka",
		Long: `Runs a write side: the admin API on the event store in PostgreSQL, and the relay that
publishes its events to Kafka. Any number may run on one database behind a load
balancer; the relay of one of them leads, and another takes over when it is gone.

The database has to have this program's schema: see 'tenantry migrate'. The topic is
made where it is not there.`,
		Example: `  tenantry catalogue --database-url postgres://tenantry_writer@db.example/tenantry \
    --kafka-brokers kafka-1.example:9092,kafka-2.example:9092 --listen 0.0.0.0:8080`,
		Args: takesNone,
	}
	flags := cmd.Flags()
	flags.Var(newAddress("127.0.0.1:8080"), "listen", "address of the admin API")
	addDatabaseFlags(cmd, "the database of the event store, such as postgres://USER@HOST/DATABASE")
	addPoolFlags(cmd)
	kafka := addKafkaFlags(cmd, "brokers of Kafka")
	kafka.addTopicFlags(cmd)
	flags.Var(homes, "home-regions", "regions that a tenant's home may be in; none: any")
	flags.Var(newLink(), "trace-url", "OTLP/HTTP collector to send traces to, such as http://127.0.0.1:4318; empty: no tracing")
	flags.Bool("accept-restore", false, "when the database turns out to be restored to an earlier past, give it a new identity and go on from there; without it nothing is published until a person decides")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := needs(cmd, "database-url", "kafka-brokers"); err != nil {
			return err
		}
		observed, err := observedBy(cmd)
		if err != nil {
			return err
		}
		database, err := databaseConfig(cmd)
		if err != nil {
			return err
		}
		return runServer(cmd, func(ctx context.Context) (server, error) {
			return daemon.OpenCatalogueServer(ctx, daemon.CatalogueServerConfig{
				Listen: flagValue(cmd, "listen"), Database: database, Kafka: kafka.config(cmd), HomeRegions: homes.values,
				AcceptRestore: flagValue(cmd, "accept-restore") == "true", Observed: observed,
			})
		}, "The admin API answers at %s\n")
	}
	return cmd
}

// server is one of daemon's.
type server interface {
	URL() string
	Failed() <-chan error
	Close() error
}

// runServer runs until it is told to stop or a part of it fails.
func runServer(cmd *cobra.Command, open func(context.Context) (server, error), announce string) (err error) {
	s, err := open(cmd.Context())
	if err != nil {
		return ifStopped(cmd, err)
	}
	defer func() {
		if closeErr := s.Close(); closeErr != nil && err == nil {
			err = fmt.Errorf("stop: %w", closeErr)
		}
	}()
	if err := printf(cmd, announce, s.URL()); err != nil {
		return err
	}
	select {
	case <-cmd.Context().Done():
		return nil
	case err := <-s.Failed():
		return err
	}
}

// observedBy is what the flags of every server say of logs and traces.
func observedBy(cmd *cobra.Command) (daemon.Observed, error) {
	log, err := logger(cmd)
	if err != nil {
		return daemon.Observed{}, err
	}
	return daemon.Observed{TraceURL: flagValue(cmd, "trace-url"), Version: currentVersion().Version, Logger: log}, nil
}
