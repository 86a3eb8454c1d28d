package commands

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// RegisterTenant founds a tenant with all that it starts with. It is POST /v1/tenants, and a
// line of an import.
type RegisterTenant struct {
	ID         events.TenantID
	Name       string
	HomeRegion string
	Hostnames  []events.Hostname // in the order in which they are attached; nil: not given
	Primary    events.Hostname   // zero: the first of Hostnames
	Group      events.GroupID    // zero: none
	Database   events.DatabaseID // zero: none yet
	// DatabaseName is that of the database or schema on the server; "": the ID's suffix.
	DatabaseName string
	Products     map[string]events.Product // nil: not given
	Config       map[string]jsontext.Value // nil: not given
	Status       events.Status             // "": registered; never purged
}

// The commands on a tenant's status.
type (
	ActivateTenant   struct{ ID events.TenantID }
	SuspendTenant    struct{ ID events.TenantID }
	ResumeTenant     struct{ ID events.TenantID }
	DeactivateTenant struct{ ID events.TenantID }
	// RestoreTenant makes a deactivated tenant active again.
	RestoreTenant struct{ ID events.TenantID }
	// PurgeTenant ends a deactivated tenant: all that it holds is released, its ID is never
	// used again.
	PurgeTenant struct{ ID events.TenantID }
)

// ChangeTenant renames, moves and regroups a tenant, all of it or nothing. It is PATCH
// /v1/tenants/{id}: nil leaves a field as it is.
type ChangeTenant struct {
	ID         events.TenantID
	Name       *string
	HomeRegion *string
	Group      *events.GroupID // the zero GroupID: out of any group
}

// AttachHostname gives a hostname to a tenant. One that it has already stays, and becomes the
// primary one where Primary asks for that.
type AttachHostname struct {
	ID       events.TenantID
	Hostname events.Hostname
	Primary  bool // false does not ask; it takes nothing away
}

// DetachHostname releases a hostname. Where it was the primary one, the oldest of the others
// is from then on.
type DetachHostname struct {
	ID       events.TenantID
	Hostname events.Hostname
}

// SetPrimaryHostname makes one of the tenant's hostnames the primary one.
type SetPrimaryHostname struct {
	ID       events.TenantID
	Hostname events.Hostname
}

// SetProduct activates a product, or replaces the whole of an active one's settings.
type SetProduct struct {
	ID       events.TenantID
	Product  string // its name
	Settings events.Product
}

// DeactivateProduct takes a product from a tenant.
type DeactivateProduct struct {
	ID      events.TenantID
	Product string // its name
}

// AssignDatabase puts a tenant on a database.
type AssignDatabase struct {
	ID       events.TenantID
	Database events.DatabaseID
	Name     string // of the database or schema on that server; "": the tenant ID's suffix
}

// SetConfig sets one key of a tenant's configuration.
type SetConfig struct {
	ID    events.TenantID
	Key   string
	Value jsontext.Value // any JSON, null too
}

// UnsetConfig takes one key out of a tenant's configuration.
type UnsetConfig struct {
	ID  events.TenantID
	Key string
}

// RegisterDatabase makes a database known. It is POST /v1/databases, and a line of an import.
type RegisterDatabase struct {
	ID       events.DatabaseID
	Engine   string
	Region   string // where it is; need not be a home region
	Endpoint events.Endpoint
	Capacity int // the most tenants it takes; 0: no limit
}

// ChangeEndpoint moves a database. It is PATCH /v1/databases/{id}: nil leaves a field as it is.
type ChangeEndpoint struct {
	ID        events.DatabaseID
	Host      *string
	Port      *int
	SecretRef *string
}

type (
	// DrainDatabase lets a database take no new tenant.
	DrainDatabase struct{ ID events.DatabaseID }
	// RetireDatabase ends a database that no tenant is on.
	RetireDatabase struct{ ID events.DatabaseID }
)

// CreateGroup founds a group. It is POST /v1/groups, and a line of an import.
type CreateGroup struct {
	ID   events.GroupID
	Name string
	Ring *int // nil: 0, which gets a change first
}

// ChangeGroup renames a group and moves it to another ring. It is PATCH /v1/groups/{id}: nil
// leaves a field as it is.
type ChangeGroup struct {
	ID   events.GroupID
	Name *string
	Ring *int
}

// RetireGroup ends a group that no tenant is in.
type RetireGroup struct{ ID events.GroupID }

// Target is the tenant.
func (c RegisterTenant) Target() events.StreamID     { return c.ID.Stream() }
func (c ActivateTenant) Target() events.StreamID     { return c.ID.Stream() }
func (c SuspendTenant) Target() events.StreamID      { return c.ID.Stream() }
func (c ResumeTenant) Target() events.StreamID       { return c.ID.Stream() }
func (c DeactivateTenant) Target() events.StreamID   { return c.ID.Stream() }
func (c RestoreTenant) Target() events.StreamID      { return c.ID.Stream() }
func (c PurgeTenant) Target() events.StreamID        { return c.ID.Stream() }
func (c ChangeTenant) Target() events.StreamID       { return c.ID.Stream() }
func (c AttachHostname) Target() events.StreamID     { return c.ID.Stream() }
func (c DetachHostname) Target() events.StreamID     { return c.ID.Stream() }
func (c SetPrimaryHostname) Target() events.StreamID { return c.ID.Stream() }
func (c SetProduct) Target() events.StreamID         { return c.ID.Stream() }
func (c DeactivateProduct) Target() events.StreamID  { return c.ID.Stream() }
func (c AssignDatabase) Target() events.StreamID     { return c.ID.Stream() }
func (c SetConfig) Target() events.StreamID          { return c.ID.Stream() }
func (c UnsetConfig) Target() events.StreamID        { return c.ID.Stream() }
func (c RegisterDatabase) Target() events.StreamID   { return c.ID.Stream() }
func (c ChangeEndpoint) Target() events.StreamID     { return c.ID.Stream() }
func (c DrainDatabase) Target() events.StreamID      { return c.ID.Stream() }
func (c RetireDatabase) Target() events.StreamID     { return c.ID.Stream() }
func (c CreateGroup) Target() events.StreamID        { return c.ID.Stream() }
func (c ChangeGroup) Target() events.StreamID        { return c.ID.Stream() }
func (c RetireGroup) Target() events.StreamID        { return c.ID.Stream() }

// name is the label.
func (RegisterTenant) name() string     { return "register-tenant" }
func (ActivateTenant) name() string     { return "activate-tenant" }
func (SuspendTenant) name() string      { return "suspend-tenant" }
func (ResumeTenant) name() string       { return "resume-tenant" }
func (DeactivateTenant) name() string   { return "deactivate-tenant" }
func (RestoreTenant) name() string      { return "restore-tenant" }
func (PurgeTenant) name() string        { return "purge-tenant" }
func (ChangeTenant) name() string       { return "change-tenant" }
func (AttachHostname) name() string     { return "attach-hostname" }
func (DetachHostname) name() string     { return "detach-hostname" }
func (SetPrimaryHostname) name() string { return "set-primary-hostname" }
func (SetProduct) name() string         { return "set-product" }
func (DeactivateProduct) name() string  { return "deactivate-product" }
func (AssignDatabase) name() string     { return "assign-database" }
func (SetConfig) name() string          { return "set-config" }
func (UnsetConfig) name() string        { return "unset-config" }
func (RegisterDatabase) name() string   { return "register-database" }
func (ChangeEndpoint) name() string     { return "change-endpoint" }
func (DrainDatabase) name() string      { return "drain-database" }
func (RetireDatabase) name() string     { return "retire-database" }
func (CreateGroup) name() string        { return "create-group" }
func (ChangeGroup) name() string        { return "change-group" }
func (RetireGroup) name() string        { return "retire-group" }

type faults []FieldError

func (RegisterTenant) check(*faults)     {}
func (ActivateTenant) check(*faults)     {}
func (SuspendTenant) check(*faults)      {}
func (ResumeTenant) check(*faults)       {}
func (DeactivateTenant) check(*faults)   {}
func (RestoreTenant) check(*faults)      {}
func (PurgeTenant) check(*faults)        {}
func (ChangeTenant) check(*faults)       {}
func (AttachHostname) check(*faults)     {}
func (DetachHostname) check(*faults)     {}
func (SetPrimaryHostname) check(*faults) {}
func (SetProduct) check(*faults)         {}
func (DeactivateProduct) check(*faults)  {}
func (AssignDatabase) check(*faults)     {}
func (SetConfig) check(*faults)          {}
func (UnsetConfig) check(*faults)        {}
func (RegisterDatabase) check(*faults)   {}
func (ChangeEndpoint) check(*faults)     {}
func (DrainDatabase) check(*faults)      {}
func (RetireDatabase) check(*faults)     {}
func (CreateGroup) check(*faults)        {}
func (ChangeGroup) check(*faults)        {}
func (RetireGroup) check(*faults)        {}
