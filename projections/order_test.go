package projections

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// histories are small logs in which streams depend on each other. Their streams are put into
// partitions of their own, so that every order of arrival is possible.
func histories(t *testing.T) map[string][]events.Event {
	app := events.HostnameAttached{Hostname: hostname(t, "app.example")}
	www := events.HostnameAttached{Hostname: hostname(t, "www.example")}
	registered := func(name string) events.TenantRegistered {
		return events.TenantRegistered{Name: name, HomeRegion: "eu-west"}
	}
	return map[string][]events.Event{
		"a hostname moves by detach": newHistory(t).
			add("ten_a", registered("A")).add("ten_b", registered("B")).add("ten_a", app).
			add("ten_a", events.HostnameDetached(app)).add("ten_b", app).add("ten_a", www).log,
		"a hostname moves by purge and comes back under a third": newHistory(t).
			add("ten_a", registered("A")).add("ten_a", app).add("ten_a", events.TenantDeactivated{}).add("ten_a", events.TenantPurged{}).
			add("ten_b", registered("B")).add("ten_b", app).add("ten_b", events.HostnameDetached(app)).
			add("ten_c", registered("C")).add("ten_c", app).log,
		"a hostname goes there and back": newHistory(t).
			add("ten_a", registered("A")).add("ten_a", app).add("ten_b", registered("B")).
			add("ten_a", events.HostnameDetached(app)).add("ten_b", app).add("ten_b", events.HostnameDetached(app)).add("ten_a", app).
			add("ten_a", events.HostnameDetached(app)).log,
		"a tenant before its database and group": newHistory(t).
			add("db_x", events.DatabaseRegistered{Engine: "postgres", Region: "eu-west", Endpoint: events.Endpoint{Host: "a", Port: 1, SecretRef: "vault://x"}}).
			add("grp_g", events.GroupCreated{Name: "G", Ring: 1}).
			add("ten_a", events.TenantRegistered{Name: "A", HomeRegion: "eu-west", Group: groupID(t, "grp_g")}).
			add("ten_a", events.DatabaseAssigned{Database: databaseID(t, "db_x"), Name: "a"}).
			add("db_x", events.DatabaseEndpointChanged{Endpoint: events.Endpoint{Host: "b", Port: 2, SecretRef: "vault://y"}}).
			add("grp_g", events.GroupChanged{Name: "G", Ring: 5}).
			add("ten_a", app).log,
		"a tenant changes databases while both fail over": newHistory(t).
			add("db_x", events.DatabaseRegistered{Engine: "postgres", Region: "eu-west", Endpoint: events.Endpoint{Host: "x1", Port: 1, SecretRef: "vault://x"}}).
			add("db_y", events.DatabaseRegistered{Engine: "mysql", Region: "us-east", Endpoint: events.Endpoint{Host: "y1", Port: 1, SecretRef: "vault://y"}}).
			add("ten_a", registered("A")).add("ten_a", app).
			add("ten_a", events.DatabaseAssigned{Database: databaseID(t, "db_x"), Name: "a"}).
			add("db_y", events.DatabaseEndpointChanged{Endpoint: events.Endpoint{Host: "y2", Port: 2, SecretRef: "vault://y"}}).
			add("ten_a", events.DatabaseAssigned{Database: databaseID(t, "db_y"), Name: "a"}).
			add("db_x", events.DatabaseEndpointChanged{Endpoint: events.Endpoint{Host: "x2", Port: 2, SecretRef: "vault://x"}}).log,
	}
}

// apart puts each stream into a partition of its own.
func apart(log []events.Event) (partitions int, place func(events.StreamID) int) {
	index := make(map[events.StreamID]int)
	for _, e := range log {
		if _, ok := index[e.Stream]; !ok {
			index[e.Stream] = len(index)
		}
	}
	return len(index), func(s events.StreamID) int { return index[s] }
}

// Promise 2: one tenant's events are folded in order, each once, in every region; and what
// tenants share ends right in whatever order partitions deliver.
func TestProjector_EveryInterleavingOfPartitions_EndsAsTheLogDoes(t *testing.T) {
	for name, log := range histories(t) {
		t.Run(name, func(t *testing.T) {
			partitions, place := apart(log)
			orders := 0
			interleavings(published([16]byte{}, log, partitions, place), func(order []record) {
				orders++
				if orders%17 != 1 && testing.Short() {
					return
				}
				n := newSharedNode(t, partitions, log, orders)
				claims := make(map[string]string)
				for i, r := range order {
					n.deliver(t, r)
					n.checkClaims(t, claims, order[:i+1])
				}
				n.checkEquals(t, order)
			})
			if orders < 2 {
				t.Fatalf("only %d order of arrival: the history proves nothing", orders)
			}
			t.Logf("%d orders of arrival", orders)
		})
	}
}

// sharedNode plays a history under names and positions of its own in a model that many
// histories share, since to open a model for each of thousands of orders would take minutes.
type sharedNode struct {
	*node
	log    []events.Event
	base   uint64
	rename func(string) string
	last   map[int]uint64
}

var shared struct {
	t        *testing.T
	nodes    map[int]*node
	position uint64
	last     map[int]map[int]uint64
}

func newSharedNode(t *testing.T, partitions int, log []events.Event, order int) *sharedNode {
	t.Helper()
	if shared.t != t {
		shared.t, shared.nodes, shared.position = t, make(map[int]*node), 0
		shared.last = make(map[int]map[int]uint64)
	}
	n, ok := shared.nodes[partitions]
	if !ok {
		n = newNode(t, partitions, nil)
		shared.nodes[partitions], shared.last[partitions] = n, make(map[int]uint64)
	}
	s := &sharedNode{node: n, base: shared.position, last: shared.last[partitions]}
	suffix := fmt.Sprintf("-%d", order)
	s.rename = func(id string) string { return id + suffix }
	shared.position += uint64(len(log))
	for _, e := range log {
		s.log = append(s.log, s.renamed(t, e, order))
	}
	return s
}

// renamed is the event under this play's names and positions.
func (s *sharedNode) renamed(t *testing.T, e events.Event, order int) events.Event {
	t.Helper()
	id, err := events.ParseStreamID(s.rename(e.Stream.String()))
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Payload()
	if err != nil {
		t.Fatal(err)
	}
	host := func(h events.Hostname) events.Hostname { return hostname(t, fmt.Sprintf("o%d.%s", order, h)) }
	switch v := p.(type) {
	case events.HostnameAttached:
		p = events.HostnameAttached{Hostname: host(v.Hostname)}
	case events.HostnameDetached:
		p = events.HostnameDetached{Hostname: host(v.Hostname)}
	case events.DatabaseAssigned:
		p = events.DatabaseAssigned{Database: databaseID(t, s.rename(v.Database.String())), Name: v.Name}
	case events.TenantRegistered:
		if !v.Group.IsZero() {
			v.Group = groupID(t, s.rename(v.Group.String()))
		}
		p = v
	}
	made, err := events.New(id, e.Version-1, events.Metadata{Time: e.Time}, p)
	if err != nil {
		t.Fatal(err)
	}
	made[0].Position = s.base + e.Position
	return made[0]
}

func (s *sharedNode) deliver(t *testing.T, r record) {
	t.Helper()
	r.Event = s.log[r.Event.Position-1]
	r.StoreID = s.source.id
	r.Previous = s.last[r.partition]
	s.last[r.partition] = r.Event.Position
	s.mustDeliver(r)
}

// checkClaims holds every hostname against the latest of the claims and releases that have
// arrived: so no order shows a holder that a later event, already here, has ended.
func (s *sharedNode) checkClaims(t *testing.T, holders map[string]string, arrived []record) {
	t.Helper()
	decided := make(map[string]uint64)
	clear(holders)
	tenants := make(map[events.StreamID]events.Tenant)
	for _, r := range arrived {
		e := s.log[r.Event.Position-1]
		id, ok := e.Stream.Tenant()
		if !ok {
			continue
		}
		before := tenants[e.Stream]
		after, err := before.Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		tenants[e.Stream] = after
		for h, gained := range difference(before.Hostnames, after.Hostnames) {
			if e.Position < decided[h] {
				continue
			}
			decided[h] = e.Position
			delete(holders, h)
			if gained {
				holders[h] = id.String()
			}
		}
	}
	for h := range decided {
		doc, err := s.model.Lookup(hostname(t, h))
		got := ""
		if err == nil {
			got = doc.Tenant.String()
		} else if !errors.Is(err, readmodel.ErrUnknown) {
			t.Fatal(err)
		}
		if got != holders[h] {
			t.Fatalf("after%s: %s is held by %q, want %q", describe(arrived), h, got, holders[h])
		}
	}
}

// difference is what was gained (true) and lost (false) from before to after.
func difference(before, after []events.Hostname) map[string]bool {
	out := make(map[string]bool)
	for _, h := range before {
		out[h.String()] = false
	}
	for _, h := range after {
		if _, had := out[h.String()]; had {
			delete(out, h.String())
			continue
		}
		out[h.String()] = true
	}
	return out
}

func (s *sharedNode) checkEquals(t *testing.T, order []record) {
	t.Helper()
	checkEquals(t, s.model, s.log)
	if t.Failed() {
		t.Fatalf("order of arrival:%s", describe(order))
	}
}

// Everything may be delivered again, in any order of the partitions, and changes nothing.
func TestProjector_DeliveredAgain_FoldsNothingTwice(t *testing.T) {
	for name, log := range histories(t) {
		t.Run(name, func(t *testing.T) {
			partitions, place := apart(log)
			n := newNode(t, partitions, log)
			byPartition := published(n.source.id, log, partitions, place)
			rng := rand.New(rand.NewPCG(1, 2))
			for range 5 {
				for _, p := range rng.Perm(partitions) {
					n.mustDeliver(byPartition[p]...)
				}
			}
			checkEquals(t, n.model, log)
			if got := int(n.model.Progress().Partitions[0].Offset); got != 5*len(byPartition[0]) {
				t.Errorf("offset: got %d, want %d, behind all that was delivered", got, 5*len(byPartition[0]))
			}
		})
	}
}
