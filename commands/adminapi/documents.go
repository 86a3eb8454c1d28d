package adminapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/events"
)

// tenantDocument is a tenant as it is read. What it has none of is left out, but for hostnames.
type tenantDocument struct {
	ID         events.TenantID           `json:"id"`
	Name       string                    `json:"name"`
	Status     events.Status             `json:"status"`
	Hostnames  []events.Hostname         `json:"hostnames"`
	Primary    events.Hostname           `json:"primary_hostname,omitzero"`
	HomeRegion string                    `json:"home_region"`
	Group      events.GroupID            `json:"group,omitzero"`
	Products   map[string]events.Product `json:"products,omitempty"`
	Database   events.Assignment         `json:"database,omitzero"`
	Config     map[string]jsontext.Value `json:"config,omitempty"`
	Version    uint64                    `json:"version"`
	Position   uint64                    `json:"position"`
	CreatedAt  time.Time                 `json:"created_at"`
	UpdatedAt  time.Time                 `json:"updated_at"`
}

func documentOf(t events.Tenant) tenantDocument {
	t.Database.Position = 0 // so that none at all is the zero value, whatever it was before
	return tenantDocument{
		ID: t.ID, Name: t.Name, Status: t.Status, Hostnames: t.Hostnames, Primary: t.Primary,
		HomeRegion: t.HomeRegion, Group: t.Group, Products: t.Products, Database: t.Database, Config: t.Config,
		Version: t.Version, Position: t.Position, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt,
	}
}

// databaseDocument is a database as it is read.
type databaseDocument struct {
	ID              events.DatabaseID     `json:"id"`
	Status          events.DatabaseStatus `json:"status"`
	Engine          string                `json:"engine"`
	Region          string                `json:"region"`
	events.Endpoint `json:",inline"`
	Capacity        int       `json:"capacity,omitzero"`
	Tenants         int       `json:"tenants"` // how many refer to it
	Version         uint64    `json:"version"`
	Position        uint64    `json:"position"`
	CreatedAt       time.Time `json:"created_at"`
	UpdatedAt       time.Time `json:"updated_at"`
}

func (a *api) databaseDocument(ctx context.Context, d events.Database) (databaseDocument, error) {
	tenants, err := a.store.References(ctx, d.ID.Stream())
	return databaseDocument{
		ID: d.ID, Status: d.Status, Engine: d.Engine, Region: d.Region, Endpoint: d.Endpoint,
		Capacity: d.Capacity, Tenants: tenants,
		Version: d.Version, Position: d.Position, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt,
	}, err
}

// groupDocument is a group as it is read.
type groupDocument struct {
	ID        events.GroupID     `json:"id"`
	Status    events.GroupStatus `json:"status"`
	Name      string             `json:"name"`
	Ring      int                `json:"ring"`
	Tenants   int                `json:"tenants"` // how many refer to it
	Version   uint64             `json:"version"`
	Position  uint64             `json:"position"`
	CreatedAt time.Time          `json:"created_at"`
	UpdatedAt time.Time          `json:"updated_at"`
}

func (a *api) groupDocument(ctx context.Context, g events.Group) (groupDocument, error) {
	tenants, err := a.store.References(ctx, g.ID.Stream())
	return groupDocument{
		ID: g.ID, Status: g.Status, Name: g.Name, Ring: g.Ring, Tenants: tenants,
		Version: g.Version, Position: g.Position, CreatedAt: g.CreatedAt, UpdatedAt: g.UpdatedAt,
	}, err
}

// getTenant is GET /v1/tenants/{id}, now or in the past.
func (a *api) getTenant(c echo.Context) error {
	id, err := pathValue(c, "id", events.ParseTenantID)
	if err != nil {
		return err
	}
	q, err := queryOf(c, "version", "as_of")
	if err != nil {
		return err
	}
	if q.has("version") && q.has("as_of") {
		return badRequest("version and as_of are two ways to say when: give one of them")
	}
	var at commands.At
	if at.Version, err = q.number("version", 1, maxNumber, 0); err != nil {
		return err
	}
	if at.Time, err = q.instant("as_of"); err != nil {
		return err
	}
	tenant, err := a.commands.Tenant(c.Request().Context(), id, at)
	if err != nil {
		return err
	}
	setStream(c, tenant.Version, tenant.Position)
	// The version says all there is of a tenant, so a copy at that version is still the tenant.
	if matchesNone(c.Request().Header.Values("If-None-Match"), etagOf(tenant.Version)) {
		return c.NoContent(http.StatusNotModified)
	}
	return writeJSON(c, http.StatusOK, documentOf(tenant))
}

// getDatabase is GET /v1/databases/{id}. It answers no 304, since how many tenants the database has
// changes without its version.
func (a *api) getDatabase(c echo.Context) error {
	id, err := pathValue(c, "id", events.ParseDatabaseID)
	if err != nil {
		return err
	}
	if _, err := queryOf(c); err != nil {
		return err
	}
	ctx := c.Request().Context()
	database, err := a.commands.Database(ctx, id)
	if err != nil {
		return err
	}
	document, err := a.databaseDocument(ctx, database)
	if err != nil {
		return err
	}
	setStream(c, database.Version, database.Position)
	return writeJSON(c, http.StatusOK, document)
}

// getGroup is GET /v1/groups/{id}. As with databases, it answers no 304.
func (a *api) getGroup(c echo.Context) error {
	id, err := pathValue(c, "id", events.ParseGroupID)
	if err != nil {
		return err
	}
	if _, err := queryOf(c); err != nil {
		return err
	}
	ctx := c.Request().Context()
	group, err := a.commands.Group(ctx, id)
	if err != nil {
		return err
	}
	document, err := a.groupDocument(ctx, group)
	if err != nil {
		return err
	}
	setStream(c, group.Version, group.Position)
	return writeJSON(c, http.StatusOK, document)
}

// setStream says where the stream is that the answer was folded from.
func setStream(c echo.Context, version, position uint64) {
	header := c.Response().Header()
	header.Set("ETag", etagOf(version))
	header.Set(headerPosition, strconv.FormatUint(position, 10))
	header.Set("Cache-Control", "no-cache") // may be kept, and has to be asked about each time
}
