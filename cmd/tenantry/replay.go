package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/events"
)

func newReplay() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Publish events again from the source of truth",
		Long: `Repairs what is made from the event store, after a loss.

` + topicHelp,
		Example: `  tenantry replay --topic --since 2026-11-21T02:00:00Z --rate 5000
  tenantry replay --topic --tenant ten_acme --admin http://catalogue.example:8080`,
		Args: takesNone,
	}
	cmd.Flags().Var(newTenantID(), "tenant", "the one tenant to replay; empty: all")
	addTopicFlags(cmd)
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if topicWanted(cmd) {
			return replayTopic(cmd)
		}
		return usage("say what to replay: --topic; see '%s --help'", cmd.CommandPath())
	}
	return cmd
}

// newTenantID is the ID of a tenant, or none.
func newTenantID() *checked {
	return &checked{kind: "ID", check: func(s string) error {
		if s == "" {
			return nil
		}
		if _, err := events.ParseTenantID(s); err != nil {
			return errors.New(`it is not a tenant's ID: that is "ten_" and then 1 to 63 of a-z, 0-9 and -`)
		}
		return nil
	}}
}
