package commands

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tenantry/tenantry/events"
)

func TestHandler_ACommand_IsAppendedAndAnsweredWithWhatHappened(t *testing.T) {
	s := newSystem(t)
	meta := events.Metadata{Actor: "ann@example.com", Reason: "a new customer", CorrelationID: "request-1", CausationID: "command-1", Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	a, err := s.Do(t.Context(), Request{Command: register(acme, "a.example", "b.example"), Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	want := []events.Appended{
		{Type: events.TypeTenantRegistered, Version: 1, Position: 1},
		{Type: events.TypeHostnameAttached, Version: 2, Position: 2},
		{Type: events.TypeHostnameAttached, Version: 3, Position: 3},
	}
	if a.Stream != acme.Stream() || a.Version != 3 || a.Position != 3 || !slices.Equal(a.Events, want) || a.Unchanged || a.Replayed {
		t.Errorf("got %+v, want version and position 3 and the events %+v", a, want)
	}
	for _, e := range s.stream(acme.Stream()) {
		if e.Actor != meta.Actor || e.Reason != meta.Reason || e.CorrelationID != meta.CorrelationID || e.CausationID != meta.CausationID || e.Traceparent != meta.Traceparent {
			t.Errorf("the event at version %d has %+v, want what came with the command", e.Version, e)
		}
	}
}

func TestHandler_ACommandThatChangesNothing_AppendsNothingAndSaysWhereTheStreamIs(t *testing.T) {
	s := newSystem(t)
	s.do(register(acme, "a.example"), register(ten("other")), ActivateTenant{acme}, register(ten("more")))
	head := s.head()
	a := s.do(ActivateTenant{acme})
	if !a.Unchanged || a.Stream != acme.Stream() || a.Version != 3 || a.Position != 4 || len(a.Events) != 0 {
		t.Errorf("got %+v, want unchanged at version 3, position 4", a)
	}
	if got := s.head(); got != head {
		t.Errorf("the log ends at %d, want %d", got, head)
	}
}

func TestHandler_ACommandThatChangesNothing_IsAnsweredAlsoWhileTheStoreTakesNoAppends(t *testing.T) {
	store := &interrupted{Store: openStore(t)}
	s := systemOn(t, store)
	s.do(register(acme))
	store.beforeAppend = func() { t.Error("the store was asked to append") }
	if a := s.do(ChangeTenant{ID: acme}); !a.Unchanged {
		t.Errorf("got %+v, want unchanged", a)
	}
}

func TestHandler_WhenTheClockIsSetBack_TimesOfAStreamDoNot(t *testing.T) {
	now := began
	s := newSystem(t)
	s.Handler = NewHandler(s.store, Config{HomeRegions: regions, Clock: func() time.Time { return now }})
	s.do(register(acme))
	now = began.Add(-time.Hour)
	s.do(ActivateTenant{acme})
	now = began.Add(time.Hour + 7)
	s.do(SuspendTenant{acme})
	var got []time.Time
	for _, e := range s.stream(acme.Stream()) {
		got = append(got, e.Time)
	}
	if want := []time.Time{began, began, began.Add(time.Hour)}; !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("times are %v, want %v", got, want)
	}
}

func TestHandler_WithTheSameIdempotencyKey_AnswersTheFirstAnswerAndAppendsOnce(t *testing.T) {
	s := newSystem(t)
	r := Request{Command: register(acme, "a.example"), Key: key("k1", 1)}
	first, err := s.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	s.do(ActivateTenant{acme})
	again, err := s.Do(t.Context(), r) // without the key it would be refused: the ID exists
	if err != nil {
		t.Fatal(err)
	}
	if !again.Replayed || again.Version != first.Version || again.Position != first.Position || !slices.Equal(again.Events, first.Events) {
		t.Errorf("got %+v, want the first answer again: %+v", again, first)
	}
	if n := len(s.stream(acme.Stream())); n != 3 {
		t.Errorf("the stream has %d events, want 3", n)
	}
	s.refuses(Request{Command: ActivateTenant{acme}, Key: key("k1", 2)}, KeyReused)
}

func TestHandler_WithAnIdempotencyKey_DerivesTheEventsIDsFromItAndTheTime(t *testing.T) {
	var ids [3][]string
	for i := range ids {
		s := newSystem(t)
		at := time.Unix(int64(i/2), 0) // the third comes later, as one that is sent again after a restore
		s.Handler = NewHandler(s.store, Config{HomeRegions: regions, Clock: func() time.Time { return at }})
		if _, err := s.Do(t.Context(), Request{Command: register(acme, "a.example"), Key: key("k1", 1)}); err != nil {
			t.Fatal(err)
		}
		for _, e := range s.stream(acme.Stream()) {
			ids[i] = append(ids[i], e.ID.String())
		}
	}
	if !slices.Equal(ids[0], ids[1]) || ids[0][0] == ids[0][1] {
		t.Errorf("the same command on two stores has the IDs %v and %v, want them equal and each its own", ids[0], ids[1])
	}
	if ids[2][0] == ids[0][0] {
		t.Errorf("the same command at another time has the ID %s again", ids[2][0])
	}
}

func TestHandler_ACommandThatChangedNothing_IsRememberedByItsKey(t *testing.T) {
	s := newSystem(t)
	s.do(register(acme), ActivateTenant{acme})
	r := Request{Command: ActivateTenant{acme}, Key: key("k1", 1)}
	first, err := s.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	s.do(SuspendTenant{acme})
	again, err := s.Do(t.Context(), r) // without the key it would be refused: it is suspended
	if err != nil {
		t.Fatal(err)
	}
	if !first.Unchanged || !again.Unchanged || !again.Replayed || again.Version != 2 || again.Position != 2 {
		t.Errorf("got %+v and then %+v, want unchanged at version 2 both times", first, again)
	}
}

func TestHandler_ARefusal_IsNotRememberedByItsKey(t *testing.T) {
	s := newSystem(t)
	s.do(register(acme))
	r := Request{Command: SuspendTenant{acme}, Key: key("k1", 1)}
	s.refuses(r, WrongState)
	s.do(ActivateTenant{acme})
	if a, err := s.Do(t.Context(), r); err != nil || a.Replayed || a.Unchanged {
		t.Errorf("got %+v, %v, want it carried out now", a, err)
	}
}

func TestHandler_TheSameCommandTwiceAtOnce_HappensOnceAndIsAnsweredTwice(t *testing.T) {
	store := &interrupted{Store: openStore(t)}
	s := systemOn(t, store)
	for _, twice := range []struct {
		r    Request
		when *func() // after the key was looked for
	}{
		{Request{Command: register(acme, "a.example", "b.example"), Key: key("k1", 1)}, &store.beforeAppend},
		{Request{Command: DetachHostname{acme, host("b.example")}, Key: key("k3", 1)}, &store.beforeLoad}, // who comes second is refused
	} {
		var first Answer
		*twice.when = func() {
			var err error
			if first, err = s.Do(t.Context(), twice.r); err != nil {
				t.Fatal(err)
			}
		}
		second, err := s.Do(t.Context(), twice.r)
		if err != nil {
			t.Fatal(err)
		}
		if first.Replayed || !second.Replayed || !slices.Equal(first.Events, second.Events) {
			t.Errorf("%s: got %+v and %+v, want the same answer, the second time again", twice.r.Command.name(), first, second)
		}
	}
	store.beforeAppend = func() { // after it was decided
		if _, err := s.Do(t.Context(), Request{Command: ActivateTenant{acme}, Key: key("k2", 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := s.Do(t.Context(), Request{Command: ActivateTenant{acme}, Key: key("k2", 1)}); err != nil || !a.Replayed {
		t.Errorf("got %+v, %v, want the answer again", a, err)
	}
	if n := s.head(); n != 5 {
		t.Errorf("the log has %d events, want 5", n)
	}
}

// It is not asked whether there is one, and what else is wrong with it is of no use to who is told.
func TestHandler_ACommandThatFoundsWhatIsThere_IsToldThat(t *testing.T) {
	store := &interrupted{Store: openStore(t)}
	s := systemOn(t, store)
	s.do(register(acme, "a.example"), register(ten("other"), "b.example"))
	store.beforeLoad = func() { t.Error("what was not there was asked for") }
	s.do(register(ten("third"), "c.example"))
	store.beforeLoad = nil
	for _, r := range []Request{
		{Command: register(acme, "a.example")},
		{Command: register(acme, "b.example")},
		{Command: RegisterTenant{ID: acme, Name: "A", HomeRegion: "nowhere"}},
		{Command: RegisterTenant{ID: acme, Name: "A", HomeRegion: regions[0], Group: grp("none")}},
		{Command: register(acme, "d.example"), DryRun: true},
	} {
		s.refuses(r, Exists)
	}
}

func TestHandler_WithIfMatch_DecidesOnlyAtThatVersion(t *testing.T) {
	s := newSystem(t)
	s.do(register(acme))
	if a, err := s.Do(t.Context(), Request{Command: ActivateTenant{acme}, IfMatch: new(uint64(1))}); err != nil || a.Version != 2 {
		t.Fatalf("at its version: %+v, %v, want it carried out", a, err)
	}
	if r := s.refusal(Request{Command: SuspendTenant{acme}, IfMatch: new(uint64(1))}, VersionMismatch); r.Version != 2 || r.Stream != acme.Stream() {
		t.Errorf("got %+v, want it to say that ten_acme is at 2", r)
	}
	// Also where nothing would change, and where the state does not allow it anyway.
	s.refuses(Request{Command: ActivateTenant{acme}, IfMatch: new(uint64(1))}, VersionMismatch)
	s.refuses(Request{Command: PurgeTenant{acme}, IfMatch: new(uint64(3))}, VersionMismatch)
	s.refuses(Request{Command: ActivateTenant{ten("none")}, IfMatch: new(uint64(1))}, NotFound)
	s.refuses(Request{Command: register(acme), IfMatch: new(uint64(7))}, VersionMismatch)
}

func TestHandler_WhenAnotherWasFasterAndIfMatchWasGiven_RefusesAndDoesNotTryAgain(t *testing.T) {
	store := &interrupted{Store: openStore(t)}
	s := systemOn(t, store)
	s.do(register(acme))
	store.beforeAppend = func() { s.do(ChangeTenant{ID: acme, Name: new("Other")}) }
	if r := s.refusal(Request{Command: ActivateTenant{acme}, IfMatch: new(uint64(1))}, VersionMismatch); r.Version != 2 {
		t.Errorf("got %+v, want it to say version 2", r)
	}
	if got := s.tenant(acme).Status; got != events.StatusRegistered {
		t.Errorf("the tenant is %s, want it as it was", got)
	}
}

func TestHandler_WhenAnotherWasFaster_DecidesAgain(t *testing.T) {
	store := &interrupted{Store: openStore(t)}
	s := systemOn(t, store)
	s.do(register(acme, "a.example", "b.example"))
	store.beforeAppend = func() { s.do(AttachHostname{acme, host("b.example"), true}, DetachHostname{acme, host("a.example")}) }
	a := s.do(AttachHostname{acme, host("c.example"), true})
	if a.Version != 7 {
		t.Errorf("got %+v, want version 7", a)
	}
	if got := s.tenant(acme); got.Primary != host("c.example") || strings.Join(sortedHostnames(got.Hostnames), " ") != "b.example c.example" {
		t.Errorf("got %v with primary %s, want b and c with c", got.Hostnames, got.Primary)
	}
	// What was possible is not any more.
	s.do(ActivateTenant{acme})
	store.beforeAppend = func() { s.do(DeactivateTenant{acme}) }
	s.refuses(Request{Command: SuspendTenant{acme}}, WrongState)
	// What would have changed something does not any more.
	store.beforeAppend = func() { s.do(RestoreTenant{acme}) }
	if a := s.do(RestoreTenant{acme}); !a.Unchanged {
		t.Errorf("got %+v, want unchanged", a)
	}
}

func TestHandler_WhenTheDatabaseMovedOn_DecidesAgainAlsoWithIfMatch(t *testing.T) {
	store := &interrupted{Store: openStore(t)}
	s := systemOn(t, store)
	s.do(register(acme), database(db("one"), 0))
	store.beforeAppend = func() { s.do(ChangeEndpoint{ID: db("one"), Port: new(6432)}) }
	if a, err := s.Do(t.Context(), Request{Command: AssignDatabase{ID: acme, Database: db("one")}, IfMatch: new(uint64(1))}); err != nil || a.Version != 2 {
		t.Errorf("got %+v, %v, want it assigned", a, err)
	}
}

func TestHandler_WhenEveryRaceIsLost_GivesUpAfterAWhileAndSaysToRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &failing{err: events.ErrConflict}
		s := systemOn(t, store)
		_, err := s.Do(t.Context(), Request{Command: register(acme)})
		if !errors.Is(err, events.ErrUnavailable) || CodeOf(err) != "" {
			t.Errorf("got %v, want that the store is unavailable", err)
		}
		if want := 1 + maxAttempts; store.appends != want { // one as if it were not there
			t.Errorf("tried %d times, want %d", store.appends, want)
		}
	})
}

func TestHandler_WhenTheCallerGoesAway_StopsTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &failing{err: events.ErrConflict}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("client went away")
		cancel(gone)
		if _, err := systemOn(t, store).Do(ctx, Request{Command: register(acme)}); !errors.Is(err, gone) || store.appends > 2 {
			t.Errorf("got %v after %d attempts, want that the client went away", err, store.appends)
		}
	})
}

func TestHandler_WhenTheStoreIsUnavailable_PassesThatOn(t *testing.T) {
	for _, want := range []error{events.ErrUnavailable, errors.New("disk on fire")} {
		s := systemOn(t, &failing{err: want})
		if _, err := s.Do(t.Context(), Request{Command: register(acme)}); !errors.Is(err, want) || CodeOf(err) != "" {
			t.Errorf("got %v, want %v", err, want)
		}
		for _, r := range s.ImportAll(t.Context(), events.Metadata{}, []Command{register(acme), database(db("one"), 0)}) {
			if r.Status != ImportFailed || !errors.Is(r.Err, want) {
				t.Errorf("imported %+v, want it failed with %v", r, want)
			}
		}
	}
}

func TestHandler_DryRun_AnswersWhatWouldHappenAndAppendsNothing(t *testing.T) {
	s := newSystem(t)
	s.do(register(acme, "a.example"), database(db("small"), 1), AssignDatabase{ID: acme, Database: db("small")})
	head := s.head()
	dry := func(c Command) Request { return Request{Command: c, DryRun: true} }

	a, err := s.Do(t.Context(), dry(register(ten("new"), "new.example")))
	if err != nil {
		t.Fatal(err)
	}
	if a.Version != 2 || a.Unchanged || len(a.Events) != 2 || a.Events[1].Version != 2 || a.Events[1].Position != 0 {
		t.Errorf("got %+v, want two events at versions 1 and 2 without a position", a)
	}
	if a, err := s.Do(t.Context(), dry(AttachHostname{acme, host("a.example"), true})); err != nil || !a.Unchanged || a.Version != 3 {
		t.Errorf("got %+v, %v, want unchanged at version 3", a, err)
	}
	if a, err := s.Do(t.Context(), Request{Command: AttachHostname{acme, host("a.example"), true}, DryRun: true, Key: key("k", 1)}); err != nil || !a.Unchanged {
		t.Errorf("got %+v, %v, want unchanged", a, err)
	}
	// What only the store can tell is checked, too.
	if r := s.refusal(dry(register(ten("new"), "new.example", "a.example")), HostnameTaken); r.Holder != acme.Stream() {
		t.Errorf("got %+v, want the holder ten_acme", r)
	}
	full := register(ten("new"))
	full.Database = db("small")
	s.refuses(dry(full), Full)
	s.refuses(dry(RetireDatabase{db("small")}), StillReferenced)
	s.refuses(dry(SuspendTenant{acme}), WrongState)

	if got := s.head(); got != head {
		t.Errorf("the log ends at %d, want %d", got, head)
	}
	// Neither is a key used up.
	if a, err := s.Do(t.Context(), Request{Command: ActivateTenant{acme}, DryRun: true, Key: key("k", 2)}); err != nil || a.Replayed {
		t.Errorf("got %+v, %v, want the dry run", a, err)
	}
	if a, err := s.Do(t.Context(), Request{Command: ActivateTenant{acme}, Key: key("k", 3)}); err != nil || a.Replayed || a.Unchanged {
		t.Errorf("got %+v, %v, want it carried out", a, err)
	}
}

func TestHandler_WhatComesWithACommand_IsCheckedToo(t *testing.T) {
	s := newSystem(t)
	for _, tt := range []struct {
		name string
		r    Request
		says string // "": taken
		at   string
	}{
		{"an actor of 500 characters", Request{Meta: events.Metadata{Actor: strings.Repeat("ä", 500)}}, "", ""},
		{"an actor of 501 characters", Request{Meta: events.Metadata{Actor: strings.Repeat("ä", 501)}}, "actor has 501", ""},
		{"a reason of 500 characters", Request{Meta: events.Metadata{Reason: strings.Repeat("r", 500)}}, "", ""},
		{"a reason of 501 characters", Request{Meta: events.Metadata{Reason: strings.Repeat("r", 501)}}, "reason has 501", "/reason"},
		{"a reason of two lines", Request{Meta: events.Metadata{Reason: "a\nb"}}, "U+000A", "/reason"},
		{"a reason with a password", Request{Meta: events.Metadata{Reason: "is now postgres://u:p@h"}}, "vault://", "/reason"},
		{"a reason that speaks of a password", Request{Meta: events.Metadata{Reason: "forgot the password"}}, "", ""},
		{"an actor that is not UTF-8", Request{Meta: events.Metadata{Actor: "\xff"}}, "UTF-8", ""},
		{"a traceparent with a line break", Request{Meta: events.Metadata{Traceparent: "00\r\n"}}, "U+000D", ""},
		{"an idempotency key of 255 characters", Request{Key: key(strings.Repeat("k", 255), 1)}, "", ""},
		{"an idempotency key of 256 characters", Request{Key: key(strings.Repeat("k", 256), 1)}, "256", ""},
		{"an empty idempotency key", Request{Key: key("", 1)}, "empty", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.Command = register(events.NewTenantID())
			if tt.says == "" {
				if _, err := s.Do(t.Context(), tt.r); err != nil {
					t.Fatal(err)
				}
				return
			}
			r := s.refusal(tt.r, Invalid)
			if !strings.Contains(r.Error(), tt.says) || len(r.Fields) > 0 && r.Fields[0].Pointer != tt.at || (tt.at != "") != (len(r.Fields) > 0) {
				t.Errorf("got %v at %v, want %q at %q", r, r.Fields, tt.says, tt.at)
			}
		})
	}
}

func TestHandler_Metrics_CountCommandsByOutcome(t *testing.T) {
	s := newSystem(t)
	registry := prometheus.NewPedanticRegistry()
	s.Handler = NewHandler(s.store, Config{HomeRegions: regions, Registerer: registry})
	s.do(register(acme, "a.example"), ActivateTenant{acme}, ActivateTenant{acme})
	for range 2 {
		if _, err := s.Do(t.Context(), Request{Command: SuspendTenant{acme}, Key: key("k", 1)}); err != nil {
			t.Fatal(err)
		}
	}
	s.refuses(Request{Command: PurgeTenant{acme}}, WrongState)
	if _, err := s.Do(t.Context(), Request{Command: ResumeTenant{acme}, DryRun: true}); err != nil {
		t.Fatal(err)
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	if _, err := s.Do(left, Request{Command: ResumeTenant{acme}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v of a command that no one waits for", err)
	}

	for _, c := range kinds { // they are there from the beginning: the next test is about them
		s.metrics.commands.DeleteLabelValues(c.name(), outcomeUnavailable)
	}
	err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP tenantry_commands_total Commands by name and outcome: appended, unchanged, replayed, dry-run, canceled, unavailable, error, or the code of the refusal.
# TYPE tenantry_commands_total counter
tenantry_commands_total{command="activate-tenant",outcome="appended"} 1
tenantry_commands_total{command="activate-tenant",outcome="unchanged"} 1
tenantry_commands_total{command="purge-tenant",outcome="wrong-state"} 1
tenantry_commands_total{command="register-tenant",outcome="appended"} 1
tenantry_commands_total{command="resume-tenant",outcome="canceled"} 1
tenantry_commands_total{command="resume-tenant",outcome="dry-run"} 1
tenantry_commands_total{command="suspend-tenant",outcome="appended"} 1
tenantry_commands_total{command="suspend-tenant",outcome="replayed"} 1
`), "tenantry_commands_total")
	if err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(s.metrics.duration); n != 5 {
		t.Errorf("latency is kept for %d commands, want 5", n)
	}
}

// An alert on their increase would not see the first failure of each otherwise.
func TestHandler_Metrics_OfEveryCommandThatIsUnavailable_AreThereBeforeTheFirst(t *testing.T) {
	s := newSystem(t)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\) name\(\) string +\{ return "([a-z-]+)" \}`).FindAllSubmatch(source, -1) {
			names++
			if !s.metrics.commands.DeleteLabelValues(string(m[1]), outcomeUnavailable) {
				t.Errorf("there is no count of %s that are unavailable", m[1])
			}
		}
	}
	if names < 20 {
		t.Errorf("found %d commands in the source", names)
	}
}

func TestHandler_ThatWasToldOfNoHomeRegions_TakesAny(t *testing.T) {
	s := newSystem(t)
	s.Handler = NewHandler(s.store, Config{})
	c := register(acme)
	c.HomeRegion = "mars-1"
	s.do(c, ChangeTenant{ID: acme, HomeRegion: new("venus-1")})
	s.refuses(Request{Command: ChangeTenant{ID: acme, HomeRegion: new("no region")}}, Invalid)
}
