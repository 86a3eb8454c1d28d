package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/events"
)

func newTenant() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "tenant",
		Short:   "Show one tenant, its history, or all of them",
		Example: "  tenantry tenant show ten_acme\n  tenantry tenant events ten_acme\n  tenantry tenant list --status suspended",
		Args:    cobra.ArbitraryArgs,
		RunE:    needsSubcommand,
	}
	cmd.AddCommand(newTenantShow(), newTenantEvents(), newTenantList())
	return cmd
}

func newTenantShow() *cobra.Command {
	var version number
	version.max = 1<<31 - 1
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one tenant as the store has it",
		Example: "  tenantry tenant show ten_acme\n  tenantry tenant show ten_acme --version 2",
		Args:    takesTenant,
		RunE: func(cmd *cobra.Command, args []string) error {
			if version.value > 0 && flagValue(cmd, "as-of") != "" {
				return usage("--version and --as-of are two ways to say when: give one of them")
			}
			query := url.Values{}
			if version.value > 0 {
				query.Set("version", strconv.Itoa(version.value))
			}
			if at := flagValue(cmd, "as-of"); at != "" {
				query.Set("as_of", at)
			}
			var t jsontext.Value
			if err := getAdmin(cmd, "/v1/tenants/"+url.PathEscape(args[0]), query, &t); err != nil {
				return err
			}
			if asJSON(cmd) {
				return printJSON(cmd, t)
			}
			return printRows(cmd, t)
		},
	}
	addOutput(cmd)
	addRemote(cmd, "admin", "URL of the admin API", defaultAdmin)
	cmd.Flags().Var(&version, "version", "as it was at this version; 0: now")
	cmd.Flags().Var(newTime(), "as-of", "as it was at this time, such as 2027-01-31T12:00:00Z")
	return cmd
}

func newTenantEvents() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "events ID",
		Short:   "Show a tenant's history",
		Example: "  tenantry tenant events ten_acme --output json",
		Args:    takesTenant,
		RunE: func(cmd *cobra.Command, args []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			if !asJSON(cmd) {
				fmt.Fprintln(w, "VERSION\tPOSITION\tTIME\tTYPE\tACTOR\tREASON\tDATA")
			}
			err := eachPage(cmd, "/v1/tenants/"+url.PathEscape(args[0])+"/events", url.Values{}, func(item jsontext.Value) error {
				if asJSON(cmd) {
					return printf(cmd, "%s\n", item)
				}
				var e struct {
					Version  uint64         `json:"version"`
					Position uint64         `json:"position"`
					Time     string         `json:"time"`
					Type     string         `json:"type"`
					Actor    string         `json:"actor"`
					Reason   string         `json:"reason"`
					Data     jsontext.Value `json:"data"`
				}
				if err := json.Unmarshal(item, &e); err != nil {
					return err
				}
				what := strings.TrimPrefix(e.Type, "tenantry.tenant.")
				_, err := fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\t%s\t%s\n", e.Version, e.Position, e.Time, what, e.Actor, e.Reason, e.Data)
				return err
			})
			if err != nil {
				return err
			}
			return w.Flush()
		},
	}
	addOutput(cmd)
	addRemote(cmd, "admin", "URL of the admin API", defaultAdmin)
	return cmd
}

func newTenantList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List tenants in the order of their IDs",
		Example: "  tenantry tenant list\n  tenantry tenant list --status suspended --home-region eu-west --output json",
		Args:    takesNone,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			for flag, parameter := range map[string]string{"status": "status", "group": "group", "home-region": "home_region"} {
				if v := flagValue(cmd, flag); v != "" {
					query.Set(parameter, v)
				}
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			if !asJSON(cmd) {
				fmt.Fprintln(w, "ID\tSTATUS\tHOME\tGROUP\tPRIMARY HOSTNAME\tNAME")
			}
			err := eachPage(cmd, "/v1/tenants", query, func(item jsontext.Value) error {
				if asJSON(cmd) {
					return printf(cmd, "%s\n", item)
				}
				var t struct {
					ID      string `json:"id"`
					Status  string `json:"status"`
					Home    string `json:"home_region"`
					Group   string `json:"group"`
					Primary string `json:"primary_hostname"`
					Name    string `json:"name"`
				}
				if err := json.Unmarshal(item, &t); err != nil {
					return err
				}
				_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Status, t.Home, t.Group, t.Primary, t.Name)
				return err
			})
			if err != nil {
				return err
			}
			return w.Flush()
		},
	}
	addOutput(cmd)
	addRemote(cmd, "admin", "URL of the admin API", defaultAdmin)
	cmd.Flags().Var(newChoice("", "registered", "active", "suspended", "deactivated", "purged"), "status",
		"only those with this status: registered, active, suspended, deactivated or purged")
	cmd.Flags().Var(newGroup(), "group", "only those in this group")
	cmd.Flags().Var(newRegion(), "home-region", "only those at home there")
	return cmd
}

// takesTenant is a command whose one argument is a tenant's ID.
func takesTenant(cmd *cobra.Command, args []string) error {
	if err := takesOne("the ID of a tenant")(cmd, args); err != nil {
		return err
	}
	if _, err := events.ParseTenantID(args[0]); err != nil {
		return usage("%w; 'tenantry lookup' finds a tenant by its hostname", err)
	}
	return nil
}

// getAdmin asks the admin API for one thing.
func getAdmin(cmd *cobra.Command, path string, query url.Values, v any) error {
	admin, err := adminURL(cmd)
	if err != nil {
		return err
	}
	u := admin + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	_, err = get(cmd, u, v)
	return err
}

// eachPage goes through all pages of a list.
func eachPage(cmd *cobra.Command, path string, query url.Values, item func(jsontext.Value) error) error {
	query.Set("page_size", "1000")
	for {
		var page struct {
			Items []jsontext.Value `json:"items"`
			Next  string           `json:"next_page_token"`
		}
		if err := getAdmin(cmd, path, query, &page); err != nil {
			return err
		}
		for _, i := range page.Items {
			if err := item(i); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		query.Set("page_token", page.Next)
	}
}

// printRows prints the members of an object, one a line.
func printRows(cmd *cobra.Command, object jsontext.Value) error {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(object, &members); err != nil {
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	for _, name := range []string{
		"id", "name", "status", "hostnames", "primary_hostname", "home_region", "group", "products",
		"database", "config", "version", "position", "created_at", "updated_at",
	} {
		if v, ok := members[name]; ok {
			fmt.Fprintf(w, "%s\t%s\n", name, strings.Trim(string(v), `"`))
		}
	}
	return w.Flush()
}
