package commands

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/tenantry/tenantry/events"
)

// RegisterDatabase makes a database known. It is POST /v1/databases, and a line of an import.
type RegisterDatabase struct {
	ID       events.DatabaseID
	Engine   string
	Region   string // where it is; need not be a home region
	Endpoint events.Endpoint
	Capacity int // the most tenants it takes; 0: no limit
	// Status is active or draining; "" is active, and not compared with what is there.
	Status events.DatabaseStatus
}

// ChangeEndpoint moves a database: nil leaves a field as it is. It is PATCH /v1/databases/{id}.
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

// Target is the database.
func (c RegisterDatabase) Target() events.StreamID { return c.ID.Stream() }

// Target is the database.
func (c ChangeEndpoint) Target() events.StreamID { return c.ID.Stream() }

// Target is the database.
func (c DrainDatabase) Target() events.StreamID { return c.ID.Stream() }

// Target is the database.
func (c RetireDatabase) Target() events.StreamID { return c.ID.Stream() }

func (RegisterDatabase) name() string { return "register-database" }
func (ChangeEndpoint) name() string   { return "change-endpoint" }
func (DrainDatabase) name() string    { return "drain-database" }
func (RetireDatabase) name() string   { return "retire-database" }

func (c RegisterDatabase) check(f *faults) {
	f.slug("/engine", "engine", c.Engine)
	f.slug("/region", "region", c.Region)
	f.host(c.Endpoint.Host)
	f.port(c.Endpoint.Port)
	f.secretRef(c.Endpoint.SecretRef)
	if c.Capacity < 0 {
		f.add("/capacity", "a capacity of %d is less than none: give 0 for no limit, or more", c.Capacity)
	}
	switch c.Status {
	case "", events.DatabaseActive, events.DatabaseIsDraining:
	default:
		f.add("/status", "%s is no status to begin with: give active or draining", quote(string(c.Status)))
	}
}

func (c ChangeEndpoint) check(f *faults) {
	if c.Host != nil {
		f.host(*c.Host)
	}
	if c.Port != nil {
		f.port(*c.Port)
	}
	if c.SecretRef != nil {
		f.secretRef(*c.SecretRef)
	}
}

func (DrainDatabase) check(*faults)  {}
func (RetireDatabase) check(*faults) {}

func (c RegisterDatabase) decide(events.Database) ([]events.Payload, error) {
	endpoint, err := plainEndpoint(c.Endpoint)
	if err != nil {
		return nil, err
	}
	out := []events.Payload{events.DatabaseRegistered{Engine: c.Engine, Region: c.Region, Endpoint: endpoint, Capacity: c.Capacity}}
	if c.Status == events.DatabaseIsDraining {
		out = append(out, events.DatabaseDraining{})
	}
	return out, nil
}

func (c RegisterDatabase) differs(s state) string {
	d := s.database
	const change = "change the database or the line"
	endpoint, err := plainEndpoint(c.Endpoint)
	switch {
	case d.Status == events.DatabaseIsRetired:
		return fmt.Sprintf("%s was retired, and an ID is never used again: choose another ID", d.ID)
	case c.Engine != d.Engine:
		return fmt.Sprintf("%s is there with the engine %s, not %s: choose another ID, or change the line", d.ID, d.Engine, c.Engine)
	case c.Region != d.Region:
		return fmt.Sprintf("%s is there in the region %s, not %s: choose another ID, or change the line", d.ID, d.Region, c.Region)
	case err != nil || endpoint != d.Endpoint:
		return fmt.Sprintf("%s is there with the endpoint %s:%d and secret_ref %s: %s", d.ID, d.Endpoint.Host, d.Endpoint.Port, d.Endpoint.SecretRef, change)
	case c.Capacity != 0 && c.Capacity != d.Capacity:
		return fmt.Sprintf("%s is there with the capacity %d, not %d: choose another ID, or change the line", d.ID, d.Capacity, c.Capacity)
	case c.Status != "" && c.Status != d.Status:
		return fmt.Sprintf("%s is there and %s, not %s: %s", d.ID, d.Status, c.Status, change)
	}
	return ""
}

func (c ChangeEndpoint) decide(d events.Database) ([]events.Payload, error) {
	endpoint := d.Endpoint
	if c.Host != nil {
		endpoint.Host = *c.Host
	}
	if c.Port != nil {
		endpoint.Port = *c.Port
	}
	if c.SecretRef != nil {
		endpoint.SecretRef = *c.SecretRef
	}
	endpoint, err := plainEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	if endpoint == d.Endpoint {
		return nil, nil
	}
	return []events.Payload{events.DatabaseEndpointChanged{Endpoint: endpoint}}, nil
}

func (DrainDatabase) decide(d events.Database) ([]events.Payload, error) {
	if d.Status == events.DatabaseIsDraining {
		return nil, nil
	}
	return []events.Payload{events.DatabaseDraining{}}, nil
}

// decide leaves it to the store to refuse while a tenant is on the database: only there can
// no tenant come in between.
func (RetireDatabase) decide(events.Database) ([]events.Payload, error) {
	return []events.Payload{events.DatabaseRetired{}}, nil
}

func (f *faults) host(s string) {
	if _, err := parseHost(s); err != nil {
		f.add("/host", "%v", err)
	}
}

func (f *faults) port(n int) {
	if n < 1 || n > 65535 {
		f.add("/port", "%d is no port: give 1 to 65535", n)
	}
}

func (f *faults) secretRef(s string) {
	if fault := referenceFault(s); fault != "" {
		f.add("/secret_ref", "the secret_ref %s", fault)
		return
	}
	f.noSecret("/secret_ref", "secret_ref", s)
}

// plainEndpoint is e in the one form in which it is stored.
func plainEndpoint(e events.Endpoint) (events.Endpoint, error) {
	host, err := parseHost(e.Host)
	if err != nil {
		return e, err
	}
	e.Host = host
	return e, nil
}

// parseHost normalises where a server is reached: a hostname, an IP address, or a single
// label, since it is inside a network.
func parseHost(s string) (string, error) {
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil && addr.Zone() == "" {
		return addr.String(), nil
	}
	if label := strings.ToLower(s); isWord(label, "-", false, maxSlug) && !strings.HasSuffix(label, "-") &&
		strings.Trim(label, "0123456789") != "" && !strings.HasPrefix(label, "xn--") {
		return label, nil
	}
	_, notPort := netip.ParseAddrPort(s)
	switch {
	case s == "":
		return "", errors.New("the host is empty: give a hostname, an IP address or a name inside your network")
	case notPort == nil:
		return "", errors.New("the host has a port in it: give the port in port")
	case strings.Contains(s, "%"):
		return "", errors.New("the host has a zone or an escape in it: give a plain address or hostname")
	}
	h, err := events.ParseHostname(s)
	if err != nil {
		return "", fmt.Errorf("this is no host (%w)", err)
	}
	return h.String(), nil
}
