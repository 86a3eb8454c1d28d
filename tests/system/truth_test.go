package system

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// truth is the log, and what it folds to by nothing but the folds of package events: what every
// copy is held against.
type truth struct {
	storeID   string
	log       []events.Event
	tenants   map[events.TenantID]events.Tenant
	databases map[events.DatabaseID]events.Database
	groups    map[events.GroupID]events.Group
	holders   map[events.Hostname]events.TenantID // who has a hostname; zero: somebody had

	mu sync.Mutex
	// right are documents that were found to be what the log says, by what was asked for: the
	// same octets from another region need not be parsed again.
	right map[string][]byte
}

func (w *truth) head() uint64 { return uint64(len(w.log)) }

// readTruth reads the whole log of a catalogue over HTTP and folds it. A log that has a hole or a
// double, in positions, versions, IDs or in who has a hostname, fails the test.
func readTruth(t *testing.T, c *client, admin string) *truth {
	t.Helper()
	r := c.must("GET", admin+"/v1/events", "", "Accept: application/x-ndjson")
	var log []events.Event
	for _, line := range lines(r.body) {
		var e events.Event
		if err := json.Unmarshal(line, &e, json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("the log holds %s: %v", line, err)
		}
		log = append(log, e)
	}
	w, err := foldTruth(log)
	if err != nil {
		t.Fatalf("the log of %s: %v", admin, err)
	}
	w.storeID = r.header.Get("Tenantry-Store-Id")
	if want := fmt.Sprint(w.head()); r.header.Get("Tenantry-Position") != want {
		t.Fatalf("the log ends at %s and says that it ends at %s", want, r.header.Get("Tenantry-Position"))
	}
	return w
}

func foldTruth(log []events.Event) (*truth, error) {
	w := &truth{
		log:       log,
		tenants:   make(map[events.TenantID]events.Tenant),
		databases: make(map[events.DatabaseID]events.Database),
		groups:    make(map[events.GroupID]events.Group),
		holders:   make(map[events.Hostname]events.TenantID),
		right:     make(map[string][]byte),
	}
	versions := make(map[events.StreamID]uint64)
	times := make(map[events.StreamID]time.Time)
	ids := make(map[uuid.UUID]uint64)
	for i, e := range log {
		if e.Position != uint64(i)+1 {
			return nil, fmt.Errorf("position %d stands where %d belongs", e.Position, i+1)
		}
		if e.Version != versions[e.Stream]+1 {
			return nil, fmt.Errorf("position %d is version %d of %s, behind version %d", e.Position, e.Version, e.Stream, versions[e.Stream])
		}
		if e.Time.Before(times[e.Stream]) {
			return nil, fmt.Errorf("position %d of %s is of %s, before the event before it", e.Position, e.Stream, e.Time)
		}
		if first, twice := ids[e.ID]; twice {
			return nil, fmt.Errorf("positions %d and %d have the same ID %s", first, e.Position, e.ID)
		}
		versions[e.Stream], times[e.Stream], ids[e.ID] = e.Version, e.Time, e.Position
		if err := w.fold(e); err != nil {
			return nil, fmt.Errorf("position %d: %w", e.Position, err)
		}
	}
	return w, nil
}

func (w *truth) fold(e events.Event) (err error) {
	if id, ok := e.Stream.Database(); ok {
		w.databases[id], err = w.databases[id].Apply(e)
		return err
	}
	if id, ok := e.Stream.Group(); ok {
		w.groups[id], err = w.groups[id].Apply(e)
		return err
	}
	id, _ := e.Stream.Tenant()
	before := w.tenants[id]
	after, err := before.Apply(e)
	if err != nil {
		return err
	}
	w.tenants[id] = after
	for _, h := range before.Hostnames {
		w.holders[h] = events.TenantID{}
	}
	for _, h := range after.Hostnames {
		if holder := w.holders[h]; !holder.IsZero() && holder != id {
			return fmt.Errorf("%s takes %s, which %s has", id, h, holder)
		}
		w.holders[h] = id
	}
	return nil
}

// context is a tenant's context as the HTTP contract has it. asked is the hostname that was asked
// for, "" where the tenant was asked for by its ID.
func (w *truth) context(tenant events.Tenant, asked string) map[string]any {
	if asked == "" && !tenant.Primary.IsZero() {
		asked = tenant.Primary.String()
	}
	c := map[string]any{
		"tenant_id": tenant.ID.String(), "name": tenant.Name, "status": string(tenant.Status),
		"home_region": tenant.HomeRegion, "version": tenant.Version,
	}
	if asked != "" {
		c["hostname"] = asked
	}
	hostnames := make([]string, len(tenant.Hostnames))
	for i, h := range tenant.Hostnames {
		hostnames[i] = h.String()
	}
	c["hostnames"] = hostnames
	if !tenant.Primary.IsZero() {
		c["primary_hostname"] = tenant.Primary.String()
	}
	products := make(map[string]any, len(tenant.Products))
	for name, p := range tenant.Products {
		product := map[string]any{"plan": p.Plan}
		if p.Seats != nil {
			product["seats"] = *p.Seats
		}
		if len(p.Features) > 0 {
			product["features"] = p.Features
		}
		if p.TrialUntil != nil {
			product["trial_until"] = p.TrialUntil.Format(time.RFC3339Nano)
		}
		products[name] = product
	}
	c["products"] = products
	config := make(map[string]any, len(tenant.Config))
	for key, value := range tenant.Config {
		config[key] = value
	}
	c["config"] = config
	if id := tenant.Group; !id.IsZero() {
		c["group"] = map[string]any{"id": id.String(), "ring": w.groups[id].Ring}
	}
	if a := tenant.Database; !a.ID.IsZero() {
		d := w.databases[a.ID]
		c["database"] = map[string]any{
			"id": a.ID.String(), "engine": d.Engine, "host": d.Endpoint.Host, "port": d.Endpoint.Port,
			"secret_ref": d.Endpoint.SecretRef, "name": a.Name, "epoch": max(a.Position, d.EndpointPosition),
		}
	}
	return c
}

// canonical is a JSON value in the one form that values which mean the same have.
func canonical(v any) (string, error) {
	b, isText := v.(jsontext.Value)
	if !isText {
		var err error
		if b, err = json.Marshal(v); err != nil {
			return "", err
		}
	}
	b = bytes.Clone(b)
	err := b.Canonicalize()
	return string(b), err
}

// awaitPosition returns when a region answers from everything up to a position.
func awaitPosition(t *testing.T, c *client, region string, position uint64) {
	t.Helper()
	for late := time.Now().Add(patience); ; {
		r := c.get(fmt.Sprintf("%s/v1/lookup/nobody.example?min_position=%d&wait=10s", region, position))
		switch {
		case r.status == http.StatusNotFound || r.status == http.StatusOK:
			return
		case r.status == http.StatusGatewayTimeout && time.Now().Before(late):
		default:
			t.Fatalf("%s does not reach position %d: %d %s", region, position, r.status, r.body)
		}
	}
}
