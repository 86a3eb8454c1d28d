package events

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// ErrOutOfOrder says that an event is not the next one of its stream: events are missing or
// doubled, or it belongs to another stream. The fold changes nothing.
var ErrOutOfOrder = errors.New("event out of order")

// Status is where a tenant stands in its life.
type Status string

// A tenant is registered, then active; it can be suspended and resumed, deactivated and
// restored; a deactivated one can be purged, which is the end.
const (
	StatusRegistered  Status = "registered"
	StatusActive      Status = "active"
	StatusSuspended   Status = "suspended"
	StatusDeactivated Status = "deactivated"
	StatusPurged      Status = "purged"
)

// Assignment is the database that a tenant's data is in.
type Assignment struct {
	ID   DatabaseID `json:"id"`
	Name string     `json:"name"` // of the database or schema on that server
	// Position is that of the DatabaseAssigned event. It is one half of the epoch.
	Position uint64 `json:"-"`
}

// Tenant is the fold of a tenant's stream. Treat it as a value: Apply shares no slice or map
// with what it was given where it changes one.
type Tenant struct {
	ID         TenantID
	Version    uint64 // of the last event folded; 0: there is no such tenant
	Position   uint64 // of the last event folded
	Name       string
	Status     Status
	Hostnames  []Hostname // in the order in which they were attached
	Primary    Hostname   // one of Hostnames; zero where there are none
	HomeRegion string
	Group      GroupID // zero: in none
	Products   map[string]Product
	Database   Assignment // zero: none yet
	Config     map[string]jsontext.Value
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// Exists tells whether anything was ever recorded of this tenant; a purged one still exists.
func (t Tenant) Exists() bool { return t.Version > 0 }

// Apply folds the next event into the tenant. On error the tenant is returned as it was:
// [ErrOutOfOrder] when e is not the next event of this stream, or the decoder's error.
func (t Tenant) Apply(e Event) (Tenant, error) {
	return t.apply(e, maps.Clone[map[string]Product], maps.Clone[map[string]jsontext.Value])
}

// ApplyOwn is Apply for who folds a whole stream from its beginning, and has kept none of the
// tenants in between: it may change the maps of t. Of t only Hostnames remain what they were.
func (t Tenant) ApplyOwn(e Event) (Tenant, error) {
	return t.apply(e, same[map[string]Product], same[map[string]jsontext.Value])
}

func same[V any](v V) V { return v }

// apply changes a map that one of the functions returned.
func (t Tenant) apply(e Event, products func(map[string]Product) map[string]Product, config func(map[string]jsontext.Value) map[string]jsontext.Value) (Tenant, error) {
	id, ok := e.Stream.Tenant()
	if !ok || (t.Exists() && id != t.ID) || e.Version != t.Version+1 {
		return t, fmt.Errorf("%w: %s at version %d, for a tenant %s at version %d", ErrOutOfOrder, e.Stream, e.Version, t.ID, t.Version)
	}
	p, err := e.Payload()
	if err != nil {
		return t, err
	}
	if _, first := p.(TenantRegistered); first != (e.Version == 1) {
		return t, fmt.Errorf("%w: %s at version %d: a stream begins with its registration, and has one", ErrOutOfOrder, e.Type, e.Version)
	}
	next := t
	switch p := p.(type) {
	case TenantRegistered:
		next = Tenant{ID: id, Name: p.Name, Status: StatusRegistered, HomeRegion: p.HomeRegion, Group: p.Group, CreatedAt: e.Time}
	case TenantActivated, TenantResumed, TenantRestored:
		next.Status = StatusActive
	case TenantRenamed:
		next.Name = p.Name
	case TenantSuspended:
		next.Status = StatusSuspended
	case TenantDeactivated:
		next.Status = StatusDeactivated
	case TenantPurged:
		// What the tenant held is free; what it was is in its history.
		next.Status = StatusPurged
		next.Hostnames, next.Primary = nil, Hostname{}
		next.Products, next.Config = nil, nil
		next.Database, next.Group = Assignment{}, GroupID{}
	case HostnameAttached:
		next.Hostnames = append(slices.Clip(t.Hostnames), p.Hostname)
		if next.Primary.IsZero() {
			next.Primary = p.Hostname
		}
	case HostnameDetached:
		next.Hostnames = slices.DeleteFunc(slices.Clone(t.Hostnames), func(h Hostname) bool { return h == p.Hostname })
		if next.Primary == p.Hostname {
			next.Primary = Hostname{}
		}
	case PrimaryHostnameChanged:
		next.Primary = p.Hostname
	case ProductActivated:
		next.Products = with(products(t.Products), p.Name, p.Product)
	case ProductChanged:
		next.Products = with(products(t.Products), p.Name, p.Product)
	case ProductDeactivated:
		next.Products = without(products(t.Products), p.Name)
	case DatabaseAssigned:
		next.Database = Assignment{ID: p.Database, Name: p.Name, Position: e.Position}
	case HomeRegionChanged:
		next.HomeRegion = p.HomeRegion
	case TenantGroupChanged:
		next.Group = p.Group
	case ConfigSet:
		next.Config = with(config(t.Config), p.Key, p.Value)
	case ConfigUnset:
		next.Config = without(config(t.Config), p.Key)
	default:
		return t, fmt.Errorf("%s is not an event of a tenant", e.Type)
	}
	next.Version, next.Position, next.UpdatedAt = e.Version, e.Position, e.Time
	return next, nil
}

// with adds an entry to m.
func with[V any](m map[string]V, key string, value V) map[string]V {
	if m == nil {
		m = make(map[string]V, 1)
	}
	m[key] = value
	return m
}

// without takes an entry from m; nil where none is left.
func without[V any](m map[string]V, key string) map[string]V {
	delete(m, key)
	if len(m) == 0 {
		return nil
	}
	return m
}

// FoldTenant folds a whole stream, or the rest of one, into t.
func FoldTenant(t Tenant, stream []Event) (Tenant, error) {
	if !t.Exists() {
		return fold(Tenant{}, stream, Tenant.ApplyOwn)
	}
	return fold(t, stream, Tenant.Apply)
}

// fold applies events one after the other, and stops at the first that cannot be applied.
func fold[S any](state S, stream []Event, apply func(S, Event) (S, error)) (S, error) {
	for _, e := range stream {
		next, err := apply(state, e)
		if err != nil {
			return state, err
		}
		state = next
	}
	return state, nil
}
