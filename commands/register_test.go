package commands

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

func TestRegisterTenant(t *testing.T) {
	trial := time.Date(2026, 12, 24, 18, 0, 0, 0, time.FixedZone("CET", 3600))
	plain := RegisterTenant{ID: acme, Name: "Acme", HomeRegion: "eu-west"}
	with := func(change func(*RegisterTenant)) RegisterTenant {
		c := plain
		change(&c)
		return c
	}
	runScenarios(t, []scenario{
		{
			name: "a tenant with nothing but a name and a home is one event",
			when: plain,
			then: given(registered),
		},
		{
			name: "a tenant with everything is one batch, in the order that is promised",
			other: map[events.StreamID][]events.Payload{
				db("one").Stream():    {pg},
				grp("early").Stream(): {early},
			},
			when: RegisterTenant{
				ID: acme, Name: "Acme", HomeRegion: "us-east",
				Hostnames: hosts("acme.example", "www.acme.example", "app.acme.example"), Primary: host("www.acme.example"),
				Group: grp("early"), Database: db("one"), DatabaseName: "acme_prod",
				Products: map[string]events.Product{
					"wiki": {Plan: "free"},
					"jira": {Plan: "Enterprise-2", Seats: new(int64(50)), Features: []string{"audit", "sso"}, TrialUntil: &trial},
				},
				Config: map[string]jsontext.Value{"theme": raw(` {"dark" : true} `), "Locale": raw(`"de-CH"`)},
				Status: events.StatusSuspended,
			},
			then: given(
				events.TenantRegistered{Name: "Acme", HomeRegion: "us-east", Group: grp("early")},
				attached("acme.example", "www.acme.example", "app.acme.example"),
				events.PrimaryHostnameChanged{Hostname: host("www.acme.example")},
				events.ProductActivated{Name: "jira", Product: events.Product{
					Plan: "Enterprise-2", Seats: new(int64(50)), Features: []string{"audit", "sso"},
					TrialUntil: new(time.Date(2026, 12, 24, 17, 0, 0, 0, time.UTC)),
				}},
				events.ProductActivated{Name: "wiki", Product: events.Product{Plan: "free"}},
				events.DatabaseAssigned{Database: db("one"), Name: "acme_prod"},
				events.ConfigSet{Key: "Locale", Value: raw(`"de-CH"`)},
				events.ConfigSet{Key: "theme", Value: raw(`{"dark":true}`)},
				events.TenantActivated{},
				events.TenantSuspended{},
			),
		},
		{
			name: "the primary hostname is the first without an event of its own",
			when: with(func(c *RegisterTenant) { c.Hostnames, c.Primary = hosts("a.example", "b.example"), host("a.example") }),
			then: given(registered, attached("a.example", "b.example")),
		},
		{
			name:  "a database without a name is called as the ID's suffix",
			other: only(db("one").Stream(), pg),
			when:  with(func(c *RegisterTenant) { c.Database = db("one") }),
			then:  given(registered, events.DatabaseAssigned{Database: db("one"), Name: "acme"}),
		},
		{
			name: "one may begin active",
			when: with(func(c *RegisterTenant) { c.Status = events.StatusActive }),
			then: given(registered, events.TenantActivated{}),
		},
		{
			name: "one may begin deactivated, as an export has it",
			when: with(func(c *RegisterTenant) { c.Status = events.StatusDeactivated }),
			then: given(registered, events.TenantDeactivated{}),
		},
		{
			name: "registered is the status that it begins with anyway",
			when: with(func(c *RegisterTenant) { c.Status = events.StatusRegistered }),
			then: given(registered),
		},
		{
			name:  "an ID that is there is refused, also with the same content",
			given: given(registered),
			when:  plain, refused: Exists, says: "ten_acme exists already",
		},
		{
			name:  "an ID that was purged is never used again",
			given: given(registered, events.TenantDeactivated{}, events.TenantPurged{}),
			when:  plain, refused: Exists, says: "never used again",
		},
		{
			name: "an unknown home region is refused with those that are known",
			when: with(func(c *RegisterTenant) { c.HomeRegion = "mars-1" }), refused: UnknownRegion, at: "/home_region", says: "eu-west, us-east",
		},
		{
			name: "an unknown database is refused",
			when: with(func(c *RegisterTenant) { c.Database = db("nowhere") }), refused: UnknownDatabase, at: "/database", says: "db_nowhere",
		},
		{
			name:  "a draining database takes no new tenant",
			other: only(db("one").Stream(), pg, events.DatabaseDraining{}),
			when:  with(func(c *RegisterTenant) { c.Database = db("one") }), refused: UnavailableDatabase, at: "/database", says: "draining",
		},
		{
			name:  "a draining database takes a tenant that was on it before",
			other: only(db("one").Stream(), pg, events.DatabaseDraining{}),
			when:  with(func(c *RegisterTenant) { c.Database, c.OnDraining = db("one"), true }),
			then:  given(registered, events.DatabaseAssigned{Database: db("one"), Name: "acme"}),
		},
		{
			name:  "a retired database takes no tenant that was on it before",
			other: only(db("one").Stream(), pg, events.DatabaseRetired{}),
			when:  with(func(c *RegisterTenant) { c.Database, c.OnDraining = db("one"), true }), refused: UnavailableDatabase, at: "/database", says: "retired",
		},
		{
			name:  "a retired database takes no new tenant",
			other: only(db("one").Stream(), pg, events.DatabaseRetired{}),
			when:  with(func(c *RegisterTenant) { c.Database = db("one") }), refused: UnavailableDatabase, at: "/database", says: "retired",
		},
		{
			name: "an unknown group is refused",
			when: with(func(c *RegisterTenant) { c.Group = grp("nowhere") }), refused: UnknownGroup, at: "/group", says: "grp_nowhere",
		},
		{
			name:  "a retired group takes no new tenant",
			other: only(grp("early").Stream(), early, events.GroupRetired{}),
			when:  with(func(c *RegisterTenant) { c.Group = grp("early") }), refused: RetiredGroup, at: "/group", says: "retired",
		},
		{
			name: "without an ID it is refused",
			when: RegisterTenant{Name: "Acme", HomeRegion: "eu-west"}, refused: Invalid, at: "/id",
		},
		{
			name: "a hostname given twice is refused",
			when: with(func(c *RegisterTenant) { c.Hostnames = hosts("a.example", "b.example", "A.example.") }), refused: Invalid, at: "/hostnames/2", says: "a.example is given twice",
		},
		{
			name: "an empty hostname is refused",
			when: with(func(c *RegisterTenant) { c.Hostnames = []events.Hostname{{}} }), refused: Invalid, at: "/hostnames/0",
		},
		{
			name: "a primary hostname that is none of the hostnames is refused",
			when: with(func(c *RegisterTenant) { c.Hostnames, c.Primary = hosts("a.example"), host("b.example") }), refused: Invalid, at: "/primary_hostname",
		},
		{
			name: "a database's name without a database is refused",
			when: with(func(c *RegisterTenant) { c.DatabaseName = "acme" }), refused: Invalid, at: "/database",
		},
		{
			name: "none begins purged",
			when: with(func(c *RegisterTenant) { c.Status = events.StatusPurged }), refused: Invalid, at: "/status",
		},
		{
			name: "an unknown status is refused",
			when: with(func(c *RegisterTenant) { c.Status = "asleep" }), refused: Invalid, at: "/status", says: `"asleep"`,
		},
		{
			name:    "everything that is wrong is said at once",
			when:    RegisterTenant{ID: acme, HomeRegion: "EU", Products: map[string]events.Product{"Jira": {Plan: ""}}},
			refused: Invalid, at: "/products/Jira/plan", says: "4 things are wrong",
		},
	})
}

func TestRegisterTenant_ComparedWithOneThatExists_FindsTheFirstDifferenceAndNothingElse(t *testing.T) {
	existing := given(
		events.TenantRegistered{Name: "Acme", HomeRegion: "eu-west", Group: grp("early")},
		attached("a.example", "b.example"),
		events.ProductActivated{Name: "jira", Product: events.Product{Plan: "pro", Seats: new(int64(5))}},
		events.DatabaseAssigned{Database: db("one"), Name: "acme"},
		events.ConfigSet{Key: "theme", Value: raw(`{"dark":true,"size":1}`)},
		events.TenantActivated{},
	)
	for _, tt := range []struct {
		name   string
		change func(*RegisterTenant)
		says   string // "": all is so
	}{
		{"what is not given is not compared", func(*RegisterTenant) {}, ""},
		{"everything given as it is", func(c *RegisterTenant) {
			c.Hostnames, c.Primary, c.Group = hosts("b.example", "a.example"), host("a.example"), grp("early")
			c.Products = map[string]events.Product{"jira": {Plan: "pro", Seats: new(int64(5))}}
			c.Database, c.DatabaseName, c.Status = db("one"), "acme", events.StatusActive
			c.Config = map[string]jsontext.Value{"theme": raw(`{ "size": 1, "dark": true }`)}
		}, ""},
		{"hostnames are a set", func(c *RegisterTenant) { c.Hostnames = hosts("b.example", "a.example") }, ""},
		{"another name", func(c *RegisterTenant) { c.Name = "Acme 2" }, `name "Acme", not "Acme 2"`},
		{"another home region", func(c *RegisterTenant) { c.HomeRegion = "us-east" }, "home region eu-west, not us-east"},
		{"another group", func(c *RegisterTenant) { c.Group = grp("late") }, "in grp_early, not in grp_late"},
		{"another database", func(c *RegisterTenant) { c.Database = db("two") }, "on db_one, not on db_two"},
		{"another database name", func(c *RegisterTenant) { c.Database, c.DatabaseName = db("one"), "x" }, `database name "acme", not "x"`},
		{"another status", func(c *RegisterTenant) { c.Status = events.StatusRegistered }, "active, not registered"},
		{"another primary hostname", func(c *RegisterTenant) {
			c.Hostnames, c.Primary = hosts("a.example", "b.example"), host("b.example")
		}, "primary hostname a.example, not b.example"},
		{"a hostname more", func(c *RegisterTenant) { c.Hostnames = hosts("a.example", "b.example", "c.example") }, "without the hostname c.example"},
		{"a hostname less", func(c *RegisterTenant) { c.Hostnames = hosts("a.example") }, "one more hostname, b.example"},
		{"no hostnames at all", func(c *RegisterTenant) { c.Hostnames = hosts() }, "one more hostname, a.example"},
		{"other seats", func(c *RegisterTenant) {
			c.Products = map[string]events.Product{"jira": {Plan: "pro", Seats: new(int64(6))}}
		}, `product "jira"`},
		{"a product less", func(c *RegisterTenant) { c.Products = map[string]events.Product{} }, `product "jira"`},
		{"another value", func(c *RegisterTenant) { c.Config = map[string]jsontext.Value{"theme": raw(`1`)} }, `key "theme"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stream := must(events.New(acme.Stream(), 0, events.Metadata{Time: began}, existing...))
			s := must(state{id: acme.Stream()}.apply(stream))
			c := RegisterTenant{ID: acme, Name: "Acme", HomeRegion: "eu-west"}
			tt.change(&c)
			if err := Check(c); err != nil {
				t.Fatal(err)
			}
			checkDifference(t, c.differs(s), tt.says)
		})
	}
}
