package adminapi

import (
	"context"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/events"
)

// exportChunk is how many streams are asked of the store and sent at a time.
const exportChunk = 200

// exportLines is GET /v1/export: everything that is, as an import takes it, in the order of IDs. So
// databases (db_) and groups (grp_) come before the tenants (ten_) that refer to them.
//
// Every stream is taken as it was at one position, though commands go on meanwhile: no tenant
// refers to a database that is missing, and no hostname stands under two.
func (a *api) exportLines(c echo.Context) error {
	if _, err := queryOf(c); err != nil {
		return err
	}
	head, lines, err := a.beginLines(c)
	if err != nil || lines == nil {
		return err
	}
	ctx := c.Request().Context()
	kinds := []struct {
		kind events.Kind
		line func(stream []events.Event) (line any, keep bool, err error)
	}{
		{events.KindDatabase, databaseLine},
		{events.KindGroup, groupLine},
		{events.KindTenant, tenantLine},
	}
	for _, k := range kinds {
		if err := a.exportKind(ctx, k.kind, head.Position, k.line, lines); err != nil {
			return err
		}
	}
	return lines.close()
}

func (a *api) exportKind(
	ctx context.Context, kind events.Kind, at uint64,
	line func([]events.Event) (any, bool, error), lines *lineWriter,
) error {
	var last events.StreamID
	for {
		streams, err := a.store.Streams(ctx, kind, last, exportChunk)
		if err != nil || len(streams) == 0 {
			return err
		}
		for _, stream := range streams {
			last = stream[0].Stream
			if stream = upTo(stream, at); len(stream) == 0 {
				continue
			}
			v, keep, err := line(stream)
			if err != nil {
				return err
			}
			if !keep {
				continue
			}
			if err := lines.write(v); err != nil {
				return err
			}
		}
		if err := lines.flush(); err != nil {
			return err
		}
	}
}

// upTo is the stream as it was at a position of the store.
func upTo(stream []events.Event, position uint64) []events.Event {
	for len(stream) > 0 && stream[len(stream)-1].Position > position {
		stream = stream[:len(stream)-1]
	}
	return stream
}

// tenantLine is a tenant as POST /v1/tenants takes it. What an import would assume is left out.
func tenantLine(stream []events.Event) (any, bool, error) {
	t, err := events.FoldTenant(events.Tenant{}, stream)
	line := struct {
		ID         events.TenantID           `json:"id"`
		Name       string                    `json:"name"`
		Hostnames  []events.Hostname         `json:"hostnames"`
		Primary    events.Hostname           `json:"primary_hostname,omitzero"`
		HomeRegion string                    `json:"home_region"`
		Group      events.GroupID            `json:"group,omitzero"`
		Database   any                       `json:"database,omitzero"`
		Products   map[string]events.Product `json:"products,omitempty"`
		Config     map[string]jsontext.Value `json:"config,omitempty"`
		Status     events.Status             `json:"status,omitzero"`
	}{
		ID: t.ID, Name: t.Name, Hostnames: t.Hostnames, HomeRegion: t.HomeRegion, Group: t.Group,
		Products: t.Products, Config: t.Config,
	}
	if len(t.Hostnames) > 0 && t.Primary != t.Hostnames[0] {
		line.Primary = t.Primary
	}
	if t.Status != events.StatusRegistered {
		line.Status = t.Status
	}
	switch {
	case t.Database.ID.IsZero():
	case t.Database.Name == t.ID.Suffix():
		line.Database = t.Database.ID
	default:
		line.Database = t.Database
	}
	return line, t.Status != events.StatusPurged, err
}

// databaseLine is a database as POST /v1/databases takes it. What an import would assume is left out.
func databaseLine(stream []events.Event) (any, bool, error) {
	d, err := events.FoldDatabase(events.Database{}, stream)
	line := struct {
		ID              events.DatabaseID `json:"id"`
		Engine          string            `json:"engine"`
		Region          string            `json:"region"`
		events.Endpoint `json:",inline"`
		Capacity        int                   `json:"capacity,omitzero"`
		Status          events.DatabaseStatus `json:"status,omitzero"`
	}{ID: d.ID, Engine: d.Engine, Region: d.Region, Endpoint: d.Endpoint, Capacity: d.Capacity}
	if d.Status != events.DatabaseActive {
		line.Status = d.Status
	}
	return line, d.Status != events.DatabaseIsRetired, err
}

// groupLine is a group as POST /v1/groups takes it.
func groupLine(stream []events.Event) (any, bool, error) {
	g, err := events.FoldGroup(events.Group{}, stream)
	line := struct {
		ID   events.GroupID `json:"id"`
		Name string         `json:"name"`
		Ring int            `json:"ring,omitzero"`
	}{ID: g.ID, Name: g.Name, Ring: g.Ring}
	return line, g.Status != events.GroupIsRetired, err
}
