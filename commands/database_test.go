package commands

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
)

func zone(seconds int) *time.Location { return time.FixedZone("", seconds) }

func TestRegisterDatabase(t *testing.T) {
	plain := RegisterDatabase{ID: db("one"), Engine: "postgres", Region: "eu-west-1", Endpoint: endpoint}
	at := func(e events.Endpoint) RegisterDatabase {
		c := plain
		c.Endpoint = e
		return c
	}
	runScenarios(t, []scenario{
		{name: "a database is registered, with its endpoint", when: plain, then: given(pg)},
		{
			name: "a database with a capacity", when: RegisterDatabase{ID: db("one"), Engine: "mysql-8", Region: "r", Endpoint: endpoint, Capacity: 3},
			then: given(events.DatabaseRegistered{Engine: "mysql-8", Region: "r", Endpoint: endpoint, Capacity: 3}),
		},
		{
			name: "the host is kept in one form", when: at(events.Endpoint{Host: "PG.Example.", Port: 1, SecretRef: "env://PG"}),
			then: given(events.DatabaseRegistered{Engine: "postgres", Region: "eu-west-1", Endpoint: events.Endpoint{Host: "pg.example", Port: 1, SecretRef: "env://PG"}}),
		},
		{
			name: "one that is draining from its beginning", when: RegisterDatabase{ID: db("one"), Engine: "postgres", Region: "eu-west-1", Endpoint: endpoint, Status: events.DatabaseIsDraining},
			then: given(pg, events.DatabaseDraining{}),
		},
		{
			name: "one cannot begin retired", when: RegisterDatabase{ID: db("one"), Engine: "postgres", Region: "eu-west-1", Endpoint: endpoint, Status: events.DatabaseIsRetired},
			refused: Invalid, at: "/status", says: "active or draining",
		},
		{
			name: "one that is there is refused", given: given(pg), when: plain, refused: Exists, says: "db_one exists already",
		},
		{name: "one that was retired never comes back", given: given(pg, events.DatabaseRetired{}), when: plain, refused: Exists, says: "never used again"},
		{name: "an engine that is no name is refused", when: RegisterDatabase{ID: db("one"), Engine: "Postgres", Region: "r", Endpoint: endpoint}, refused: Invalid, at: "/engine"},
		{name: "no region is refused", when: RegisterDatabase{ID: db("one"), Engine: "postgres", Endpoint: endpoint}, refused: Invalid, at: "/region"},
		{name: "a capacity below none is refused", when: RegisterDatabase{ID: db("one"), Engine: "postgres", Region: "r", Endpoint: endpoint, Capacity: -1}, refused: Invalid, at: "/capacity"},
		{name: "port 0 is refused", when: at(events.Endpoint{Host: "a", Port: 0, SecretRef: "env://A"}), refused: Invalid, at: "/port"},
		{name: "port 65536 is refused", when: at(events.Endpoint{Host: "a", Port: 65536, SecretRef: "env://A"}), refused: Invalid, at: "/port"},
		{name: "no secret_ref is refused", when: at(events.Endpoint{Host: "a", Port: 1}), refused: Invalid, at: "/secret_ref", says: "vault://"},
	})
}

func TestRegisterDatabase_OnEveryKindOfHost_KeepsItInOneFormOrSaysWhatIsWrong(t *testing.T) {
	for in, want := range map[string]string{
		"pg-1.internal.example":    "pg-1.internal.example",
		"PG.Example":               "pg.example",
		"postgres":                 "postgres",
		"Postgres-1":               "postgres-1",
		"10.0.0.7":                 "10.0.0.7",
		"2001:DB8::1":              "2001:db8::1",
		"[2001:db8:0:0::1]":        "2001:db8::1",
		"döner.example":            "xn--dner-5qa.example",
		"a.b.c.rds.amazonaws.com.": "a.b.c.rds.amazonaws.com",
		"":                         "",
		"5432":                     "",
		"-a":                       "",
		"a-":                       "",
		"xn--a":                    "",
		"a_b":                      "",
		"pg.example:5432":          "",
		"10.0.0.7:5432":            "",
		"[::1]:5432":               "",
		"fe80::1%eth0":             "",
		"postgres://pg.example":    "",
		"user:secret@pg.example":   "",
		"pg example":               "",
		"pg..example":              "",
		"1.2.3.256":                "",
		"*.example.com":            "",
	} {
		got, err := parseHost(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("parseHost(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestDatabaseCommands(t *testing.T) {
	moved := events.Endpoint{Host: "pg-2.internal.example", Port: 5432, SecretRef: "vault://kv/pg-1"}
	drained := given(pg, events.DatabaseDraining{})
	runScenarios(t, []scenario{
		{name: "another host carries the whole new endpoint", given: given(pg), when: ChangeEndpoint{ID: db("one"), Host: new("PG-2.internal.example")}, then: given(events.DatabaseEndpointChanged{Endpoint: moved})},
		{
			name: "port and secret_ref", given: given(pg), when: ChangeEndpoint{ID: db("one"), Port: new(6432), SecretRef: new("aws-sm://prod/pg")},
			then: given(events.DatabaseEndpointChanged{Endpoint: events.Endpoint{Host: "pg-1.internal.example", Port: 6432, SecretRef: "aws-sm://prod/pg"}}),
		},
		{name: "the endpoint that it has changes nothing", given: given(pg), when: ChangeEndpoint{ID: db("one"), Host: new("pg-1.internal.example"), Port: new(5432)}},
		{name: "an empty patch changes nothing", given: given(pg), when: ChangeEndpoint{ID: db("one")}},
		{name: "a draining one fails over, too", given: drained, when: ChangeEndpoint{ID: db("one"), Host: new("pg-2.internal.example")}, then: given(events.DatabaseEndpointChanged{Endpoint: moved})},
		{name: "a retired one takes no command", given: given(pg, events.DatabaseRetired{}), when: ChangeEndpoint{ID: db("one"), Port: new(1)}, refused: WrongState, says: "retired"},
		{name: "one that is not there has no endpoint", when: ChangeEndpoint{ID: db("one"), Port: new(1)}, refused: NotFound, says: "no database db_one"},
		{name: "a host that is none", given: given(pg), when: ChangeEndpoint{ID: db("one"), Host: new("")}, refused: Invalid, at: "/host"},
		{name: "a port that is none", given: given(pg), when: ChangeEndpoint{ID: db("one"), Port: new(-1)}, refused: Invalid, at: "/port"},
		{name: "a secret_ref that is none", given: given(pg), when: ChangeEndpoint{ID: db("one"), SecretRef: new("hunter2")}, refused: Invalid, at: "/secret_ref"},

		{name: "an active one drains", given: given(pg), when: DrainDatabase{db("one")}, then: given(events.DatabaseDraining{})},
		{name: "one that drains changes nothing", given: drained, when: DrainDatabase{db("one")}},
		{name: "a retired one does not drain", given: given(pg, events.DatabaseRetired{}), when: DrainDatabase{db("one")}, refused: WrongState, says: "retired"},
		{name: "one that is not there does not drain", when: DrainDatabase{db("one")}, refused: NotFound},

		{name: "an active one retires", given: given(pg), when: RetireDatabase{db("one")}, then: given(events.DatabaseRetired{})},
		{name: "a draining one retires", given: drained, when: RetireDatabase{db("one")}, then: given(events.DatabaseRetired{})},
		{name: "a retired one does not retire again", given: given(pg, events.DatabaseRetired{}), when: RetireDatabase{db("one")}, refused: WrongState, says: "retired"},
		{name: "one that is not there does not retire", when: RetireDatabase{db("one")}, refused: NotFound},
	})
}

func TestGroupCommands(t *testing.T) {
	runScenarios(t, []scenario{
		{name: "a group is created in the first ring", when: CreateGroup{ID: grp("early"), Name: "Early birds"}, then: given(events.GroupCreated{Name: "Early birds"})},
		{name: "a group is created in a ring", when: CreateGroup{ID: grp("early"), Name: "Early birds", Ring: new(1)}, then: given(early)},
		{name: "one that is there is refused", given: given(early), when: CreateGroup{ID: grp("early"), Name: "x"}, refused: Exists},
		{name: "one that was retired never comes back", given: given(early, events.GroupRetired{}), when: CreateGroup{ID: grp("early"), Name: "x"}, refused: Exists, says: "never used again"},
		{name: "a name of nothing is refused", when: CreateGroup{ID: grp("early"), Name: " "}, refused: Invalid, at: "/name"},

		{name: "another name keeps the ring", given: given(early), when: ChangeGroup{ID: grp("early"), Name: new("Larks")}, then: given(events.GroupChanged{Name: "Larks", Ring: 1})},
		{name: "another ring keeps the name", given: given(early), when: ChangeGroup{ID: grp("early"), Ring: new(0)}, then: given(events.GroupChanged{Name: "Early birds"})},
		{name: "what is so already changes nothing", given: given(early), when: ChangeGroup{ID: grp("early"), Name: new("Early birds"), Ring: new(1)}},
		{name: "an empty patch changes nothing", given: given(early), when: ChangeGroup{ID: grp("early")}},
		{name: "one that is not there is not changed", when: ChangeGroup{ID: grp("early"), Ring: new(1)}, refused: NotFound, says: "no group grp_early"},
		{name: "a retired one is not changed", given: given(early, events.GroupRetired{}), when: ChangeGroup{ID: grp("early"), Ring: new(2)}, refused: WrongState},
		{name: "a name of nothing is no change", given: given(early), when: ChangeGroup{ID: grp("early"), Name: new("")}, refused: Invalid, at: "/name"},
		{name: "a ring below the first is no change", given: given(early), when: ChangeGroup{ID: grp("early"), Ring: new(-1)}, refused: Invalid, at: "/ring"},

		{name: "a group retires", given: given(early), when: RetireGroup{grp("early")}, then: given(events.GroupRetired{})},
		{name: "a retired one does not retire again", given: given(early, events.GroupRetired{}), when: RetireGroup{grp("early")}, refused: WrongState},
		{name: "one that is not there does not retire", when: RetireGroup{grp("early")}, refused: NotFound},
	})
}

func TestDatabaseAndGroupLines_ComparedWithWhatExists_FindTheFirstDifference(t *testing.T) {
	database := func(payloads ...events.Payload) state {
		return must(state{id: db("one").Stream()}.apply(must(events.New(db("one").Stream(), 0, events.Metadata{Time: began}, payloads...))))
	}
	group := func(payloads ...events.Payload) state {
		return must(state{id: grp("early").Stream()}.apply(must(events.New(grp("early").Stream(), 0, events.Metadata{Time: began}, payloads...))))
	}
	line := RegisterDatabase{ID: db("one"), Engine: "postgres", Region: "eu-west-1", Endpoint: endpoint}
	with := func(change func(*RegisterDatabase)) RegisterDatabase {
		c := line
		change(&c)
		return c
	}
	limited := pg
	limited.Capacity = 5
	for _, tt := range []struct {
		name string
		line founder
		s    state
		says string
	}{
		{"the same database", line, database(pg), ""},
		{"a draining one", line, database(pg, events.DatabaseDraining{}), ""},
		{"a capacity that is not given", line, database(limited), ""},
		{"a host in another form", with(func(c *RegisterDatabase) { c.Endpoint.Host = "PG-1.Internal.Example." }), database(pg), ""},
		{"a retired one", line, database(pg, events.DatabaseRetired{}), "retired"},
		{"another engine", with(func(c *RegisterDatabase) { c.Engine = "mysql" }), database(pg), "engine postgres, not mysql"},
		{"another region", with(func(c *RegisterDatabase) { c.Region = "x" }), database(pg), "region eu-west-1, not x"},
		{"another port", with(func(c *RegisterDatabase) { c.Endpoint.Port = 1 }), database(pg), "endpoint pg-1.internal.example:5432"},
		{"draining as it is", with(func(c *RegisterDatabase) { c.Status = events.DatabaseIsDraining }), database(pg, events.DatabaseDraining{}), ""},
		{"draining where it is not", with(func(c *RegisterDatabase) { c.Status = events.DatabaseIsDraining }), database(pg), "active, not draining"},
		{"active where it is not", with(func(c *RegisterDatabase) { c.Status = events.DatabaseActive }), database(pg, events.DatabaseDraining{}), "draining, not active"},
		{"another capacity", with(func(c *RegisterDatabase) { c.Capacity = 6 }), database(limited), "capacity 5, not 6"},

		{"the same group", CreateGroup{ID: grp("early"), Name: "Early birds", Ring: new(1)}, group(early), ""},
		{"a ring that is not given", CreateGroup{ID: grp("early"), Name: "Early birds"}, group(early), ""},
		{"another name", CreateGroup{ID: grp("early"), Name: "x"}, group(early), `name "Early birds", not "x"`},
		{"another ring", CreateGroup{ID: grp("early"), Name: "Early birds", Ring: new(0)}, group(early), "ring 1, not 0"},
		{"a retired group", CreateGroup{ID: grp("early"), Name: "Early birds"}, group(early, events.GroupRetired{}), "retired"},
	} {
		t.Run(tt.name, func(t *testing.T) { checkDifference(t, tt.line.differs(tt.s), tt.says) })
	}
}
