package events

import (
	"fmt"
	"time"
)

// DatabaseStatus is where a database stands in its life.
type DatabaseStatus string

// A database is active, then draining (it takes no new tenants), then retired. A retired
// one has no tenants, and is the end.
const (
	DatabaseActive     DatabaseStatus = "active"
	DatabaseIsDraining DatabaseStatus = "draining"
	DatabaseIsRetired  DatabaseStatus = "retired"
)

// Database is the fold of a database's stream.
type Database struct {
	ID       DatabaseID
	Version  uint64 // of the last event folded; 0: there is no such database
	Position uint64 // of the last event folded
	Status   DatabaseStatus
	Engine   string
	Region   string
	Endpoint Endpoint
	Capacity int // the most tenants it takes; 0: no limit
	// EndpointPosition is that of the event that last set the endpoint. The greater of it and of
	// the tenant's Assignment.Position is the epoch: of two answers for one tenant, the one with
	// the higher epoch is the newer, whatever order a region folded the events in.
	EndpointPosition uint64
	CreatedAt        time.Time
	UpdatedAt        time.Time
}

// Exists tells whether anything was ever recorded of this database.
func (d Database) Exists() bool { return d.Version > 0 }

// Apply folds the next event into the database. On error it is returned as it was.
func (d Database) Apply(e Event) (Database, error) {
	id, ok := e.Stream.Database()
	if !ok || (d.Exists() && id != d.ID) || e.Version != d.Version+1 {
		return d, fmt.Errorf("%w: %s at version %d, for a database %s at version %d", ErrOutOfOrder, e.Stream, e.Version, d.ID, d.Version)
	}
	p, err := e.Payload()
	if err != nil {
		return d, err
	}
	if _, first := p.(DatabaseRegistered); first != (e.Version == 1) {
		return d, fmt.Errorf("%w: %s at version %d: a stream begins with its registration, and has one", ErrOutOfOrder, e.Type, e.Version)
	}
	next := d
	switch p := p.(type) {
	case DatabaseRegistered:
		next = Database{
			ID: id, Status: DatabaseActive, Engine: p.Engine, Region: p.Region,
			Endpoint: p.Endpoint, EndpointPosition: e.Position, Capacity: p.Capacity, CreatedAt: e.Time,
		}
	case DatabaseEndpointChanged:
		next.Endpoint, next.EndpointPosition = p.Endpoint, e.Position
	case DatabaseDraining:
		next.Status = DatabaseIsDraining
	case DatabaseRetired:
		next.Status = DatabaseIsRetired
	default:
		return d, fmt.Errorf("%s is not an event of a database", e.Type)
	}
	next.Version, next.Position, next.UpdatedAt = e.Version, e.Position, e.Time
	return next, nil
}

// FoldDatabase folds a whole stream, or the rest of one, into d.
func FoldDatabase(d Database, stream []Event) (Database, error) {
	return fold(d, stream, Database.Apply)
}
