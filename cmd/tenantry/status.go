package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show every region's position, lag and health",
		Long: `Asks the query API of every region of the dev running on --data-dir, or of the one given
with --query. Exit code 1 where one does not answer or is not ready.`,
		Example: "  tenantry status\n  tenantry status --query http://127.0.0.1:8081 --output json",
		Args:    cobra.NoArgs,
		RunE:    runStatus,
	}
	addOutput(cmd)
	addRemote(cmd, "query", "URL of a region's query API", defaultQuery)
	return cmd
}

// regionStatus is what a node says of itself, as far as it is shown.
type regionStatus struct {
	Region      string           `json:"region"`
	Node        string           `json:"node"`
	Ready       bool             `json:"ready"`
	Generation  string           `json:"generation"`
	StoreID     string           `json:"store_id"`
	Position    uint64           `json:"position"`
	StalenessMS *int64           `json:"staleness_ms"`
	Quarantined []jsontext.Value `json:"quarantined"`
}

func runStatus(cmd *cobra.Command, _ []string) error {
	urls, err := queryURLs(cmd)
	if err != nil {
		return err
	}
	var failed []error
	var raws []jsontext.Value
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "REGION\tREADY\tPOSITION\tSTALENESS\tQUARANTINED\tGENERATION\tNODE\tURL")
	for _, name := range slices.Sorted(maps.Keys(urls)) {
		var raw jsontext.Value
		if _, err := get(cmd.Context(), urls[name]+"/v1/status", &raw); err != nil {
			failed = append(failed, fmt.Errorf("region %s at %s: %w", name, urls[name], err))
			continue
		}
		raws = append(raws, raw)
		var s regionStatus
		if err := json.Unmarshal(raw, &s); err != nil {
			failed = append(failed, fmt.Errorf("region %s at %s: %w", name, urls[name], err))
			continue
		}
		if !s.Ready {
			failed = append(failed, fmt.Errorf("region %s at %s is not ready", s.Region, urls[name]))
		}
		staleness := "unknown"
		if s.StalenessMS != nil {
			staleness = (time.Duration(*s.StalenessMS) * time.Millisecond).String()
		}
		fmt.Fprintf(w, "%s\t%t\t%d\t%s\t%d\t%s\t%s\t%s\n", s.Region, s.Ready, s.Position, staleness,
			len(s.Quarantined), s.Generation, s.Node, urls[name])
	}
	if asJSON(cmd) {
		err = printJSON(cmd, raws)
	} else {
		err = w.Flush()
	}
	return errors.Join(append(failed, err)...)
}
