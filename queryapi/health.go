package queryapi

import (
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/projections/readmodel"
)

// livez says that the process runs and answers, nothing more.
func (a *API) livez(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

// check is one thing that must be well before this node takes look-ups.
type check struct {
	name string // one word, as /readyz?verbose lists it
	err  error
}

// readyz answers as Kubernetes' own servers do: a line a check where something is wrong, or
// where ?verbose asks for it.
func (a *API) readyz(c echo.Context) error {
	checks := []check{{"read-model", a.complete()}, {"node", a.ready()}}
	var lines strings.Builder
	fine := true
	for _, check := range checks {
		if check.err != nil {
			fine = false
			lines.WriteString("[-]" + check.name + " failed: " + strings.Join(strings.Fields(check.err.Error()), " ") + "\n")
			continue
		}
		lines.WriteString("[+]" + check.name + " ok\n")
	}
	// A copy that is not kept up to date is no reason to send look-ups elsewhere: the other nodes may
	// be no better off, and each answer says how old it may be.
	if err := a.following(); err != nil {
		lines.WriteString("[!]following stopped: " + strings.Join(strings.Fields(err.Error()), " ") + "\n")
	}
	c.Response().Header()["Cache-Control"] = valueNoStore
	_, verbose := c.QueryParams()["verbose"]
	switch {
	case !fine:
		return c.String(http.StatusServiceUnavailable, lines.String()+"not ready\n")
	case verbose:
		return c.String(http.StatusOK, lines.String()+"ready\n")
	}
	return c.String(http.StatusOK, "ok\n")
}

// complete is nil once there is a copy of the whole catalogue here, however old.
func (a *API) complete() error {
	switch p := a.reader.Progress(); {
	case len(p.Partitions) == 0:
		return readmodel.ErrNoModel
	case !p.Complete:
		return errors.New("the region's read model does not hold everything yet")
	}
	return nil
}
