package commands

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// imported is the lines' outcomes, one a line: the status, and what its error says.
func (s *system) imported(lines ...Command) []string {
	s.t.Helper()
	results := s.ImportAll(s.t.Context(), events.Metadata{Actor: "import"}, lines)
	if len(results) != len(lines) {
		s.t.Fatalf("%d lines have %d results", len(lines), len(results))
	}
	out := make([]string, len(results))
	for i, r := range results {
		if r.ID != lines[i].Target() {
			s.t.Errorf("result %d is about %s, want %s", i, r.ID, lines[i].Target())
		}
		out[i] = string(r.Status)
		refused := r.Status == ImportConflict || r.Status == ImportInvalid
		if refused != (CodeOf(r.Err) != "") || (r.Err == nil) != (r.Status == ImportCreated || r.Status == ImportUnchanged) {
			s.t.Errorf("line %d is %s with the error %v", i, r.Status, r.Err)
		}
		if refusal, ok := errors.AsType[*Refusal](r.Err); ok {
			out[i] += " " + refusal.Error()
			if tt, ok := s.t.(*testing.T); ok {
				checkAdvice(tt, refusal)
			}
		}
	}
	return out
}

// checkOutcomes compares outcomes: each has to begin with the status wanted, and have the
// rest of it in it.
func checkOutcomes(t *testing.T, got []string, want ...string) {
	t.Helper()
	for i, w := range want {
		status, says, _ := strings.Cut(w, " ")
		if i >= len(got) || !strings.HasPrefix(got[i]+" ", status+" ") || !strings.Contains(got[i], says) {
			t.Errorf("line %d: got %q, want %q", i, got[min(i, len(got)-1)], w)
		}
	}
}

func TestImport_OfNewLines_CreatesAll_AndAgainChangesNothing(t *testing.T) {
	s := newSystem(t)
	rich := register(ten("b"), "b.example", "www.b.example")
	rich.Database, rich.Group = db("one"), grp("g")
	rich.Products = map[string]events.Product{"jira": {Plan: "pro", Seats: new(int64(3))}}
	rich.Config = map[string]jsontext.Value{"theme": raw(`{"dark": true}`)}
	rich.Status, rich.Primary = events.StatusSuspended, host("www.b.example")
	lines := []Command{database(db("one"), 5), CreateGroup{ID: grp("g"), Name: "G"}, register(acme, "a.example"), rich, register(ten("c"))}

	checkOutcomes(t, s.imported(lines...), "created", "created", "created", "created", "created")
	head := s.head()
	if want := uint64(2 + 2 + 9 + 1); head != want {
		t.Errorf("%d events were appended, want %d", head, want)
	}
	if got := s.tenant(ten("b")); got.Status != events.StatusSuspended || got.Primary != host("www.b.example") || got.Database.ID != db("one") || got.Group != grp("g") {
		t.Errorf("got %+v, want what the line says", got)
	}
	if got := s.stream(acme.Stream())[0]; got.Actor != "import" {
		t.Errorf("the actor is %q, want import's", got.Actor)
	}
	if n, err := s.store.References(t.Context(), db("one").Stream()); err != nil || n != 1 {
		t.Errorf("db_one has %d references (%v), want 1", n, err)
	}
	checkOutcomes(t, s.imported(lines...), "unchanged", "unchanged", "unchanged", "unchanged", "unchanged")
	if got := s.head(); got != head {
		t.Errorf("the second import moved the log from %d to %d", head, got)
	}
	checkOneHolder(t, s.log())
}

func TestImport_OfLinesThatDisagree_SaysForEachWhatIsWrongAndTakesNothingOfIt(t *testing.T) {
	s := newSystem(t)
	s.do(register(acme, "a.example"), register(ten("gone"), "gone.example"), DeactivateTenant{ten("gone")}, PurgeTenant{ten("gone")},
		database(db("old"), 0), database(db("small"), 1), CreateGroup{ID: grp("g"), Name: "G"})
	onOld := register(ten("old"), "old.example")
	onOld.Database = db("old")
	s.do(onOld, DrainDatabase{db("old")})
	renamed := register(acme, "a.example")
	renamed.Name = "Other"
	with := func(id string, change func(*RegisterTenant)) Command {
		c := register(ten(id), id+".example")
		change(&c)
		return c
	}
	got := s.imported(
		renamed,
		register(ten("thief"), "thief.example", "a.example"),
		register(ten("honest"), "thief.example"), // which the line before has not taken
		register(ten("honest"), "thief.example"), // the same line twice
		register(ten("honest"), "honest.example"),
		register(ten("late"), "thief.example"), // held by a line of this file
		RegisterTenant{ID: ten("bad"), HomeRegion: "eu-west", Hostnames: hosts("bad.example")},
		register(ten("good"), "bad.example"),
		register(ten("gone")),
		onOld, // it was possible then
		with("new", func(c *RegisterTenant) { c.Database = db("old") }),
		with("mars", func(c *RegisterTenant) { c.HomeRegion = "mars-1" }),
		with("first", func(c *RegisterTenant) { c.Database = db("small") }),
		with("second", func(c *RegisterTenant) { c.Database = db("small") }),
		with("soon", func(c *RegisterTenant) { c.Database = db("soon") }), // which is registered further below
		database(db("soon"), 0),
		with("soon", func(c *RegisterTenant) { c.Database = db("soon") }),
		RegisterDatabase{ID: db("old"), Engine: "mysql", Region: "eu-west-1", Endpoint: endpoint},
		CreateGroup{ID: grp("g"), Name: "H"},
		ActivateTenant{acme},
	)
	checkOutcomes(
		t, got,
		`conflict name "Name of acme", not "Other"`,
		"conflict a.example is held by ten_acme",
		"created",
		"unchanged",
		"conflict without the hostname honest.example",
		"conflict thief.example is held by ten_honest",
		"invalid /name",
		"created",
		"conflict purged",
		"unchanged",
		"invalid db_old is draining",
		"invalid mars-1",
		"created",
		"invalid db_small has 1 tenant and takes no more",
		"invalid there is no database db_soon",
		"created",
		"created",
		"conflict engine postgres, not mysql",
		`conflict name "G", not "H"`,
		"invalid cannot be imported",
	)
	for _, id := range []string{"thief", "late", "bad", "new", "mars", "second"} {
		if n := len(s.stream(ten(id).Stream())); n > 0 {
			t.Errorf("ten_%s has %d events, and its line was refused", id, n)
		}
	}
	checkOneHolder(t, s.log())
}

func TestImport_OfDatabasesTwiceInOneFile_ComparesWithTheFirst(t *testing.T) {
	s := newSystem(t)
	other := database(db("one"), 0)
	other.Engine = "mysql"
	onOne := register(acme)
	onOne.Database = db("one")
	checkOutcomes(t, s.imported(database(db("one"), 0), database(db("one"), 0), other, onOne),
		"created", "unchanged", "conflict engine", "created")
	if got := s.tenant(acme).Database.ID; got != db("one") {
		t.Errorf("the tenant is on %s, want db_one", got)
	}
}

func TestImport_OfMoreLinesThanAChunk_KeepsTheirOrder(t *testing.T) {
	s := newSystem(t)
	var lines []Command
	var want []string
	for i := range 2*importChunk + 10 {
		lines = append(lines, register(ten(fmt.Sprintf("t%d", i)), fmt.Sprintf("h%d.example", i)))
		want = append(want, "created")
	}
	lines = append(lines, register(ten("last"), "h0.example"))
	want = append(want, "conflict h0.example is held by ten_t0")
	checkOutcomes(t, s.imported(lines...), want...)
	log := s.log()
	for i, e := range log {
		if e.Stream != lines[i/2].Target() {
			t.Fatalf("position %d is %s, want %s", e.Position, e.Stream, lines[i/2].Target())
		}
	}
}

func TestImport_WhileOthersChangeTheCatalogue_DecidesTheLineAnew(t *testing.T) {
	onOne := func(id string) RegisterTenant {
		c := register(ten(id), id+".example")
		c.Database = db("one")
		return c
	}
	for _, tt := range []struct {
		name   string
		meddle []Command
		want   []string // of ten_a, ten_b
	}{
		{"the database moves", []Command{ChangeEndpoint{ID: db("one"), Port: new(6432)}}, []string{"created", "created"}},
		{"the database drains", []Command{DrainDatabase{db("one")}}, []string{"invalid draining", "invalid draining"}},
		{"the same tenant is registered", []Command{onOne("a")}, []string{"unchanged", "created"}},
		{"another tenant of that ID is registered", []Command{register(ten("a"))}, []string{"conflict on no database, not on db_one", "created"}},
		{"the hostname is taken", []Command{register(ten("x"), "a.example")}, []string{"conflict held by ten_x", "created"}},
		{"one is registered, and the database moves", []Command{onOne("b"), ChangeEndpoint{ID: db("one"), Port: new(1)}}, []string{"created", "unchanged"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := &interrupted{Store: openStore(t)}
			s := systemOn(t, store)
			s.do(database(db("one"), 0))
			store.beforeAppendAll = func() { s.do(tt.meddle...) }
			checkOutcomes(t, s.imported(onOne("a"), onOne("b")), tt.want...)
			checkOneHolder(t, s.log())
		})
	}
}

func TestImport_WhenADatabaseOfTheFileCannotBeRegistered_ItsTenantsAreDecidedAnew(t *testing.T) {
	store := &interrupted{Store: openStore(t)}
	s := systemOn(t, store)
	mine := database(db("one"), 0)
	theirs := mine
	theirs.Engine = "mysql"
	tenant := register(acme)
	tenant.Database = db("one")
	store.beforeAppendAll = func() { s.do(theirs, ChangeEndpoint{ID: db("one"), Port: new(3306)}) }
	checkOutcomes(t, s.imported(mine, tenant), "conflict engine mysql, not postgres", "created")
	if got := s.tenant(acme).Database.ID; got != db("one") {
		t.Errorf("the tenant is on %q, want db_one", got)
	}
}

func TestImport_WhenADatabaseOfTheFileCannotBeRegistered_ItsSecondLineDoesNotPassForUnchanged(t *testing.T) {
	store := &interrupted{Store: openStore(t)}
	s := systemOn(t, store)
	theirs := database(db("one"), 0)
	theirs.Engine = "mysql"
	store.beforeAppendAll = func() { s.do(theirs) }
	checkOutcomes(t, s.imported(database(db("one"), 0), database(db("one"), 0)), "conflict engine", "conflict engine")
}

func TestImport_WhenTheDatabaseMoves_OnlyTheLinesOnTheWayAreDecidedOneByOne(t *testing.T) {
	store := &interrupted{Store: openStore(t)}
	s := systemOn(t, store)
	s.do(database(db("one"), 0))
	var lines []Command
	var want []string
	for i := range 2 * importChunk {
		c := register(ten(fmt.Sprintf("t%d", i)))
		c.Database = db("one")
		lines, want = append(lines, c), append(want, "created")
	}
	store.beforeAppendAll = func() { s.do(ChangeEndpoint{ID: db("one"), Port: new(1)}) }
	checkOutcomes(t, s.imported(lines...), want...)
	if got, want := store.appends, 2+importChunk; got != want {
		t.Errorf("%d commands were appended one by one, want %d: the two of others and the first chunk", got, want)
	}
}

func TestImport_WhenAMissingDatabaseIsRegisteredMeanwhile_LaterLinesSeeIt(t *testing.T) {
	store := &interrupted{Store: openStore(t)}
	s := systemOn(t, store)
	on := func(id string) Command {
		c := register(ten(id))
		c.Database = db("soon")
		return c
	}
	lines := []Command{on("early")}
	for i := range importChunk {
		lines = append(lines, register(ten(fmt.Sprintf("t%d", i))))
	}
	store.beforeAppendAll = func() { s.do(database(db("soon"), 0)) }
	got := s.imported(append(lines, on("late"))...)
	checkOutcomes(t, []string{got[0], got[len(got)-1]}, "invalid there is no database db_soon", "created")
}

func TestImport_WithAnActorThatIsTooLong_RefusesEveryLine(t *testing.T) {
	s := newSystem(t)
	for _, r := range s.ImportAll(t.Context(), events.Metadata{Actor: strings.Repeat("a", 501)}, []Command{register(acme), database(db("one"), 0)}) {
		if r.Status != ImportInvalid || CodeOf(r.Err) != Invalid {
			t.Errorf("got %+v, want it invalid", r)
		}
	}
	if got := s.head(); got != 0 {
		t.Errorf("the log ends at %d, want it empty", got)
	}
}

func TestImport_OfNothing_IsNothing(t *testing.T) {
	if got := newSystem(t).imported(); len(got) != 0 {
		t.Errorf("got %v, want nothing", got)
	}
}

// lineOf is the line that an export has for a tenant.
func lineOf(t events.Tenant) RegisterTenant {
	return RegisterTenant{
		ID: t.ID, Name: t.Name, HomeRegion: t.HomeRegion, Hostnames: slices.Clone(t.Hostnames), Primary: t.Primary, Group: t.Group,
		Database: t.Database.ID, DatabaseName: t.Database.Name, Products: t.Products, Config: t.Config, Status: t.Status,
	}
}
