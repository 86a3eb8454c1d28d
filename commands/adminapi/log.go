package adminapi

import (
	"math"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
)

// logChunk is how many events are asked of the store and sent at a time.
const logChunk = 500

// maxNumber is the largest version, position or limit that JSON readers with 64 bits can hold.
const maxNumber = math.MaxInt64

// readLog is GET /v1/events: the log behind a position, to where it ended when the request came.
func (a *api) readLog(c echo.Context) error {
	q, err := queryOf(c, "after", "limit")
	if err != nil {
		return err
	}
	position, err := q.number("after", 0, maxNumber, 0)
	if err != nil {
		return err
	}
	left, err := q.number("limit", 1, maxNumber, maxNumber)
	if err != nil {
		return err
	}
	if err := acceptLines(c); err != nil {
		return err
	}
	ctx := c.Request().Context()
	head, err := a.store.Head(ctx)
	if err != nil {
		return err
	}
	header := c.Response().Header()
	header.Set(headerPosition, strconv.FormatUint(head.Position, 10))
	header.Set(headerStoreID, head.StoreID.String())
	lines := a.newLineWriter(c)
	if c.Request().Method == http.MethodHead {
		return lines.close()
	}
	for left > 0 && position < head.Position {
		chunk, err := a.store.After(ctx, position, int(min(left, logChunk)))
		if err != nil {
			return err
		}
		if len(chunk) == 0 {
			break
		}
		for _, e := range chunk {
			if e.Position > head.Position {
				return lines.close()
			}
			if err := lines.write(e); err != nil {
				return err
			}
		}
		if err := lines.flush(); err != nil {
			return err
		}
		position = chunk[len(chunk)-1].Position
		left -= uint64(len(chunk))
	}
	return lines.close()
}
