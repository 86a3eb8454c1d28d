package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func newLookup() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "lookup HOSTNAME…",
		Short:   "Show what a compute node would be told about hostnames",
		Long:    "Asks a region's query API for each hostname. Exit code 1 where no tenant has one of them.",
		Example: "  tenantry lookup acme.example\n  tenantry lookup acme.example --query http://127.0.0.1:8082 --output json",
		Args:    cobra.MinimumNArgs(1),
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
	header, err := get(cmd.Context(), base+"/v1/lookup/"+url.PathEscape(hostname), &raw)
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		return printJSON(cmd, raw)
	}
	c, err := parseContext(raw)
	if err != nil {
		return err
	}
	return printf(cmd, "%s", c.text(header))
}

// tenantContext is what a look-up answers, as far as it is shown.
type tenantContext struct {
	TenantID   string   `json:"tenant_id"`
	Name       string   `json:"name"`
	Status     string   `json:"status"`
	Hostname   string   `json:"hostname"`
	Hostnames  []string `json:"hostnames"`
	Primary    string   `json:"primary_hostname"`
	HomeRegion string   `json:"home_region"`
	Group      *struct {
		ID      string `json:"id"`
		Ring    int    `json:"ring"`
		Pending bool   `json:"pending"`
	} `json:"group"`
	Products map[string]struct {
		Plan  string `json:"plan"`
		Seats *int64 `json:"seats"`
	} `json:"products"`
	Database *struct {
		ID        string `json:"id"`
		Engine    string `json:"engine"`
		Host      string `json:"host"`
		Port      int    `json:"port"`
		Name      string `json:"name"`
		SecretRef string `json:"secret_ref"`
		Epoch     uint64 `json:"epoch"`
		Pending   bool   `json:"pending"`
	} `json:"database"`
	Config  map[string]jsontext.Value `json:"config"`
	Version uint64                    `json:"version"`
}

func parseContext(raw jsontext.Value) (*tenantContext, error) {
	c := new(tenantContext)
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, fmt.Errorf("read the tenant context: %w", err)
	}
	return c, nil
}

func (c *tenantContext) text(header http.Header) string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(&b, c.Hostname)
	row("tenant", "%s, %q, %s, version %d", c.TenantID, c.Name, c.Status, c.Version)
	row("hostnames", "%s (primary: %s)", strings.Join(c.Hostnames, ", "), c.Primary)
	row("home", "%s", c.HomeRegion)
	switch g := c.Group; {
	case g == nil:
	case g.Pending:
		row("group", "%s (not known here yet)", g.ID)
	default:
		row("group", "%s, ring %d", g.ID, g.Ring)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Products)) {
		p := c.Products[name]
		if p.Seats == nil {
			row("product", "%s: plan %s", name, p.Plan)
			continue
		}
		row("product", "%s: plan %s, %d seats", name, p.Plan, *p.Seats)
	}
	switch d := c.Database; {
	case d == nil:
	case d.Pending:
		row("database", "%s (not known here yet)", d.ID)
	default:
		row("database", "%s: %s at %s:%d, name %s, secret %s, epoch %d", d.ID, d.Engine, d.Host, d.Port, d.Name, d.SecretRef, d.Epoch)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Config)) {
		row("config", "%s = %s", key, c.Config[key])
	}
	row("answered", "by %s at position %s, at most %s ms old", cmp.Or(header.Get("Tenantry-Region"), "?"),
		header.Get("Tenantry-Position"), header.Get("Tenantry-Staleness"))
	if header.Get("Tenantry-Quarantined") == "true" {
		row("warning", "a later event of this tenant cannot be read: this is its last good state")
	}
	return b.String()
}
