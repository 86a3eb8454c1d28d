package main

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Check a configuration file, or show what is in force",
		Example: "  tenantry config check --config tenantry.yaml\n  tenantry config print --config tenantry.yaml",
		Args:    cobra.ArbitraryArgs,
		RunE:    needsSubcommand,
		// check reports all faults of the file itself, where applySettings would stop.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
	}
	check := &cobra.Command{
		Use:     "check",
		Short:   "Validate all of a configuration file at once",
		Long:    "Validates the file given with --config, and the environment's TENANTRY_ variables, and\nlists everything that is wrong. Exit code 2 where anything is.",
		Example: "  tenantry config check --config tenantry.yaml",
		Args:    cobra.NoArgs,
		RunE:    checkConfig,
	}
	printing := &cobra.Command{
		Use:     "print",
		Short:   "Show every setting in force, and where it came from",
		Long:    "Shows every setting of every command, its value with secrets masked, and where the value\ncame from: the default, the file, or the environment.",
		Example: "  tenantry config print\n  tenantry config print --config tenantry.yaml --output json",
		Args:    cobra.NoArgs,
		RunE:    printConfig,
	}
	addOutput(printing)
	cmd.AddCommand(check, printing)
	return cmd
}

func checkConfig(cmd *cobra.Command, _ []string) error {
	_, problems := inForce(cmd)
	if len(problems) == 0 {
		return printf(cmd, "the configuration is valid\n")
	}
	return usage("%w", errors.Join(problems...))
}

// settingInForce is one row of `config print`.
type settingInForce struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

func printConfig(cmd *cobra.Command, _ []string) error {
	rows, problems := inForce(cmd)
	if len(problems) > 0 {
		return usage("%w", errors.Join(problems...))
	}
	if asJSON(cmd) {
		return printJSON(cmd, rows)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(w, "%s:\t%s\t# %s\n", r.Name, r.Value, r.Source)
	}
	return w.Flush()
}

// inForce is every setting of every command, and everything that is wrong with the file and
// the environment.
func inForce(cmd *cobra.Command) ([]settingInForce, []error) {
	path := flagValue(cmd, "config")
	if path == "" {
		path = os.Getenv(envName("config"))
	}
	var problems []error
	var file settings
	if path != "" {
		var err error
		if file, err = readSettings(path); err != nil {
			return nil, []error{err}
		}
		problems = file.unknown()
	}
	flags := allFlags()
	var rows []settingInForce
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		f := flags[name]
		if given := cmd.Flag(name); given != nil && given.Changed {
			// Only the flags of `config` itself can be given here.
			rows = append(rows, settingInForce{name, masked(name, given.Value.String()), "flag"})
			continue
		}
		note(f, "default")
		if err := fromOutside(f, path, file); err != nil {
			problems = append(problems, err)
		}
		rows = append(rows, settingInForce{name, masked(name, f.Value.String()), f.Annotations[sourceOf][0]})
	}
	return rows, problems
}

// masked hides passwords: in URLs, and in whatever is called one.
func masked(name, value string) string {
	if value == "" {
		return value
	}
	for _, word := range []string{"password", "secret", "token"} {
		if strings.Contains(name, word) && !strings.HasSuffix(name, "-file") {
			return "****"
		}
	}
	if u, err := url.Parse(value); err == nil && u.User != nil {
		if _, has := u.User.Password(); has {
			return strings.Replace(u.Redacted(), ":xxxxx@", ":****@", 1)
		}
	}
	return value
}
