package adminapi

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/labstack/echo/v4"
)

// statusGone is what a request is counted under whose client left before its answer was whole. It
// is nginx's number for that; no client ever sees it.
const statusGone = 499

// contextOutcome is where it stands, in echo's context, that an answer became another than the
// status that it began with.
const contextOutcome = "outcome"

// watchedWriter remembers that the client could not be written to. Whoever reports that error
// wraps it on the way, and a store's connection can be reset just as well as a client's.
type watchedWriter struct {
	http.ResponseWriter
	failed atomic.Bool
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	if err != nil {
		w.failed.Store(true)
	}
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// watch lets clientLeft know about the writes of this answer.
func watch(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Writer = &watchedWriter{ResponseWriter: c.Response().Writer}
		return next(c)
	}
}

// clientLeft reports whether it is for want of a client that a request failed: it hung up, or was
// cut off since it did not read. A request whose server stops looks the same.
func clientLeft(c echo.Context, err error) bool {
	w, watched := c.Response().Writer.(*watchedWriter)
	return watched && w.failed.Load() ||
		errors.Is(err, context.Canceled) && c.Request().Context().Err() != nil
}

// outcomeOf is the status that a request is counted under.
func outcomeOf(c echo.Context) int {
	if status, ok := c.Get(contextOutcome).(int); ok {
		return status
	}
	return c.Response().Status
}
