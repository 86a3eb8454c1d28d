package projections

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = errors.New("the source is away")

// memorySource is a source of truth in memory, for tests that decide what each record says
// and when the source is away.
type memorySource struct {
	mu   sync.Mutex
	id   uuid.UUID
	log  []events.Event
	away bool
	read int           // events that After returned
	held chan struct{} // Whole waits until this is closed; nil: it does not
}

func (s *memorySource) Head(context.Context) (events.Head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return events.Head{}, errAway
	}
	return events.Head{Position: uint64(len(s.log)), StoreID: s.id}, nil
}

func (s *memorySource) After(_ context.Context, position uint64, limit int) ([]events.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, errAway
	}
	rest := s.log[min(position, uint64(len(s.log))):]
	out := slices.Clone(rest[:min(limit, len(rest))])
	s.read += len(out)
	return out, nil
}

func (s *memorySource) Load(_ context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, errAway
	}
	var out []events.Event
	for _, e := range s.log {
		if e.Stream == id && e.Version > after {
			out = append(out, e)
		}
	}
	return out, nil
}

func (s *memorySource) Whole(ctx context.Context) (events.Whole, error) {
	if s.held != nil {
		events.Reading(ctx)(1, 2)
		select {
		case <-s.held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	head, err := s.Head(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &memoryWhole{head: head, log: s.log[:head.Position]}, nil
}

// history makes a log: each step appends one event to a stream.
type history struct {
	t        *testing.T
	log      []events.Event
	versions map[events.StreamID]uint64
}

func newHistory(t *testing.T) *history {
	return &history{t: t, versions: make(map[events.StreamID]uint64)}
}

func (h *history) add(stream string, p events.Payload) *history {
	h.t.Helper()
	id, err := events.ParseStreamID(stream)
	if err != nil {
		h.t.Fatal(err)
	}
	made, err := events.New(id, h.versions[id], events.Metadata{Time: time.Unix(1_800_000_000, 0)}, p)
	if err != nil {
		h.t.Fatal(err)
	}
	e := made[0]
	e.Position = uint64(len(h.log)) + 1
	h.versions[id]++
	h.log = append(h.log, e)
	return h
}

func hostname(t *testing.T, s string) events.Hostname {
	t.Helper()
	h, err := events.ParseHostname(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func databaseID(t *testing.T, s string) events.DatabaseID {
	t.Helper()
	id, err := events.ParseDatabaseID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func groupID(t *testing.T, s string) events.GroupID {
	t.Helper()
	id, err := events.ParseGroupID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// node is a projector without Kafka: the test delivers the records.
type node struct {
	*follower
	projector *Projector
	t         *testing.T
	source    *memorySource
	offsets   []int64
	logged    *logBuffer
}

// logBuffer may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newNode(t *testing.T, partitions int, log []events.Event) *node {
	t.Helper()
	n := &node{t: t, source: &memorySource{id: uuid.New(), log: log}, offsets: make([]int64, partitions), logged: new(logBuffer)}
	n.projector = New(Config{
		Region: "eu-west", Dir: readmodel.Dir(t.TempDir()), Source: n.source,
		Logger: slog.New(slog.NewTextHandler(n.logged, nil)),
	})
	m, err := n.projector.openModel("gen-0001")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := m.Begin(n.source.id, partitions); err != nil {
		t.Fatal(err)
	}
	n.follower = n.projector.newFollower("gen-0001", m)
	n.live.Store(true)
	return n
}

// record is an event as the relay writes it, or a watermark where the event has no stream.
type record struct {
	partition int
	events.Record
}

// deliver hands records to the projector as one batch, with the next offsets.
func (n *node) deliver(records ...record) error {
	n.t.Helper()
	var batch []delivery
	for _, r := range records {
		batch = append(batch, delivery{partition: r.partition, offset: n.offsets[r.partition], record: r.Record})
		n.offsets[r.partition]++
	}
	return n.apply(n.t.Context(), batch)
}

func (n *node) mustDeliver(records ...record) {
	n.t.Helper()
	if err := n.deliver(records...); err != nil {
		n.t.Fatal(err)
	}
}

// published is the log as the relay publishes it: by partition, each record with the position
// before it. place says which partition a stream is in.
func published(storeID uuid.UUID, log []events.Event, partitions int, place func(events.StreamID) int) [][]record {
	out := make([][]record, partitions)
	previous := make([]uint64, partitions)
	for _, e := range log {
		p := place(e.Stream)
		out[p] = append(out[p], record{partition: p, Record: events.Record{Event: e, Previous: previous[p], StoreID: storeID}})
		previous[p] = e.Position
	}
	return out
}

// watermark says that the partition is complete up to an event.
func watermark(storeID uuid.UUID, partition int, upTo events.Event, previous uint64, at time.Time) record {
	at = at.Truncate(time.Microsecond)
	return record{partition: partition, Record: events.Record{
		Event: events.Event{
			ID: events.WatermarkID(upTo.ID, upTo.Position, partition, at), Type: events.TypeWatermark, Position: upTo.Position, Time: at,
		},
		Previous: previous, StoreID: storeID,
	}}
}

// checkEquals holds every document of the model against a fold of the log that shares no code
// with the read model.
func checkEquals(t *testing.T, m interface {
	Lookup(events.Hostname) (*readmodel.Document, error)
	Tenant(events.TenantID) (*readmodel.Document, error)
}, log []events.Event) {
	t.Helper()
	w := foldWorld(t, log)
	holders := make(map[events.Hostname]events.TenantID)
	for id, tenant := range w.tenants {
		for _, h := range tenant.Hostnames {
			holders[h] = id
		}
	}
	for id, tenant := range w.tenants {
		doc, err := m.Tenant(id)
		if tenant.Status == events.StatusPurged {
			if !errors.Is(err, readmodel.ErrUnknown) {
				t.Errorf("%s is purged: got %v, want ErrUnknown", id, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		if diff := cmp.Diff(w.context(t, tenant, tenant.Primary.String()), decoded(t, doc.Body)); diff != "" {
			t.Errorf("%s (-log +model):\n%s", id, diff)
		}
	}
	for _, h := range w.seen {
		doc, err := m.Lookup(h)
		id, held := holders[h]
		if !held {
			if !errors.Is(err, readmodel.ErrUnknown) {
				t.Errorf("%s is nobody's: got %v, want ErrUnknown", h, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", h, err)
			continue
		}
		if diff := cmp.Diff(w.context(t, w.tenants[id], h.String()), decoded(t, doc.Body)); diff != "" {
			t.Errorf("%s (-log +model):\n%s", h, diff)
		}
	}
}

func decoded(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("document %s: %v", b, err)
	}
	return v
}

// world is the fold of a whole log.
type world struct {
	tenants   map[events.TenantID]events.Tenant
	databases map[events.DatabaseID]events.Database
	groups    map[events.GroupID]events.Group
	seen      []events.Hostname // every hostname that was ever attached
}

func foldWorld(t *testing.T, log []events.Event) world {
	t.Helper()
	w := world{
		tenants:   make(map[events.TenantID]events.Tenant),
		databases: make(map[events.DatabaseID]events.Database),
		groups:    make(map[events.GroupID]events.Group),
	}
	for _, e := range log {
		var err error
		if id, ok := e.Stream.Tenant(); ok {
			w.tenants[id], err = w.tenants[id].Apply(e)
			if p, _ := e.Payload(); p != nil {
				if a, ok := p.(events.HostnameAttached); ok {
					w.seen = append(w.seen, a.Hostname)
				}
			}
		}
		if id, ok := e.Stream.Database(); ok {
			w.databases[id], err = w.databases[id].Apply(e)
		}
		if id, ok := e.Stream.Group(); ok {
			w.groups[id], err = w.groups[id].Apply(e)
		}
		if err != nil {
			t.Fatalf("fold the log: %v", err)
		}
	}
	return w
}

// context is the tenant context of the HTTP contract, as decoded JSON.
func (w world) context(t *testing.T, tenant events.Tenant, asked string) map[string]any {
	t.Helper()
	c := map[string]any{
		"tenant_id": tenant.ID.String(), "name": tenant.Name, "status": string(tenant.Status),
		"home_region": tenant.HomeRegion, "version": float64(tenant.Version),
		"products": map[string]any{}, "config": map[string]any{}, "hostnames": []any{},
	}
	if asked != "" {
		c["hostname"] = asked
	}
	if !tenant.Primary.IsZero() {
		c["primary_hostname"] = tenant.Primary.String()
	}
	for _, h := range tenant.Hostnames {
		c["hostnames"] = append(c["hostnames"].([]any), h.String())
	}
	for name, p := range tenant.Products {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		product := decoded(t, b)
		if p.TrialUntil == nil {
			delete(product, "trial_until")
		}
		c["products"].(map[string]any)[name] = product
	}
	for key, value := range tenant.Config {
		var v any
		if err := json.Unmarshal(value, &v); err != nil {
			t.Fatal(err)
		}
		c["config"].(map[string]any)[key] = v
	}
	if !tenant.Group.IsZero() {
		c["group"] = map[string]any{"id": tenant.Group.String(), "pending": true}
		if g, ok := w.groups[tenant.Group]; ok {
			c["group"] = map[string]any{"id": g.ID.String(), "ring": float64(g.Ring)}
		}
	}
	if a := tenant.Database; !a.ID.IsZero() {
		c["database"] = map[string]any{"id": a.ID.String(), "pending": true}
		if d, ok := w.databases[a.ID]; ok {
			c["database"] = map[string]any{
				"id": d.ID.String(), "engine": d.Engine, "host": d.Endpoint.Host, "port": float64(d.Endpoint.Port),
				"secret_ref": d.Endpoint.SecretRef, "name": a.Name, "epoch": float64(max(a.Position, d.EndpointPosition)),
			}
		}
	}
	return c
}

// interleavings calls each with every order in which the partitions' records can arrive, each
// partition in its own order; next takes the next record of a partition.
func interleavings(partitions [][]record, each func([]record)) {
	total := 0
	for _, p := range partitions {
		total += len(p)
	}
	taken := make([]int, len(partitions))
	var order []record
	var walk func()
	walk = func() {
		if len(order) == total {
			each(order)
			return
		}
		for i, p := range partitions {
			if taken[i] < len(p) {
				order = append(order, p[taken[i]])
				taken[i]++
				walk()
				taken[i]--
				order = order[:len(order)-1]
			}
		}
	}
	walk()
}

func describe(order []record) string {
	var b bytes.Buffer
	for _, r := range order {
		fmt.Fprintf(&b, " %d", r.Event.Position)
	}
	return b.String()
}
