package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	compression "github.com/dgraph-io/badger/v4/options"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

const partitions = 3

// memorySource is a source of truth in memory.
type memorySource struct {
	mu    sync.Mutex
	id    uuid.UUID
	log   []events.Event
	dies  int   // Whole gives so many streams and then fails; 0: it does not
	fails error // what everything answers
	reads int   // streams that Load was asked for
	whole int   // times that all of it was read
}

func (s *memorySource) Head(context.Context) (events.Head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return events.Head{Position: uint64(len(s.log)), StoreID: s.id}, s.fails
}

func (s *memorySource) After(_ context.Context, position uint64, limit int) ([]events.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := s.log[min(position, uint64(len(s.log))):]
	return slices.Clone(rest[:min(limit, len(rest))]), s.fails
}

func (s *memorySource) Load(_ context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	var out []events.Event
	for _, e := range s.log {
		if e.Stream == id && e.Version > after {
			out = append(out, e)
		}
	}
	return out, s.fails
}

func (s *memorySource) Whole(context.Context) (events.Whole, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return nil, s.fails
	}
	s.whole++
	w := &memoryWhole{head: events.Head{Position: uint64(len(s.log)), StoreID: s.id}, dies: s.dies}
	streams := make(map[events.StreamID][]events.Event)
	for _, e := range s.log {
		streams[e.Stream] = append(streams[e.Stream], e)
	}
	for _, stream := range streams {
		w.streams = append(w.streams, stream)
	}
	slices.SortFunc(w.streams, func(a, b []events.Event) int { return strings.Compare(a[0].Stream.String(), b[0].Stream.String()) })
	return w, nil
}

type memoryWhole struct {
	head    events.Head
	streams [][]events.Event
	dies    int
}

func (w *memoryWhole) Head() events.Head { return w.head }
func (w *memoryWhole) Close() error      { return nil }
func (w *memoryWhole) Parts(context.Context, int) ([]events.Part, error) {
	half := len(w.streams) / 2
	return []events.Part{&memoryPart{w.streams[:half], w.dies}, &memoryPart{w.streams[half:], w.dies}}, nil
}

type memoryPart struct {
	streams [][]events.Event
	dies    int
}

func (p *memoryPart) Streams(ctx context.Context, yield func([]events.Event) error) error {
	for i, s := range p.streams {
		if p.dies > 0 && i >= p.dies {
			return fmt.Errorf("%w: the connection is gone", events.ErrUnavailable)
		}
		if err := errors.Join(ctx.Err(), yield(s)); err != nil {
			return err
		}
	}
	return nil
}

// history makes a log: each step appends one event to a stream.
type history struct {
	t        *testing.T
	log      []events.Event
	versions map[events.StreamID]uint64
}

func (h *history) add(stream string, p events.Payload) *history {
	h.t.Helper()
	if h.versions == nil {
		h.versions = make(map[events.StreamID]uint64)
	}
	id := streamID(h.t, stream)
	made, err := events.New(id, h.versions[id], events.Metadata{Time: time.Unix(1_800_000_000, 0)}, p)
	if err != nil {
		h.t.Fatal(err)
	}
	made[0].Position = uint64(len(h.log)) + 1
	h.versions[id]++
	h.log = append(h.log, made[0])
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

// aCatalogue has so many tenants with one to three hostnames each, some of them purged, in a few groups and
// on a few databases.
func aCatalogue(t *testing.T, tenants int, seed uint64) *memorySource {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	h := &history{t: t}
	for i := range 5 {
		h.add(fmt.Sprintf("db_%d", i), events.DatabaseRegistered{Engine: "postgres", Region: "eu-west",
			Endpoint: events.Endpoint{Host: fmt.Sprintf("db%d.example", i), Port: 5432, SecretRef: "env://X"}})
		h.add(fmt.Sprintf("grp_%d", i), events.GroupCreated{Name: fmt.Sprintf("Group %d", i), Ring: i})
	}
	for i := range tenants {
		id := fmt.Sprintf("ten_%05d", i)
		h.add(id, events.TenantRegistered{Name: fmt.Sprintf("Tenant %d", i), HomeRegion: "eu-west"})
		for j := range 1 + r.IntN(3) {
			h.add(id, events.HostnameAttached{Hostname: hostname(t, fmt.Sprintf("h%d.t%d.example", j, i))})
		}
		h.add(id, events.TenantActivated{})
		db, err := events.ParseDatabaseID(fmt.Sprintf("db_%d", r.IntN(5)))
		if err != nil {
			t.Fatal(err)
		}
		h.add(id, events.DatabaseAssigned{Database: db, Name: "main"})
		if i%17 == 3 {
			h.add(id, events.TenantDeactivated{}).add(id, events.TenantPurged{})
		}
	}
	return &memorySource{id: uuid.New(), log: h.log}
}

// everything is a cut-off behind the end of a source.
func everything(s *memorySource) []uint64 {
	return slices.Repeat([]uint64{uint64(len(s.log))}, partitions)
}

// fill folds a source up to a position in each partition into a generation, and makes it current.
func fill(t *testing.T, dir readmodel.Dir, name string, s *memorySource, upTo []uint64) {
	t.Helper()
	m, err := readmodel.Open(readmodel.Config{Dir: dir.Path(name)})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Begin(s.id, partitions); err != nil {
		t.Fatal(err)
	}
	for batch := range slices.Chunk(s.log, 300) {
		if err := m.Update(func(tx *readmodel.Tx) error {
			for _, e := range batch {
				p := events.Partition(e.Stream.String(), partitions)
				if e.Position > upTo[p] {
					continue
				}
				if q, err := tx.Quarantined(e.Stream); err != nil {
					return err
				} else if q == nil {
					if cause := foldInto(tx, e); cause != nil {
						if err := tx.SetQuarantine(readmodel.Quarantine{Stream: e.Stream, Position: e.Position, Version: e.Version, Error: cause.Error()}); err != nil {
							return err
						}
					}
				}
				tx.Progress().Partitions[p].Applied(e)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	err = m.Update(func(tx *readmodel.Tx) error {
		p := tx.Progress()
		p.Complete = true
		for i := range p.Partitions {
			p.Partitions[i].Position = upTo[i]
		}
		return nil
	})
	if err := errors.Join(err, m.Close(), dir.SetCurrent(name)); err != nil {
		t.Fatal(err)
	}
}

// foldInto folds one event as a node does.
func foldInto(tx *readmodel.Tx, e events.Event) error {
	if id, ok := e.Stream.Tenant(); ok {
		t, err := tx.Tenant(id)
		if err == nil {
			t, err = t.Apply(e)
		}
		if err != nil {
			return err
		}
		return tx.PutTenant(t)
	}
	if id, ok := e.Stream.Database(); ok {
		d, err := tx.Database(id)
		if err == nil {
			d, err = d.Apply(e)
		}
		tx.PutDatabase(d)
		return err
	}
	id, _ := e.Stream.Group()
	g, err := tx.Group(id)
	if err == nil {
		g, err = g.Apply(e)
	}
	tx.PutGroup(g)
	return err
}

// aStopped is the directory of a region that has all of a source, and of which no node runs.
func aStopped(t *testing.T, s *memorySource) readmodel.Dir {
	t.Helper()
	dir := readmodel.Dir(t.TempDir())
	fill(t, dir, "gen-0001", s, everything(s))
	return dir
}

// damage changes what a generation holds behind its back.
func damage(t *testing.T, dir readmodel.Dir, name string, fn func(*badger.Txn) error) {
	t.Helper()
	db, err := badger.Open(badger.DefaultOptions(dir.Path(name)).WithLogger(nil).WithCompression(compression.None).WithMemTableSize(5 << 20).WithValueThreshold(700 << 10))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// open takes the directory of a stopped region.
func openStopped(t *testing.T, dir readmodel.Dir, s Source) *Stopped {
	t.Helper()
	r, err := OpenStopped(dir, "eu-west", s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return closedAfter(t, r)
}

// closedAfter is something that is closed when the test ends.
func closedAfter[C io.Closer](t *testing.T, c C) C {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
