package commands

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/events"
)

// The commands on a tenant's status. The status that a tenant has already is no change.
type (
	// ActivateTenant begins a registered tenant's service.
	ActivateTenant struct{ ID events.TenantID }
	// SuspendTenant stops an active tenant's service for a while.
	SuspendTenant struct{ ID events.TenantID }
	// ResumeTenant ends a suspension.
	ResumeTenant struct{ ID events.TenantID }
	// DeactivateTenant ends a tenant's service. It keeps all that it has, hostnames too.
	DeactivateTenant struct{ ID events.TenantID }
	// RestoreTenant makes a deactivated tenant active again.
	RestoreTenant struct{ ID events.TenantID }
	// PurgeTenant ends a deactivated tenant: all that it holds is released, and its ID is
	// never used again.
	PurgeTenant struct{ ID events.TenantID }
)

// Target is the tenant.
func (c ActivateTenant) Target() events.StreamID { return c.ID.Stream() }

// Target is the tenant.
func (c SuspendTenant) Target() events.StreamID { return c.ID.Stream() }

// Target is the tenant.
func (c ResumeTenant) Target() events.StreamID { return c.ID.Stream() }

// Target is the tenant.
func (c DeactivateTenant) Target() events.StreamID { return c.ID.Stream() }

// Target is the tenant.
func (c RestoreTenant) Target() events.StreamID { return c.ID.Stream() }

// Target is the tenant.
func (c PurgeTenant) Target() events.StreamID { return c.ID.Stream() }

func (ActivateTenant) name() string   { return "activate-tenant" }
func (SuspendTenant) name() string    { return "suspend-tenant" }
func (ResumeTenant) name() string     { return "resume-tenant" }
func (DeactivateTenant) name() string { return "deactivate-tenant" }
func (RestoreTenant) name() string    { return "restore-tenant" }
func (PurgeTenant) name() string      { return "purge-tenant" }

func (ActivateTenant) check(*faults)   {}
func (SuspendTenant) check(*faults)    {}
func (ResumeTenant) check(*faults)     {}
func (DeactivateTenant) check(*faults) {}
func (RestoreTenant) check(*faults)    {}
func (PurgeTenant) check(*faults)      {}

func (ActivateTenant) decide(t events.Tenant, _ facts) ([]events.Payload, error) {
	return move(t, "activated", events.StatusActive, events.TenantActivated{}, events.StatusRegistered)
}

func (SuspendTenant) decide(t events.Tenant, _ facts) ([]events.Payload, error) {
	return move(t, "suspended", events.StatusSuspended, events.TenantSuspended{}, events.StatusActive)
}

func (ResumeTenant) decide(t events.Tenant, _ facts) ([]events.Payload, error) {
	return move(t, "resumed", events.StatusActive, events.TenantResumed{}, events.StatusSuspended)
}

func (DeactivateTenant) decide(t events.Tenant, _ facts) ([]events.Payload, error) {
	return move(t, "deactivated", events.StatusDeactivated, events.TenantDeactivated{},
		events.StatusRegistered, events.StatusActive, events.StatusSuspended)
}

func (RestoreTenant) decide(t events.Tenant, _ facts) ([]events.Payload, error) {
	return move(t, "restored", events.StatusActive, events.TenantRestored{}, events.StatusDeactivated)
}

func (PurgeTenant) decide(t events.Tenant, _ facts) ([]events.Payload, error) {
	return move(t, "purged", events.StatusPurged, events.TenantPurged{}, events.StatusDeactivated)
}

// possible are the commands on the status that each status allows.
var possible = map[events.Status][]string{
	events.StatusRegistered:  {"activate", "deactivate"},
	events.StatusActive:      {"suspend", "deactivate"},
	events.StatusSuspended:   {"resume", "deactivate"},
	events.StatusDeactivated: {"restore", "purge"},
}

// move is the one event of a change of status, or none where the tenant has that status.
func move(t events.Tenant, verb string, to events.Status, happened events.Payload, from ...events.Status) ([]events.Payload, error) {
	switch {
	case t.Status == to:
		return nil, nil
	case slices.Contains(from, t.Status):
		return []events.Payload{happened}, nil
	}
	return nil, &Refusal{Code: WrongState, Stream: t.ID.Stream(), Detail: fmt.Sprintf(
		"%s is %s and cannot be %s: what is possible now is %s", t.ID, t.Status, verb, strings.Join(possible[t.Status], " or "))}
}
