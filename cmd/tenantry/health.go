package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// healthTime is less than what orchestrators give a health check.
const healthTime = 5 * time.Second

func newHealth() *cobra.Command {
	return &cobra.Command{
		Use:   "health URL",
		Short: "Ask a server whether it is ready",
		Long: `Asks a server, a catalogue or a node, for /readyz?verbose and prints the answer. It is
for health checks of containers, which have no other program to ask with. The exit
code is 0 when the server is ready, and 1 when not.`,
		Example: "  tenantry health http://127.0.0.1:8081",
		Args:    takesOne("the server's address"),
		RunE: func(cmd *cobra.Command, args []string) error {
			at := newLink()
			if err := at.Set(args[0]); err != nil {
				return usage("%q: %w", args[0], err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), healthTime)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String()+"/readyz?verbose", nil)
			if err != nil {
				return err
			}
			resp, err := httpClient.Do(req)
			if err != nil {
				return unreachable(cmd, req.URL, err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
			if err != nil {
				return fmt.Errorf("read the answer of %s: %w", req.URL, err)
			}
			if err := printf(cmd, "%s", text); err != nil {
				return err
			}
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s is not ready", at)
			}
			return nil
		},
	}
}
