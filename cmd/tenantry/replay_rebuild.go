package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/daemon"
	"github.com/tenantry/tenantry/replay"
)

func replayRebuild(cmd *cobra.Command, r *daemon.Replay) error {
	meter := newMeter(cmd)
	out, err := r.Rebuild(cmd.Context(), replay.RebuildConfig{
		MaxChange: cmd.Flag("max-change").Value.(*percent).of1(), Force: flagValue(cmd, "force") == "true", Progress: meter.stage,
	})
	meter.end()
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		return printJSON(cmd, struct {
			*replay.Rebuilt
			TookMS int64 `json:"took_ms"`
		}{out, out.Took.Milliseconds()})
	}
	text := fmt.Sprintf("%s: rebuilt as %s at position %d in %.1f s (%.0f events a second): %s, %s\n", out.Region, out.Generation, out.Position,
		out.Took.Seconds(), float64(out.Events)/max(out.Took.Seconds(), 0.001), counting(out.Tenants, "tenant"), counting(out.Hostnames, "hostname"))
	if c := out.Change; c != nil {
		text += changeText(out.Before, c)
	}
	if out.Quarantined > 0 {
		text += fmt.Sprintf("%s in quarantine: 'tenantry status --output json' says why\n", count(out.Quarantined, "stream"))
	}
	switch {
	case out.PID != 0:
		text += fmt.Sprintf("the node (pid %d) answers from it; no look-up failed for it\n", out.PID)
	default:
		text += "no node runs; the next one to start on this directory answers from it\n"
	}
	if out.Before != "" {
		text += fmt.Sprintf("%s is kept: --rollback goes back to it\n", out.Before)
	}
	return printf(cmd, "%s", text)
}

// changeText is what a rebuild has changed.
func changeText(before string, c *replay.Change) string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, thousands(uint64(n))+" "+what)
		}
	}
	add(c.Added, "added")
	add(c.Changed, "changed")
	add(c.Removed, "removed")
	if len(parts) > 0 {
		parts = []string{"tenants, databases and groups: " + strings.Join(parts, ", ")}
	}
	of := len(parts)
	add(c.HostnamesAdded, "answered that were not")
	add(c.Hostnames, "answered otherwise or no more")
	if len(parts) > of {
		parts = append(parts[:of], "hostnames: "+strings.Join(parts[of:], ", "))
	}
	text := before + ", which it replaces, held the same"
	if len(parts) > 0 {
		text = "against " + before + ", which it replaces, " + strings.Join(parts, "; ")
	}
	if c.Newer > 0 {
		text += fmt.Sprintf("; %s changed by events that came meanwhile, which is no difference", thousands(uint64(c.Newer)))
	}
	return text + "\n"
}

func replayRollback(cmd *cobra.Command, r *daemon.Replay) error {
	out, err := r.Rollback(cmd.Context())
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		return printJSON(cmd, out)
	}
	who := "no node runs; the next one to start on this directory answers from it"
	if out.PID != 0 {
		who = fmt.Sprintf("the node (pid %d) answers from it", out.PID)
	}
	return printf(cmd, "%s: back from %s to %s; %s\n", out.Region, out.Before, out.Generation, who)
}
