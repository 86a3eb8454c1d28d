package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// notSettings are the flags that a file or the environment cannot set.
var notSettings = []string{"help", "config", "output", "dry-run"}

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
	path := flagValue(cmd, "config")
	if path == "" {
		path = os.Getenv(envName("config"))
	}
	var file settings
	if path != "" {
		var err error
		if file, err = readSettings(path); err != nil {
			return err
		}
		if problems := file.unknown(); len(problems) > 0 {
			return usage("%s: %w", path, errors.Join(problems...))
		}
	}
	var problems []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			note(f, "flag")
			return
		}
		if !isSetting(f) {
			return
		}
		if err := fromOutside(f, path, file); err != nil {
			problems = append(problems, err)
		}
	})
	if len(problems) > 0 {
		return usage("%w", errors.Join(problems...))
	}
	return nil
}

// fromOutside sets one flag from the environment or else the file.
func fromOutside(f *pflag.Flag, path string, file settings) error {
	if v, ok := os.LookupEnv(envName(f.Name)); ok {
		if err := f.Value.Set(v); err != nil {
			return fmt.Errorf("%s=%q: %w", envName(f.Name), masked(f.Name, v), err)
		}
		note(f, "environment "+envName(f.Name))
		return nil
	}
	s, ok := file[f.Name]
	if !ok {
		return nil
	}
	for _, v := range s.values {
		if err := f.Value.Set(v); err != nil {
			return fmt.Errorf("%s, line %d: %s: %q: %w", path, s.line, f.Name, masked(f.Name, v), err)
		}
	}
	note(f, fmt.Sprintf("file %s, line %d", path, s.line))
	return nil
}

func note(f *pflag.Flag, source string) {
	if f.Annotations == nil {
		f.Annotations = make(map[string][]string)
	}
	f.Annotations[sourceOf] = []string{source}
}

// settings is what a file says: flag names, and their values as a command line has them.
type settings map[string]setting

type setting struct {
	values []string
	line   int
}

// readSettings reads a file whose top level is keys with a value or a list of values.
func readSettings(path string) (settings, error) {
	b, err := os.ReadFile(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, usage("read the configuration: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, usage("%s: %w", path, err)
	}
	out := make(settings)
	if len(doc.Content) == 0 {
		return out, nil // an empty file sets nothing
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, usage("%s, line %d: the file must hold keys and values, such as 'data-dir: /var/lib/tenantry'", path, top.Line)
	}
	var problems []error
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		if _, twice := out[key.Value]; twice {
			problems = append(problems, fmt.Errorf("line %d: %s is set twice", key.Line, key.Value))
			continue
		}
		values, ok := scalars(value)
		if !ok {
			problems = append(problems, fmt.Errorf("line %d: %s must be one value or a list of values", value.Line, key.Value))
			continue
		}
		out[key.Value] = setting{values: values, line: key.Line}
	}
	if len(problems) > 0 {
		return nil, usage("%s: %w", path, errors.Join(problems...))
	}
	return out, nil
}

func scalars(n *yaml.Node) ([]string, bool) {
	switch n.Kind {
	case yaml.ScalarNode:
		return []string{n.Value}, n.Tag != "!!null"
	case yaml.SequenceNode:
		var out []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				return nil, false
			}
			out = append(out, item.Value)
		}
		return out, true
	}
	return nil, false
}

// unknown finds keys that no command has a flag for.
func (s settings) unknown() []error {
	known := allFlags()
	var problems []error
	for key, v := range s {
		if _, ok := known[key]; !ok {
			problems = append(problems, fmt.Errorf("line %d: unknown key %q: keys are the names of flags, without the dashes", v.line, key))
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return problems
}

// allFlags are the settings of all commands, of a tree of their own. One file serves all
// commands, and each takes what it knows.
func allFlags() map[string]*pflag.Flag {
	out := make(map[string]*pflag.Flag)
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		add := func(f *pflag.Flag) {
			if _, ok := out[f.Name]; !ok && isSetting(f) {
				out[f.Name] = f
			}
		}
		cmd.Flags().VisitAll(add)
		cmd.PersistentFlags().VisitAll(add)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
	return out
}
