package commands

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// ChangeTenant renames, moves and regroups a tenant: all of it or nothing. It is PATCH
// /v1/tenants/{id}: nil leaves a field as it is.
type ChangeTenant struct {
	ID         events.TenantID
	Name       *string
	HomeRegion *string
	Group      *events.GroupID // the zero GroupID: out of any group
}

// AssignDatabase puts a tenant on a database.
type AssignDatabase struct {
	ID       events.TenantID
	Database events.DatabaseID
	Name     string // of the database or schema on that server; "": the tenant ID's suffix
}

// Target is the tenant.
func (c ChangeTenant) Target() events.StreamID { return c.ID.Stream() }

// Target is the tenant.
func (c AssignDatabase) Target() events.StreamID { return c.ID.Stream() }

func (ChangeTenant) name() string   { return "change-tenant" }
func (AssignDatabase) name() string { return "assign-database" }

func (c ChangeTenant) refers() []events.StreamID {
	if c.Group == nil || c.Group.IsZero() {
		return nil
	}
	return []events.StreamID{c.Group.Stream()}
}

func (c AssignDatabase) refers() []events.StreamID { return []events.StreamID{c.Database.Stream()} }

func (c ChangeTenant) check(f *faults) {
	if c.Name != nil {
		f.text("/name", "name", *c.Name, maxName)
	}
	if c.HomeRegion != nil {
		f.slug("/home_region", "home region", *c.HomeRegion)
	}
}

func (c AssignDatabase) check(f *faults) {
	if c.Database.IsZero() {
		f.add("/database", "the database is missing: give its ID, db_…")
	}
	f.databaseName("/name", c.Name)
}

func (c ChangeTenant) decide(t events.Tenant, f facts) ([]events.Payload, error) {
	var out []events.Payload
	if c.Name != nil && *c.Name != t.Name {
		out = append(out, events.TenantRenamed{Name: *c.Name})
	}
	if c.HomeRegion != nil && *c.HomeRegion != t.HomeRegion {
		if err := f.knowRegion("/home_region", *c.HomeRegion); err != nil {
			return nil, err
		}
		out = append(out, events.HomeRegionChanged{HomeRegion: *c.HomeRegion})
	}
	if c.Group != nil && *c.Group != t.Group {
		if !c.Group.IsZero() {
			if err := f.joinGroup("/group", *c.Group); err != nil {
				return nil, err
			}
		}
		out = append(out, events.TenantGroupChanged{Group: *c.Group})
	}
	return out, nil
}

func (c AssignDatabase) decide(t events.Tenant, f facts) ([]events.Payload, error) {
	name := databaseName(c.ID, c.Name)
	if c.Database == t.Database.ID {
		if c.Name == "" || name == t.Database.Name {
			return nil, nil // who gives no name wants none changed
		}
		// It is on that database already, so one that is draining keeps it.
		return []events.Payload{events.DatabaseAssigned{Database: c.Database, Name: name}}, nil
	}
	if err := f.joinDatabase("/database", c.Database); err != nil {
		return nil, err
	}
	return []events.Payload{events.DatabaseAssigned{Database: c.Database, Name: name}}, nil
}

// databaseName is what a tenant's database is called on its server where no one said.
func databaseName(id events.TenantID, given string) string {
	if given == "" {
		return id.Suffix()
	}
	return given
}

func (f *faults) databaseName(pointer jsontext.Pointer, s string) {
	if s != "" {
		f.text(pointer, "database's name", s, maxDatabase)
	}
}

// knowRegion refuses a home region that the catalogue does not know. One that was told of none takes
// any.
func (f facts) knowRegion(pointer, region string) error {
	if len(f.homeRegions) == 0 || slices.Contains(f.homeRegions, region) {
		return nil
	}
	return refuseField(UnknownRegion, pointer, fmt.Sprintf("there is no home region %s: give one of %s", quote(region), strings.Join(f.homeRegions, ", ")))
}

// joinGroup refuses a group that takes no new tenant.
func (f facts) joinGroup(pointer string, id events.GroupID) error {
	switch g := f.group(id); {
	case !g.Exists():
		return refuseField(UnknownGroup, pointer, fmt.Sprintf("there is no group %s: create it first, or give another", id))
	case g.Status != events.GroupActive:
		return refuseField(RetiredGroup, pointer, fmt.Sprintf("the group %s is %s and takes no new tenant: give another", id, g.Status))
	}
	return nil
}

// joinDatabase refuses a database that takes no new tenant. Whether it has room only the
// store can tell.
func (f facts) joinDatabase(pointer string, id events.DatabaseID) error {
	switch d := f.database(id); {
	case !d.Exists():
		return refuseField(UnknownDatabase, pointer, fmt.Sprintf("there is no database %s: register it first, or give another", id))
	case d.Status != events.DatabaseActive:
		return refuseField(UnavailableDatabase, pointer, fmt.Sprintf("the database %s is %s and takes no new tenant: give another", id, d.Status))
	}
	return nil
}

func refuseField(code Code, pointer, detail string) *Refusal {
	return &Refusal{Code: code, Detail: detail, Fields: []FieldError{{Pointer: pointer, Detail: detail}}}
}
