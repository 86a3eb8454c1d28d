package events

import (
	"fmt"
	"time"
)

// GroupStatus is where a group stands in its life.
type GroupStatus string

// A group is active, then retired. A retired one has no tenants, and is the end.
const (
	GroupActive    GroupStatus = "active"
	GroupIsRetired GroupStatus = "retired"
)

// Group is the fold of a group's stream: tenants that get changes together.
type Group struct {
	ID        GroupID
	Version   uint64 // of the last event folded; 0: there is no such group
	Position  uint64 // of the last event folded
	Status    GroupStatus
	Name      string
	Ring      int // 0 gets a change first
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Exists tells whether anything was ever recorded of this group.
func (g Group) Exists() bool { return g.Version > 0 }

// Apply folds the next event into the group. On error it is returned as it was.
func (g Group) Apply(e Event) (Group, error) {
	id, ok := e.Stream.Group()
	if !ok || (g.Exists() && id != g.ID) || e.Version != g.Version+1 {
		return g, fmt.Errorf("%w: %s at version %d, for a group %s at version %d", ErrOutOfOrder, e.Stream, e.Version, g.ID, g.Version)
	}
	p, err := e.Payload()
	if err != nil {
		return g, err
	}
	if _, first := p.(GroupCreated); first != (e.Version == 1) {
		return g, fmt.Errorf("%w: %s at version %d: a stream begins with its creation, and has one", ErrOutOfOrder, e.Type, e.Version)
	}
	next := g
	switch p := p.(type) {
	case GroupCreated:
		next = Group{ID: id, Status: GroupActive, Name: p.Name, Ring: p.Ring, CreatedAt: e.Time}
	case GroupChanged:
		next.Name, next.Ring = p.Name, p.Ring
	case GroupRetired:
		next.Status = GroupIsRetired
	default:
		return g, fmt.Errorf("%s is not an event of a group", e.Type)
	}
	next.Version, next.Position, next.UpdatedAt = e.Version, e.Position, e.Time
	return next, nil
}

// FoldGroup folds a whole stream, or the rest of one, into g.
func FoldGroup(g Group, stream []Event) (Group, error) { return fold(g, stream, Group.Apply) }
