package main

import (
	"context"
	"time"

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
a copy serves it while Kafka and the source are away, and says how old it may be.

With --bootstrap-from a node that starts with nothing begins with the copy of another
one, which takes seconds where there are millions of tenants, and then compares it with
the source. The other one must have been started with --serve-snapshots: its copy holds
all tenants, and whoever reaches the query API could fetch it.`,
		Example: `  tenantry region --region eu-west --data-dir /var/lib/tenantry \
    --kafka-brokers kafka-1.example:9092 --source http://catalogue.example:8080 --listen 0.0.0.0:8081
  tenantry region snapshot --region eu-west --data-dir /var/lib/tenantry --to eu-west.copy`,
		Args: takesNone,
	}
	flags := cmd.Flags()
	flags.Var(newRegion(), "region", "the region's name")
	flags.Var(newDirectory(), "data-dir", "where the copy is kept, below regions/NAME")
	flags.Var(newAddress("127.0.0.1:8081"), "listen", "address of the query API")
	flags.Var(newSource(), "source", "where the truth can be read: http(s):// of a catalogue, or postgres:// of the store")
	addSourceFlags(cmd)
	flags.Var(newLink(), "bootstrap-from", "query API of another node, whose copy to begin with where there is none; empty: build it from the source")
	flags.Bool("serve-snapshots", false, "give this node's whole copy to whoever asks the query API for it (GET /v1/snapshot)")
	verify := addVerifyFlags(cmd)
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
				Source:        sourceOfTruth(cmd),
				BootstrapFrom: flagValue(cmd, "bootstrap-from"), ServeSnapshots: flagValue(cmd, "serve-snapshots") == "true",
				VerifyEvery: time.Duration(verify.every), Heal: flagValue(cmd, "heal") == "true",
				Observed: observed,
			})
		}, "The query API answers at %s\n")
	}
	cmd.AddCommand(newRegionSnapshot(), newRegionRestore())
	return cmd
}
