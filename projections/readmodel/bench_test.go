package readmodel

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// catalogueTenant is one as a real catalogue has them: a record of about 600 octets.
func catalogueTenant(i int) (events.Tenant, Claims) {
	id := must(events.ParseTenantID(fmt.Sprintf("ten_%08d-0000-7000-8000-000000000000", i)))
	h := must(events.ParseHostname(fmt.Sprintf("t%08d.tenants.example.com", i*7919%100_000_000)))
	seats := int64(i % 1000)
	t := events.Tenant{
		ID: id, Version: 10, Position: uint64(10*i + 10), Name: fmt.Sprintf("The Tenant of Number %d", i), Status: events.StatusActive,
		HomeRegion: "eu-west", Hostnames: []events.Hostname{h}, Primary: h,
		Group:    must(events.ParseGroupID(fmt.Sprintf("grp_%d", i%100))),
		Database: events.Assignment{ID: must(events.ParseDatabaseID(fmt.Sprintf("db_%d", i%1000))), Name: fmt.Sprintf("tenant_%08d", i), Position: uint64(10*i + 5)},
		Products: map[string]events.Product{
			"boards": {Plan: "premium", Seats: &seats, Features: []string{"automation", "archive", "insights"}},
			"wiki":   {Plan: "standard", Seats: &seats},
		},
		Config: map[string]jsontext.Value{"theme": jsontext.Value(`{"dark":true,"accent":"#336699"}`), "locale": jsontext.Value(`"en-GB"`)},
	}
	return t, Claims{h: {Position: uint64(10*i + 2), Held: true}}
}

// BenchmarkWrite makes a model of b.N tenants in each way that there is. Use -benchtime 1000000x.
func BenchmarkWrite(b *testing.B) {
	progress := &Progress{StoreID: uuid.New(), Complete: true, Partitions: make([]Partition, 12)}
	b.Run("Writer", func(b *testing.B) {
		w, err := Create(Config{Dir: filepath.Join(b.TempDir(), "gen")})
		if err != nil {
			b.Fatal(err)
		}
		const parts = 2
		failed := make(chan error, parts)
		for part := range parts {
			go func() {
				p := w.Part(part)
				for i := b.N * part / parts; i < b.N*(part+1)/parts; i++ {
					kvs, err := EntriesOfTenant(withFlag(catalogueTenant(i)))
					if err == nil {
						err = p.Put(kvs)
					}
					if err != nil {
						failed <- err
						return
					}
				}
				failed <- p.Close()
			}()
		}
		for range parts {
			if err := <-failed; err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Finish(b.Context(), progress, nil); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("WriteBatch", func(b *testing.B) {
		db, err := badger.Open(options(Config{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)}))
		if err != nil {
			b.Fatal(err)
		}
		batch := db.NewWriteBatch()
		for i := range b.N {
			kvs, err := EntriesOfTenant(withFlag(catalogueTenant(i)))
			if err != nil {
				b.Fatal(err)
			}
			for _, kv := range kvs {
				if err := batch.Set([]byte(kv.Key), kv.Value); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := batch.Flush(); err != nil {
			b.Fatal(err)
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("Updates", func(b *testing.B) {
		m, err := Open(Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Begin(uuid.New(), 12); err != nil {
			b.Fatal(err)
		}
		for i := 0; i < b.N; {
			if err := m.Update(func(tx *Tx) error {
				for n := 0; i < b.N && n < 400; n, i = n+1, i+1 {
					t, _ := catalogueTenant(i)
					if err := tx.PutTenant(t); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		}
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
	})
}

func withFlag(t events.Tenant, c Claims) (events.Tenant, Claims, bool) { return t, c, false }

// BenchmarkUpdate changes tenants, any of 100,000, in updates of some; one operation is one tenant.
func BenchmarkUpdate(b *testing.B) {
	m, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	if err := m.Begin(uuid.New(), 12); err != nil {
		b.Fatal(err)
	}
	const n = 100_000
	put := func(b *testing.B, some int, next func() (events.Tenant, Claims)) {
		if err := m.Update(func(tx *Tx) error {
			for range some {
				t, _ := next()
				was, err := tx.Tenant(t.ID)
				if err != nil {
					return err
				}
				t.Version, t.Position = was.Version+1, was.Position+1
				if err := tx.PutTenant(t); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	at := 0
	for at < n {
		put(b, 400, func() (events.Tenant, Claims) { at++; return catalogueTenant(at - 1) })
	}
	for _, some := range []int{1, 20, 400} {
		b.Run(fmt.Sprintf("of %d", some), func(b *testing.B) {
			for i := 0; i < b.N; i += some {
				put(b, min(some, b.N-i), func() (events.Tenant, Claims) { return catalogueTenant(rand.IntN(n)) })
			}
		})
	}
}

var tenants = flag.Int("tenants", 100_000, "in the model of the benchmarks that open, scan and copy one")

// written is the directory of a model of as many tenants as the flag says.
func written(b *testing.B) Config {
	b.Helper()
	cfg := Config{Dir: filepath.Join(b.TempDir(), "gen")}
	w, err := Create(cfg)
	if err != nil {
		b.Fatal(err)
	}
	p := w.Part(0)
	for i := range *tenants {
		kvs, err := EntriesOfTenant(withFlag(catalogueTenant(i)))
		if err == nil {
			err = p.Put(kvs)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
	progress := &Progress{StoreID: uuid.New(), Complete: true, Partitions: make([]Partition, 12)}
	if _, err := w.Finish(b.Context(), progress, nil); err != nil {
		b.Fatal(err)
	}
	return cfg
}

// BenchmarkOpen opens a model, which reads and checks every table.
func BenchmarkOpen(b *testing.B) {
	cfg := written(b)
	for b.Loop() {
		m, err := Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkScan digests every record of a model.
func BenchmarkScan(b *testing.B) {
	m, err := Open(written(b))
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	for b.Loop() {
		i, err := m.Inspect()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := i.Scanned(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
		if err := i.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
