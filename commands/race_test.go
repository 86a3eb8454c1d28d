package commands

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/events"
)

func TestPromise5_AHostnameBelongsToOneTenantAtATime_NoRaceGivesItToTwo(t *testing.T) {
	s := newSystem(t)
	const tenants, rounds, names = 6, 30, 3
	ids := make([]events.TenantID, tenants)
	contested := make([]events.Hostname, names)
	for i := range contested {
		contested[i] = host(fmt.Sprintf("contested-%d.example", i))
	}
	for i := range ids {
		ids[i] = ten(fmt.Sprintf("t%d", i))
		s.do(register(ids[i]))
	}
	var taken, refused atomic.Int64
	var racers []func()
	for i, id := range ids {
		racers = append(racers, func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range rounds {
				h := contested[random.IntN(names)]
				commands := []Command{AttachHostname{id, h, random.IntN(2) == 0}, DetachHostname{id, h}}
				switch random.IntN(10) {
				case 0: // a registration takes all or nothing
					c := register(events.NewTenantID())
					c.Hostnames = slices.Clone(contested)
					commands = []Command{c, DeactivateTenant{c.ID}, PurgeTenant{c.ID}}
				case 1:
					for _, r := range s.ImportAll(t.Context(), events.Metadata{}, []Command{register(events.NewTenantID(), h.String())}) {
						if r.Err != nil && CodeOf(r.Err) != HostnameTaken {
							t.Errorf("import: %v", r.Err)
						}
					}
				}
				for _, c := range commands {
					_, err := s.Do(t.Context(), Request{Command: c})
					switch code := CodeOf(err); {
					case err == nil:
						taken.Add(1)
					case code == HostnameTaken:
						refused.Add(1)
						var r *Refusal
						if errors.As(err, &r); r.Holder.IsZero() || r.Holder == c.Target() || r.Hostname.IsZero() {
							t.Errorf("the refusal names %q as the holder of %q, want another tenant", r.Holder, r.Hostname)
						}
					case code == NotFound: // the attach before was refused
					default:
						t.Errorf("%s: %v", c.name(), err)
					}
				}
			}
		})
	}
	together(racers...)
	if taken.Load() == 0 || refused.Load() == 0 {
		t.Fatalf("%d were taken and %d refused: there was no race", taken.Load(), refused.Load())
	}
	checkOneHolder(t, s.log())
}

// checkOneHolder folds the whole log by position, and looks who has each hostname then.
func checkOneHolder(t interface {
	Helper()
	Fatalf(string, ...any)
}, log []events.Event) map[events.Hostname]events.TenantID {
	t.Helper()
	holders := map[events.Hostname]events.TenantID{}
	tenants := map[events.StreamID]events.Tenant{}
	for i, e := range log {
		if e.Position != uint64(i)+1 {
			t.Fatalf("position %d follows on %d", e.Position, i)
		}
		if e.Stream.Kind() != events.KindTenant {
			continue
		}
		before := tenants[e.Stream]
		after, err := before.Apply(e)
		if err != nil {
			t.Fatalf("fold %s: %v", e.Stream, err)
		}
		tenants[e.Stream] = after
		for _, h := range missing(before.Hostnames, after.Hostnames) {
			delete(holders, h)
		}
		for _, h := range missing(after.Hostnames, before.Hostnames) {
			if other, held := holders[h]; held {
				t.Fatalf("at position %d %s is given to %s while %s has it", e.Position, h, after.ID, other)
			}
			holders[h] = after.ID
		}
	}
	return holders
}

func TestHandler_ManyCommandsAtOnceOnOneTenant_AllHappenWithoutAHole(t *testing.T) {
	s := newSystem(t)
	s.do(register(acme))
	var all []func()
	for i := range 16 {
		all = append(all, func() {
			for j := range 3 {
				if _, err := s.Do(t.Context(), Request{Command: SetConfig{acme, fmt.Sprintf("k%d.%d", i, j), raw("1")}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	together(all...)
	if got := s.tenant(acme); got.Version != 49 || len(got.Config) != 48 {
		t.Errorf("got version %d and %d keys, want 49 and 48", got.Version, len(got.Config))
	}
}

func TestHandler_ADatabaseDrainedWhileATenantIsAssigned_IsRefused(t *testing.T) {
	store := &interrupted{Store: openStore(t)}
	s := systemOn(t, store)
	s.do(register(acme), database(db("one"), 0))
	store.beforeAppend = func() { s.do(DrainDatabase{db("one")}) }
	s.refuses(Request{Command: AssignDatabase{ID: acme, Database: db("one")}}, UnavailableDatabase)

	s.do(database(db("two"), 0))
	store.beforeAppend = func() { s.do(DrainDatabase{db("two")}) }
	c := register(ten("new"))
	c.Database = db("two")
	s.refuses(Request{Command: c}, UnavailableDatabase)
	if len(s.stream(c.ID.Stream())) > 0 {
		t.Error("the tenant was registered")
	}
}

func TestHandler_AGroupRetiredWhileATenantJoins_IsRefused(t *testing.T) {
	store := &interrupted{Store: openStore(t)}
	s := systemOn(t, store)
	s.do(register(acme), CreateGroup{ID: grp("early"), Name: "Early"})
	store.beforeAppend = func() { s.do(RetireGroup{grp("early")}) }
	s.refuses(Request{Command: ChangeTenant{ID: acme, Group: new(grp("early"))}}, RetiredGroup)
}

func TestHandler_RetireAgainstAssign_OneOfThemIsRefused(t *testing.T) {
	s := newSystem(t)
	for i := range 20 {
		id, one := ten(fmt.Sprintf("t%d", i)), db(fmt.Sprintf("d%d", i))
		s.do(register(id), database(one, 0))
		var assigned, retired error
		together(
			func() { _, assigned = s.Do(t.Context(), Request{Command: AssignDatabase{ID: id, Database: one}}) },
			func() { _, retired = s.Do(t.Context(), Request{Command: RetireDatabase{one}}) },
		)
		switch {
		case assigned == nil && CodeOf(retired) == StillReferenced:
		case retired == nil && CodeOf(assigned) == UnavailableDatabase:
		default:
			t.Errorf("assigned: %v; retired: %v; want one of them refused", assigned, retired)
		}
	}
}

func TestHandler_RetireADatabaseOrGroup_OnlyOnceNoTenantIsLeft(t *testing.T) {
	s := newSystem(t)
	s.do(database(db("one"), 0), database(db("two"), 0), CreateGroup{ID: grp("g"), Name: "G"})
	for _, name := range []string{"a", "b", "c"} {
		c := register(ten(name))
		c.Database, c.Group = db("one"), grp("g")
		s.do(c)
	}
	r := s.refusal(Request{Command: RetireDatabase{db("one")}}, StillReferenced)
	if want := "db_one still has 3 tenants"; r.Detail[:len(want)] != want {
		t.Errorf("got %q, want %q…", r.Detail, want)
	}
	s.do(AssignDatabase{ID: ten("a"), Database: db("two")}, ChangeTenant{ID: ten("a"), Group: new(events.GroupID{})})
	s.do(DeactivateTenant{ten("b")}, PurgeTenant{ten("b")}, DeactivateTenant{ten("c")})
	s.refuses(Request{Command: RetireDatabase{db("one")}}, StillReferenced) // a deactivated one keeps what it has
	s.refuses(Request{Command: RetireGroup{grp("g")}}, StillReferenced)
	s.do(PurgeTenant{ten("c")}, RetireDatabase{db("one")}, RetireGroup{grp("g")})
}

func TestHandler_ADatabaseWithACapacity_TakesSoManyAndNoMore(t *testing.T) {
	s := newSystem(t)
	s.do(database(db("small"), 2), database(db("other"), 0))
	var all []func()
	var full atomic.Int64
	for i := range 6 {
		all = append(all, func() {
			c := register(ten(fmt.Sprintf("t%d", i)))
			c.Database = db("small")
			if _, err := s.Do(t.Context(), Request{Command: c}); CodeOf(err) == Full {
				full.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	together(all...)
	if n, err := s.store.References(t.Context(), db("small").Stream()); err != nil || n != 2 || full.Load() != 4 {
		t.Fatalf("%d tenants are on it (%v) and %d were refused, want 2 and 4", n, err, full.Load())
	}
	c := register(ten("late"))
	c.Database = db("small")
	if r := s.refusal(Request{Command: c}, Full); r.Stream != db("small").Stream() || len(r.Fields) != 1 || r.Fields[0].Pointer != "/database" {
		t.Errorf("got %+v, want it about db_small at /database", r)
	}
	// One that is there may stay and change its name, and one that leaves makes room.
	var there events.TenantID
	for i := range 6 {
		if id := ten(fmt.Sprintf("t%d", i)); len(s.stream(id.Stream())) > 0 {
			there = id
		}
	}
	s.do(AssignDatabase{ID: there, Database: db("small"), Name: "renamed"}, AssignDatabase{ID: there, Database: db("other")}, c)
}

func TestHandler_AHostnameOfAnother_IsRefusedWithItsHolderAndItsPlace(t *testing.T) {
	s := newSystem(t)
	s.do(register(acme, "a.example", "b.example"), register(ten("b")))
	r := s.refusal(Request{Command: register(ten("c"), "c.example", "B.example", "a.example")}, HostnameTaken)
	if r.Hostname != host("b.example") && r.Hostname != host("a.example") || r.Holder != acme.Stream() {
		t.Errorf("got %+v, want a hostname of ten_acme", r)
	}
	if want := map[events.Hostname]string{host("b.example"): "/hostnames/1", host("a.example"): "/hostnames/2"}[r.Hostname]; len(r.Fields) != 1 || r.Fields[0].Pointer != want {
		t.Errorf("got the fields %v, want %s", r.Fields, want)
	}
	s.do(register(ten("c"), "c.example")) // nothing was taken before
	if r := s.refusal(Request{Command: AttachHostname{ten("b"), host("a.example"), false}}, HostnameTaken); len(r.Fields) != 0 || r.Holder != acme.Stream() {
		t.Errorf("got %+v, want no field, since it is in the path", r)
	}
	// What is detached or purged is free.
	s.do(DetachHostname{acme, host("a.example")}, AttachHostname{ten("b"), host("a.example"), false})
	s.do(DeactivateTenant{acme})
	s.refuses(Request{Command: AttachHostname{ten("b"), host("b.example"), false}}, HostnameTaken) // a deactivated one keeps them
	s.do(PurgeTenant{acme}, AttachHostname{ten("b"), host("b.example"), false})
	checkOneHolder(t, s.log())
}
