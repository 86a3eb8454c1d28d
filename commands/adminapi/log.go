package adminapi

import (
	"math"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/giveway"
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
	head, lines, err := a.beginLines(c)
	if err != nil || lines == nil {
		return err
	}
	ctx, bulk := c.Request().Context(), giveway.Begin()
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
			bulk.Pause(ctx)
		}
		if err := lines.flush(); err != nil {
			return err
		}
		position = chunk[len(chunk)-1].Position
		left -= uint64(len(chunk))
	}
	return lines.close()
}

// beginLines begins an answer of many lines about the store as it is now, and says where that is. To
// HEAD it answers all there is, and the lines are nil.
func (a *api) beginLines(c echo.Context) (events.Head, *lineWriter, error) {
	if err := acceptLines(c); err != nil {
		return events.Head{}, nil, err
	}
	head, err := a.store.Head(c.Request().Context())
	if err != nil {
		return head, nil, err
	}
	header := c.Response().Header()
	header.Set(headerPosition, strconv.FormatUint(head.Position, 10))
	header.Set(headerStoreID, head.StoreID.String())
	lines := a.newLineWriter(c)
	if c.Request().Method == http.MethodHead {
		return head, nil, lines.close()
	}
	return head, lines, nil
}
