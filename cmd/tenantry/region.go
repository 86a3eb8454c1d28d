package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/daemon"
)

func newRegionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "region",
		Short: "Run a node of a region: its copy of all tenants, and the query API",
		Long: `Runs a node of a region: it follows the topic, keeps a full copy of all tenants under
--data-dir, and answers look-ups from it. A region may have any number of nodes, each
with a data directory of its own.

A node that starts with nothing builds its copy from the source of truth. One that has
a copy serves it while Kafka and the source are away, and says how old it may be.`,
		Example: `  tenantry region --region eu-west --data-dir /var/lib/tenantry \
    --kafka-brokers kafka-1.example:9092 --source http://catalogue.example:8080 --listen 0.0.0.0:8081`,
		Args: takesNone,
	}
	flags := cmd.Flags()
	flags.Var(newRegion(), "region", "the region's name")
	flags.Var(newDirectory(defaultDir), "data-dir", "where the copy is kept, below regions/NAME")
	flags.Var(newAddress("127.0.0.1:8081"), "listen", "address of the query API")
	flags.Var(newSource(), "source", "where the truth can be read: http(s):// of a catalogue, or postgres:// of the store")
	flags.String("database-password-file", "", "file that has the database's password, where the source is one; read again at each connection")
	kafka := addKafkaFlags(cmd, "brokers of Kafka")
	flags.Var(newLink(), "trace-url", "OTLP/HTTP collector to send traces to, such as http://127.0.0.1:4318; empty: no tracing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := needs(cmd, "region", "kafka-brokers", "source"); err != nil {
			return err
		}
		observed, err := observedBy(cmd)
		if err != nil {
			return err
		}
		return runServer(cmd, func(ctx context.Context) (server, error) {
			return daemon.OpenRegionServer(ctx, daemon.RegionServerConfig{
				Region: flagValue(cmd, "region"), DataDir: flagValue(cmd, "data-dir"), Listen: flagValue(cmd, "listen"), Kafka: kafka.config(cmd),
				Source:   daemon.Source{URL: flagValue(cmd, "source"), PasswordFile: flagValue(cmd, "database-password-file")},
				Observed: observed,
			})
		}, "The query API answers at %s\n")
	}
	return cmd
}
