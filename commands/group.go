package commands

import (
	"fmt"

	"github.com/tenantry/tenantry/events"
)

// CreateGroup founds a group. It is POST /v1/groups, and a line of an import.
type CreateGroup struct {
	ID   events.GroupID
	Name string
	Ring *int // nil: 0, which gets a change first
}

// ChangeGroup renames a group and moves it to another ring: nil leaves a field as it is. It
// is PATCH /v1/groups/{id}.
type ChangeGroup struct {
	ID   events.GroupID
	Name *string
	Ring *int
}

// RetireGroup ends a group that no tenant is in.
type RetireGroup struct{ ID events.GroupID }

// Target is the group.
func (c CreateGroup) Target() events.StreamID { return c.ID.Stream() }

// Target is the group.
func (c ChangeGroup) Target() events.StreamID { return c.ID.Stream() }

// Target is the group.
func (c RetireGroup) Target() events.StreamID { return c.ID.Stream() }

func (CreateGroup) name() string { return "create-group" }
func (ChangeGroup) name() string { return "change-group" }
func (RetireGroup) name() string { return "retire-group" }

func (c CreateGroup) check(f *faults) {
	f.text("/name", "name", c.Name, maxName)
	f.ring(c.Ring)
}

func (c ChangeGroup) check(f *faults) {
	if c.Name != nil {
		f.text("/name", "name", *c.Name, maxName)
	}
	f.ring(c.Ring)
}

func (RetireGroup) check(*faults) {}

func (f *faults) ring(ring *int) {
	if ring != nil && (*ring < 0 || *ring > maxRing) {
		f.add("/ring", "%d is no ring: give 0 to %d", *ring, maxRing)
	}
}

func (c CreateGroup) decide(events.Group) ([]events.Payload, error) {
	created := events.GroupCreated{Name: c.Name}
	if c.Ring != nil {
		created.Ring = *c.Ring
	}
	return []events.Payload{created}, nil
}

func (c CreateGroup) differs(s state) string {
	g := s.group
	const change = "change the group or the line"
	switch {
	case g.Status == events.GroupIsRetired:
		return fmt.Sprintf("%s was retired, and an ID is never used again: choose another ID", g.ID)
	case c.Name != g.Name:
		return fmt.Sprintf("%s is there with the name %s, not %s: %s", g.ID, quote(g.Name), quote(c.Name), change)
	case c.Ring != nil && *c.Ring != g.Ring:
		return fmt.Sprintf("%s is there in ring %d, not %d: %s", g.ID, g.Ring, *c.Ring, change)
	}
	return ""
}

func (c ChangeGroup) decide(g events.Group) ([]events.Payload, error) {
	changed := events.GroupChanged{Name: g.Name, Ring: g.Ring}
	if c.Name != nil {
		changed.Name = *c.Name
	}
	if c.Ring != nil {
		changed.Ring = *c.Ring
	}
	if changed.Name == g.Name && changed.Ring == g.Ring {
		return nil, nil
	}
	return []events.Payload{changed}, nil
}

// decide leaves it to the store to refuse while a tenant is in the group: only there can no
// tenant come in between.
func (RetireGroup) decide(events.Group) ([]events.Payload, error) {
	return []events.Payload{events.GroupRetired{}}, nil
}
