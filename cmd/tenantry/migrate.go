package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/daemon"
)

func newMigrate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the event store's schema in PostgreSQL to this program's",
		Long: `Makes the schema of the event store in a database, or brings an older one to that of
this program, as a role that may create it there. The roles that --writer-role and
--reader-role name are granted what a catalogue and a region's --source need, and no
more: neither can change or remove an event. Servers refuse a schema that is not
theirs.

--dry-run prints the SQL, and changes nothing. Running it again changes nothing.`,
		Example: `  tenantry migrate --database-url postgres://owner@db.example/tenantry \
    --writer-role tenantry_writer --reader-role tenantry_reader`,
		Args: takesNone,
	}
	addDatabaseFlags(cmd, "the database, as the role that shall own the schema; not through a pooler")
	flags := cmd.Flags()
	flags.String("writer-role", "", "role of the catalogues, which is there already; empty: none is granted anything")
	flags.String("reader-role", "", "role of regions that read the database, which is there already; empty: none is granted anything")
	flags.Bool("dry-run", false, "print the SQL, and change nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := needs(cmd, "database-url"); err != nil {
			return err
		}
		log, err := logger(cmd)
		if err != nil {
			return err
		}
		database, err := databaseConfig(cmd)
		if err != nil {
			return err
		}
		dry := flagValue(cmd, "dry-run") == "true"
		steps, err := daemon.Migrate(cmd.Context(), daemon.MigrateConfig{
			Database: database, Writer: flagValue(cmd, "writer-role"), Reader: flagValue(cmd, "reader-role"), DryRun: dry, Logger: log,
		})
		if err != nil {
			return err
		}
		if !dry {
			if len(steps) == 0 {
				return printf(cmd, "the schema is this program's already: nothing to do\n")
			}
			for _, s := range steps {
				if err := printf(cmd, "done: %s\n", s.Name); err != nil {
					return err
				}
			}
			return nil
		}
		for _, s := range steps {
			if err := printf(cmd, "-- %s\n%s\n\n", s.Name, strings.TrimSpace(s.SQL)); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}
