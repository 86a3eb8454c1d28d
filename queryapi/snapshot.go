package queryapi

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// maxSnapshots is how many copies are sent at a time: each holds back what the read model could clean up, and
// takes the disk's time from look-ups.
const maxSnapshots = 2

// readTime is how long a client may take to read the next part of a copy before it is cut off.
const readTime = 30 * time.Second

// snapshot is GET /v1/snapshot: a copy of the whole read model, for a new node to begin with. Whoever can
// ask for look-ups could have all documents at once by it, and keep the disk busy: so a node
// gives it only when it was told to.
func (a *API) snapshot(c echo.Context) error {
	if _, err := parseQuery(c.Request().URL.RawQuery); err != nil {
		return err
	}
	if a.copyTo == nil {
		return kindNoSnapshots.problem("this node gives no copies of its read model, which hold all tenants: start it with --serve-snapshots, or ask one that was")
	}
	if err := a.ready(); err != nil {
		return notReady(err)
	}
	if a.snapshots.Add(1) > maxSnapshots {
		a.snapshots.Add(-1)
		return kindUnavailable.problem("%d copies of this node's read model are being sent: ask another node, or again in a minute", maxSnapshots)
	}
	defer a.snapshots.Add(-1)
	h := c.Response().Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "no-store")
	out := &unhurried{w: c.Response(), control: http.NewResponseController(c.Response())}
	err := a.copyTo(c.Request().Context(), out)
	_ = out.control.SetWriteDeadline(time.Time{}) // the connection may serve other requests
	switch {
	case err == nil:
		return nil
	case !c.Response().Committed:
		h.Del("Content-Type")
		if unserved(err) {
			return notReady(err)
		}
		return err
	}
	a.log.Warn("a copy of the read model was cut short", "err", err)
	panic(http.ErrAbortHandler) // so that nobody takes it for whole
}

// unhurried gives the client its time for each part.
type unhurried struct {
	w       io.Writer
	control *http.ResponseController
}

func (u *unhurried) Write(b []byte) (int, error) {
	// A connection that knows no deadline, such as a test's recorder, is never waited for either.
	_ = u.control.SetWriteDeadline(time.Now().Add(readTime))
	return u.w.Write(b)
}

// Snapshot writes a copy of the whole read model.
type Snapshot = func(ctx context.Context, w io.Writer) error
