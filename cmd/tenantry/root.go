package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tenantry/tenantry/internal/telemetry"
)

// newRoot is the whole command tree, each time anew: flags hold the values of one run.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "tenantry",
		Short: "An open tenant catalogue for multi-tenant platforms",
		Long: `Tenantry holds the one true configuration of every tenant, and tells any compute
node, from a local copy in its region, whose request it holds.

Flags that say where things are, how servers run and how results are printed can also be
set by an environment variable (--data-dir is TENANTRY_DATA_DIR) or by their name as a
key of the YAML file given with --config; 'tenantry config print' lists them. A flag beats
the environment, which beats the file. Flags that say which things one call shows, such as
--status and --as-of, are given on the command line alone.`,
		Version:           currentVersion().String(),
		Example:           "  tenantry dev\n  tenantry lookup acme.example",
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return applySettings(cmd) },
		Args:              cobra.ArbitraryArgs,
		RunE:              needsSubcommand,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(wrongFlag)
	flags := root.PersistentFlags()
	flags.String("config", "", "YAML file of settings; an unknown key in it is an error")
	flags.Var(newChoice("info", "debug", "info", "warn", "error"), "log-level", "what to log: debug, info, warn or error, and what is above")
	flags.Var(newChoice("text", "text", "json"), "log-format", "how to log: text or json")
	root.AddCommand(
		newDev(), newCatalogue(), newRegionCommand(), newMigrate(), newReplay(), newImport(), newExport(), newLookup(), newTenant(), newStatus(), newHealth(), newConfig(), newVersion(),
	)
	root.SetHelpCommand(newHelp())
	return root
}

// addCompletion adds cobra's scripts for shells, which then refuse arguments as our own commands
// do. The output has to be set before.
func addCompletion(root *cobra.Command) {
	root.CompletionOptions.HiddenDefaultCmd, root.CompletionOptions.DisableNoDescFlag = true, true
	root.InitDefaultCompletionCmd()
	i := slices.IndexFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == "completion" })
	completion := root.Commands()[i]
	completion.Args, completion.RunE = cobra.ArbitraryArgs, needsSubcommand
	completion.Example = "  tenantry completion bash > /etc/bash_completion.d/tenantry"
	for _, shell := range completion.Commands() {
		shell.Args = takesNone
		shell.Example = "  " + shell.CommandPath() + " > FILE"
	}
}

// newHelp is cobra's help, but for a command that there is not.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:               "help [COMMAND]",
		Short:             "Show what a command does and takes",
		Example:           "  tenantry help import",
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(about, rest[0])
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// wrongFlag shows no password of a value that is refused.
func wrongFlag(cmd *cobra.Command, err error) error {
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		name := invalid.GetFlag().Name
		return usage("--%s %q: %w; see '%s --help'", name, masked(name, invalid.GetValue()), invalid.Unwrap(), cmd.CommandPath())
	}
	return usage("%w; see '%s --help'", err, cmd.CommandPath())
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
