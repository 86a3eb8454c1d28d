package commands

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/events"
)

func TestPromise7_WhatIsRefused_SaysWhatToDoAndChangesNothing(t *testing.T) {
	s := newSystem(t)
	c := register(acme, "a.example", "b.example")
	c.Database, c.Group = db("one"), grp("g")
	s.do(database(db("one"), 1), database(db("old"), 0), RetireDatabase{db("old")}, CreateGroup{ID: grp("g"), Name: "G"},
		CreateGroup{ID: grp("old"), Name: "Old"}, RetireGroup{grp("old")}, c, register(ten("other"), "o.example"))
	if _, err := s.Do(t.Context(), Request{Command: ActivateTenant{ten("other")}, Key: key("used", 1)}); err != nil {
		t.Fatal(err)
	}
	head := s.head()
	fresh := func(change func(*RegisterTenant)) Command {
		c := register(ten("new"), "n.example")
		change(&c)
		return c
	}
	seen := map[Code]bool{}
	for _, r := range []struct {
		code Code
		Request
	}{
		{Invalid, Request{Command: fresh(func(c *RegisterTenant) { c.Name = "" })}},
		{Invalid, Request{Command: SetConfig{acme, "password", raw(`"hunter2"`)}}},
		{NotFound, Request{Command: ActivateTenant{ten("none")}}},
		{NotFound, Request{Command: DetachHostname{acme, host("o.example")}}},
		{NotFound, Request{Command: DeactivateProduct{acme, "jira"}}},
		{NotFound, Request{Command: UnsetConfig{acme, "k"}}},
		{Exists, Request{Command: register(acme)}},
		{HostnameTaken, Request{Command: AttachHostname{acme, host("o.example"), true}}},
		{HostnameTaken, Request{Command: fresh(func(c *RegisterTenant) { c.Hostnames = hosts("n.example", "a.example") })}},
		{WrongState, Request{Command: PurgeTenant{acme}}},
		{WrongState, Request{Command: DrainDatabase{db("old")}}},
		{StillReferenced, Request{Command: RetireDatabase{db("one")}}},
		{StillReferenced, Request{Command: RetireGroup{grp("g")}}},
		{Full, Request{Command: AssignDatabase{ID: ten("other"), Database: db("one")}}},
		{UnknownDatabase, Request{Command: AssignDatabase{ID: acme, Database: db("none")}}},
		{UnavailableDatabase, Request{Command: AssignDatabase{ID: acme, Database: db("old")}}},
		{UnknownGroup, Request{Command: ChangeTenant{ID: acme, Name: new("x"), Group: new(grp("none"))}}},
		{RetiredGroup, Request{Command: ChangeTenant{ID: acme, Name: new("x"), Group: new(grp("old"))}}},
		{UnknownRegion, Request{Command: ChangeTenant{ID: acme, Name: new("x"), HomeRegion: new("mars-1")}}},
		{VersionMismatch, Request{Command: ActivateTenant{acme}, IfMatch: new(uint64(99))}},
		{KeyReused, Request{Command: ActivateTenant{acme}, Key: key("used", 2)}},
	} {
		seen[r.code] = true
		refusal := s.refusal(r.Request, r.code)
		checkAdvice(t, refusal)
		if got := s.head(); got != head {
			t.Fatalf("%s, refused as %s, moved the log from %d to %d", r.Command.name(), r.code, head, got)
		}
	}
	for _, code := range []Code{
		Invalid, NotFound, Exists, HostnameTaken, WrongState, StillReferenced, Full, UnknownDatabase, UnavailableDatabase,
		UnknownGroup, RetiredGroup, UnknownRegion, VersionMismatch, KeyReused,
	} {
		if !seen[code] {
			t.Errorf("no command was refused as %s", code)
		}
	}
	// Nothing was taken either: not the names that stood beside the one that was taken, not the
	// one place on db_one, and no reference holds the group.
	s.do(register(ten("new"), "n.example"), AssignDatabase{ID: acme, Database: db("one"), Name: "x"})
	s.do(DeactivateTenant{acme}, PurgeTenant{acme}, AssignDatabase{ID: ten("other"), Database: db("one")}, RetireGroup{grp("g")})
}

func TestRefusal_Error_NamesTheFieldsOnce(t *testing.T) {
	for _, tt := range []struct {
		r    *Refusal
		want string
	}{
		{&Refusal{Detail: "no: do that"}, "no: do that"},
		{&Refusal{Detail: "no: do that", Fields: []FieldError{{"/a", "no: do that"}}}, "/a: no: do that"},
		{&Refusal{Detail: "2 things are wrong", Fields: []FieldError{{"/a", "x"}, {"/b/0", "y"}}}, "2 things are wrong: /a: x; /b/0: y"},
	} {
		if got := tt.r.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestCodeOf_FindsTheCodeOfAWrappedRefusalAndOfNothingElse(t *testing.T) {
	if got := CodeOf(fmt.Errorf("on the way: %w", notFound(acme.Stream()))); got != NotFound {
		t.Errorf("got %q, want %q", got, NotFound)
	}
	for _, err := range []error{nil, errors.New("x"), events.ErrConflict} {
		if got := CodeOf(err); got != "" {
			t.Errorf("CodeOf(%v) = %q, want none", err, got)
		}
	}
}

func TestFaults_WithoutAField_AreInTheDetail(t *testing.T) {
	err := Check(SetProduct{ID: acme, Product: "Jira", Settings: events.Product{Plan: "", Seats: new(int64(-1))}})
	var r *Refusal
	if !errors.As(err, &r) || len(r.Fields) != 2 || !strings.HasPrefix(r.Detail, "3 things are wrong; a product's name is") {
		t.Errorf("got %+v, want two fields and the name in the detail", err)
	}
}
