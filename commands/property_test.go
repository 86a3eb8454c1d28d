package commands

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/schemas/schematest"
)

// small is a catalogue that is small enough for random commands to collide in it: a few
// tenants, databases, groups and hostnames, which no other small has.
type small struct {
	tenants   []events.TenantID
	databases []events.DatabaseID
	groups    []events.GroupID
	hostnames []events.Hostname
}

func newSmall(n int) small {
	var w small
	for i := range 4 {
		w.tenants = append(w.tenants, ten(fmt.Sprintf("w%d-%d", n, i)))
		w.hostnames = append(w.hostnames, host(fmt.Sprintf("h%d.w%d.example", i, n)))
	}
	for i := range 2 {
		w.databases = append(w.databases, db(fmt.Sprintf("w%d-%d", n, i)))
		w.groups = append(w.groups, grp(fmt.Sprintf("w%d-%d", n, i)))
	}
	return w
}

func (w small) streams() []events.StreamID {
	var out []events.StreamID
	for _, id := range w.databases {
		out = append(out, id.Stream())
	}
	for _, id := range w.groups {
		out = append(out, id.Stream())
	}
	for _, id := range w.tenants {
		out = append(out, id.Stream())
	}
	return out
}

func (w small) founder() *rapid.Generator[Command] {
	return rapid.Custom(func(t *rapid.T) Command {
		switch rapid.IntRange(0, 3).Draw(t, "founds") {
		case 0:
			return database(rapid.SampledFrom(w.databases).Draw(t, "database"), rapid.IntRange(0, 2).Draw(t, "capacity"))
		case 1:
			return CreateGroup{ID: rapid.SampledFrom(w.groups).Draw(t, "group"), Name: "G"}
		}
		c := RegisterTenant{
			ID: rapid.SampledFrom(w.tenants).Draw(t, "tenant"), Name: "T",
			HomeRegion: rapid.SampledFrom([]string{"eu-west", "us-east", "mars-1"}).Draw(t, "region"),
			Hostnames:  rapid.SliceOfNDistinct(rapid.SampledFrom(w.hostnames), 0, 3, rapid.ID).Draw(t, "hostnames"),
			Status: rapid.SampledFrom([]events.Status{
				"", events.StatusRegistered, events.StatusActive, events.StatusSuspended, events.StatusDeactivated,
			}).Draw(t, "status"),
		}
		if len(c.Hostnames) > 0 && rapid.Bool().Draw(t, "has primary") {
			c.Primary = rapid.SampledFrom(c.Hostnames).Draw(t, "primary")
		}
		if rapid.Bool().Draw(t, "has database") {
			c.Database = rapid.SampledFrom(w.databases).Draw(t, "database")
		}
		if rapid.Bool().Draw(t, "has group") {
			c.Group = rapid.SampledFrom(w.groups).Draw(t, "group")
		}
		if rapid.Bool().Draw(t, "has product") {
			c.Products = map[string]events.Product{"jira": aProduct().Draw(t, "product")}
		}
		if rapid.Bool().Draw(t, "has config") {
			c.Config = map[string]jsontext.Value{"k": aValue().Draw(t, "value")}
		}
		return c
	})
}

func aProduct() *rapid.Generator[events.Product] {
	return rapid.Custom(func(t *rapid.T) events.Product {
		p := events.Product{Plan: rapid.SampledFrom([]string{"free", "pro"}).Draw(t, "plan")}
		if rapid.Bool().Draw(t, "counted") {
			p.Seats = new(rapid.Int64Range(0, 2).Draw(t, "seats"))
		}
		if rapid.Bool().Draw(t, "trial") {
			p.TrialUntil = new(began.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "until"))))
		}
		return p
	})
}

func aValue() *rapid.Generator[jsontext.Value] {
	return rapid.Custom(func(t *rapid.T) jsontext.Value {
		return raw(rapid.SampledFrom([]string{`1`, `null`, `"a"`, `{"b":[1,2],"a":{}}`, ` {"a": {}, "b": [1, 2] }`, `18446744073709551616`}).Draw(t, "json"))
	})
}

// command is any command at all.
func (w small) command() *rapid.Generator[Command] {
	return rapid.Custom(func(t *rapid.T) Command {
		id := rapid.SampledFrom(w.tenants).Draw(t, "tenant")
		hostname := rapid.SampledFrom(w.hostnames).Draw(t, "hostname")
		one := rapid.SampledFrom(w.databases).Draw(t, "database")
		group := rapid.SampledFrom(w.groups).Draw(t, "group")
		switch rapid.IntRange(0, 22).Draw(t, "command") {
		case 0:
			return ActivateTenant{id}
		case 1:
			return SuspendTenant{id}
		case 2:
			return ResumeTenant{id}
		case 3:
			return DeactivateTenant{id}
		case 4:
			return RestoreTenant{id}
		case 5:
			return PurgeTenant{id}
		case 6:
			return ChangeTenant{ID: id, Name: new(rapid.SampledFrom([]string{"T", "U"}).Draw(t, "name")), Group: &group}
		case 7:
			return ChangeTenant{ID: id, HomeRegion: new(rapid.SampledFrom(regions).Draw(t, "region")), Group: &events.GroupID{}}
		case 8, 9:
			return AttachHostname{id, hostname, rapid.Bool().Draw(t, "primary")}
		case 10:
			return DetachHostname{id, hostname}
		case 11:
			return SetPrimaryHostname{id, hostname}
		case 12:
			return SetProduct{id, rapid.SampledFrom([]string{"jira", "wiki"}).Draw(t, "name"), aProduct().Draw(t, "product")}
		case 13:
			return DeactivateProduct{id, rapid.SampledFrom([]string{"jira", "wiki"}).Draw(t, "name")}
		case 14, 15:
			return AssignDatabase{id, one, rapid.SampledFrom([]string{"", "main"}).Draw(t, "name")}
		case 16:
			return SetConfig{id, rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key"), aValue().Draw(t, "value")}
		case 17:
			return UnsetConfig{id, "k"}
		case 18:
			return ChangeEndpoint{ID: one, Port: new(rapid.IntRange(1, 3).Draw(t, "port"))}
		case 19:
			return DrainDatabase{one}
		case 20:
			return RetireDatabase{one}
		case 21:
			return ChangeGroup{ID: group, Ring: new(rapid.IntRange(0, 2).Draw(t, "ring"))}
		default:
			return RetireGroup{group}
		}
	})
}

func TestHandler_AfterAnyCommands_StreamsFoldAndClaimsAreTheUnionOfTheFolds(t *testing.T) {
	s := newSystem(t)
	worlds := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newSmall(worlds)
		worlds++
		commands := rapid.SliceOfN(rapid.OneOf(w.founder(), w.command(), w.command()), 5, 40).Draw(t, "commands")
		for i, c := range commands {
			// Most go through Do; some founders are a line of an import, some a dry run before.
			_, founds := c.(founder)
			switch {
			case founds && i%3 == 0:
				for _, r := range s.ImportAll(t.Context(), events.Metadata{}, []Command{c, c}) {
					if r.Status == ImportFailed {
						t.Fatalf("import %#v: %v", c, r.Err)
					}
				}
			default:
				w.checkDo(t, s, c)
			}
		}
		folded := w.checkFolds(t, s)
		w.checkStore(t, s, folded)
		w.checkRoundTrip(t, s, folded)
	})
}

// checkDo carries a command out, and compares the answer, and a dry run's, with what happened.
func (w small) checkDo(t *rapid.T, s *system, c Command) {
	before, err := s.store.Load(t.Context(), c.Target(), 0)
	if err != nil {
		t.Fatal(err)
	}
	dry, dryErr := s.Do(t.Context(), Request{Command: c, DryRun: true})
	a, err := s.Do(t.Context(), Request{Command: c})
	if err != nil && CodeOf(err) == "" {
		t.Fatalf("%#v: %v", c, err)
	}
	after, loadErr := s.store.Load(t.Context(), c.Target(), 0)
	if loadErr != nil {
		t.Fatal(loadErr)
	}
	happened := after[len(before):]
	if CodeOf(err) != CodeOf(dryErr) || len(a.Events) != len(dry.Events) || a.Version != dry.Version || a.Unchanged != dry.Unchanged {
		t.Fatalf("%#v: got %+v, %v, and of the dry run %+v, %v", c, a, err, dry, dryErr)
	}
	if err != nil {
		if len(happened) > 0 {
			t.Fatalf("%#v was refused (%v), and appended %d events", c, err, len(happened))
		}
		return
	}
	if len(a.Events) != len(happened) || a.Unchanged != (len(happened) == 0) || a.Version != uint64(len(after)) {
		t.Fatalf("%#v: answered %+v, and %d events happened", c, a, len(happened))
	}
	for i, e := range happened {
		if want := (events.Appended{Type: e.Type, Version: e.Version, Position: e.Position}); a.Events[i] != want {
			t.Fatalf("%#v: answered %+v, want %+v", c, a.Events[i], want)
		}
	}
	again, err := s.Do(t.Context(), Request{Command: c})
	if _, founds := c.(founder); !founds && err == nil && !again.Unchanged {
		t.Fatalf("%#v, sent again, changes something again: %+v", c, again)
	}
}

// checkFolds folds every stream, whole and in two parts.
func (w small) checkFolds(t *rapid.T, s *system) map[events.StreamID]state {
	folded := map[events.StreamID]state{}
	for _, id := range w.streams() {
		stream, err := s.store.Load(t.Context(), id, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range stream {
			line, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			schematest.Event(s.t, line)
		}
		whole, err := state{id: id}.apply(stream)
		if err != nil {
			t.Fatal(err)
		}
		for cut := range stream {
			first, err := state{id: id}.apply(stream[:cut])
			if err != nil {
				t.Fatal(err)
			}
			if both, err := first.apply(stream[cut:]); err != nil || !reflect.DeepEqual(both, whole) {
				t.Fatalf("%s folded in two at %d is %+v (%v), and at once %+v", id, cut, both, err, whole)
			}
		}
		if whole.version() != uint64(len(stream)) {
			t.Fatalf("%s has %d events and version %d", id, len(stream), whole.version())
		}
		folded[id] = whole
	}
	return folded
}

// checkStore compares what the store holds for claims and references with the folds: a
// probe asks for each hostname, and References counts.
func (w small) checkStore(t *rapid.T, s *system, folded map[events.StreamID]state) {
	holders := map[events.Hostname]events.StreamID{}
	referrers := map[events.StreamID]int{}
	for id, f := range folded {
		for _, h := range f.tenant.Hostnames {
			if other, held := holders[h]; held {
				t.Fatalf("%s is in the folds of %s and %s", h, other, id)
			}
			holders[h] = id
		}
		for to := range referencesOf(f.tenant) {
			referrers[to]++
		}
		if p := f.tenant.Primary; p.IsZero() != (len(f.tenant.Hostnames) == 0) || !p.IsZero() && !slices.Contains(f.tenant.Hostnames, p) {
			t.Fatalf("%s has the primary hostname %q of %v", id, p, f.tenant.Hostnames)
		}
	}
	for _, h := range w.hostnames {
		_, err := s.Do(t.Context(), Request{Command: RegisterTenant{ID: events.NewTenantID(), Name: "Probe", HomeRegion: "eu-west", Hostnames: []events.Hostname{h}}, DryRun: true})
		if holder := holderIn(err); holder != holders[h] {
			t.Fatalf("the store says that %s is held by %q, and the folds %q", h, holder, holders[h])
		}
	}
	for id, f := range folded {
		n, err := s.store.References(t.Context(), id)
		if err != nil || n != referrers[id] {
			t.Fatalf("the store says that %s has %d references (%v), and the folds %d", id, n, err, referrers[id])
		}
		if d := f.database; f.over() && id.Kind() != events.KindTenant && n > 0 || d.Capacity > 0 && n > d.Capacity {
			t.Fatalf("%s is %s, takes %d, and has %d tenants", id, f.status(), d.Capacity, n)
		}
	}
}

func holderIn(err error) events.StreamID {
	if r, ok := err.(*Refusal); ok { //nolint:errorlint // Do returns it as it is
		return r.Holder
	}
	return events.StreamID{}
}

// checkRoundTrip imports what is there, as an export has it: all is unchanged.
func (w small) checkRoundTrip(t *rapid.T, s *system, folded map[events.StreamID]state) {
	var lines []Command
	for _, id := range w.tenants {
		if f := folded[id.Stream()]; f.version() > 0 && !f.over() {
			lines = append(lines, lineOf(f.tenant))
		}
	}
	for _, r := range s.ImportAll(t.Context(), events.Metadata{}, lines) {
		if r.Status != ImportUnchanged {
			t.Fatalf("the line of %s is %s: %v", r.ID, r.Status, r.Err)
		}
	}
}

// What an export writes, an empty catalogue takes, and is then the same.
func TestImport_OfWhatAnotherCatalogueHas_MakesTheSameCatalogue(t *testing.T) {
	from, to := newSystem(t), newSystem(t)
	worlds := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newSmall(worlds)
		worlds++
		for _, c := range rapid.SliceOfN(rapid.OneOf(w.founder(), w.command()), 5, 30).Draw(t, "commands") {
			if _, err := from.Do(t.Context(), Request{Command: c}); err != nil && CodeOf(err) == "" {
				t.Fatal(err)
			}
		}
		var lines []Command
		for _, id := range w.streams() {
			s, err := from.folds.load(t.Context(), id)
			switch {
			case err != nil:
				t.Fatal(err)
			case s.version() == 0 || s.over():
			case id.Kind() == events.KindDatabase:
				d := s.database
				lines = append(lines, RegisterDatabase{ID: d.ID, Engine: d.Engine, Region: d.Region, Endpoint: d.Endpoint, Capacity: d.Capacity, Status: d.Status})
			case id.Kind() == events.KindGroup:
				lines = append(lines, CreateGroup{ID: s.group.ID, Name: s.group.Name, Ring: &s.group.Ring})
			default:
				line := lineOf(s.tenant)
				line.OnDraining = true
				lines = append(lines, line)
			}
		}
		for _, r := range to.ImportAll(t.Context(), events.Metadata{}, lines) {
			if r.Status != ImportCreated {
				t.Fatalf("the line of %s is %s: %v", r.ID, r.Status, r.Err)
			}
		}
		for _, line := range lines {
			if got, want := content(t.Context(), t, to, line.Target()), content(t.Context(), t, from, line.Target()); !reflect.DeepEqual(got, want) {
				t.Fatalf("got\n%+v\nwant\n%+v", got, want)
			}
		}
	})
}

// content is a stream's fold without what two catalogues cannot have in common.
func content(ctx context.Context, t *rapid.T, s *system, id events.StreamID) any {
	f, err := s.folds.load(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	switch id.Kind() {
	case events.KindDatabase:
		d := f.database
		return []any{d.Engine, d.Region, d.Endpoint, d.Capacity, d.Status}
	case events.KindGroup:
		return []any{f.group.Name, f.group.Ring}
	}
	line := lineOf(f.tenant)
	line.Hostnames = append([]events.Hostname{}, line.Hostnames...) // nil or empty is no difference
	for key, v := range line.Config {
		line.Config[key] = must(orderedJSON(v))
	}
	return line
}
