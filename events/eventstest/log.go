package eventstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
)

// KindOf is the kind of stream that events of a type stand in.
func KindOf(t events.Type) events.Kind {
	parts := strings.Split(string(t), ".")
	return events.Kind(parts[1])
}

// Log makes whole logs of up to most events, from position 1: a few tenants, databases and groups
// that refer to one another, contend for few hostnames, and live through all that can happen.
func Log(most int) *rapid.Generator[[]events.Event] {
	return rapid.Custom(func(t *rapid.T) []events.Event {
		w := &world{
			time:      time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC),
			tenants:   make(map[string]events.Tenant),
			databases: make(map[string]events.Database),
			groups:    make(map[string]events.Group),
			holder:    make(map[events.Hostname]string),
		}
		for steps := rapid.IntRange(1, most).Draw(t, "steps"); steps > 0 && len(w.log) < most; steps-- {
			w.step(t)
		}
		return w.log[:min(len(w.log), most)]
	})
}

// Streams are a log's events by stream.
func Streams(log []events.Event) map[events.StreamID][]events.Event {
	streams := make(map[events.StreamID][]events.Event)
	for _, e := range log {
		streams[e.Stream] = append(streams[e.Stream], e)
	}
	return streams
}

// world is the state that a log has made so far. Its maps are by ID, so that what is drawn from
// their sorted keys is the same in each run.
type world struct {
	log       []events.Event
	time      time.Time
	tenants   map[string]events.Tenant
	databases map[string]events.Database
	groups    map[string]events.Group
	holder    map[events.Hostname]string // which tenant has it
}

// The aggregates of a world; few, so that things happen to each.
var (
	worldTenants   = []string{"ten_a", "ten_b", "ten_c"}
	worldDatabases = []string{"db_a", "db_b"}
	worldGroups    = []string{"grp_a", "grp_b"}
	worldHostnames = []string{"a.example", "b.example", "c.example", "d.example"}
)

func (w *world) step(t *rapid.T) {
	switch rapid.SampledFrom([]string{"tenant", "tenant", "tenant", "tenant", "database", "group"}).Draw(t, "kind") {
	case "database":
		w.stepDatabase(t, must(events.ParseDatabaseID(rapid.SampledFrom(worldDatabases).Draw(t, "database"))))
	case "group":
		w.stepGroup(t, must(events.ParseGroupID(rapid.SampledFrom(worldGroups).Draw(t, "group"))))
	default:
		w.stepTenant(t, must(events.ParseTenantID(rapid.SampledFrom(worldTenants).Draw(t, "tenant"))))
	}
}

// record appends an event, and folds it.
func (w *world) record(t *rapid.T, stream events.StreamID, version uint64, p events.Payload) {
	w.time = w.time.Add(time.Duration(rapid.IntRange(0, 2_000_000).Draw(t, "µs later")) * time.Microsecond)
	e := must(events.New(stream, version, events.Metadata{Time: w.time, IdempotencyKey: fmt.Sprint(len(w.log))}, p))[0]
	e.Position = uint64(len(w.log)) + 1
	w.log = append(w.log, e)
	switch id := stream.String(); stream.Kind() {
	case events.KindTenant:
		w.tenants[id] = must(w.tenants[id].Apply(e))
	case events.KindDatabase:
		w.databases[id] = must(w.databases[id].Apply(e))
	case events.KindGroup:
		w.groups[id] = must(w.groups[id].Apply(e))
	}
}

func (w *world) stepDatabase(t *rapid.T, id events.DatabaseID) {
	d := w.databases[id.String()]
	referred := slices.ContainsFunc(slices.Collect(maps.Values(w.tenants)), func(t events.Tenant) bool { return t.Database.ID == id })
	var may []events.Payload
	switch {
	case !d.Exists():
		may = append(may, events.DatabaseRegistered{Engine: "postgres", Region: "eu-west", Endpoint: Endpoint().Draw(t, "endpoint")})
	case d.Status != events.DatabaseIsRetired:
		may = append(may, events.DatabaseEndpointChanged{Endpoint: Endpoint().Draw(t, "endpoint")})
		if d.Status == events.DatabaseActive {
			may = append(may, events.DatabaseDraining{})
		}
		if !referred {
			may = append(may, events.DatabaseRetired{})
		}
	}
	if len(may) > 0 {
		w.record(t, id.Stream(), d.Version, rapid.SampledFrom(may).Draw(t, "event of a database"))
	}
}

func (w *world) stepGroup(t *rapid.T, id events.GroupID) {
	g := w.groups[id.String()]
	referred := slices.ContainsFunc(slices.Collect(maps.Values(w.tenants)), func(t events.Tenant) bool { return t.Group == id })
	var may []events.Payload
	switch {
	case !g.Exists():
		may = append(may, events.GroupCreated{Name: Name().Draw(t, "name"), Ring: Ring().Draw(t, "ring")})
	case g.Status != events.GroupIsRetired:
		may = append(may, events.GroupChanged{Name: Name().Draw(t, "name"), Ring: Ring().Draw(t, "ring")})
		if !referred {
			may = append(may, events.GroupRetired{})
		}
	}
	if len(may) > 0 {
		w.record(t, id.Stream(), g.Version, rapid.SampledFrom(may).Draw(t, "event of a group"))
	}
}

func (w *world) stepTenant(t *rapid.T, id events.TenantID) {
	tenant := w.tenants[id.String()]
	may := w.tenantMay(t, tenant)
	if len(may) == 0 {
		return
	}
	for _, p := range rapid.SampledFrom(may).Draw(t, "events of a tenant") {
		w.claim(id, p)
		w.record(t, id.Stream(), w.tenants[id.String()].Version, p)
	}
}

// claim keeps the hostnames' holders.
func (w *world) claim(id events.TenantID, p events.Payload) {
	switch p := p.(type) {
	case events.HostnameAttached:
		w.holder[p.Hostname] = id.String()
	case events.HostnameDetached:
		delete(w.holder, p.Hostname)
	case events.TenantPurged:
		maps.DeleteFunc(w.holder, func(_ events.Hostname, holder string) bool { return holder == id.String() })
	}
}

// tenantMay are the batches of events that can happen to a tenant next.
func (w *world) tenantMay(t *rapid.T, tenant events.Tenant) [][]events.Payload {
	var may [][]events.Payload
	one := func(p events.Payload) { may = append(may, []events.Payload{p}) }
	group := func() events.GroupID {
		var active []events.GroupID
		for _, id := range slices.Sorted(maps.Keys(w.groups)) {
			if g := w.groups[id]; g.Status == events.GroupActive {
				active = append(active, g.ID)
			}
		}
		return rapid.SampledFrom(append(active, events.GroupID{})).Draw(t, "group")
	}
	if !tenant.Exists() {
		one(events.TenantRegistered{Name: Name().Draw(t, "name"), HomeRegion: Region().Draw(t, "home region"), Group: group()})
		return may
	}
	switch tenant.Status {
	case events.StatusPurged:
		return nil
	case events.StatusRegistered:
		one(events.TenantActivated{})
		one(events.TenantDeactivated{})
	case events.StatusActive:
		one(events.TenantSuspended{})
		one(events.TenantDeactivated{})
	case events.StatusSuspended:
		one(events.TenantResumed{})
		one(events.TenantDeactivated{})
	case events.StatusDeactivated:
		one(events.TenantRestored{})
		one(events.TenantPurged{})
	}
	one(events.TenantRenamed{Name: Name().Draw(t, "name")})
	one(events.HomeRegionChanged{HomeRegion: Region().Draw(t, "home region")})
	one(events.TenantGroupChanged{Group: group()})
	for _, id := range slices.Sorted(maps.Keys(w.databases)) {
		if d := w.databases[id]; d.Status == events.DatabaseActive {
			one(events.DatabaseAssigned{Database: d.ID, Name: "tenant"})
		}
	}
	may = append(may, w.hostnamesMay(tenant)...)

	product, key := ProductName().Draw(t, "product"), ConfigKey().Draw(t, "key")
	if _, has := tenant.Products[product]; has {
		one(events.ProductChanged{Name: product, Product: Product().Draw(t, "settings")})
		one(events.ProductDeactivated{Name: product})
	} else {
		one(events.ProductActivated{Name: product, Product: Product().Draw(t, "settings")})
	}
	one(events.ConfigSet{Key: key, Value: Value().Draw(t, "value")})
	if _, has := tenant.Config[key]; has {
		one(events.ConfigUnset{Key: key})
	}
	return may
}

// hostnamesMay are the batches that concern hostnames.
func (w *world) hostnamesMay(tenant events.Tenant) [][]events.Payload {
	var may [][]events.Payload
	for _, name := range worldHostnames {
		h := must(events.ParseHostname(name))
		switch holder, held := w.holder[h]; {
		case !held:
			may = append(may, []events.Payload{events.HostnameAttached{Hostname: h}})
		case holder != tenant.ID.String():
		case h != tenant.Primary:
			may = append(may,
				[]events.Payload{events.PrimaryHostnameChanged{Hostname: h}},
				[]events.Payload{events.HostnameDetached{Hostname: h}})
		case len(tenant.Hostnames) == 1:
			may = append(may, []events.Payload{events.HostnameDetached{Hostname: h}})
		default: // the oldest that remains becomes the primary one
			next := tenant.Hostnames[0]
			if next == h {
				next = tenant.Hostnames[1]
			}
			may = append(may, []events.Payload{events.PrimaryHostnameChanged{Hostname: next}, events.HostnameDetached{Hostname: h}})
		}
	}
	return may
}
