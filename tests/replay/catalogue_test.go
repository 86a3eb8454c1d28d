package replay

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/tests/truth"
)

// catalogue is a store with a past: tenants that came and went, hostnames that moved between them,
// databases that failed over.
type catalogue struct {
	t        *testing.T
	store    *embedded.Store
	versions map[events.StreamID]uint64
	log      []events.Event
}

func newCatalogue(t *testing.T) *catalogue {
	t.Helper()
	store, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &catalogue{t: t, store: store, versions: make(map[events.StreamID]uint64)}
}

// batch is one command's outcome on a stream.
func (c *catalogue) batch(stream string, take, release []events.Hostname, payloads ...events.Payload) events.Batch {
	c.t.Helper()
	id, err := events.ParseStreamID(stream)
	if err != nil {
		c.t.Fatal(err)
	}
	version := c.versions[id]
	made, err := events.New(id, version, events.Metadata{Time: time.Unix(1_800_000_000, 0).UTC()}, payloads...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.versions[id] += uint64(len(made))
	return events.Batch{Stream: id, Expected: version, Events: made, Take: take, Release: release}
}

func (c *catalogue) append(batches ...events.Batch) {
	c.t.Helper()
	for _, r := range c.store.AppendAll(c.t.Context(), batches) {
		if r.Err != nil {
			c.t.Fatal(r.Err)
		}
	}
}

func host(i, j int) events.Hostname {
	h, err := events.ParseHostname(fmt.Sprintf("h%d.t%d.example", j, i))
	if err != nil {
		panic(err)
	}
	return h
}

const (
	catalogueTenants   = 200
	catalogueDatabases = 6
	catalogueGroups    = 4
)

// live fills the store with a life that the seed decides.
func (c *catalogue) live(seed uint64) {
	c.t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	var first []events.Batch
	endpoint := func(i, n int) events.Endpoint {
		return events.Endpoint{Host: fmt.Sprintf("db%d-%d.internal", i, n), Port: 5432, SecretRef: fmt.Sprintf("vault://db%d", i)}
	}
	for i := range catalogueDatabases {
		first = append(first, c.batch(fmt.Sprintf("db_d%d", i), nil, nil,
			events.DatabaseRegistered{Engine: "postgres", Region: "eu-west", Endpoint: endpoint(i, 0)}))
	}
	for i := range catalogueGroups {
		first = append(first, c.batch(fmt.Sprintf("grp_g%d", i), nil, nil, events.GroupCreated{Name: fmt.Sprintf("G%d", i), Ring: i}))
	}
	c.append(first...)

	held := make([][]events.Hostname, catalogueTenants)
	id := func(i int) string { return fmt.Sprintf("ten_t%03d", i) }
	for i := range held {
		made := []events.Payload{events.TenantRegistered{Name: fmt.Sprintf("Tenant %d", i), HomeRegion: "eu-west"}}
		for j := range 1 + r.IntN(3) {
			held[i] = append(held[i], host(i, j))
			made = append(made, events.HostnameAttached{Hostname: host(i, j)})
		}
		if r.IntN(4) > 0 {
			made = append(made, events.DatabaseAssigned{Database: databaseID(r.IntN(catalogueDatabases)), Name: "main"})
		}
		if r.IntN(4) > 0 {
			made = append(made, events.TenantGroupChanged{Group: groupID(r.IntN(catalogueGroups))})
		}
		c.append(c.batch(id(i), held[i], nil, append(made, events.TenantActivated{})...))
	}
	gone := make(map[int]bool)
	for n := range 600 {
		i := r.IntN(catalogueTenants)
		if gone[i] {
			continue
		}
		switch r.IntN(10) {
		case 0, 1: // a hostname goes to somebody else
			to := r.IntN(catalogueTenants)
			if len(held[i]) == 0 || to == i || gone[to] {
				continue
			}
			h := held[i][r.IntN(len(held[i]))]
			held[i] = slices.DeleteFunc(held[i], func(o events.Hostname) bool { return o == h })
			held[to] = append(held[to], h)
			c.append(c.batch(id(i), nil, []events.Hostname{h}, events.HostnameDetached{Hostname: h}),
				c.batch(id(to), []events.Hostname{h}, nil, events.HostnameAttached{Hostname: h}))
		case 2: // or to nobody
			if len(held[i]) == 0 {
				continue
			}
			h := held[i][0]
			held[i] = held[i][1:]
			c.append(c.batch(id(i), nil, []events.Hostname{h}, events.HostnameDetached{Hostname: h}))
		case 3:
			d := r.IntN(catalogueDatabases)
			c.append(c.batch(fmt.Sprintf("db_d%d", d), nil, nil, events.DatabaseEndpointChanged{Endpoint: endpoint(d, n)}))
		case 4:
			if r.IntN(3) == 0 {
				c.append(c.batch(id(i), nil, held[i], events.TenantDeactivated{}, events.TenantPurged{}))
				held[i], gone[i] = nil, true
			}
		case 5:
			c.append(c.batch(id(i), nil, nil, events.DatabaseAssigned{Database: databaseID(r.IntN(catalogueDatabases)), Name: fmt.Sprintf("n%d", n)}))
		default:
			c.append(c.batch(id(i), nil, nil, events.ConfigSet{Key: fmt.Sprintf("k%d", r.IntN(3)), Value: jsontext.Value(fmt.Sprintf(`{"n":%d}`, n))}))
		}
	}
	log, err := c.store.After(c.t.Context(), 0, 1<<20)
	head, headErr := c.store.Head(c.t.Context())
	if err := errors.Join(err, headErr); err != nil {
		c.t.Fatal(err)
	}
	if uint64(len(log)) != head.Position || len(log) < 1000 || len(gone) < 5 {
		c.t.Fatalf("the life made %d events, of a head of %d, and %d tenants are gone: that is not what is to be tested", len(log), head.Position, len(gone))
	}
	c.log = log
}

func databaseID(i int) events.DatabaseID {
	id, err := events.ParseDatabaseID(fmt.Sprintf("db_d%d", i))
	if err != nil {
		panic(err)
	}
	return id
}

func groupID(i int) events.GroupID {
	id, err := events.ParseGroupID(fmt.Sprintf("grp_g%d", i))
	if err != nil {
		panic(err)
	}
	return id
}

// fold is the truth of the log.
func (c *catalogue) fold() *truth.Log {
	c.t.Helper()
	l, err := truth.Fold(c.log)
	if err != nil {
		c.t.Fatal(err)
	}
	return l
}
