package commands

import (
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/events"
)

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

// Target is the tenant.
func (c AttachHostname) Target() events.StreamID { return c.ID.Stream() }

// Target is the tenant.
func (c DetachHostname) Target() events.StreamID { return c.ID.Stream() }

// Target is the tenant.
func (c SetPrimaryHostname) Target() events.StreamID { return c.ID.Stream() }

func (AttachHostname) name() string     { return "attach-hostname" }
func (DetachHostname) name() string     { return "detach-hostname" }
func (SetPrimaryHostname) name() string { return "set-primary-hostname" }

func (c AttachHostname) check(f *faults)     { f.hostname(c.Hostname) }
func (c DetachHostname) check(f *faults)     { f.hostname(c.Hostname) }
func (c SetPrimaryHostname) check(f *faults) { f.hostname(c.Hostname) }

// hostname checks one that is given in the path, and so was parsed; zero is none.
func (f *faults) hostname(h events.Hostname) {
	if h.IsZero() {
		f.add("", "the hostname is empty: give a DNS name such as app.example.com")
	}
}

func (c AttachHostname) decide(t events.Tenant, _ facts) ([]events.Payload, error) {
	var out []events.Payload
	if !slices.Contains(t.Hostnames, c.Hostname) {
		if len(t.Hostnames) >= maxHostnames {
			return nil, &Refusal{Code: Invalid, Detail: fmt.Sprintf("%s has %d hostnames, and no more are allowed: detach one first", t.ID, len(t.Hostnames))}
		}
		out = append(out, events.HostnameAttached{Hostname: c.Hostname})
	}
	// The first one is the primary one by itself.
	if c.Primary && t.Primary != c.Hostname && len(t.Hostnames) > 0 {
		out = append(out, events.PrimaryHostnameChanged{Hostname: c.Hostname})
	}
	return out, nil
}

func (c DetachHostname) decide(t events.Tenant, _ facts) ([]events.Payload, error) {
	i := slices.Index(t.Hostnames, c.Hostname)
	if i < 0 {
		return nil, noHostname(t, c.Hostname)
	}
	var out []events.Payload
	if t.Primary == c.Hostname && len(t.Hostnames) > 1 {
		oldest := t.Hostnames[0]
		if i == 0 {
			oldest = t.Hostnames[1]
		}
		out = append(out, events.PrimaryHostnameChanged{Hostname: oldest})
	}
	return append(out, events.HostnameDetached{Hostname: c.Hostname}), nil
}

func (c SetPrimaryHostname) decide(t events.Tenant, _ facts) ([]events.Payload, error) {
	switch {
	case !slices.Contains(t.Hostnames, c.Hostname):
		return nil, noHostname(t, c.Hostname)
	case t.Primary == c.Hostname:
		return nil, nil
	}
	return []events.Payload{events.PrimaryHostnameChanged{Hostname: c.Hostname}}, nil
}

func noHostname(t events.Tenant, h events.Hostname) *Refusal {
	return &Refusal{Code: NotFound, Stream: t.ID.Stream(), Detail: fmt.Sprintf("%s does not have the hostname %s: attach it first, or name one of its own", t.ID, h)}
}
