package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
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
		Long:    "Validates the file given with --config, and the environment's TENANTRY_ variables, and\nlists everything that is wrong, with its place. Exit code 2 where anything is. A variable that\nis called like a setting and is none is a warning: it is ignored.",
		Example: "  tenantry config check --config tenantry.yaml",
		Args:    takesNone,
		RunE:    checkConfig,
	}
	printing := &cobra.Command{
		Use:     "print",
		Short:   "Show every setting in force, and where it came from",
		Long:    "Shows every setting of every command, its value with secrets masked, and where the value\ncame from: the default, the file, or the environment. Flags of a single call, such as\n--status and --as-of, are no settings.",
		Example: "  tenantry config print\n  tenantry config print --config tenantry.yaml --output json",
		Args:    takesNone,
		RunE:    printConfig,
	}
	addOutput(printing)
	cmd.AddCommand(check, printing)
	return cmd
}

// checkConfig reports every fault, each with its place, and else what was checked.
func checkConfig(cmd *cobra.Command, _ []string) error {
	file := readConfig(flagValue(cmd, "config"))
	set, faults := checkEnvironment()
	if err := warnOfEnvironment(cmd); err != nil {
		return err
	}
	if all := append(sorted(file.faults), faults...); len(all) > 0 {
		for _, err := range all { // without a prefix, so that an editor can jump to the place
			fmt.Fprintln(cmd.ErrOrStderr(), err)
		}
		return usage("%s in the configuration", count(len(all), "fault"))
	}
	if file.path == "" {
		if err := printf(cmd, "no file was checked: name one with --config\n"); err != nil {
			return err
		}
	} else if err := printf(cmd, "%s: %s, valid\n", file.path, count(len(file.settings), "setting")); err != nil {
		return err
	}
	if len(set) == 0 {
		return printf(cmd, "environment: no setting in it\n")
	}
	return printf(cmd, "environment: %s, valid (%s)\n", count(len(set), "setting"), strings.Join(set, ", "))
}

// checkEnvironment lists the settings that the environment has, and what is wrong with them.
func checkEnvironment() (set []string, faults []error) {
	flags := allFlags()
	for _, name := range sortedNames(flags) {
		if _, ok := os.LookupEnv(envName(name)); !ok {
			continue
		}
		set = append(set, envName(name))
		var wrong []error
		for _, f := range flags[name] {
			if err := fromOutside(f.Flag, new(configFile)); err != nil {
				wrong = append(wrong, err)
			}
		}
		if len(wrong) == len(flags[name]) { // no command would take it
			faults = append(faults, wrong[0])
		}
	}
	return set, faults
}

// settingInForce is one row of `config print`.
type settingInForce struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
	// Commands are those for which it is so, where it is different for others.
	Commands string `json:"commands,omitempty"`
}

func printConfig(cmd *cobra.Command, _ []string) error {
	rows, faults := inForce(cmd)
	if len(faults) > 0 {
		return usage("%w", errors.Join(faults...))
	}
	if err := warnOfEnvironment(cmd); err != nil {
		return err
	}
	if asJSON(cmd) {
		return printJSON(cmd, rows)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	for _, r := range rows {
		who := ""
		if r.Commands != "" {
			who = " (" + r.Commands + ")"
		}
		fmt.Fprintf(w, "%s:\t%s\t# %s%s\n", r.Name, r.Value, r.Source, who)
	}
	return w.Flush()
}

// inForce is every setting of every command, and everything that is wrong with the file and
// the environment.
func inForce(cmd *cobra.Command) ([]settingInForce, []error) {
	file := readConfig(flagValue(cmd, "config"))
	faults := file.faults
	flags := allFlags()
	var rows []settingInForce
	for _, name := range sortedNames(flags) {
		if given := cmd.Flag(name); given != nil && given.Changed {
			// Only the flags of `config` itself can be given here.
			rows = append(rows, settingInForce{Name: name, Value: masked(name, given.Value.String()), Source: "flag"})
			continue
		}
		var taken []settingInForce
		var wrong []error
		for _, f := range flags[name] {
			note(f.Flag, "default")
			if err := fromOutside(f.Flag, file); err != nil {
				wrong = append(wrong, err) // these commands would not start with it
				continue
			}
			row := settingInForce{Name: name, Value: masked(name, f.Value.String()), Source: f.Annotations[sourceOf][0]}
			if len(flags[name]) > 1 {
				row.Commands = strings.Join(f.commands, ", ")
			}
			taken = append(taken, row)
		}
		if len(taken) == 0 {
			faults = append(faults, wrong[0])
		}
		rows = append(rows, taken...)
	}
	return rows, sorted(faults)
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
	u, err := url.Parse(value)
	if err != nil {
		if strings.Contains(value, "@") {
			return "****" // a URL that cannot be taken apart may have one anywhere
		}
		return value
	}
	query := u.Query()
	for _, key := range []string{"password", "sslpassword"} {
		if query.Has(key) {
			query.Set(key, "****")
			u.RawQuery = strings.ReplaceAll(query.Encode(), "%2A", "*")
			value = u.String()
		}
	}
	if _, has := u.User.Password(); has {
		return strings.Replace(u.Redacted(), ":xxxxx@", ":****@", 1)
	}
	return value
}
