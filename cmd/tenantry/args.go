package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// How many arguments a command takes. Unlike cobra's own checks these say what to give.

// takesNone is a command without arguments.
func takesNone(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage("'%s' takes no arguments, and got %q; see '%s --help'", cmd.CommandPath(), args[0], cmd.CommandPath())
}

// takesOne is a command with exactly one argument, such as "the ID of a tenant".
func takesOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 1:
			return nil
		case 0:
			return usage("give %s, such as '%s'; see '%s --help'", what, firstExample(cmd), cmd.CommandPath())
		}
		return usage("give %s, and nothing else: %q is too much; see '%s --help'", what, strings.Join(args[1:], " "), cmd.CommandPath())
	}
}

// takesSome is a command with one argument or more.
func takesSome(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return usage("give %s, such as '%s'; see '%s --help'", what, firstExample(cmd), cmd.CommandPath())
	}
}

func firstExample(cmd *cobra.Command) string {
	first, _, _ := strings.Cut(cmd.Example, "\n")
	return strings.TrimSpace(first)
}

// needsSubcommand is what a command does that only groups others.
func needsSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(cmd, args[0])
	}
	return cmd.Help()
}

// unknownCommand names the ones that may have been meant.
func unknownCommand(cmd *cobra.Command, name string) error {
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && nearly(name, sub.Name()) {
			return usage("there is no command '%s %s': is '%s' meant?", cmd.CommandPath(), name, sub.CommandPath())
		}
	}
	return usage("there is no command '%s %s'; see '%s --help'", cmd.CommandPath(), name, cmd.CommandPath())
}

// nearly tells whether a name is probably another one, mistyped.
func nearly(name, other string) bool {
	name, other = strings.ToLower(name), strings.ToLower(other)
	return name != other && distance(name, other) <= max(1, min(len(name), len(other))/4)
}

// distance is how many letters have to be put in, left out, exchanged for another one or
// swapped with the next to make one word the other.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
		for j := range rows[i] {
			if i == 0 {
				rows[i][j] = j
				continue
			}
			if j == 0 {
				continue
			}
			change := 0
			if a[i-1] != b[j-1] {
				change = 1
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
