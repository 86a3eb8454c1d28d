package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func newLookup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lookup HOSTNAME…",
		Short: "Show what a compute node would be told about hostnames",
		Long: `Asks a region's query API for each hostname. Exit code 1 where no tenant has one of them.

With --output json one hostname's answer is its tenant context. Several are one array, in
the order asked, of {"hostname", "context"} or {"hostname", "error"}, as POST /v1/lookup
answers.`,
		Example: "  tenantry lookup acme.example\n  tenantry lookup acme.example --query http://127.0.0.1:8082 --output json",
		Args:    takesSome("a hostname or several"),
		RunE: func(cmd *cobra.Command, args []string) error {
			base, err := queryURL(cmd)
			if err != nil {
				return err
			}
			if asJSON(cmd) && len(args) > 1 {
				return lookupAll(cmd, base, args)
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

// maxBatch is how many hostnames a query API takes at once.
const maxBatch = 1000

// lookupAll prints the answers for several hostnames as one array, in the order asked.
func lookupAll(cmd *cobra.Command, base string, hostnames []string) error {
	var all []jsontext.Value
	var failed []error
	for batch := range slices.Chunk(hostnames, maxBatch) {
		body, err := json.Marshal(map[string][]string{"hostnames": batch})
		if err != nil {
			return err
		}
		resp, err := request(cmd.Context(), cmd, http.MethodPost, base+"/v1/lookup", bytes.NewReader(body), http.Header{"Content-Type": {"application/json"}})
		if err != nil {
			return err
		}
		var items []jsontext.Value
		err = json.UnmarshalRead(resp.Body, &items)
		resp.Body.Close()
		if err == nil && len(items) != len(batch) {
			err = fmt.Errorf("%s for %s", count(len(items), "answer"), count(len(batch), "hostname"))
		}
		for i, raw := range items {
			var item struct {
				Error *problemError `json:"error"`
			}
			if err == nil {
				err = json.Unmarshal(raw, &item)
			}
			if err == nil && item.Error != nil {
				failed = append(failed, fmt.Errorf("%s: %w", batch[i], unfound(base, item.Error)))
			}
		}
		if err != nil {
			return fmt.Errorf("read the answer of %s/v1/lookup: %w", base, err)
		}
		all = append(all, items...)
	}
	return errors.Join(append(failed, printJSON(cmd, all))...)
}

// unfound says what became of a hostname that was not found.
func unfound(base string, p *problemError) error {
	if p.is("unknown-hostname") {
		return fmt.Errorf("no tenant has this hostname (asked %s)", base)
	}
	return errors.New(p.details())
}

func lookup(cmd *cobra.Command, base, hostname string) error {
	var raw jsontext.Value
	header, err := get(cmd, base+"/v1/lookup/"+url.PathEscape(hostname), &raw)
	if p, ok := errors.AsType[*problemError](err); ok {
		return unfound(base, p)
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
