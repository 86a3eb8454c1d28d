package adminapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// Check is one thing that must be well before this process can take commands.
type Check struct {
	Name string // one word, as /readyz?verbose lists it
	// Ready is nil, or why it is not ready; that text is shown to whoever asks.
	Ready func(ctx context.Context) error
	// Trouble is what is wrong and no reason to take no commands, "" where nothing is; shown as well. It may be nil.
	Trouble func() string
}

// checkPatience is how long one check may take.
const checkPatience = time.Second

// livez says that the process runs and answers, nothing more.
func (a *api) livez(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

// readyz asks the store and every check. It answers as Kubernetes' own servers do: a line a check
// where something is wrong, or where ?verbose asks for it.
func (a *api) readyz(c echo.Context) error {
	checks := append([]Check{{Name: "store", Ready: a.storeReady}}, a.checks...)
	var lines, troubles strings.Builder
	ready := true
	for _, check := range checks {
		ctx, cancel := context.WithTimeout(c.Request().Context(), checkPatience)
		err := check.Ready(ctx)
		cancel()
		if err != nil {
			ready = false
			lines.WriteString("[-]" + check.Name + ": " + oneLine(err.Error()) + "\n")
			continue
		}
		lines.WriteString("[+]" + check.Name + " ok\n")
		if check.Trouble != nil {
			if what := check.Trouble(); what != "" {
				troubles.WriteString("[!]" + check.Name + " " + oneLine(what) + "\n")
			}
		}
	}
	// A store without room is no reason to get no traffic: what it has can be read, and is.
	if err := a.storeRoom(c.Request().Context()); err != nil && ready {
		troubles.WriteString("[!]store takes no commands: " + oneLine(err.Error()) + "\n")
	}
	lines.WriteString(troubles.String())
	_, verbose := c.QueryParams()["verbose"]
	switch {
	case !ready:
		return c.String(http.StatusServiceUnavailable, lines.String()+"not ready\n")
	case verbose:
		return c.String(http.StatusOK, lines.String()+"ready\n")
	}
	return c.String(http.StatusOK, "ok\n")
}

func (a *api) storeReady(ctx context.Context) error {
	_, err := a.store.Head(ctx)
	return err
}

// storeRoom is why the store takes nothing, where it depends on a disk of this machine.
func (a *api) storeRoom(ctx context.Context) error {
	if s, ok := a.store.(interface {
		Room(ctx context.Context) error
	}); ok {
		return s.Room(ctx)
	}
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
