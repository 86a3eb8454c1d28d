package main

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// addOutput gives a command --output text|json.
func addOutput(cmd *cobra.Command) {
	cmd.Flags().Var(newChoice("text", "text", "json"), "output", "how to print the result: text or json")
}

func asJSON(cmd *cobra.Command) bool { return flagValue(cmd, "output") == "json" }

func printf(cmd *cobra.Command, format string, args ...any) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), format, args...)
	return err
}

// printJSON prints one value, indented.
func printJSON(cmd *cobra.Command, v any) error {
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	return printf(cmd, "%s\n", b)
}
