package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/events"
)

// The two home regions of Larkspur.
const (
	euWest = "eu-west"
	usEast = "us-east"
)

// servers are Larkspur's database servers. Those of a region hold all its tenants but the
// two that pay for one of their own.
var servers = []databaseLine{
	server(euWest, "postgres", "pg-1", 150),
	server(euWest, "postgres", "pg-2", 150),
	server(euWest, "postgres", "pg-3", 150),
	server(euWest, "postgres", "pg-4", 150),
	server(euWest, "mysql", "mysql-1", 150),
	server(euWest, "mysql", "mysql-2", 150),
	server(euWest, "postgres", "own-1", 1),
	server(usEast, "postgres", "pg-1", 150),
	server(usEast, "postgres", "pg-2", 150),
	server(usEast, "postgres", "pg-3", 0),
	server(usEast, "mysql", "mysql-1", 150),
	server(usEast, "postgres", "own-1", 1),
}

func server(region, engine, name string, capacity int) databaseLine {
	port := map[string]int{"postgres": 5432, "mysql": 3306}[engine]
	return databaseLine{
		ID: "db_" + region + "-" + name, Engine: engine, Region: region,
		Host: name + "." + region + ".internal.example", Port: port,
		SecretRef: "vault://larkspur/databases/" + region + "/" + name, Capacity: capacity,
	}
}

// rings are the groups of tenants, by the order in which they get a new release.
var rings = []groupLine{
	{ID: "grp_canary", Name: "Canary", Ring: 0},
	{ID: "grp_early", Name: "Early adopters", Ring: 1},
	{ID: "grp_general", Name: "Everyone", Ring: 2},
	{ID: "grp_careful", Name: "A week after everyone", Ring: 3},
	{ID: "grp_regulated", Name: "By agreement only", Ring: 10},
}

// acme is the tenant of every example, and so comes out of no dice. It is the first in the
// order of IDs.
var acme = tenantLine{
	ID: "ten_acme", Name: "Acme",
	Hostnames:  []string{"acme.example", "acme.larkspur.example", "www.acme.example"},
	HomeRegion: euWest, Group: "grp_general",
	Database: &assignment{ID: "db_eu-west-pg-1"},
	Products: map[string]product{
		"boards": {Plan: "premium", Seats: 250, Features: []string{"automation", "roadmaps"}},
		"desk":   {Plan: "standard", Seats: 40},
		"wiki":   {Plan: "premium", Seats: 250, Features: []string{"whiteboards"}},
	},
	Config: map[string]any{
		"flags.new-editor":     true,
		"limits.attachment-mb": 250,
		"locale":               "en-GB",
		"timezone":             "Europe/London",
	},
	Status: "active",
}

// company hands out what tenants share: hostnames, which belong to one, and room on servers.
type company struct {
	holder map[string]string // hostname -> tenant
	placed map[string]int    // database -> tenants on it
}

func newCompany() *company {
	return &company{holder: map[string]string{}, placed: map[string]int{}}
}

func (c *company) tenants() ([]tenantLine, error) {
	all := []tenantLine{acme}
	for _, h := range acme.Hostnames {
		c.holder[h] = acme.ID
	}
	c.placed[acme.Database.ID]++

	for _, l := range slices.Concat(latin, others) {
		for _, n := range l.names() {
			t, err := c.tenant(l, n)
			if err != nil {
				return nil, fmt.Errorf("tenant %s (%s): %w", n.slug, n.native, err)
			}
			all = append(all, t)
		}
	}
	return all, nil
}

// name is what a tenant is called, and what stands for it in its ID and in DNS.
type name struct {
	native string // as it is written
	label  string // the same as one label, without quotes and spaces
	slug   string
}

// names are the first so many combinations of trade and proper name in the order of their
// hashes: mixed, and still the same ones when a word is added.
func (l language) names() []name {
	var all []name
	for _, trade := range l.trades {
		for _, proper := range l.propers {
			first, second, gap := trade, proper, "-"
			if strings.HasPrefix(l.form, "%[2]s") {
				first, second = proper, trade
			}
			if !strings.Contains(l.form, " ") {
				gap = ""
			}
			all = append(all, name{
				native: fmt.Sprintf(l.form, trade.native, proper.native),
				label:  strings.ReplaceAll(first.native+gap+second.native, " ", "-"),
				slug:   first.slug + "-" + second.slug,
			})
		}
	}
	slices.SortFunc(all, func(a, b name) int { return cmp.Compare(hash(a.slug), hash(b.slug)) })
	return all[:l.tenants]
}

// tenant makes up one tenant. All its choices hang on its slug alone, but for the server,
// which must have room.
func (c *company) tenant(l language, n name) (tenantLine, error) {
	d := newDice(n.slug)
	t := tenantLine{ID: "ten_" + n.slug, Name: n.native, HomeRegion: l.region}
	if d.chance(6) { // an office elsewhere, or a wish about where data is kept
		t.HomeRegion = map[string]string{euWest: usEast, usEast: euWest}[l.region]
	}
	t.Status = pick(d, []weighted[string]{{86, "active"}, {4, "suspended"}, {3, "deactivated"}, {7, ""}})
	size := pick(d, sizes)
	t.Group = groupFor(d, size)
	t.Products = productsFor(d, size, t.Status == "")
	t.Config = configFor(d, l, size, t)
	if t.Status != "" || d.chance(50) { // one that has only registered may have no database yet
		id, err := c.place(d, t.HomeRegion, size)
		if err != nil {
			return t, err
		}
		t.Database = &assignment{ID: id}
		if d.chance(12) {
			t.Database.Name = "larkspur_" + strings.ReplaceAll(n.slug, "-", "_")
		}
	}
	err := c.name(d, n, &t)
	return t, err
}

// place finds a server in the region: the one for a single tenant goes to the first
// enterprise, all others share.
func (c *company) place(d dice, region string, size size) (string, error) {
	var shared []string
	for _, s := range servers {
		full := s.Capacity > 0 && c.placed[s.ID] >= s.Capacity
		if s.Region != region || full {
			continue
		}
		if s.Capacity != 1 {
			shared = append(shared, s.ID)
		} else if size.plan == "enterprise" {
			c.placed[s.ID]++
			return s.ID, nil
		}
	}
	if len(shared) == 0 {
		return "", fmt.Errorf("no server of %s has room: add one to servers", region)
	}
	id := shared[d.n(len(shared))]
	c.placed[id]++
	return id, nil
}

// name gives the tenant its hostnames: one of Larkspur's, one of its own, and some below
// that.
func (c *company) name(d dice, n name, t *tenantLine) error {
	platform, own := n.slug+".larkspur.example", n.slug+".example"
	if d.chance(60) {
		own = n.label + ".example"
	}
	names := []string{own, platform}
	laterOwn := d.chance(15) // began with Larkspur's, and made its own the primary one later
	if laterOwn || d.chance(15) {
		names = []string{platform, own}
	}
	if d.chance(35) {
		names = append(names, "www."+own)
	}
	if _, ok := t.Products["wiki"]; ok && d.chance(20) {
		names = append(names, "wiki."+own)
	}
	if _, ok := t.Products["desk"]; ok && d.chance(40) {
		names = append(names, "help."+own)
	}
	for _, s := range names {
		h, err := events.ParseHostname(s)
		if err != nil {
			return fmt.Errorf("hostname %s: %w", s, err)
		}
		if other, taken := c.holder[h.String()]; taken {
			return fmt.Errorf("hostname %s belongs to %s", h, other)
		}
		c.holder[h.String()] = t.ID
		t.Hostnames = append(t.Hostnames, h.String())
	}
	if laterOwn {
		t.PrimaryHostname = t.Hostnames[1]
	}
	return nil
}
