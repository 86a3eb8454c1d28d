package adminapi

import (
	"fmt"
	"math"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/strictjson"
)

// The bounds of numbers that have some. A JSON number beyond them fits no command.
const (
	maxPort = 65535
	maxRing = 1000
)

// registerDatabase is POST /v1/databases.
func registerDatabase(q *request) (commands.Command, error) {
	o, err := q.object()
	if err != nil {
		return nil, err
	}
	return databaseFrom(o)
}

// databaseFrom reads what a database is registered with; it is a line of an import too.
func databaseFrom(o *strictjson.Object) (commands.Command, error) {
	var d commands.RegisterDatabase
	var given bool
	if d.ID, given = strictjson.Text(o, "id", events.ParseDatabaseID); !given {
		d.ID = events.NewDatabaseID()
	}
	o.Require("engine", "region", "host", "port", "secret_ref")
	d.Engine, _ = o.String("engine")
	d.Region, _ = o.String("region")
	d.Endpoint.Host, _ = o.String("host")
	d.Endpoint.Port, _ = port(o)("port")
	d.Endpoint.SecretRef, _ = o.String("secret_ref")
	d.Capacity, _ = integer(o, 0, math.MaxInt)("capacity")
	d.Status, _ = strictjson.Text(o, "status", parseDatabaseStatus)
	return d, o.Err()
}

// parseDatabaseStatus is a status that a database can be registered in.
func parseDatabaseStatus(s string) (events.DatabaseStatus, error) {
	switch status := events.DatabaseStatus(s); status {
	case events.DatabaseActive, events.DatabaseIsDraining:
		return status, nil
	}
	return "", fmt.Errorf("a database cannot begin as %.40q: give active or draining", s)
}

// integer reads a member as an int in these bounds.
func integer(o *strictjson.Object, least, most int64) func(name string) (int, bool) {
	return func(name string) (int, bool) {
		n, ok := o.Int(name, least, most)
		return int(n), ok
	}
}

func port(o *strictjson.Object) func(name string) (int, bool) { return integer(o, 1, maxPort) }

// changeEndpoint is PATCH /v1/databases/{id}, a JSON merge patch.
func changeEndpoint(q *request) (commands.Command, error) {
	id, o, err := objectOn(q, events.ParseDatabaseID)
	if err != nil {
		return nil, err
	}
	change := commands.ChangeEndpoint{
		ID:        id,
		Host:      patched(o, "host", o.String),
		Port:      patched(o, "port", port(o)),
		SecretRef: patched(o, "secret_ref", o.String),
	}
	return change, o.Err()
}

// drainDatabase is POST /v1/databases/{id}/drain.
func drainDatabase(q *request) (commands.Command, error) {
	id, err := pathValue(q.c, "id", events.ParseDatabaseID)
	if err != nil {
		return nil, err
	}
	return commands.DrainDatabase{ID: id}, q.reasonOnly()
}

// retireDatabase is POST /v1/databases/{id}/retire.
func retireDatabase(q *request) (commands.Command, error) {
	id, err := pathValue(q.c, "id", events.ParseDatabaseID)
	if err != nil {
		return nil, err
	}
	return commands.RetireDatabase{ID: id}, q.reasonOnly()
}

// createGroup is POST /v1/groups.
func createGroup(q *request) (commands.Command, error) {
	o, err := q.object()
	if err != nil {
		return nil, err
	}
	return groupFrom(o)
}

// groupFrom reads what a group is created with; it is a line of an import too.
func groupFrom(o *strictjson.Object) (commands.Command, error) {
	var g commands.CreateGroup
	var given bool
	if g.ID, given = strictjson.Text(o, "id", events.ParseGroupID); !given {
		g.ID = events.NewGroupID()
	}
	o.Require("name")
	g.Name, _ = o.String("name")
	if ring, ok := integer(o, 0, maxRing)("ring"); ok {
		g.Ring = &ring
	}
	return g, o.Err()
}

// changeGroup is PATCH /v1/groups/{id}, a JSON merge patch.
func changeGroup(q *request) (commands.Command, error) {
	id, o, err := objectOn(q, events.ParseGroupID)
	if err != nil {
		return nil, err
	}
	change := commands.ChangeGroup{
		ID:   id,
		Name: patched(o, "name", o.String),
		Ring: patched(o, "ring", integer(o, 0, maxRing)),
	}
	return change, o.Err()
}

// retireGroup is POST /v1/groups/{id}/retire.
func retireGroup(q *request) (commands.Command, error) {
	id, err := pathValue(q.c, "id", events.ParseGroupID)
	if err != nil {
		return nil, err
	}
	return commands.RetireGroup{ID: id}, q.reasonOnly()
}
