package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
)

func newExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write everything as the NDJSON that import reads, in the order of IDs",
		Long: `Writes databases, groups and tenants as they are now, one a line, to standard output.
Imported into an empty catalogue, it gives the same tenants. Purged tenants, and retired
databases and groups, are left out.`,
		Example: "  tenantry export > tenants.ndjson",
		Args:    takesNone,
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, err := adminURL(cmd)
			if err != nil {
				return err
			}
			resp, err := request(cmd.Context(), cmd, http.MethodGet, admin+"/v1/export", nil, http.Header{"Accept": {"application/x-ndjson"}})
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if _, err := io.Copy(cmd.OutOrStdout(), resp.Body); err != nil {
				return fmt.Errorf("the export was cut short: %w", err)
			}
			return nil
		},
	}
	addRemote(cmd, "admin", "URL of the admin API", defaultAdmin)
	return cmd
}
