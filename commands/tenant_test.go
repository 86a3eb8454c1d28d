package commands

import (
	"testing"

	"github.com/tenantry/tenantry/events"
)

func TestChangeTenant(t *testing.T) {
	none := events.GroupID{}
	runScenarios(t, []scenario{
		{
			name: "all three at once are three events of one batch", given: given(registered), other: only(grp("early").Stream(), early),
			when: ChangeTenant{ID: acme, Name: new("Acme AG"), HomeRegion: new("us-east"), Group: new(grp("early"))},
			then: given(events.TenantRenamed{Name: "Acme AG"}, events.HomeRegionChanged{HomeRegion: "us-east"}, events.TenantGroupChanged{Group: grp("early")}),
		},
		{name: "an empty patch changes nothing", given: given(registered), when: ChangeTenant{ID: acme}},
		{name: "what is so already changes nothing", given: given(registered), when: ChangeTenant{ID: acme, Name: new("Acme"), HomeRegion: new("eu-west"), Group: &none}},
		{
			name: "only what differs is an event", given: given(registered),
			when: ChangeTenant{ID: acme, Name: new("Acme"), HomeRegion: new("us-east")}, then: given(events.HomeRegionChanged{HomeRegion: "us-east"}),
		},
		{
			name: "the zero group leaves the group", given: given(events.TenantRegistered{Name: "Acme", HomeRegion: "eu-west", Group: grp("early")}),
			when: ChangeTenant{ID: acme, Group: &none}, then: given(events.TenantGroupChanged{}),
		},
		{
			name: "a region that the catalogue forgot may stay", given: given(events.TenantRegistered{Name: "Acme", HomeRegion: "old-1"}),
			when: ChangeTenant{ID: acme, HomeRegion: new("old-1")},
		},
		{name: "an unknown region is refused, and the name with it", given: given(registered), when: ChangeTenant{ID: acme, Name: new("B"), HomeRegion: new("mars-1")}, refused: UnknownRegion, at: "/home_region", says: "eu-west, us-east"},
		{name: "an unknown group is refused", given: given(registered), when: ChangeTenant{ID: acme, Group: new(grp("x"))}, refused: UnknownGroup, at: "/group", says: "grp_x"},
		{name: "a retired group is refused", given: given(registered), other: only(grp("early").Stream(), early, events.GroupRetired{}), when: ChangeTenant{ID: acme, Group: new(grp("early"))}, refused: RetiredGroup, at: "/group"},
		{name: "an empty name is refused", given: given(registered), when: ChangeTenant{ID: acme, Name: new("")}, refused: Invalid, at: "/name"},
		{name: "a region that is no name is refused", given: given(registered), when: ChangeTenant{ID: acme, HomeRegion: new("EU West")}, refused: Invalid, at: "/home_region"},
		{name: "a tenant that is not there is refused", when: ChangeTenant{ID: acme, Name: new("B")}, refused: NotFound, says: "ten_acme"},
	})
}

func TestAssignDatabase(t *testing.T) {
	onOne := given(registered, events.DatabaseAssigned{Database: db("one"), Name: "acme"})
	runScenarios(t, []scenario{
		{
			name: "the first database, with the suffix for a name", given: given(registered), other: only(db("one").Stream(), pg),
			when: AssignDatabase{ID: acme, Database: db("one")}, then: given(events.DatabaseAssigned{Database: db("one"), Name: "acme"}),
		},
		{
			name: "another database", given: onOne, other: only(db("two").Stream(), pg),
			when: AssignDatabase{ID: acme, Database: db("two"), Name: "main"}, then: given(events.DatabaseAssigned{Database: db("two"), Name: "main"}),
		},
		{name: "the same again changes nothing", given: onOne, other: only(db("one").Stream(), pg), when: AssignDatabase{ID: acme, Database: db("one"), Name: "acme"}},
		{name: "the same again changes nothing while it drains", given: onOne, other: only(db("one").Stream(), pg, events.DatabaseDraining{}), when: AssignDatabase{ID: acme, Database: db("one")}},
		{
			name: "another name on a draining database keeps the tenant where it is", given: onOne, other: only(db("one").Stream(), pg, events.DatabaseDraining{}),
			when: AssignDatabase{ID: acme, Database: db("one"), Name: "main"}, then: given(events.DatabaseAssigned{Database: db("one"), Name: "main"}),
		},
		{name: "an unknown database is refused", given: onOne, when: AssignDatabase{ID: acme, Database: db("x")}, refused: UnknownDatabase, at: "/database", says: "db_x"},
		{name: "a draining database is refused", given: onOne, other: only(db("two").Stream(), pg, events.DatabaseDraining{}), when: AssignDatabase{ID: acme, Database: db("two")}, refused: UnavailableDatabase, at: "/database", says: "draining"},
		{name: "a retired database is refused", given: onOne, other: only(db("two").Stream(), pg, events.DatabaseDraining{}, events.DatabaseRetired{}), when: AssignDatabase{ID: acme, Database: db("two")}, refused: UnavailableDatabase, at: "/database", says: "retired"},
		{name: "no database is refused", given: onOne, when: AssignDatabase{ID: acme}, refused: Invalid, at: "/database"},
		{name: "a name with a control character is refused", given: onOne, when: AssignDatabase{ID: acme, Database: db("one"), Name: "a\x00b"}, refused: Invalid, at: "/name"},
	})
}

func TestHostnameCommands(t *testing.T) {
	two := given(registered, attached("a.example", "b.example"))
	runScenarios(t, []scenario{
		{name: "the first hostname is the primary one by itself", given: given(registered), when: AttachHostname{acme, host("a.example"), true}, then: attached("a.example")},
		{name: "another is attached", given: two, when: AttachHostname{acme, host("c.example"), false}, then: attached("c.example")},
		{
			name: "another is attached as the primary one", given: two, when: AttachHostname{acme, host("c.example"), true},
			then: given(attached("c.example"), events.PrimaryHostnameChanged{Hostname: host("c.example")}),
		},
		{name: "one that is there changes nothing", given: two, when: AttachHostname{acme, host("b.example"), false}},
		{name: "the primary one stays so when not asked for", given: two, when: AttachHostname{acme, host("a.example"), false}},
		{name: "one that is there becomes the primary one", given: two, when: AttachHostname{acme, host("b.example"), true}, then: given(events.PrimaryHostnameChanged{Hostname: host("b.example")})},
		{name: "an empty one is refused", given: two, when: AttachHostname{ID: acme}, refused: Invalid, says: "empty"},

		{name: "one that is not primary is detached", given: two, when: DetachHostname{acme, host("b.example")}, then: given(events.HostnameDetached{Hostname: host("b.example")})},
		{
			name: "the primary one hands over to the oldest other", given: given(two, attached("c.example")), when: DetachHostname{acme, host("a.example")},
			then: given(events.PrimaryHostnameChanged{Hostname: host("b.example")}, events.HostnameDetached{Hostname: host("a.example")}),
		},
		{
			name: "a primary one that is not the oldest hands over to the oldest", given: given(two, events.PrimaryHostnameChanged{Hostname: host("b.example")}), when: DetachHostname{acme, host("b.example")},
			then: given(events.PrimaryHostnameChanged{Hostname: host("a.example")}, events.HostnameDetached{Hostname: host("b.example")}),
		},
		{name: "the last one is detached", given: given(registered, attached("a.example")), when: DetachHostname{acme, host("a.example")}, then: given(events.HostnameDetached{Hostname: host("a.example")})},
		{name: "one that is not there is not detached", given: two, when: DetachHostname{acme, host("x.example")}, refused: NotFound, says: "does not have the hostname x.example"},

		{name: "another becomes the primary one", given: two, when: SetPrimaryHostname{acme, host("b.example")}, then: given(events.PrimaryHostnameChanged{Hostname: host("b.example")})},
		{name: "the primary one already is", given: two, when: SetPrimaryHostname{acme, host("a.example")}},
		{name: "one that is not there does not become primary", given: two, when: SetPrimaryHostname{acme, host("x.example")}, refused: NotFound, says: "x.example"},
	})
}

func TestProductCommands(t *testing.T) {
	pro := events.Product{Plan: "pro", Seats: new(int64(5)), Features: []string{"sso"}}
	has := given(registered, events.ProductActivated{Name: "jira", Product: pro})
	set := func(p events.Product) Command { return SetProduct{ID: acme, Product: "jira", Settings: p} }
	changed := func(p events.Product) []events.Payload {
		return given(events.ProductChanged{Name: "jira", Product: p})
	}
	trial := began.AddDate(0, 1, 0)
	runScenarios(t, []scenario{
		{name: "a product is activated", given: given(registered), when: set(pro), then: given(events.ProductActivated{Name: "jira", Product: pro})},
		{name: "the same again changes nothing", given: has, when: set(events.Product{Plan: "pro", Seats: new(int64(5)), Features: []string{"sso"}})},
		{name: "another plan", given: has, when: set(events.Product{Plan: "max", Seats: new(int64(5)), Features: []string{"sso"}}), then: changed(events.Product{Plan: "max", Seats: new(int64(5)), Features: []string{"sso"}})},
		{name: "other seats", given: has, when: set(events.Product{Plan: "pro", Seats: new(int64(0)), Features: []string{"sso"}}), then: changed(events.Product{Plan: "pro", Seats: new(int64(0)), Features: []string{"sso"}})},
		{name: "seats no longer counted", given: has, when: set(events.Product{Plan: "pro", Features: []string{"sso"}}), then: changed(events.Product{Plan: "pro", Features: []string{"sso"}})},
		{name: "the settings are replaced whole", given: has, when: set(events.Product{Plan: "pro"}), then: changed(events.Product{Plan: "pro"})},
		{name: "other features", given: has, when: set(events.Product{Plan: "pro", Seats: new(int64(5)), Features: []string{"sso", "audit"}}), then: changed(events.Product{Plan: "pro", Seats: new(int64(5)), Features: []string{"sso", "audit"}})},
		{name: "a trial", given: has, when: set(events.Product{Plan: "pro", TrialUntil: &trial}), then: changed(events.Product{Plan: "pro", TrialUntil: &trial})},
		{
			name:  "the same moment in another zone is the same trial",
			given: given(registered, events.ProductActivated{Name: "jira", Product: events.Product{Plan: "pro", TrialUntil: &trial}}),
			when:  set(events.Product{Plan: "pro", TrialUntil: new(trial.In(zone(3600)))}),
		},
		{name: "one that is active is deactivated", given: has, when: DeactivateProduct{acme, "jira"}, then: given(events.ProductDeactivated{Name: "jira"})},
		{
			name: "one that was deactivated is activated again", given: given(has, events.ProductDeactivated{Name: "jira"}), when: set(pro),
			then: given(events.ProductActivated{Name: "jira", Product: pro}),
		},
		{name: "one that is not active is not deactivated", given: has, when: DeactivateProduct{acme, "wiki"}, refused: NotFound, says: `"wiki"`},
		{name: "a name that is none is refused", given: has, when: DeactivateProduct{acme, "Jira!"}, refused: Invalid, says: "a product's name is"},
	})
}

func TestConfigCommands(t *testing.T) {
	has := given(registered, events.ConfigSet{Key: "theme", Value: raw(`{"dark":true,"size":12}`)})
	set := func(key, value string) Command { return SetConfig{ID: acme, Key: key, Value: raw(value)} }
	runScenarios(t, []scenario{
		{name: "a key is set, without white space", given: given(registered), when: set("a.b_c-D", ` [ 1, 2 ] `), then: given(events.ConfigSet{Key: "a.b_c-D", Value: raw(`[1,2]`)})},
		{name: "null is a value", given: given(registered), when: set("k", `null`), then: given(events.ConfigSet{Key: "k", Value: raw(`null`)})},
		{name: "big numbers keep their digits", given: given(registered), when: set("k", `[12345678901234567890,1.10,1E300]`), then: given(events.ConfigSet{Key: "k", Value: raw(`[12345678901234567890,1.10,1E300]`)})},
		{name: "one unit more in a big number is a change", given: given(registered, events.ConfigSet{Key: "k", Value: raw(`9007199254740992`)}), when: set("k", `9007199254740993`), then: given(events.ConfigSet{Key: "k", Value: raw(`9007199254740993`)})},
		{name: "the same value written otherwise changes nothing", given: has, when: set("theme", `{ "size": 12, "d\u0061rk": true }`)},
		{name: "another value", given: has, when: set("theme", `"dark"`), then: given(events.ConfigSet{Key: "theme", Value: raw(`"dark"`)})},
		{name: "a key is unset", given: has, when: UnsetConfig{acme, "theme"}, then: given(events.ConfigUnset{Key: "theme"})},
		{name: "a key that is not set is not unset", given: has, when: UnsetConfig{acme, "locale"}, refused: NotFound, says: `"locale"`},
		{name: "no value is refused", given: has, when: SetConfig{ID: acme, Key: "k"}, refused: Invalid, at: "/value", says: "null"},
		{name: "broken JSON is refused", given: has, when: set("k", `{"a":`), refused: Invalid, at: "/value"},
		{name: "two values are refused", given: has, when: set("k", `1 2`), refused: Invalid, at: "/value"},
		{name: "a name given twice is refused", given: has, when: set("k", `{"a":1,"a":2}`), refused: Invalid, at: "/value", says: "reads alike"},
		{name: "text that is not UTF-8 is refused", given: has, when: set("k", "\"\xff\""), refused: Invalid, at: "/value"},
		{name: "NUL is refused", given: has, when: set("k", `{"a":["\u0000"]}`), refused: Invalid, at: "/value", says: "U+0000"},
	})
}
