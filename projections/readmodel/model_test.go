package readmodel_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *readmodel.Model {
	t.Helper()
	m, err := readmodel.Open(readmodel.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func begun(t *testing.T, partitions int) *readmodel.Model {
	t.Helper()
	m := open(t, t.TempDir())
	if err := m.Begin(uuid.New(), partitions); err != nil {
		t.Fatal(err)
	}
	return m
}

func update(t *testing.T, m *readmodel.Model, fn func(tx *readmodel.Tx) error) {
	t.Helper()
	if err := m.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func tenantID(t *testing.T, s string) events.TenantID {
	t.Helper()
	id, err := events.ParseTenantID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func host(t *testing.T, s string) events.Hostname {
	t.Helper()
	h, err := events.ParseHostname(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func acme(t *testing.T, position uint64, hostnames ...string) events.Tenant {
	tenant := events.Tenant{
		ID: tenantID(t, "ten_acme"), Version: position, Position: position, Name: "Acme <&> Ünïcode 東京",
		Status: events.StatusActive, HomeRegion: "eu-west",
	}
	for _, h := range hostnames {
		tenant.Hostnames = append(tenant.Hostnames, host(t, h))
	}
	if len(tenant.Hostnames) > 0 {
		tenant.Primary = tenant.Hostnames[0]
	}
	return tenant
}

func TestModel_DocumentIsTheTenantContextOfTheContract(t *testing.T) {
	m := begun(t, 1)
	seats := int64(25)
	db, err := events.ParseDatabaseID("db_main")
	if err != nil {
		t.Fatal(err)
	}
	grp, err := events.ParseGroupID("grp_early")
	if err != nil {
		t.Fatal(err)
	}
	tenant := acme(t, 7, "acme.example", "www.acme.example")
	tenant.Products = map[string]events.Product{"boards": {Plan: "premium", Seats: &seats}}
	tenant.Group = grp
	tenant.Database = events.Assignment{ID: db, Name: `acme "quoted"`, Position: 5}
	update(t, m, func(tx *readmodel.Tx) error { return tx.PutTenant(tenant) })

	doc, err := m.Lookup(host(t, "www.acme.example"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"hostname":"www.acme.example","tenant_id":"ten_acme","name":"Acme <&> Ünïcode 東京","status":"active",` +
		`"hostnames":["acme.example","www.acme.example"],"primary_hostname":"acme.example","home_region":"eu-west",` +
		`"products":{"boards":{"plan":"premium","seats":25}},"config":{},"version":7,` +
		`"group":{"id":"grp_early","pending":true},"database":{"id":"db_main","pending":true}}`
	if diff := cmp.Diff(want, string(doc.Body)); diff != "" {
		t.Errorf("with database and group not seen yet (-want +got):\n%s", diff)
	}

	update(t, m, func(tx *readmodel.Tx) error {
		tx.PutGroup(events.Group{ID: grp, Version: 1, Position: 8, Name: "Early", Ring: 1})
		tx.PutDatabase(events.Database{
			ID: db, Version: 1, Position: 9, EndpointPosition: 9, Engine: "postgres", Region: "eu-west",
			Endpoint: events.Endpoint{Host: "pg.internal", Port: 5432, SecretRef: "vault://a"},
		})
		return nil
	})
	whole, err := m.Lookup(host(t, "www.acme.example"))
	if err != nil {
		t.Fatal(err)
	}
	want = `{"hostname":"www.acme.example","tenant_id":"ten_acme","name":"Acme <&> Ünïcode 東京","status":"active",` +
		`"hostnames":["acme.example","www.acme.example"],"primary_hostname":"acme.example","home_region":"eu-west",` +
		`"products":{"boards":{"plan":"premium","seats":25}},"config":{},"version":7,` +
		`"group":{"id":"grp_early","ring":1},` +
		`"database":{"id":"db_main","engine":"postgres","host":"pg.internal","port":5432,"secret_ref":"vault://a","name":"acme \"quoted\"","epoch":9}}`
	if diff := cmp.Diff(want, string(whole.Body)); diff != "" {
		t.Errorf("with both (-want +got):\n%s", diff)
	}
	if whole.ETag == doc.ETag {
		t.Errorf("the document changed and its ETag %s did not", doc.ETag)
	}
	byID, err := m.Tenant(tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	primary, err := m.Lookup(host(t, "acme.example"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(byID.Body, primary.Body) {
		t.Errorf("by ID: %s\nby the primary hostname: %s", byID.Body, primary.Body)
	}
}

func TestModel_ReopenedAnswersTheSameAndKnowsHowFarItHadCome(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir)
	store := uuid.New()
	if err := m.Begin(store, 3); err != nil {
		t.Fatal(err)
	}
	mark := time.Date(2026, 11, 21, 1, 2, 3, 4000, time.UTC)
	update(t, m, func(tx *readmodel.Tx) error {
		p := tx.Progress()
		p.Complete = true
		p.Partitions[1] = readmodel.Partition{Offset: 12, LastEvent: 7, Position: 9, Watermark: mark}
		return tx.PutTenant(acme(t, 7, "acme.example"))
	})
	before := m.Progress()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	if diff := cmp.Diff(before, again.Progress()); diff != "" {
		t.Errorf("progress (-before +after):\n%s", diff)
	}
	if again.Progress().StoreID != store {
		t.Errorf("store: got %s, want %s", again.Progress().StoreID, store)
	}
	doc, err := again.Lookup(host(t, "acme.example"))
	if err != nil || doc.Version != 7 || doc.VersionText != "7" || doc.Tenant != tenantID(t, "ten_acme") {
		t.Errorf("look-up after reopening: %+v, %v", doc, err)
	}
	update(t, again, func(tx *readmodel.Tx) error {
		got, err := tx.Tenant(tenantID(t, "ten_acme"))
		if diff := cmp.Diff(acme(t, 7, "acme.example"), got, cmp.Comparer(func(a, b events.TenantID) bool { return a == b }),
			cmp.Comparer(func(a, b events.Hostname) bool { return a == b }), cmp.Comparer(func(a, b events.GroupID) bool { return a == b }),
			cmp.Comparer(func(a, b events.DatabaseID) bool { return a == b }), emptyIsNil()); diff != "" {
			t.Errorf("state that the next event folds into (-put +got):\n%s", diff)
		}
		return err
	})
}

func emptyIsNil() cmp.Option {
	return cmp.FilterPath(func(p cmp.Path) bool {
		s := p.Last().String()
		return s == ".Products" || s == ".Config"
	}, cmp.Comparer(func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }))
}

func TestModel_FailedUpdateChangesNothing(t *testing.T) {
	m := begun(t, 1)
	boom := errors.New("boom")
	before := m.Progress()
	err := m.Update(func(tx *readmodel.Tx) error {
		tx.Progress().Partitions[0].Offset = 99
		if err := tx.PutTenant(acme(t, 1, "acme.example")); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("got %v, want %v", err, boom)
	}
	if m.Progress() != before {
		t.Errorf("progress moved: %+v", m.Progress())
	}
	if _, err := m.Lookup(host(t, "acme.example")); !errors.Is(err, readmodel.ErrUnknown) {
		t.Errorf("look-up: got %v, want ErrUnknown", err)
	}
}

func TestModel_PurgedTenantIsUnknownByHostnameAndID(t *testing.T) {
	m := begun(t, 1)
	update(t, m, func(tx *readmodel.Tx) error { return tx.PutTenant(acme(t, 1, "acme.example")) })
	purged := acme(t, 2)
	purged.Status = events.StatusPurged
	update(t, m, func(tx *readmodel.Tx) error { return tx.PutTenant(purged) })
	if _, err := m.Lookup(host(t, "acme.example")); !errors.Is(err, readmodel.ErrUnknown) {
		t.Errorf("by hostname: got %v, want ErrUnknown", err)
	}
	if _, err := m.Tenant(purged.ID); !errors.Is(err, readmodel.ErrUnknown) {
		t.Errorf("by ID: got %v, want ErrUnknown", err)
	}
	update(t, m, func(tx *readmodel.Tx) error {
		got, err := tx.Tenant(purged.ID)
		if got.Version != 2 {
			t.Errorf("version of the purged tenant: got %d, want 2, so that its events are not folded again", got.Version)
		}
		return err
	})
}

// A hostname moves from one tenant to another, whose partition is ahead; then the other lets
// it go before the first one's events arrive. Nothing old may come back.
func TestModel_HostnameBelongsToItsLatestClaimWhateverComesLate(t *testing.T) {
	m := begun(t, 2)
	h := host(t, "moving.example")
	put := func(id string, position uint64, hostnames ...events.Hostname) {
		t.Helper()
		update(t, m, func(tx *readmodel.Tx) error {
			return tx.PutTenant(events.Tenant{ID: tenantID(t, id), Version: position, Position: position, Status: events.StatusActive, Hostnames: hostnames})
		})
	}
	holder := func() string {
		doc, err := m.Lookup(h)
		if errors.Is(err, readmodel.ErrUnknown) {
			return "nobody"
		}
		if err != nil {
			t.Fatal(err)
		}
		return doc.Tenant.String()
	}
	put("ten_b", 9, h)
	put("ten_a", 5, h)
	if got := holder(); got != "ten_b" {
		t.Errorf("after an older claim came late: got %s, want ten_b", got)
	}
	put("ten_b", 12)
	if got := holder(); got != "nobody" {
		t.Errorf("after the release: got %s, want nobody", got)
	}
	put("ten_c", 6, h)
	if got := holder(); got != "nobody" {
		t.Errorf("after an older claim came later than the release: got %s, want nobody", got)
	}
	put("ten_c", 8)
	put("ten_c", 15, h)
	if got := holder(); got != "ten_c" {
		t.Errorf("after a later claim: got %s, want ten_c", got)
	}
}

func TestModel_SweepForgetsReleasedHostnamesOnceEveryPartitionIsPastThem(t *testing.T) {
	m := begun(t, 2)
	update(t, m, func(tx *readmodel.Tx) error { return tx.PutTenant(acme(t, 1, "a.example", "b.example")) })
	update(t, m, func(tx *readmodel.Tx) error { return tx.PutTenant(acme(t, 2, "a.example")) })
	sweep := func() int {
		t.Helper()
		n, err := m.Sweep(10)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := sweep(); n != 0 {
		t.Errorf("swept %d while no partition is past the release", n)
	}
	update(t, m, func(tx *readmodel.Tx) error {
		tx.Progress().Partitions[0].Position, tx.Progress().Partitions[1].Position = 2, 5
		return nil
	})
	if n := sweep(); n != 1 {
		t.Errorf("swept %d, want 1", n)
	}
	if n := sweep(); n != 0 {
		t.Errorf("swept %d again, want 0", n)
	}
	if _, err := m.Lookup(host(t, "b.example")); !errors.Is(err, readmodel.ErrUnknown) {
		t.Errorf("released: got %v, want ErrUnknown", err)
	}
	if _, err := m.Lookup(host(t, "a.example")); err != nil {
		t.Errorf("the one that was kept: %v", err)
	}
}

// Readers look up one hostname as fast as they can while its tenant changes: who has seen
// a position must never get a document from before it, from the cache or not.
func TestModel_NoReaderGetsADocumentOlderThanThePositionItSaw(t *testing.T) {
	m := begun(t, 1)
	h := host(t, "acme.example")
	commit := func(n uint64) error {
		return m.Update(func(tx *readmodel.Tx) error {
			tx.Progress().Partitions[0].Position = n
			return tx.PutTenant(acme(t, n, "acme.example"))
		})
	}
	if err := commit(1); err != nil {
		t.Fatal(err)
	}
	const last = 3000
	var readers sync.WaitGroup
	var done atomic.Bool
	for range 4 {
		readers.Go(func() {
			for !done.Load() {
				saw := m.Progress().Position()
				doc, err := m.Lookup(h)
				if err != nil {
					t.Error(err)
					return
				}
				if doc.Version < saw {
					t.Errorf("saw position %d, then got version %d", saw, doc.Version)
					return
				}
			}
		})
	}
	for n := uint64(2); n <= last; n++ {
		if err := commit(n); err != nil {
			t.Error(err)
			break
		}
	}
	done.Store(true)
	readers.Wait()
}

func TestModel_DatabaseChangeShowsInEveryTenantAtOnce(t *testing.T) {
	m := begun(t, 1)
	db, err := events.ParseDatabaseID("db_shared")
	if err != nil {
		t.Fatal(err)
	}
	const tenants = 10_000
	endpoint := func(position uint64, hostname string) {
		t.Helper()
		update(t, m, func(tx *readmodel.Tx) error {
			tx.PutDatabase(events.Database{ID: db, Version: position, Position: position, EndpointPosition: position, Engine: "postgres",
				Endpoint: events.Endpoint{Host: hostname, Port: 5432, SecretRef: "vault://a"}})
			return nil
		})
	}
	name := func(i int) string { return fmt.Sprintf("t%d.example", i) }
	for i := 0; i < tenants; i += 500 {
		update(t, m, func(tx *readmodel.Tx) error {
			for j := i; j < i+500; j++ {
				if err := tx.PutTenant(events.Tenant{
					ID: tenantID(t, fmt.Sprintf("ten_t%d", j)), Version: 1, Position: 2, Status: events.StatusActive,
					Hostnames: []events.Hostname{host(t, name(j))}, Database: events.Assignment{ID: db, Name: "d", Position: 2},
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	endpoint(1_000_000, "old.internal")
	for i := range tenants { // fill the cache with what must not be served again
		if _, err := m.Lookup(host(t, name(i))); err != nil {
			t.Fatal(err)
		}
	}
	endpoint(1_000_001, "new.internal")
	for i := range tenants {
		doc, err := m.Lookup(host(t, name(i)))
		if err != nil {
			t.Fatal(err)
		}
		if want := `"host":"new.internal","port":5432,"secret_ref":"vault://a","name":"d","epoch":1000001`; !bytes.Contains(doc.Body, []byte(want)) {
			t.Fatalf("tenant %d: got %s, want %s in it", i, doc.Body, want)
		}
	}
}

func TestModel_TooBigAnUpdateIsRefusedWhole(t *testing.T) {
	m := begun(t, 1)
	err := m.Update(func(tx *readmodel.Tx) error {
		for i := range 40_000 {
			if err := tx.PutTenant(events.Tenant{ID: tenantID(t, fmt.Sprintf("ten_t%d", i)), Version: 1, Position: 1}); err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, readmodel.ErrTooBig) {
		t.Fatalf("got %v, want ErrTooBig", err)
	}
	if _, err := m.Tenant(tenantID(t, "ten_t1")); !errors.Is(err, readmodel.ErrUnknown) {
		t.Errorf("part of it is stored: %v", err)
	}
}

func TestModel_DirectoryInUseIsSaidInOneLine(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := readmodel.Open(readmodel.Config{Dir: dir})
	if !errors.Is(err, readmodel.ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
}

func TestLive_SwapFailsNoLookup(t *testing.T) {
	var live readmodel.Live
	if _, err := live.Lookup(host(t, "acme.example")); !errors.Is(err, readmodel.ErrNoModel) {
		t.Fatalf("before there is a model: got %v, want ErrNoModel", err)
	}
	fresh := func(n uint64) *readmodel.Model {
		m := begun(t, 1)
		update(t, m, func(tx *readmodel.Tx) error { return tx.PutTenant(acme(t, n, "acme.example")) })
		return m
	}
	live.Swap(fresh(1))
	var readers sync.WaitGroup
	var done atomic.Bool
	for range 4 {
		readers.Go(func() {
			last := uint64(0)
			for !done.Load() {
				doc, err := live.Lookup(host(t, "acme.example"))
				if err != nil {
					t.Errorf("look-up during a swap: %v", err)
					return
				}
				if doc.Version < last {
					t.Errorf("version went back from %d to %d", last, doc.Version)
				}
				last = doc.Version
			}
		})
	}
	for n := uint64(2); n <= 8; n++ {
		changed := live.Changed()
		old := live.Swap(fresh(n))
		if err := old.Close(); err != nil {
			t.Error(err)
		}
		<-changed // whoever waits on the old model looks again
	}
	done.Store(true)
	readers.Wait()
}
