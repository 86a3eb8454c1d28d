package truth

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// Log is all events, and what they fold to: what every copy is held against.
type Log struct {
	StoreID   string
	Events    []events.Event
	Tenants   map[events.TenantID]events.Tenant
	Databases map[events.DatabaseID]events.Database
	Groups    map[events.GroupID]events.Group
	Holders   map[events.Hostname]events.TenantID // who has a hostname; zero: somebody had

	mu sync.Mutex
	// right are documents that were found to be what the log says, by what was asked for: the
	// same octets from another region need not be parsed again.
	right map[string][]byte
}

// Read reads the whole log of a catalogue over HTTP and folds it.
func Read(ctx context.Context, client *http.Client, admin string) (*Log, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+"/v1/events", http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/x-ndjson")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the log of %s: %w", admin, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the log of %s: %d %s", admin, resp.StatusCode, body)
	}
	var log []events.Event
	for line := range bytes.Lines(body) {
		var e events.Event
		if err := json.Unmarshal(line, &e, json.RejectUnknownMembers(true)); err != nil {
			return nil, fmt.Errorf("the log holds %s: %w", line, err)
		}
		log = append(log, e)
	}
	l, err := Fold(log)
	if err != nil {
		return nil, fmt.Errorf("the log of %s: %w", admin, err)
	}
	l.StoreID = resp.Header.Get("Tenantry-Store-Id")
	if said, want := resp.Header.Get("Tenantry-Position"), fmt.Sprint(l.Head()); said != want {
		return nil, fmt.Errorf("the log ends at %s and says that it ends at %s", want, said)
	}
	return l, nil
}

// Fold folds a log. A hole or a double, in positions, versions, IDs or in who has a hostname, is
// an error.
func Fold(log []events.Event) (*Log, error) {
	l := &Log{
		Events:    log,
		Tenants:   make(map[events.TenantID]events.Tenant),
		Databases: make(map[events.DatabaseID]events.Database),
		Groups:    make(map[events.GroupID]events.Group),
		Holders:   make(map[events.Hostname]events.TenantID),
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
		if err := l.fold(e); err != nil {
			return nil, fmt.Errorf("position %d: %w", e.Position, err)
		}
	}
	return l, nil
}

func (l *Log) fold(e events.Event) (err error) {
	if id, ok := e.Stream.Database(); ok {
		l.Databases[id], err = l.Databases[id].Apply(e)
		return err
	}
	if id, ok := e.Stream.Group(); ok {
		l.Groups[id], err = l.Groups[id].Apply(e)
		return err
	}
	id, _ := e.Stream.Tenant()
	before := l.Tenants[id]
	after, err := before.Apply(e)
	if err != nil {
		return err
	}
	l.Tenants[id] = after
	for _, h := range before.Hostnames {
		l.Holders[h] = events.TenantID{}
	}
	for _, h := range after.Hostnames {
		if holder := l.Holders[h]; !holder.IsZero() && holder != id {
			return fmt.Errorf("%s takes %s, which %s has", id, h, holder)
		}
		l.Holders[h] = id
	}
	return nil
}

// Head is the position of the last event.
func (l *Log) Head() uint64 { return uint64(len(l.Events)) }

// Hostnames are all that the log knows of, and one that it does not.
func (l *Log) Hostnames() []string {
	out := []string{"never-anybodys.example"}
	for h := range l.Holders {
		out = append(out, h.String())
	}
	slices.Sort(out)
	return out
}

// Holder is who has a hostname.
func (l *Log) Holder(name string) (events.Tenant, bool) {
	h, err := events.ParseHostname(name)
	if err != nil {
		return events.Tenant{}, false
	}
	t, ok := l.Tenants[l.Holders[h]]
	return t, ok
}

// Context is a tenant's context as the HTTP contract has it. asked is the hostname that was asked
// for, "" where the tenant was asked for by its ID.
func (l *Log) Context(tenant events.Tenant, asked string) map[string]any {
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
		c["group"] = map[string]any{"id": id.String(), "ring": l.Groups[id].Ring}
	}
	if a := tenant.Database; !a.ID.IsZero() {
		d := l.Databases[a.ID]
		c["database"] = map[string]any{
			"id": a.ID.String(), "engine": d.Engine, "host": d.Endpoint.Host, "port": d.Endpoint.Port,
			"secret_ref": d.Endpoint.SecretRef, "name": a.Name, "epoch": max(a.Position, d.EndpointPosition),
		}
	}
	return c
}

// Canonical is a JSON value in the one form that values which mean the same have.
func Canonical(v any) (string, error) {
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
