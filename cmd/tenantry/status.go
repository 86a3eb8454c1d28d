package main

import (
	"bytes"
	"cmp"
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
		Args:    takesNone,
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
	StalenessMS *int64           `json:"staleness_ms"` // nil: not known
	Quarantined []jsontext.Value `json:"quarantined"`
}

// unanswered stands for a region that says nothing, among the others' answers.
type unanswered struct {
	Region string `json:"region"`
	URL    string `json:"url"`
	Ready  bool   `json:"ready"`
	Error  string `json:"error"`
}

func runStatus(cmd *cobra.Command, _ []string) error {
	urls, err := queryURLs(cmd)
	if err != nil {
		return err
	}
	var failed []error
	var all []any
	var table bytes.Buffer
	answers := 0
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "REGION\tREADY\tPOSITION\tSTALENESS\tQUARANTINED\tGENERATION\tNODE\tURL")
	for _, name := range slices.Sorted(maps.Keys(urls)) {
		raw, s, err := askStatus(cmd, urls[name])
		if err != nil {
			failed = append(failed, inRegion(name, err))
			all = append(all, unanswered{Region: name, URL: urls[name], Error: err.Error()})
			fmt.Fprintf(w, "%s\tno answer\t-\t-\t-\t-\t-\t%s\n", cmp.Or(name, "?"), urls[name])
			continue
		}
		answers++
		all = append(all, raw)
		if !s.Ready {
			failed = append(failed, fmt.Errorf("region %s at %s is not ready: %s/readyz?verbose says why", s.Region, urls[name], urls[name]))
		}
		staleness := "unknown"
		if s.StalenessMS != nil {
			staleness = (time.Duration(*s.StalenessMS) * time.Millisecond).String()
		}
		fmt.Fprintf(w, "%s\t%t\t%d\t%s\t%d\t%s\t%s\t%s\n", s.Region, s.Ready, s.Position, staleness,
			len(s.Quarantined), cmp.Or(s.Generation, "none"), s.Node, urls[name])
	}
	switch {
	case asJSON(cmd):
		err = printJSON(cmd, all)
	case answers > 0: // else the errors say it all
		err = errors.Join(w.Flush(), printf(cmd, "%s", &table))
	}
	return errors.Join(append(failed, err)...)
}

// askStatus is what one node says of itself, whole and as far as it is shown.
func askStatus(cmd *cobra.Command, base string) (raw jsontext.Value, s regionStatus, err error) {
	if _, err := get(cmd, base+"/v1/status", &raw); err != nil {
		return nil, s, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, s, fmt.Errorf("read the answer of %s/v1/status: %w", base, err)
	}
	return raw, s, nil
}

// inRegion names the region of an error, where that is known.
func inRegion(name string, err error) error {
	if name == "" {
		return err
	}
	return fmt.Errorf("region %s: %w", name, err)
}
