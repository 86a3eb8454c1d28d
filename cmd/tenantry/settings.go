package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// notSettings are the flags of one call: whether it only says what it would do, and which things
// of many it shows. Were they read from the environment, a TENANTRY_STATUS that a platform sets
// would leave tenants out of a list without a word.
var notSettings = []string{
	"help", "config", "dry-run", // how this call is done
	"version", "as-of", "status", "group", "home-region", // what of it is shown
	"topic", "since", "tenant", "rate", "restart", // what is replayed, and how
	"verify", "quick", "repair", "rollback", "force",
	"from", "to", // which file
}

// envName is the environment variable of a flag.
func envName(flag string) string {
	return "TENANTRY_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// isSetting tells whether a flag can also be set by environment and file.
func isSetting(f *pflag.Flag) bool { return !slices.Contains(notSettings, f.Name) }

// sourceOf notes on each flag where its value came from, for `config print`.
const sourceOf = "tenantry_source"

// applySettings gives a command's flags the values that the environment and the file have,
// where the command line has none.
func applySettings(cmd *cobra.Command) error {
	file := readConfig(flagValue(cmd, "config"))
	faults := file.faults
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			note(f, "flag")
			return
		}
		if !isSetting(f) {
			return
		}
		if err := fromOutside(f, file); err != nil {
			faults = append(faults, err)
		}
	})
	if len(faults) > 0 {
		return usage("%w", errors.Join(sorted(faults)...))
	}
	return warnOfEnvironment(cmd)
}

// fromOutside sets one flag from the environment or else the file.
func fromOutside(f *pflag.Flag, file *configFile) error {
	if v, ok := os.LookupEnv(envName(f.Name)); ok {
		if err := f.Value.Set(v); err != nil {
			return fmt.Errorf("%s=%q: %w", envName(f.Name), masked(f.Name, v), err)
		}
		note(f, "environment "+envName(f.Name))
		return nil
	}
	s, ok := file.setting(f.Name)
	if !ok {
		return nil
	}
	if _, many := f.Value.(*list); !many && len(s.values) > 1 {
		return &fault{file.path, s.line, fmt.Sprintf("%s takes one value, and here are %d: keep one", f.Name, len(s.values))}
	}
	for _, v := range s.values {
		if err := f.Value.Set(v.text); err != nil {
			return &fault{file.path, v.line, fmt.Sprintf("%s: %q: %s", f.Name, masked(f.Name, v.text), err)}
		}
	}
	note(f, fmt.Sprintf("file %s, line %d", file.path, s.line))
	return nil
}

func note(f *pflag.Flag, source string) {
	if f.Annotations == nil {
		f.Annotations = make(map[string][]string)
	}
	f.Annotations[sourceOf] = []string{source}
}

// warnOfEnvironment tells of each variable that is called like ours and is none. That is no
// error, since platforms set what they like: TENANTRY_VERSION, say.
func warnOfEnvironment(cmd *cobra.Command) error {
	warnings := unknownVariables()
	if len(warnings) == 0 {
		return nil
	}
	if flagValue(cmd, "log-format") == "json" { // whoever reads the log expects no other lines in it
		log, err := logger(cmd)
		if err != nil {
			return err
		}
		for _, w := range warnings {
			log.Warn(w)
		}
		return nil
	}
	for _, w := range warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "tenantry: warning: "+w)
	}
	return nil
}

// serviceVariable is what Kubernetes sets for a service called tenantry or tenantry-something.
var serviceVariable = regexp.MustCompile(`_SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?=|_PORT(_\d+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://|_PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)=`)

// unknownVariables says what is wrong with each environment variable that looks like a setting
// and is none.
func unknownVariables() []string {
	known := allFlags()
	var out []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "TENANTRY_") || name == envName("config") || serviceVariable.MatchString(v) {
			continue
		}
		flag := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "TENANTRY_")), "_", "-")
		if known[flag] != nil {
			continue
		}
		text := "the environment variable " + name + " is no setting and is ignored"
		settings := append(sortedNames(known), "config")
		if i := slices.IndexFunc(settings, func(other string) bool { return nearly(flag, other) }); i >= 0 {
			text += ": is " + envName(settings[i]) + " meant?"
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

// variant is what a setting is to some commands: to others the same name may have another form
// or another default, as dev's --region has, which is a list.
type variant struct {
	*pflag.Flag
	commands []string
}

// allFlags are the settings of all commands, of a tree of their own, by name. One file serves all
// commands, and each takes what it knows.
func allFlags() map[string][]*variant {
	out := make(map[string][]*variant)
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		add := func(f *pflag.Flag) {
			if !isSetting(f) {
				return
			}
			same := func(v *variant) bool { return v.DefValue == f.DefValue && v.Value.Type() == f.Value.Type() }
			i := slices.IndexFunc(out[f.Name], same)
			if i < 0 {
				i = len(out[f.Name])
				out[f.Name] = append(out[f.Name], &variant{Flag: f})
			}
			out[f.Name][i].commands = append(out[f.Name][i].commands, cmd.Name())
		}
		cmd.LocalFlags().VisitAll(add)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
	return out
}

func sortedNames(flags map[string][]*variant) []string { return slices.Sorted(maps.Keys(flags)) }
