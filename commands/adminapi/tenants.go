package adminapi

import (
	"errors"
	"fmt"
	"math"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/strictjson"
)

// registerTenant is POST /v1/tenants.
func registerTenant(q *request) (commands.Command, error) {
	o, err := q.object()
	if err != nil {
		return nil, err
	}
	return tenantFrom(o, events.NewTenantID)
}

// tenantFrom reads what a tenant starts with; it is a line of an import too. newID is asked for an ID
// where none is given, before anything else is read.
func tenantFrom(o *strictjson.Object, newID func() events.TenantID) (commands.Command, error) {
	var t commands.RegisterTenant
	var given bool
	if t.ID, given = strictjson.Text(o, "id", events.ParseTenantID); !given {
		t.ID = newID()
	}
	o.Require("name", "hostnames", "home_region")
	t.Name, _ = o.String("name")
	t.Hostnames, _ = strictjson.Texts(o, "hostnames", events.ParseHostname)
	t.Primary, _ = strictjson.Text(o, "primary_hostname", events.ParseHostname)
	t.HomeRegion, _ = o.String("home_region")
	t.Group, _ = strictjson.Text(o, "group", events.ParseGroupID)
	t.Database, t.DatabaseName = placeFrom(o)
	t.Products = productsFrom(o)
	t.Config = configFrom(o)
	t.Status, _ = strictjson.Text(o, "status", parseStartStatus)
	return t, o.Err()
}

// placeFrom reads "database", which is an ID or an object of one and the name on that server.
func placeFrom(o *strictjson.Object) (id events.DatabaseID, name string) {
	if o.Kind("database") != jsontext.KindBeginObject {
		id, _ = strictjson.Text(o, "database", events.ParseDatabaseID)
		return id, ""
	}
	place := o.Object("database")
	defer place.Close()
	place.Require("id")
	id, _ = strictjson.Text(place, "id", events.ParseDatabaseID)
	name, _ = strictjson.Text(place, "name", parseDatabaseName)
	return id, name
}

// parseDatabaseName refuses "", which the command would take for a name that was not given.
func parseDatabaseName(s string) (string, error) {
	if s == "" {
		return "", errors.New("the database's name is empty: give one, or leave it out to name it after the tenant")
	}
	return s, nil
}

// productsFrom is nil where the member is absent.
func productsFrom(o *strictjson.Object) map[string]events.Product {
	all := o.Object("products")
	if all == nil {
		return nil
	}
	products := make(map[string]events.Product)
	for _, name := range all.Names() {
		if one := all.Object(name); one != nil {
			products[name] = productFrom(one)
			one.Close()
		}
	}
	return products
}

func productFrom(o *strictjson.Object) events.Product {
	var p events.Product
	o.Require("plan")
	p.Plan, _ = o.String("plan")
	if seats, ok := o.Int("seats", 0, math.MaxInt64); ok {
		p.Seats = &seats
	}
	p.Features, _ = strictjson.Texts(o, "features", func(s string) (string, error) { return s, nil })
	if until, ok := o.Time("trial_until"); ok {
		p.TrialUntil = &until
	}
	return p
}

// configFrom is nil where the member is absent.
func configFrom(o *strictjson.Object) map[string]jsontext.Value {
	all := o.Object("config")
	if all == nil {
		return nil
	}
	config := make(map[string]jsontext.Value)
	for _, key := range all.Names() {
		config[key] = compact(all.Value(key))
	}
	return config
}

// compact takes out the white space, so that the same value is the same octets.
func compact(v jsontext.Value) jsontext.Value {
	_ = v.Compact() // it was checked with the body
	return v
}

// parseStartStatus is a status that a tenant can be registered in.
func parseStartStatus(s string) (events.Status, error) {
	switch status := events.Status(s); status {
	case events.StatusRegistered, events.StatusActive, events.StatusSuspended, events.StatusDeactivated:
		return status, nil
	}
	return "", fmt.Errorf("a tenant cannot begin as %.40q: give registered, active, suspended or deactivated", s)
}

// changeTenant is PATCH /v1/tenants/{id}, a JSON merge patch.
func changeTenant(q *request) (commands.Command, error) {
	id, o, err := objectOn(q, events.ParseTenantID)
	if err != nil {
		return nil, err
	}
	change := commands.ChangeTenant{ID: id}
	change.Name = patched(o, "name", o.String)
	change.HomeRegion = patched(o, "home_region", o.String)
	if o.Null("group") {
		change.Group = new(events.GroupID)
	} else if group, ok := strictjson.Text(o, "group", parseSomeGroup); ok {
		change.Group = &group
	}
	return change, o.Err()
}

// patched is a member of a merge patch that cannot be removed, nil where the patch leaves it.
func patched[T any](o *strictjson.Object, name string, read func(string) (T, bool)) *T {
	if o.Null(name) {
		o.Fault(name, "null would remove %q, which has to be there: give a value or leave it out", name)
		return nil
	}
	if v, ok := read(name); ok {
		return &v
	}
	return nil
}

// parseSomeGroup refuses "", which would be taken for leaving the group.
func parseSomeGroup(s string) (events.GroupID, error) {
	if s == "" {
		return events.GroupID{}, errors.New(`"" is not a group ID: give one, or null to leave the group`)
	}
	return events.ParseGroupID(s)
}

// onTenant is a command that needs the tenant's ID alone, and may give a reason.
func onTenant(command func(events.TenantID) commands.Command) build {
	return func(q *request) (commands.Command, error) {
		id, err := pathValue(q.c, "id", events.ParseTenantID)
		if err != nil {
			return nil, err
		}
		return command(id), q.reasonOnly()
	}
}

// The commands on a tenant's status.
var (
	activateTenant   = onTenant(func(id events.TenantID) commands.Command { return commands.ActivateTenant{ID: id} })
	suspendTenant    = onTenant(func(id events.TenantID) commands.Command { return commands.SuspendTenant{ID: id} })
	resumeTenant     = onTenant(func(id events.TenantID) commands.Command { return commands.ResumeTenant{ID: id} })
	deactivateTenant = onTenant(func(id events.TenantID) commands.Command { return commands.DeactivateTenant{ID: id} })
	restoreTenant    = onTenant(func(id events.TenantID) commands.Command { return commands.RestoreTenant{ID: id} })
	purgeTenant      = onTenant(func(id events.TenantID) commands.Command { return commands.PurgeTenant{ID: id} })
)

// hostnameInPath reads which hostname of which tenant the path names.
func hostnameInPath(q *request) (id events.TenantID, hostname events.Hostname, err error) {
	if id, err = pathValue(q.c, "id", events.ParseTenantID); err != nil {
		return id, hostname, err
	}
	hostname, err = pathValue(q.c, "hostname", events.ParseHostname)
	return id, hostname, err
}

// attachHostname is PUT …/hostnames/{hostname}.
func attachHostname(q *request) (commands.Command, error) {
	id, hostname, err := hostnameInPath(q)
	if err != nil {
		return nil, err
	}
	attach := commands.AttachHostname{ID: id, Hostname: hostname}
	if len(q.body) == 0 {
		return attach, nil
	}
	o, err := q.object()
	if err != nil {
		return nil, err
	}
	attach.Primary, _ = o.Bool("primary")
	return attach, o.Err()
}

// detachHostname is DELETE …/hostnames/{hostname}.
func detachHostname(q *request) (commands.Command, error) {
	id, hostname, err := hostnameInPath(q)
	if err != nil {
		return nil, err
	}
	return commands.DetachHostname{ID: id, Hostname: hostname}, nil
}

// setProduct is PUT …/products/{product}.
func setProduct(q *request) (commands.Command, error) {
	id, product, err := nameInPath(q, "product")
	if err != nil {
		return nil, err
	}
	o, err := q.object()
	if err != nil {
		return nil, err
	}
	return commands.SetProduct{ID: id, Product: product, Settings: productFrom(o)}, o.Err()
}

// deactivateProduct is DELETE …/products/{product}.
func deactivateProduct(q *request) (commands.Command, error) {
	id, product, err := nameInPath(q, "product")
	if err != nil {
		return nil, err
	}
	return commands.DeactivateProduct{ID: id, Product: product}, nil
}

// assignDatabase is PUT …/database.
func assignDatabase(q *request) (commands.Command, error) {
	id, o, err := objectOn(q, events.ParseTenantID)
	if err != nil {
		return nil, err
	}
	assign := commands.AssignDatabase{ID: id}
	o.Require("database")
	assign.Database, _ = strictjson.Text(o, "database", events.ParseDatabaseID)
	assign.Name, _ = strictjson.Text(o, "name", parseDatabaseName)
	return assign, o.Err()
}

// setConfig is PUT …/config/{key}.
func setConfig(q *request) (commands.Command, error) {
	id, key, err := nameInPath(q, "key")
	if err != nil {
		return nil, err
	}
	o, err := q.object()
	if err != nil {
		return nil, err
	}
	o.Require("value")
	set := commands.SetConfig{ID: id, Key: key, Value: compact(o.Value("value"))}
	return set, o.Err()
}

// unsetConfig is DELETE …/config/{key}.
func unsetConfig(q *request) (commands.Command, error) {
	id, key, err := nameInPath(q, "key")
	if err != nil {
		return nil, err
	}
	return commands.UnsetConfig{ID: id, Key: key}, nil
}

// nameInPath reads which product or key of which tenant the path names; the command checks it.
func nameInPath(q *request, param string) (id events.TenantID, name string, err error) {
	if id, err = pathValue(q.c, "id", events.ParseTenantID); err != nil {
		return id, "", err
	}
	name, err = q.name(param)
	return id, name, err
}
