package events_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
)

// folded is a tenant, database or group, and what can be done with each.
type folded interface{ Exists() bool }

// aggregate is one kind of stream as the tests below see it.
type aggregate struct {
	fold  func(state folded, stream []events.Event) (folded, error)
	apply func(state folded, e events.Event) (folded, error)
	zero  folded
}

var aggregates = map[events.Kind]aggregate{
	events.KindTenant: {
		fold:  func(s folded, es []events.Event) (folded, error) { return events.FoldTenant(s.(events.Tenant), es) },
		apply: func(s folded, e events.Event) (folded, error) { return s.(events.Tenant).Apply(e) },
		zero:  events.Tenant{},
	},
	events.KindDatabase: {
		fold:  func(s folded, es []events.Event) (folded, error) { return events.FoldDatabase(s.(events.Database), es) },
		apply: func(s folded, e events.Event) (folded, error) { return s.(events.Database).Apply(e) },
		zero:  events.Database{},
	},
	events.KindGroup: {
		fold:  func(s folded, es []events.Event) (folded, error) { return events.FoldGroup(s.(events.Group), es) },
		apply: func(s folded, e events.Event) (folded, error) { return s.(events.Group).Apply(e) },
		zero:  events.Group{},
	},
}

// copyOf is a state that shares nothing with another which a fold could change.
func copyOf(s folded) folded {
	t, ok := s.(events.Tenant)
	if !ok {
		return s // databases and groups are plain values
	}
	t.Hostnames = slices.Clone(t.Hostnames)
	t.Products = maps.Clone(t.Products)
	for name, p := range t.Products {
		p.Features = slices.Clone(p.Features)
		t.Products[name] = p
	}
	t.Config = maps.Clone(t.Config)
	for key, v := range t.Config {
		t.Config[key] = slices.Clone(v)
	}
	return t
}

// someStream draws one stream of a log, in the order of their IDs.
func someStream(t *rapid.T, most int) (events.StreamID, []events.Event) {
	log := eventstest.Log(most).Filter(func(log []events.Event) bool { return len(log) > 0 }).Draw(t, "log")
	streams := eventstest.Streams(log)
	ids := slices.SortedFunc(maps.Keys(streams), func(a, b events.StreamID) int {
		return len(streams[b])*1000 - len(streams[a])*1000 + compare(a.String(), b.String())
	})
	id := rapid.SampledFrom(ids).Draw(t, "stream")
	return id, streams[id]
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func TestFold_APrefixAndThenTheRestIsTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, stream := someStream(t, 60)
		a := aggregates[id.Kind()]
		whole, err := a.fold(a.zero, stream)
		if err != nil {
			t.Fatal(err)
		}
		cut := rapid.IntRange(0, len(stream)).Draw(t, "cut")
		prefix, err := a.fold(a.zero, stream[:cut])
		if err != nil {
			t.Fatal(err)
		}
		if rest, err := a.fold(prefix, stream[cut:]); err != nil || !reflect.DeepEqual(rest, whole) {
			t.Fatalf("cut at %d of %d: got %+v, %v, want %+v", cut, len(stream), rest, err, whole)
		}
		if prefix.Exists() != (cut > 0) {
			t.Fatalf("after %d events: got exists %t", cut, prefix.Exists())
		}
	})
}

func TestFold_IsTheSameOfEventsThatWentThroughJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, stream := someStream(t, 40)
		a := aggregates[id.Kind()]
		want, err := a.fold(a.zero, stream)
		if err != nil {
			t.Fatal(err)
		}
		through := make([]events.Event, len(stream))
		for i, e := range stream {
			r := events.Record{Event: e}
			if through[i], err = readBack(r); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := a.fold(a.zero, through); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func readBack(r events.Record) (events.Event, error) {
	headers := make(map[string]string)
	r.Headers(func(name, value string) { headers[name] = value })
	back, err := events.ParseRecord(getter(headers), slices.Clone(r.Event.Data))
	return back.Event, err
}

func TestApply_NeverChangesWhatItWasGiven_NorSharesWhatItChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, stream := someStream(t, 60)
		a := aggregates[id.Kind()]
		state := a.zero
		for i, e := range stream {
			before := copyOf(state)
			next, err := a.apply(state, e)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(state, before) {
				t.Fatalf("event %d, %s, changed the state that it was applied to: %+v, want %+v", i+1, e.Type, state, before)
			}
			// The same state goes on in two ways, as a command is decided twice after a conflict. The
			// one must not show in the other.
			want := copyOf(next)
			again, err := a.apply(state, e)
			if err != nil {
				t.Fatal(err)
			}
			scribble(state, again)
			if !reflect.DeepEqual(state, before) || !reflect.DeepEqual(next, want) {
				t.Fatalf("event %d, %s: what was written into the new state shows in the old one: %+v, want %+v, or in its twin: %+v, want %+v",
					i+1, e.Type, state, before, next, want)
			}
			state = next
		}
	})
}

// scribble overwrites what the event changed of a tenant: the slices and maps that are not the
// same in the old state.
func scribble(before, after folded) {
	old, ok := before.(events.Tenant)
	if !ok {
		return
	}
	t := after.(events.Tenant)
	if !slices.Equal(old.Hostnames, t.Hostnames) {
		t.Hostnames = t.Hostnames[:cap(t.Hostnames)]
		for i := range t.Hostnames {
			t.Hostnames[i] = events.Hostname{}
		}
	}
	if !reflect.DeepEqual(old.Products, t.Products) && t.Products != nil {
		clear(t.Products)
		t.Products["scribble"] = events.Product{}
	}
	if !reflect.DeepEqual(old.Config, t.Config) && t.Config != nil {
		clear(t.Config)
		t.Config["scribble"] = jsontext.Value(`0`)
	}
}

func TestApply_OutOfOrderIsRefusedAndChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, stream := someStream(t, 40)
		a := aggregates[id.Kind()]
		n := rapid.IntRange(0, len(stream)).Draw(t, "folded")
		state, err := a.fold(a.zero, stream[:n])
		if err != nil {
			t.Fatal(err)
		}
		before := copyOf(state)
		refused := func(what string, e events.Event) {
			got, err := a.apply(state, e)
			if !errors.Is(err, events.ErrOutOfOrder) {
				t.Fatalf("%s: got %v, want ErrOutOfOrder", what, err)
			}
			if !reflect.DeepEqual(got, before) || !reflect.DeepEqual(state, before) {
				t.Fatalf("%s: got %+v, want nothing changed: %+v", what, got, before)
			}
		}
		for i, e := range stream {
			if i != n {
				refused(fmt.Sprintf("version %d after %d", e.Version, n), e)
			}
		}
		for _, other := range []string{"ten_other", "db_other", "grp_other"} {
			e := stream[min(n, len(stream)-1)]
			e.Stream, e.Version = must(events.ParseStreamID(other)), uint64(n)+1
			if n > 0 || e.Stream.Kind() != id.Kind() {
				refused("an event of "+other, e)
			}
		}
		if n > 0 {
			second := stream[0] // a stream has one registration
			second.Version = uint64(n) + 1
			refused("a second registration", second)
		} else if len(stream) > 1 {
			first := stream[1] // and begins with it
			first.Version = 1
			refused("a stream without a registration", first)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestApply_AnEventThatCannotBeReadChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, stream := someStream(t, 20)
		a := aggregates[id.Kind()]
		state, err := a.fold(a.zero, stream)
		if err != nil {
			t.Fatal(err)
		}
		before := copyOf(state)
		next := events.Event{Stream: id, Version: uint64(len(stream)) + 1, Position: 1000, Data: jsontext.Value(`{}`)}
		for typ, want := range map[events.Type]error{"tenantry.tenant.moved.v7": events.ErrUnknownType, stream[0].Type: nil} {
			next.Type, next.Data = typ, jsontext.Value(`{"x":1}`)
			got, err := a.apply(state, next)
			if err == nil || (want != nil && !errors.Is(err, want)) || !reflect.DeepEqual(got, before) {
				t.Fatalf("%s: got %+v, %v, want it refused and nothing changed", typ, got, err)
			}
		}
		// An event of another kind of stream, at the right version of this one.
		foreign := map[events.Kind]events.Type{
			events.KindTenant: events.TypeDatabaseDraining, events.KindDatabase: events.TypeGroupRetired, events.KindGroup: events.TypeTenantActivated,
		}[id.Kind()]
		next.Type, next.Data = foreign, jsontext.Value(`{}`)
		if got, err := a.apply(state, next); err == nil || !reflect.DeepEqual(got, before) {
			t.Fatalf("%s on %s: got %+v, %v, want it refused and nothing changed", foreign, id, got, err)
		}
	})
}

func TestFold_StopsAtTheFirstEventThatDoesNotFit(t *testing.T) {
	at := time.Date(2026, 11, 21, 2, 14, 0, 0, time.UTC)
	stream := history(t, "ten_a", at, events.TenantRegistered{Name: "A", HomeRegion: "eu-west"}, events.TenantActivated{}, events.TenantSuspended{})
	got, err := events.FoldTenant(events.Tenant{}, []events.Event{stream[0], stream[2]})
	if !errors.Is(err, events.ErrOutOfOrder) || got.Version != 1 || got.Status != events.StatusRegistered {
		t.Errorf("got %+v, %v, want what was folded before the hole, and ErrOutOfOrder", got, err)
	}
}

// history is a stream of these payloads, a second apart, with positions 10, 20, 30 …
func history(t testing.TB, id string, at time.Time, payloads ...events.Payload) []events.Event {
	t.Helper()
	stream := make([]events.Event, 0, len(payloads))
	for i, p := range payloads {
		made, err := events.New(streamID(t, id), uint64(i), events.Metadata{Time: at.Add(time.Duration(i) * time.Second)}, p)
		if err != nil {
			t.Fatal(err)
		}
		made[0].Position = uint64(i+1) * 10
		stream = append(stream, made...)
	}
	return stream
}

func TestTenant_HoldsWhatItsHistorySays(t *testing.T) {
	at := time.Date(2026, 11, 21, 2, 14, 0, 0, time.UTC)
	host := func(s string) events.Hostname { return must(events.ParseHostname(s)) }
	a, b, c := host("a.example"), host("b.example"), host("c.example")
	seats := int64(5)
	group, database := must(events.ParseGroupID("grp_a")), must(events.ParseDatabaseID("db_a"))
	stream := history(t, "ten_a", at,
		events.TenantRegistered{Name: "A", HomeRegion: "eu-west", Group: group},                                 // 1
		events.HostnameAttached{Hostname: a},                                                                    // 2
		events.HostnameAttached{Hostname: b},                                                                    // 3
		events.PrimaryHostnameChanged{Hostname: b},                                                              // 4
		events.ProductActivated{Name: "jira", Product: events.Product{Plan: "free", Seats: &seats}},             // 5
		events.DatabaseAssigned{Database: database, Name: "a"},                                                  // 6
		events.ConfigSet{Key: "k", Value: jsontext.Value(`1`)},                                                  // 7
		events.TenantActivated{},                                                                                // 8
		events.TenantRenamed{Name: "B"},                                                                         // 9
		events.HomeRegionChanged{HomeRegion: "us-east"},                                                         // 10
		events.TenantGroupChanged{},                                                                             // 11
		events.ProductChanged{Name: "jira", Product: events.Product{Plan: "standard", Features: []string{"x"}}}, // 12
		events.ConfigSet{Key: "k", Value: jsontext.Value(`2`)},                                                  // 13
		events.HostnameDetached{Hostname: b},                                                                    // 14
		events.HostnameAttached{Hostname: c},                                                                    // 15
		events.TenantSuspended{},                                                                                // 16
		events.TenantResumed{}, events.TenantDeactivated{}, events.TenantRestored{}, events.TenantDeactivated{}, // 17 to 20
		events.ProductDeactivated{Name: "jira"}, // 21
		events.ConfigUnset{Key: "k"},            // 22
		events.TenantPurged{},                   // 23
	)
	folded := func(n int) events.Tenant {
		tenant, err := events.FoldTenant(events.Tenant{}, stream[:n])
		if err != nil {
			t.Fatal(err)
		}
		return tenant
	}
	want := events.Tenant{
		ID: must(events.ParseTenantID("ten_a")), Version: 8, Position: 80, Name: "A", Status: events.StatusActive,
		Hostnames: []events.Hostname{a, b}, Primary: b, HomeRegion: "eu-west", Group: group,
		Products: map[string]events.Product{"jira": {Plan: "free", Seats: &seats}},
		Database: events.Assignment{ID: database, Name: "a", Position: 60}, Config: map[string]jsontext.Value{"k": jsontext.Value(`1`)},
		CreatedAt: at, UpdatedAt: at.Add(7 * time.Second),
	}
	if got := folded(8); !reflect.DeepEqual(got, want) {
		t.Errorf("after 8: got  %+v\nwant %+v", got, want)
	}
	want = events.Tenant{
		ID: want.ID, Version: 15, Position: 150, Name: "B", Status: events.StatusActive,
		// The primary hostname was detached without another being named, so that the next becomes it.
		Hostnames: []events.Hostname{a, c}, Primary: c, HomeRegion: "us-east",
		Products: map[string]events.Product{"jira": {Plan: "standard", Features: []string{"x"}}},
		Database: want.Database, Config: map[string]jsontext.Value{"k": jsontext.Value(`2`)},
		CreatedAt: at, UpdatedAt: at.Add(14 * time.Second),
	}
	if got := folded(15); !reflect.DeepEqual(got, want) {
		t.Errorf("after 15: got  %+v\nwant %+v", got, want)
	}
	for n, status := range map[int]events.Status{
		1: events.StatusRegistered, 16: events.StatusSuspended, 17: events.StatusActive, 18: events.StatusDeactivated, 19: events.StatusActive, 20: events.StatusDeactivated,
	} {
		if got := folded(n).Status; got != status {
			t.Errorf("after %d: got %s, want %s", n, got, status)
		}
	}
	if got := folded(22); got.Products != nil || got.Config != nil {
		t.Errorf("after 22: got products %v, config %v, want none", got.Products, got.Config)
	}
	want = events.Tenant{
		ID: want.ID, Version: 23, Position: 230, Name: "B", Status: events.StatusPurged, HomeRegion: "us-east",
		CreatedAt: at, UpdatedAt: at.Add(22 * time.Second),
	}
	if got := folded(23); !reflect.DeepEqual(got, want) || !got.Exists() {
		t.Errorf("purged: got  %+v\nwant %+v", got, want)
	}
}

func TestDatabase_HoldsWhatItsHistorySays(t *testing.T) {
	at := time.Date(2026, 11, 21, 2, 14, 0, 0, time.UTC)
	first, second := events.Endpoint{Host: "a", Port: 1, SecretRef: "env://A"}, events.Endpoint{Host: "b", Port: 2, SecretRef: "env://B"}
	stream := history(t, "db_a", at,
		events.DatabaseRegistered{Engine: "postgres", Region: "eu-west", Endpoint: first, Capacity: 7},
		events.DatabaseEndpointChanged{Endpoint: second}, events.DatabaseDraining{}, events.DatabaseRetired{})
	want := events.Database{
		ID: must(events.ParseDatabaseID("db_a")), Version: 1, Position: 10, Status: events.DatabaseActive, Engine: "postgres", Region: "eu-west",
		Endpoint: first, EndpointPosition: 10, Capacity: 7, CreatedAt: at, UpdatedAt: at,
	}
	var d events.Database
	for i, e := range stream {
		var err error
		if d, err = d.Apply(e); err != nil {
			t.Fatal(err)
		}
		want.Version, want.Position, want.UpdatedAt = e.Version, e.Position, e.Time
		switch i {
		case 1:
			want.Endpoint, want.EndpointPosition = second, 20
		case 2:
			want.Status = events.DatabaseIsDraining
		case 3:
			want.Status = events.DatabaseIsRetired
		}
		if d != want {
			t.Errorf("after %d: got %+v, want %+v", i+1, d, want)
		}
	}
}

func TestGroup_HoldsWhatItsHistorySays(t *testing.T) {
	at := time.Date(2026, 11, 21, 2, 14, 0, 0, time.UTC)
	stream := history(t, "grp_a", at, events.GroupCreated{Name: "A", Ring: 1}, events.GroupChanged{Name: "B", Ring: 2}, events.GroupRetired{})
	want := events.Group{
		ID: must(events.ParseGroupID("grp_a")), Version: 3, Position: 30, Status: events.GroupIsRetired, Name: "B", Ring: 2,
		CreatedAt: at, UpdatedAt: at.Add(2 * time.Second),
	}
	if got, err := events.FoldGroup(events.Group{}, stream); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestEpoch_IsRaisedByEveryChangeOfThePlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := eventstest.Log(80).Draw(t, "log")
		tenants, databases := make(map[events.StreamID]events.Tenant), make(map[events.StreamID]events.Database)
		epochs := make(map[events.StreamID]uint64)
		for _, e := range log {
			switch e.Stream.Kind() {
			case events.KindTenant:
				tenants[e.Stream] = must(tenants[e.Stream].Apply(e))
			case events.KindDatabase:
				databases[e.Stream] = must(databases[e.Stream].Apply(e))
			}
			for id, tenant := range tenants {
				if tenant.Database.ID.IsZero() {
					continue
				}
				database := databases[tenant.Database.ID.Stream()]
				epoch := max(tenant.Database.Position, database.EndpointPosition)
				moved := e.Type == events.TypeDatabaseAssigned && e.Stream == id ||
					e.Type == events.TypeDatabaseEndpointChanged && e.Stream == database.ID.Stream()
				if moved && epoch <= epochs[id] || !moved && epoch != epochs[id] && epochs[id] != 0 {
					t.Fatalf("%s at %d: the epoch of %s goes from %d to %d, moved: %t", e.Type, e.Position, id, epochs[id], epoch, moved)
				}
				epochs[id] = epoch
			}
		}
	})
}

// A tenant's maps may be changed only by who has made all of them.
func TestTenant_ApplyOwn_FoldsAsApplyDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for id, stream := range eventstest.Streams(eventstest.Log(100).Draw(t, "log")) {
			if id.Kind() != events.KindTenant {
				continue
			}
			var shared, own events.Tenant
			for _, e := range stream {
				var err error
				if shared, err = shared.Apply(e); err != nil {
					t.Fatal(err)
				}
				before := own.Hostnames
				kept := slices.Clone(before)
				if own, err = own.ApplyOwn(e); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(before, kept) {
					t.Fatalf("%s at version %d changed the hostnames before from %v to %v", e.Stream, e.Version, kept, before)
				}
				if !reflect.DeepEqual(shared, own) {
					t.Fatalf("%s at version %d: got %+v, want %+v", e.Stream, e.Version, own, shared)
				}
			}
		}
	})
}
