package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// replayMode is something that `replay` does, and the flags that it takes besides those that say where things are
// kept and how the result is told. Any other that is given is refused: whoever gives --dry-run, and has nothing of
// it, has done something that they wanted to be told of first.
type replayMode struct {
	flag  string // that asks for it; "": none does
	name  string
	why   string // it does not take the others
	takes []string
}

var (
	fromASource = []string{"region", "source", "source-ca-file", "source-token-file", "database-password-file"}

	replayModes = []replayMode{
		{"topic", "--topic", "it publishes events, from the store of the catalogue that leads, and touches no region's copy", []string{"since", "tenant", "rate", "restart", "admin"}},
		{"verify", "--verify", "it compares, and changes nothing", append([]string{"tenant", "quick"}, fromASource...)},
		{"repair", "--repair", "it mends just what differs", append([]string{"tenant"}, fromASource...)},
		{"dry-run", "--dry-run", "it says what a rebuild would do, and does nothing", append([]string{"tenant", "max-change"}, fromASource...)},
		{"rollback", "--rollback", "it goes back with the whole region to what is on disk, and reads no source", []string{"region"}},
		{"", "a rebuild", "it builds a whole region anew", append([]string{"max-change", "force", "kafka-partitions"}, fromASource...)},
	}
	// replayTenant is what a tenant takes that is named alone, or with one of the others.
	replayTenant = replayMode{"tenant", "--tenant", "it is about one tenant alone", append([]string{"tenant", "verify", "repair", "dry-run", "topic", "since", "rate", "restart", "admin"}, fromASource...)}
	// replayAnyhow is what goes with everything.
	replayAnyhow = []string{"data-dir", "output", "config", "log-level", "log-format", "help"}
)

// checkReplay is the mode, or what is wrong with the flags: "": a rebuild, or the repair of one tenant. Only what the
// command line says counts: a TENANTRY_SOURCE that is there for all commands must not be in the way of one.
func checkReplay(cmd *cobra.Command) (mode string, err error) {
	given := givenFlags(cmd)
	i := slices.IndexFunc(replayModes, func(m replayMode) bool { return m.flag == "" || slices.Contains(given, m.flag) })
	does := replayModes[i]
	if slices.Contains(given, "tenant") {
		// First, since it is what the user named: what only a whole region can have is no matter of the mode.
		if does.flag == "" {
			does = replayTenant
		} else if slices.Contains(does.takes, "tenant") {
			if err := replayTenant.refuse(given); err != nil {
				return "", err
			}
		}
	}
	if err := does.refuse(given); err != nil {
		return "", err
	}
	if does.flag == "topic" {
		return does.flag, nil
	}
	return replayModes[i].flag, needs(cmd, "region")
}

// givenFlags are the flags that the command line gives something to, in the order of their names.
func givenFlags(cmd *cobra.Command) (given []string) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if v := f.Value.String(); v != "" && (f.Value.Type() != "bool" || v == "true") {
			given = append(given, f.Name)
		}
	})
	return given
}

// refuse names what does not go with a mode.
func (m replayMode) refuse(given []string) error {
	var names, hints []string
	for _, flag := range given {
		if flag == m.flag || slices.Contains(m.takes, flag) || slices.Contains(replayAnyhow, flag) {
			continue
		}
		names = append(names, "--"+flag)
		if of := takenBy(flag); of != "" {
			hints = append(hints, "--"+flag+" is for "+of)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return usage("%s does not go with %s: %s", m.name, inWords(names), strings.Join(append([]string{m.why}, hints...), "; "))
}

// takenBy is the one mode that takes a flag; "": several do, or it asks for one itself.
func takenBy(flag string) (name string) {
	for _, m := range replayModes {
		if !slices.Contains(m.takes, flag) {
			continue
		}
		if name != "" {
			return ""
		}
		name = m.name
	}
	return name
}

// inWords is a list as it is said: a, b and c.
func inWords(all []string) string {
	last := len(all) - 1
	if last == 0 {
		return all[0]
	}
	return strings.Join(all[:last], ", ") + " and " + all[last]
}
