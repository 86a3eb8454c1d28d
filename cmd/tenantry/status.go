package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
with --query. Below the table stands what else is to be known: why a region is not kept up to date, or
serves another generation, and what its last comparison with the source has found. Exit code 1
where one does not answer or is not ready.`,
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

	NotReady    string `json:"not_ready"`     // why
	NotFollowed string `json:"not_following"` // why the copy is not kept up to date
	Notice      string `json:"notice"`        // why another generation is served than before the start
	Verified    *struct {
		At        time.Time `json:"at"`
		Result    string    `json:"result"`
		Position  uint64    `json:"position"`
		Different int       `json:"different"`
		Healed    int       `json:"healed"`
		Error     string    `json:"error"`
	} `json:"verified"` // nil: it was not compared with the source yet
}

// remarks are what an operator has to know of a region besides its row, a line each.
func (s *regionStatus) remarks() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, s.Region+": "+format+"\n", args...) }
	if s.NotFollowed != "" {
		say("it is not kept up to date: %s", s.NotFollowed)
	}
	if s.Notice != "" {
		say("%s", s.Notice)
	}
	switch v := s.Verified; {
	case v == nil:
	case v.Result == "different" && v.Different > v.Healed:
		say("%s not what the source says, at position %d on %s: 'tenantry replay --region %s --verify' names what is different", counting(uint64(v.Different-v.Healed), "stream"),
			v.Position, v.At.Format(time.RFC3339), s.Region)
	case v.Result == "failed":
		say("it could not be compared with the source on %s: %s", v.At.Format(time.RFC3339), v.Error)
	}
	return b.String()
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
	answers, remarks := 0, ""
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
			why := cmp.Or(s.NotReady, urls[name]+"/readyz?verbose says why")
			failed = append(failed, fmt.Errorf("region %s at %s is not ready: %s", s.Region, urls[name], why))
		}
		remarks += s.remarks()
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
		err = errors.Join(w.Flush(), printf(cmd, "%s%s", &table, remarks))
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
