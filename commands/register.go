package commands

import (
	"fmt"
	"slices"
	"strconv"

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
	Primary    events.Hostname   // one of Hostnames; zero: the first
	Group      events.GroupID    // zero: none
	Database   events.DatabaseID // zero: none yet
	// DatabaseName is that of the database or schema on the server; "": the ID's suffix.
	DatabaseName string
	// OnDraining lets the tenant be on a database that is draining: it was there before. An import
	// that has the database so, and with it those that are on it, sets this.
	OnDraining bool
	Products   map[string]events.Product // nil: not given
	Config     map[string]jsontext.Value // nil: not given
	Status     events.Status             // "": registered; never purged
}

// Target is the tenant.
func (c RegisterTenant) Target() events.StreamID { return c.ID.Stream() }

func (RegisterTenant) name() string { return "register-tenant" }

func (c RegisterTenant) refers() []events.StreamID {
	var out []events.StreamID
	if !c.Database.IsZero() {
		out = append(out, c.Database.Stream())
	}
	if !c.Group.IsZero() {
		out = append(out, c.Group.Stream())
	}
	return out
}

func (c RegisterTenant) pointerTo(h events.Hostname) string {
	return "/hostnames/" + strconv.Itoa(max(slices.Index(c.Hostnames, h), 0))
}

func (c RegisterTenant) check(f *faults) {
	f.text("/name", "name", c.Name, maxName)
	f.slug("/home_region", "home region", c.HomeRegion)
	c.checkHostnames(f)
	f.databaseName("/database/name", c.DatabaseName)
	if c.DatabaseName != "" && c.Database.IsZero() {
		f.add("/database", "the database has a name and no ID: say which database it is on")
	}
	c.checkProducts(f)
	c.checkConfig(f)
	switch c.Status {
	case "", events.StatusRegistered, events.StatusActive, events.StatusSuspended, events.StatusDeactivated:
	default:
		f.add("/status", "%s is no status to begin with: give registered, active, suspended or deactivated", quote(string(c.Status)))
	}
}

func (c RegisterTenant) checkHostnames(f *faults) {
	if len(c.Hostnames) > maxHostnames {
		f.add("/hostnames", "these are %d hostnames: give at most %d", len(c.Hostnames), maxHostnames)
		return
	}
	primary := c.Primary.IsZero()
	var seen map[events.Hostname]bool
	if len(c.Hostnames) > 1 {
		seen = make(map[events.Hostname]bool, len(c.Hostnames))
	}
	for i, h := range c.Hostnames {
		at := jsontext.Pointer("/hostnames").AppendToken(strconv.Itoa(i))
		switch {
		case h.IsZero():
			f.add(at, "the hostname is empty: give a DNS name such as app.example.com")
		case seen[h]:
			f.add(at, "%s is given twice: give it once", h)
		}
		if seen != nil {
			seen[h] = true
		}
		primary = primary || h == c.Primary
	}
	if !primary {
		f.add("/primary_hostname", "%s is not one of the hostnames: add it to them, or name another", c.Primary)
	}
}

func (c RegisterTenant) checkProducts(f *faults) {
	if len(c.Products) > maxProducts {
		f.add("/products", "these are %d products: give at most %d", len(c.Products), maxProducts)
		return
	}
	total := 0
	for _, name := range sortedKeys(c.Products) {
		at := jsontext.Pointer("/products").AppendToken(name)
		f.productName(at, name)
		f.product(at, c.Products[name])
		total += productSize(name, c.Products[name])
	}
	if total > maxProductText {
		f.add("/products", "the products have %d octets of text: give at most %d, by naming fewer features", total, maxProductText)
	}
}

func (c RegisterTenant) checkConfig(f *faults) {
	if len(c.Config) > maxKeys {
		f.add("/config", "these are %d keys: give at most %d", len(c.Config), maxKeys)
		return
	}
	total := 0
	for _, key := range sortedKeys(c.Config) {
		at := jsontext.Pointer("/config").AppendToken(key)
		f.configKey(at, key)
		f.value(at, key, c.Config[key])
		total += configSize(key, c.Config[key])
	}
	if total > maxConfig {
		f.add("/config", "the configuration has %d octets: give at most %d, and keep what is larger elsewhere", total, maxConfig)
	}
}

func (c RegisterTenant) decide(_ events.Tenant, f facts) ([]events.Payload, error) {
	if err := f.knowRegion("/home_region", c.HomeRegion); err != nil {
		return nil, err
	}
	if !c.Group.IsZero() {
		if err := f.joinGroup("/group", c.Group); err != nil {
			return nil, err
		}
	}
	out := make([]events.Payload, 0, 1+len(c.Hostnames)+len(c.Products)+len(c.Config)+4)
	out = append(out, events.TenantRegistered{Name: c.Name, HomeRegion: c.HomeRegion, Group: c.Group})
	for _, h := range c.Hostnames {
		out = append(out, events.HostnameAttached{Hostname: h})
	}
	if !c.Primary.IsZero() && c.Primary != c.Hostnames[0] {
		out = append(out, events.PrimaryHostnameChanged{Hostname: c.Primary})
	}
	for _, name := range sortedKeys(c.Products) {
		out = append(out, events.ProductActivated{Name: name, Product: plainProduct(c.Products[name])})
	}
	if !c.Database.IsZero() {
		draining := f.database(c.Database).Status == events.DatabaseIsDraining
		if err := f.joinDatabase("/database", c.Database); err != nil && !(draining && c.OnDraining) {
			return nil, err
		}
		out = append(out, events.DatabaseAssigned{Database: c.Database, Name: databaseName(c.ID, c.DatabaseName)})
	}
	for _, key := range sortedKeys(c.Config) {
		value, err := compactJSON(c.Config[key])
		if err != nil {
			return nil, fmt.Errorf("compact the value of %s: %w", key, err)
		}
		out = append(out, events.ConfigSet{Key: key, Value: value})
	}
	switch c.Status {
	case events.StatusActive:
		out = append(out, events.TenantActivated{})
	case events.StatusSuspended:
		out = append(out, events.TenantActivated{}, events.TenantSuspended{})
	case events.StatusDeactivated:
		out = append(out, events.TenantDeactivated{})
	}
	return out, nil
}

func (c RegisterTenant) differs(s state) string {
	t := s.tenant
	const change = "change the tenant or the line"
	switch {
	case t.Status == events.StatusPurged:
		return fmt.Sprintf("%s was purged, and an ID is never used again: choose another ID", t.ID)
	case c.Name != t.Name:
		return fmt.Sprintf("%s is there with the name %s, not %s: %s", t.ID, quote(t.Name), quote(c.Name), change)
	case c.HomeRegion != t.HomeRegion:
		return fmt.Sprintf("%s is there with the home region %s, not %s: %s", t.ID, t.HomeRegion, c.HomeRegion, change)
	case !c.Group.IsZero() && c.Group != t.Group:
		return fmt.Sprintf("%s is there %s, not in %s: %s", t.ID, inGroup(t.Group), c.Group, change)
	case !c.Database.IsZero() && c.Database != t.Database.ID:
		return fmt.Sprintf("%s is there %s, not on %s: %s", t.ID, onDatabase(t.Database.ID), c.Database, change)
	case c.DatabaseName != "" && c.DatabaseName != t.Database.Name:
		return fmt.Sprintf("%s is there with the database name %s, not %s: %s", t.ID, quote(t.Database.Name), quote(c.DatabaseName), change)
	case c.Status != "" && c.Status != t.Status:
		return fmt.Sprintf("%s is there and %s, not %s: %s", t.ID, t.Status, c.Status, change)
	case !c.Primary.IsZero() && c.Primary != t.Primary:
		return fmt.Sprintf("%s is there with the primary hostname %s, not %s: %s", t.ID, t.Primary, c.Primary, change)
	}
	if c.Hostnames != nil {
		if more := missing(c.Hostnames, t.Hostnames); len(more) > 0 {
			return fmt.Sprintf("%s is there without the hostname %s: attach it, or take it out of the line", t.ID, more[0])
		}
		if more := missing(t.Hostnames, c.Hostnames); len(more) > 0 {
			return fmt.Sprintf("%s is there with one more hostname, %s: detach it, or add it to the line", t.ID, more[0])
		}
	}
	if c.Products != nil {
		if name := firstDifference(c.Products, t.Products, sameProduct); name != "" {
			return fmt.Sprintf("%s is there with another setting of the product %s: %s", t.ID, quote(name), change)
		}
	}
	if c.Config != nil {
		if key := firstDifference(c.Config, t.Config, sameJSON); key != "" {
			return fmt.Sprintf("%s is there with another value of the configuration key %s: %s", t.ID, quote(key), change)
		}
	}
	return ""
}

// firstDifference is the first key, in order, that a and b do not have alike; "": none.
func firstDifference[V any](a, b map[string]V, same func(V, V) bool) string {
	for _, key := range sortedKeys(a) {
		if v, ok := b[key]; !ok || !same(a[key], v) {
			return key
		}
	}
	for _, key := range sortedKeys(b) {
		if _, ok := a[key]; !ok {
			return key
		}
	}
	return ""
}

func inGroup(g events.GroupID) string {
	if g.IsZero() {
		return "in no group"
	}
	return "in " + g.String()
}

func onDatabase(d events.DatabaseID) string {
	if d.IsZero() {
		return "on no database"
	}
	return "on " + d.String()
}
