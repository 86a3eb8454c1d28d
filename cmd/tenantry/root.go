package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/telemetry"
)

// newRoot is the whole command tree, each time anew: flags hold the values of one run.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "tenantry",
		Short: "An open tenant catalogue for multi-tenant platforms",
		Long: `Tenantry holds the one true configuration of every tenant, and tells any compute
node, from a local copy in its region, whose request it holds.

Every flag but --config, --output and --dry-run can also be set by an environment
variable (--data-dir is TENANTRY_DATA_DIR) or by its name as a key of the YAML file
given with --config. A flag beats the environment, which beats the file.`,
		Example:           "  tenantry dev\n  tenantry lookup acme.example",
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return applySettings(cmd) },
		Args:              cobra.NoArgs,
		RunE:              needsSubcommand,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w; see '%s --help'", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.String("config", "", "YAML file of settings; an unknown key in it is an error")
	flags.Var(newChoice("info", "debug", "info", "warn", "error"), "log-level", "what to log: debug, info, warn or error, and what is above")
	flags.Var(newChoice("text", "text", "json"), "log-format", "how to log: text or json")
	root.AddCommand(
		newDev(), newImport(), newExport(), newLookup(), newTenant(), newStatus(), newConfig(), newVersion(),
	)
	wrapArgs(root)
	return root
}

// needsSubcommand is what a command does that only groups others.
func needsSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("unknown command %q for %q; see '%s --help'", args[0], cmd.CommandPath(), cmd.CommandPath())
	}
	return cmd.Help()
}

// wrapArgs makes wrong arguments a wrong usage, with its exit code, for all commands.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage("%w; see '%s --help'", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		wrapArgs(sub)
	}
}

// logger logs to standard error as the flags say.
func logger(cmd *cobra.Command) (*slog.Logger, error) {
	log, err := telemetry.Logger(cmd.ErrOrStderr(), flagValue(cmd, "log-level"), flagValue(cmd, "log-format"))
	if err != nil {
		return nil, usage("%w", err)
	}
	return log, nil
}

// flagValue is a flag's value as text. A flag that the command does not have is a bug.
func flagValue(cmd *cobra.Command, name string) string {
	f := cmd.Flag(name)
	if f == nil {
		panic(fmt.Sprintf("command %s has no flag --%s", cmd.CommandPath(), name))
	}
	return f.Value.String()
}
