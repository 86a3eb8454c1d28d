package main

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func newLookup() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "lookup HOSTNAME…",
		Short:   "Show what a compute node would be told about hostnames",
		Long:    "Asks a region's query API for each hostname. Exit code 1 where no tenant has one of them.",
		Example: "  tenantry lookup acme.example\n  tenantry lookup acme.example --query http://127.0.0.1:8082 --output json",
		Args:    takesSome("a hostname or several"),
		RunE: func(cmd *cobra.Command, args []string) error {
			base, err := queryURL(cmd)
			if err != nil {
				return err
			}
			var failed []error
			for _, hostname := range args {
				if err := lookup(cmd, base, hostname); err != nil {
					failed = append(failed, fmt.Errorf("%s: %w", hostname, err))
				}
			}
			return errors.Join(failed...)
		},
	}
	addOutput(cmd)
	addRemote(cmd, "query", "URL of a region's query API", defaultQuery)
	return cmd
}

func lookup(cmd *cobra.Command, base, hostname string) error {
	var raw jsontext.Value
	header, err := get(cmd, base+"/v1/lookup/"+url.PathEscape(hostname), &raw)
	if p, ok := errors.AsType[*problemError](err); ok {
		if p.is("unknown-hostname") {
			return fmt.Errorf("no tenant has this hostname (asked %s)", base)
		}
		return errors.New(p.details())
	}
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		return printJSON(cmd, raw)
	}
	text, err := contextText(raw, header)
	if err != nil {
		return err
	}
	return printf(cmd, "%s", text)
}
