package events

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Payload is the data of one event: what happened, in the past tense, and nothing that could
// be read from the events before it. A released payload never changes its shape.
type Payload interface {
	// EventType is the type and version that this payload is written as.
	EventType() Type
}

// Type is an event's type and payload version on the wire and in the store.
type Type string

// The event types, each at its current version.
const (
	TypeTenantRegistered       Type = "tenantry.tenant.registered.v1"
	TypeTenantActivated        Type = "tenantry.tenant.activated.v1"
	TypeTenantRenamed          Type = "tenantry.tenant.renamed.v1"
	TypeTenantSuspended        Type = "tenantry.tenant.suspended.v1"
	TypeTenantResumed          Type = "tenantry.tenant.resumed.v1"
	TypeTenantDeactivated      Type = "tenantry.tenant.deactivated.v1"
	TypeTenantRestored         Type = "tenantry.tenant.restored.v1"
	TypeTenantPurged           Type = "tenantry.tenant.purged.v1"
	TypeHostnameAttached       Type = "tenantry.tenant.hostname-attached.v1"
	TypeHostnameDetached       Type = "tenantry.tenant.hostname-detached.v1"
	TypePrimaryHostnameChanged Type = "tenantry.tenant.primary-hostname-changed.v1"
	TypeProductActivated       Type = "tenantry.tenant.product-activated.v1"
	TypeProductChanged         Type = "tenantry.tenant.product-changed.v1"
	TypeProductDeactivated     Type = "tenantry.tenant.product-deactivated.v1"
	TypeDatabaseAssigned       Type = "tenantry.tenant.database-assigned.v1"
	TypeHomeRegionChanged      Type = "tenantry.tenant.home-region-changed.v1"
	TypeTenantGroupChanged     Type = "tenantry.tenant.group-changed.v1"
	TypeConfigSet              Type = "tenantry.tenant.config-set.v1"
	TypeConfigUnset            Type = "tenantry.tenant.config-unset.v1"

	TypeDatabaseRegistered      Type = "tenantry.database.registered.v1"
	TypeDatabaseEndpointChanged Type = "tenantry.database.endpoint-changed.v1"
	TypeDatabaseDraining        Type = "tenantry.database.draining.v1"
	TypeDatabaseRetired         Type = "tenantry.database.retired.v1"

	TypeGroupCreated Type = "tenantry.group.created.v1"
	TypeGroupChanged Type = "tenantry.group.changed.v1"
	TypeGroupRetired Type = "tenantry.group.retired.v1"
)

// Product is what a tenant has of one product.
type Product struct {
	Plan       string     `json:"plan"`
	Seats      *int64     `json:"seats,omitzero"` // nil: not counted
	Features   []string   `json:"features,omitempty"`
	TrialUntil *time.Time `json:"trial_until,omitzero"`
}

// Tenant payloads. Hostnames, products, database and config that a tenant is registered
// with are events of their own in the same batch.
type (
	TenantRegistered struct {
		Name       string  `json:"name"`
		HomeRegion string  `json:"home_region"`
		Group      GroupID `json:"group,omitzero"`
	}
	TenantActivated struct{}
	TenantRenamed   struct {
		Name string `json:"name"`
	}
	TenantSuspended   struct{}
	TenantResumed     struct{}
	TenantDeactivated struct{}
	TenantRestored    struct{}
	// TenantPurged ends the stream: hostnames, database and group are released.
	TenantPurged struct{}

	// HostnameAttached makes its hostname the primary one where the tenant has none.
	HostnameAttached struct {
		Hostname Hostname `json:"hostname"`
	}
	HostnameDetached struct {
		Hostname Hostname `json:"hostname"`
	}
	PrimaryHostnameChanged struct {
		Hostname Hostname `json:"hostname"`
	}

	// ProductActivated and ProductChanged carry the whole of the product's new settings.
	ProductActivated struct {
		Name    string `json:"product"`
		Product `json:",inline"`
	}
	ProductChanged struct {
		Name    string `json:"product"`
		Product `json:",inline"`
	}
	ProductDeactivated struct {
		Name string `json:"product"`
	}

	DatabaseAssigned struct {
		Database DatabaseID `json:"database"`
		Name     string     `json:"name"` // of the database or schema on that server
	}
	HomeRegionChanged struct {
		HomeRegion string `json:"home_region"`
	}
	// TenantGroupChanged moves the tenant to a group, or out of any where Group is zero.
	TenantGroupChanged struct {
		Group GroupID `json:"group,omitzero"`
	}
	ConfigSet struct {
		Key   string         `json:"key"`
		Value jsontext.Value `json:"value"`
	}
	ConfigUnset struct {
		Key string `json:"key"`
	}
)

// Endpoint is where a database is reached, and how its credentials are found; the secret
// itself never enters an event.
type Endpoint struct {
	Host      string `json:"host"`
	Port      int    `json:"port"`
	SecretRef string `json:"secret_ref"` // vault://…, aws-sm://…, env://…, file://…
}

// Database payloads.
type (
	DatabaseRegistered struct {
		Engine   string `json:"engine"`
		Region   string `json:"region"`
		Endpoint `json:",inline"`
		Capacity int `json:"capacity,omitzero"` // the most tenants it takes; 0: no limit
	}
	// DatabaseEndpointChanged carries the whole new endpoint: a fail-over is one such event.
	DatabaseEndpointChanged struct {
		Endpoint `json:",inline"`
	}
	// DatabaseDraining means that it takes no new tenants.
	DatabaseDraining struct{}
	DatabaseRetired  struct{}
)

// Group payloads.
type (
	GroupCreated struct {
		Name string `json:"name"`
		Ring int    `json:"ring"` // 0 gets a change first
	}
	GroupChanged struct {
		Name string `json:"name"`
		Ring int    `json:"ring"`
	}
	GroupRetired struct{}
)

func (TenantRegistered) EventType() Type        { return TypeTenantRegistered }
func (TenantActivated) EventType() Type         { return TypeTenantActivated }
func (TenantRenamed) EventType() Type           { return TypeTenantRenamed }
func (TenantSuspended) EventType() Type         { return TypeTenantSuspended }
func (TenantResumed) EventType() Type           { return TypeTenantResumed }
func (TenantDeactivated) EventType() Type       { return TypeTenantDeactivated }
func (TenantRestored) EventType() Type          { return TypeTenantRestored }
func (TenantPurged) EventType() Type            { return TypeTenantPurged }
func (HostnameAttached) EventType() Type        { return TypeHostnameAttached }
func (HostnameDetached) EventType() Type        { return TypeHostnameDetached }
func (PrimaryHostnameChanged) EventType() Type  { return TypePrimaryHostnameChanged }
func (ProductActivated) EventType() Type        { return TypeProductActivated }
func (ProductChanged) EventType() Type          { return TypeProductChanged }
func (ProductDeactivated) EventType() Type      { return TypeProductDeactivated }
func (DatabaseAssigned) EventType() Type        { return TypeDatabaseAssigned }
func (HomeRegionChanged) EventType() Type       { return TypeHomeRegionChanged }
func (TenantGroupChanged) EventType() Type      { return TypeTenantGroupChanged }
func (ConfigSet) EventType() Type               { return TypeConfigSet }
func (ConfigUnset) EventType() Type             { return TypeConfigUnset }
func (DatabaseRegistered) EventType() Type      { return TypeDatabaseRegistered }
func (DatabaseEndpointChanged) EventType() Type { return TypeDatabaseEndpointChanged }
func (DatabaseDraining) EventType() Type        { return TypeDatabaseDraining }
func (DatabaseRetired) EventType() Type         { return TypeDatabaseRetired }
func (GroupCreated) EventType() Type            { return TypeGroupCreated }
func (GroupChanged) EventType() Type            { return TypeGroupChanged }
func (GroupRetired) EventType() Type            { return TypeGroupRetired }

// decoders reads each type's current version.
var decoders = map[Type]func(jsontext.Value) (Payload, error){
	TypeTenantRegistered:        decodeAs[TenantRegistered],
	TypeTenantActivated:         decodeAs[TenantActivated],
	TypeTenantRenamed:           decodeAs[TenantRenamed],
	TypeTenantSuspended:         decodeAs[TenantSuspended],
	TypeTenantResumed:           decodeAs[TenantResumed],
	TypeTenantDeactivated:       decodeAs[TenantDeactivated],
	TypeTenantRestored:          decodeAs[TenantRestored],
	TypeTenantPurged:            decodeAs[TenantPurged],
	TypeHostnameAttached:        decodeAs[HostnameAttached],
	TypeHostnameDetached:        decodeAs[HostnameDetached],
	TypePrimaryHostnameChanged:  decodeAs[PrimaryHostnameChanged],
	TypeProductActivated:        decodeAs[ProductActivated],
	TypeProductChanged:          decodeAs[ProductChanged],
	TypeProductDeactivated:      decodeAs[ProductDeactivated],
	TypeDatabaseAssigned:        decodeAs[DatabaseAssigned],
	TypeHomeRegionChanged:       decodeAs[HomeRegionChanged],
	TypeTenantGroupChanged:      decodeAs[TenantGroupChanged],
	TypeConfigSet:               decodeAs[ConfigSet],
	TypeConfigUnset:             decodeAs[ConfigUnset],
	TypeDatabaseRegistered:      decodeAs[DatabaseRegistered],
	TypeDatabaseEndpointChanged: decodeAs[DatabaseEndpointChanged],
	TypeDatabaseDraining:        decodeAs[DatabaseDraining],
	TypeDatabaseRetired:         decodeAs[DatabaseRetired],
	TypeGroupCreated:            decodeAs[GroupCreated],
	TypeGroupChanged:            decodeAs[GroupChanged],
	TypeGroupRetired:            decodeAs[GroupRetired],
}

// known has each current type under its name, so that reading millions of events makes no string
// for each.
var known = func() map[string]Type {
	m := make(map[string]Type, len(decoders))
	for t := range decoders {
		m[string(t)] = t
	}
	return m
}()

// TypeOf is the type with this name, which may be one that this program does not know.
func TypeOf(name []byte) Type {
	if t, ok := known[string(name)]; ok {
		return t
	}
	return Type(name)
}
