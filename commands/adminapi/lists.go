package adminapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/events"
)

// scanChunk is how many streams are asked of the store at a time, and scanMost how many one page
// looks at: behind that it may be short, and says with its token where to go on.
const (
	scanChunk = 200
	scanMost  = 5000
)

// list is one page of anything.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next_page_token,omitzero"`
}

// scan goes through the streams of a kind in the order of their IDs, from behind the page's cursor,
// and collects what item keeps of them until the page is full.
func scan[T any](ctx context.Context, store events.Store, kind events.Kind, p page, item func(stream []events.Event) (v T, keep bool, err error)) (list[T], error) {
	out := list[T]{Items: []T{}}
	var last events.StreamID
	if p.cursor != "" {
		id, err := events.ParseStreamID(p.cursor)
		if err != nil || id.Kind() != kind {
			return out, badRequest("page_token belongs to no such list: begin without it")
		}
		last = id
	}
	for seen := 0; seen < scanMost; {
		// One stream more than fits, since only it tells that there is a next page.
		chunk := min(scanChunk, p.size-len(out.Items)+1)
		streams, err := store.Streams(ctx, kind, last, chunk)
		if err != nil {
			return out, err
		}
		for _, stream := range streams {
			v, keep, err := item(stream)
			if err != nil {
				return out, err
			}
			if keep && len(out.Items) == p.size {
				out.Next = p.next(last.String())
				return out, nil
			}
			if keep {
				out.Items = append(out.Items, v)
			}
			last = stream[0].Stream
		}
		if seen += len(streams); len(streams) < chunk {
			return out, nil
		}
	}
	out.Next = p.next(last.String())
	return out, nil
}

// listTenants is GET /v1/tenants. Purged tenants are history: they are listed only where asked for.
func (a *api) listTenants(c echo.Context) error {
	q, err := queryOf(c, "page_size", "page_token", "status", "group", "home_region")
	if err != nil {
		return err
	}
	status := events.Status(q.get("status"))
	switch status {
	case events.StatusRegistered, events.StatusActive, events.StatusSuspended, events.StatusDeactivated, events.StatusPurged:
	default:
		if q.has("status") {
			return badRequest("status is %.40q: give registered, active, suspended, deactivated or purged", status)
		}
	}
	var group events.GroupID
	if q.has("group") {
		if group, err = events.ParseGroupID(q.get("group")); err != nil {
			return badRequest("group: %s", err)
		}
	}
	region := q.get("home_region")
	if q.has("home_region") && region == "" {
		return badRequest("home_region is empty: give a region's name or leave it out")
	}
	p, err := q.pageOf("tenants\x00" + string(status) + "\x00" + group.String() + "\x00" + region)
	if err != nil {
		return err
	}
	wanted := func(t events.Tenant) bool {
		return (t.Status == status || status == "" && t.Status != events.StatusPurged) &&
			(group.IsZero() || t.Group == group) &&
			(region == "" || t.HomeRegion == region)
	}
	out, err := scan(c.Request().Context(), a.store, events.KindTenant, p, func(stream []events.Event) (tenantDocument, bool, error) {
		t, err := events.FoldTenant(events.Tenant{}, stream)
		return documentOf(t), wanted(t), err
	})
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, out)
}

// listDatabases is GET /v1/databases, retired ones too.
func (a *api) listDatabases(c echo.Context) error {
	p, err := plainPage(c, "databases")
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	out, err := scan(ctx, a.store, events.KindDatabase, p, func(stream []events.Event) (databaseDocument, bool, error) {
		d, err := events.FoldDatabase(events.Database{}, stream)
		if err != nil {
			return databaseDocument{}, false, err
		}
		document, err := a.databaseDocument(ctx, d)
		return document, true, err
	})
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, out)
}

// listGroups is GET /v1/groups, retired ones too.
func (a *api) listGroups(c echo.Context) error {
	p, err := plainPage(c, "groups")
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	out, err := scan(ctx, a.store, events.KindGroup, p, func(stream []events.Event) (groupDocument, bool, error) {
		g, err := events.FoldGroup(events.Group{}, stream)
		if err != nil {
			return groupDocument{}, false, err
		}
		document, err := a.groupDocument(ctx, g)
		return document, true, err
	})
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, out)
}

// plainPage is the page of a list without filters.
func plainPage(c echo.Context, scope string) (page, error) {
	q, err := queryOf(c, "page_size", "page_token")
	if err != nil {
		return page{}, err
	}
	return q.pageOf(scope)
}

// tenantEvents is GET /v1/tenants/{id}/events: its history, as it was written.
func (a *api) tenantEvents(c echo.Context) error {
	return history(a, c, "tenant", events.ParseTenantID)
}

// databaseEvents is GET /v1/databases/{id}/events.
func (a *api) databaseEvents(c echo.Context) error {
	return history(a, c, "database", events.ParseDatabaseID)
}

// groupEvents is GET /v1/groups/{id}/events.
func (a *api) groupEvents(c echo.Context) error {
	return history(a, c, "group", events.ParseGroupID)
}

// history writes a page of a stream's events.
func history[ID interface{ Stream() events.StreamID }](a *api, c echo.Context, what string, parse func(string) (ID, error)) error {
	named, err := pathValue(c, "id", parse)
	if err != nil {
		return err
	}
	id := named.Stream()
	p, err := plainPage(c, "events\x00"+id.String())
	if err != nil {
		return err
	}
	var after uint64
	if p.cursor != "" {
		if after, err = strconv.ParseUint(p.cursor, 10, 64); err != nil {
			return badRequest("page_token belongs to no such list: begin without it")
		}
	}
	// One event more than fits, since only it tells that there is a next page.
	stream, err := a.store.History(c.Request().Context(), id, after, p.size+1)
	if err != nil {
		return err
	}
	// Whoever goes by a history has to know whose it is, also where there is none.
	store, err := a.storeID(c.Request().Context())
	if err != nil {
		return err
	}
	c.Response().Header().Set(headerStoreID, store.String())
	if len(stream) == 0 && after == 0 {
		return kindMissing.problem("there is no %s %s: check the ID", what, id)
	}
	out := list[events.Event]{Items: stream[:min(len(stream), p.size)]}
	if len(stream) > p.size {
		out.Next = p.next(strconv.FormatUint(out.Items[p.size-1].Version, 10))
	}
	return writeJSON(c, http.StatusOK, out)
}
