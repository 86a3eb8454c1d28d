package bench

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/events/postgres"
	"github.com/tenantry/tenantry/events/relay"
	"github.com/tenantry/tenantry/internal/daemon"
	"github.com/tenantry/tenantry/internal/testservers"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// production is a database and a topic on real servers, of which the first writes to the disk as
// an operator's would.
type production struct {
	database daemon.Database
	kafka    daemon.Kafka
}

// durable is for all benchmarks of this process, and ends with it.
var durable = sync.OnceValues(func() (*testservers.PostgresServer, error) {
	return testservers.StartPostgres(context.Background(), testservers.PostgresConfig{Durable: true, Settings: map[string]string{
		"shared_buffers": "512MB", "max_wal_size": "4GB",
	}})
})

// newDatabase is one without the schema.
func newDatabase(tb testing.TB) string {
	tb.Helper()
	server, err := durable()
	if err != nil {
		testservers.Missing(tb, "PostgreSQL", err)
	}
	name := "b" + uuid.NewString()[:8]
	execute(tb, server.URL(), "CREATE DATABASE "+name)
	tb.Cleanup(func() { execute(tb, server.URL(), "DROP DATABASE "+name+" WITH (FORCE)") })
	return server.DatabaseURL(name)
}

func execute(tb testing.TB, url string, statements ...string) {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context()) // also in a cleanup
	conn := must(pgx.Connect(ctx, url))(tb)
	defer func() { closeWith(tb, func() error { return conn.Close(ctx) }) }()
	for _, s := range statements {
		must(conn.Exec(ctx, s))(tb)
	}
}

func newProduction(tb testing.TB) production {
	tb.Helper()
	brokers := []string{testservers.Kafka(tb)} // skips where there is none
	p := production{
		database: daemon.Database{URL: newDatabase(tb)},
		kafka:    daemon.Kafka{Brokers: brokers, Topic: "bench-" + uuid.NewString(), Partitions: partitions},
	}
	must(daemon.Migrate(tb.Context(), daemon.MigrateConfig{Database: p.database, Logger: silent}))(tb)
	return p
}

func (p production) catalogue(tb testing.TB) *daemon.CatalogueServer {
	tb.Helper()
	c := must(daemon.OpenCatalogueServer(tb.Context(), daemon.CatalogueServerConfig{
		Listen: "127.0.0.1:0", Database: p.database, Kafka: p.kafka, Observed: daemon.Observed{Logger: silent},
	}))(tb)
	tb.Cleanup(func() { closeWith(tb, c.Close) })
	return c
}

// region is a node that is ready.
func (p production) region(tb testing.TB, name string) *daemon.RegionServer {
	tb.Helper()
	r := must(daemon.OpenRegionServer(tb.Context(), daemon.RegionServerConfig{
		Region: name, DataDir: tb.TempDir(), Listen: "127.0.0.1:0", Kafka: p.kafka,
		Source: daemon.Source{URL: p.database.URL}, Observed: daemon.Observed{Logger: silent},
	}))(tb)
	tb.Cleanup(func() { closeWith(tb, r.Close) })
	for deadline := time.Now().Add(time.Minute); ; {
		resp := must(http.Get(r.URL() + "/readyz"))(tb)
		if err := resp.Body.Close(); err != nil {
			tb.Fatal(err)
		}
		if resp.StatusCode == http.StatusOK {
			return r
		}
		if time.Now().After(deadline) {
			tb.Fatalf("region %s is not ready: %s", name, resp.Status)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p production) store(tb testing.TB) *postgres.Store {
	tb.Helper()
	s := must(postgres.Open(tb.Context(), postgres.Config{URL: p.database.URL, Logger: silent}))(tb)
	tb.Cleanup(func() { closeWith(tb, s.Close) })
	return s
}

// An import through the API into PostgreSQL while the relay publishes to Kafka. It is over when the
// last line is answered.
func BenchmarkProduction_Imports(b *testing.B) {
	var m meter
	for b.Loop() {
		b.StopTimer()
		p := newProduction(b)
		c := p.catalogue(b)
		store := p.store(b)
		lines := roster(tenants())
		m.during(b, func() uint64 {
			importLines(b, c.URL(), lines)
			return must(store.Head(b.Context()))(b).Position
		})
		b.StartTimer()
	}
	m.report(b)
}

// What stands in a topic of Kafka, read by one region that has begun and was away.
func BenchmarkProduction_RegionReadsTheTopic(b *testing.B) {
	var m, relaying meter
	for b.Loop() {
		b.StopTimer()
		p := newProduction(b)
		store := p.store(b)
		cluster := must(kafka.New(kafka.Config{Brokers: p.kafka.Brokers, Logger: silent}))(b)
		if err := cluster.EnsureTopic(b.Context(), kafka.Topic{Name: p.kafka.Topic, Partitions: partitions}); err != nil {
			b.Fatal(err)
		}
		dir := b.TempDir()
		open := func() *projections.Projector {
			return projections.New(projections.Config{
				Region: "eu-west", Dir: readmodel.Dir(dir), Cluster: cluster, Topic: p.kafka.Topic, Source: store, Logger: silent,
			})
		}
		region := open()
		following := start(b, region.Run)
		awaitPosition(b, region, 0)
		following.stop(b)
		head := fillPostgres(b, store, 4*tenants()) // much more than what a start takes
		publishing := must(relay.New(relay.Config{
			Store: store, Topic: relay.KafkaTopic(cluster, p.kafka.Topic), Partitions: partitions, Logger: silent,
		}))(b)
		began := time.Now()
		if err := publishing.RunOnce(b.Context()); err != nil {
			b.Fatal(err)
		}
		relaying.events += head
		relaying.cpu += time.Since(began) // by the clock
		region = open()
		m.during(b, func() uint64 {
			following = start(b, region.Run)
			awaitPosition(b, region, head)
			return head
		})
		following.stop(b)
		closeWith(b, cluster.Close)
		b.StartTimer()
	}
	m.report(b)
	b.ReportMetric(float64(relaying.events)/relaying.cpu.Seconds(), "relay-events/s")
}

// fillPostgres is fill for a store on PostgreSQL.
func fillPostgres(tb testing.TB, s *postgres.Store, n int) (head uint64) {
	tb.Helper()
	for first := 0; first < n; first += 500 {
		batches := make([]events.Batch, 0, 500)
		for i := first; i < min(n, first+500); i++ {
			batches = append(batches, registration(tb, i))
		}
		for _, r := range s.AppendAll(tb.Context(), batches) {
			if r.Err != nil {
				tb.Fatal(r.Err)
			}
			head = r.Outcome.Position
		}
	}
	return head
}

// What a catalogue and a region cost while nothing happens.
func BenchmarkProduction_Idle(b *testing.B) {
	quiet := 20 * time.Second
	if testing.Short() {
		quiet = 100 * time.Millisecond
	}
	idle := func(b *testing.B) {
		b.Helper()
		time.Sleep(quiet / 4) // for what starts to come to rest
		before := processorTime()
		began := time.Now()
		time.Sleep(quiet)
		used, took := processorTime()-before, time.Since(began)
		b.ReportMetric(100*used.Seconds()/took.Seconds(), "%core")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("of=catalogue", func(b *testing.B) {
		newProduction(b).catalogue(b)
		idle(b)
	})
	b.Run("of=region", func(b *testing.B) {
		p := newProduction(b)
		// The relay, which makes the topic and its first watermarks, is another process.
		if err := p.catalogue(b).Close(); err != nil {
			b.Fatal(err)
		}
		p.region(b, "eu-west")
		idle(b)
	})
}

// tenantBody registers a tenant with one hostname.
func tenantBody(id string) []byte {
	return fmt.Appendf(nil, `{"id":"ten_%s","name":"Bench Company %s","hostnames":["%s.example"],"home_region":"eu-west"}`, id, id, id)
}
