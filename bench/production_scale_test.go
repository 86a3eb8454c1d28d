//go:build unix

package bench

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
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
)

// EnvTenants is how many tenants [BenchmarkProduction_Scale] works on: docs/scaling.md has what it
// measured with 1000000, which takes half an hour and 15 GB of disk.
const EnvTenants = "TENANTRY_BENCH_TENANTS"

// What so many tenants of ten events each cost, with the log in 100 partitions: octets in
// PostgreSQL, in Kafka and at a node, the node's memory, and how fast each part is then.
func BenchmarkProduction_Scale(b *testing.B) {
	n := tenants() / 4
	if s := os.Getenv(EnvTenants); s != "" {
		n = must(strconv.Atoi(s))(b)
	}
	s := newScale(b, n)
	b.ReportMetric(0, "ns/op")
	s.fill(b)
	s.sizes(b)
	s.appends(b)
	s.reads(b)
	s.publish(b)
	s.rebuild(b)
}

type scale struct {
	tenants int
	url     string
	store   *postgres.Store
	cluster *testservers.KafkaCluster
	topic   string
}

func newScale(b *testing.B, n int) *scale {
	b.Helper()
	s := &scale{tenants: n, url: newDatabase(b), cluster: testservers.NewKafka(b, testservers.KafkaOptions{}), topic: "bench-" + uuid.NewString()}
	must(postgres.Migrate(b.Context(), postgres.MigrateConfig{Config: postgres.Config{URL: s.url, Logger: silent}}))(b)
	execute(b, s.url, fmt.Sprintf("UPDATE tenantry.log_head SET partition_size = %d", max(1, n*10/100)))
	s.store = must(postgres.Open(b.Context(), postgres.Config{URL: s.url, Logger: silent, AnswerTimeout: time.Minute, StatementTimeout: time.Minute}))(b)
	b.Cleanup(func() { closeWith(b, s.store.Close) })
	return s
}

// fill registers all tenants, and later changes each once: ten events in two commands.
func (s *scale) fill(b *testing.B) {
	b.Helper()
	began := time.Now()
	quarter := time.Duration(0)
	for _, batch := range []func(testing.TB, int) events.Batch{registration, change} {
		for first := 0; first < s.tenants; first += 500 {
			batches := []events.Batch{}
			for i := first; i < min(s.tenants, first+500); i++ {
				batches = append(batches, batch(b, i))
			}
			for _, r := range s.store.AppendAll(b.Context(), batches) {
				if r.Err != nil {
					b.Fatal(r.Err)
				}
			}
			if quarter == 0 && first >= s.tenants/4 {
				quarter = time.Since(began)
				b.Logf("first quarter of the registrations: %.0f events/s", float64(first+500)*7/quarter.Seconds())
			}
		}
	}
	b.ReportMetric(float64(10*s.tenants)/time.Since(began).Seconds(), "fill-events/s")
}

// change is three events on the n-th tenant.
func change(tb testing.TB, n int) events.Batch {
	tb.Helper()
	id := must(events.ParseTenantID(fmt.Sprintf("ten_bench-%d", n)))(tb)
	made := must(events.New(id.Stream(), 7, events.Metadata{
		Time: time.Now(), Actor: "bench", Reason: "measured", CorrelationID: "4bf92f3577b34da6a3ce929d0e0e4736",
	},
		events.ConfigSet{Key: "locale", Value: []byte(`"de-CH"`)},
		events.ConfigSet{Key: "support", Value: []byte(`{"tier":"gold","phone":"+41 44 555 01 02"}`)},
		events.TenantRenamed{Name: fmt.Sprintf("Bench Company %d AG", n)},
	))(tb)
	return events.Batch{Stream: id.Stream(), Expected: 7, Events: made}
}

// sizes of the tables in PostgreSQL.
func (s *scale) sizes(b *testing.B) {
	b.Helper()
	conn := must(pgx.Connect(b.Context(), s.url))(b)
	defer func() { closeWith(b, func() error { return conn.Close(b.Context()) }) }()
	rows := must(conn.Query(b.Context(), `SELECT CASE WHEN relname LIKE 'events\_%' THEN 'events' ELSE relname END AS name, count(*), sum(pg_total_relation_size(oid))
		FROM pg_class WHERE relnamespace = 'tenantry'::regnamespace AND relkind = 'r' GROUP BY 1 ORDER BY 3 DESC`))(b)
	var total float64
	for rows.Next() {
		var name string
		var tables int
		var octets float64
		if err := rows.Scan(&name, &tables, &octets); err != nil {
			b.Fatal(err)
		}
		total += octets
		b.Logf("%-18s %4d tables %8.0f MB %6.0f octets a tenant", name, tables, octets/1e6, octets/float64(s.tenants))
	}
	if err := rows.Err(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(total/float64(s.tenants), "postgres-B/tenant")
}

// appends one command after the other, at the full size.
func (s *scale) appends(b *testing.B) {
	b.Helper()
	var took []float64
	for i := range min(s.tenants/10, 2000) {
		batch := registration(b, s.tenants+i)
		began := time.Now()
		must(s.store.Append(b.Context(), batch))(b)
		took = append(took, time.Since(began).Seconds()*1000)
	}
	b.ReportMetric(quantile(took, 0.5), "append-p50-ms")
}

// reads of any tenant, and of the whole log.
func (s *scale) reads(b *testing.B) {
	b.Helper()
	var took []float64
	for range min(s.tenants, 3000) {
		id := must(events.ParseTenantID(fmt.Sprintf("ten_bench-%d", rand.IntN(s.tenants))))(b)
		began := time.Now()
		if got := must(s.store.Load(b.Context(), id.Stream(), 0))(b); len(got) != 10 {
			b.Fatalf("%s has %d events", id, len(got))
		}
		took = append(took, time.Since(began).Seconds()*1000)
	}
	b.ReportMetric(quantile(took, 0.5), "load-p50-ms")
	b.ReportMetric(quantile(took, 0.99), "load-p99-ms")
	began := time.Now()
	at := uint64(0)
	for page := 1; page > 0 && at < 2_000_000; at += uint64(page) {
		page = len(must(s.store.After(b.Context(), at, 5000))(b))
	}
	b.ReportMetric(float64(at)/time.Since(began).Seconds(), "read-events/s")
}

// publish all of it.
func (s *scale) publish(b *testing.B) {
	b.Helper()
	cluster := must(kafka.New(kafka.Config{Brokers: s.cluster.Brokers(testservers.Plaintext), Logger: silent}))(b)
	defer func() { closeWith(b, cluster.Close) }()
	if err := cluster.EnsureTopic(b.Context(), kafka.Topic{Name: s.topic, Partitions: partitions}); err != nil {
		b.Fatal(err)
	}
	head := must(s.store.Head(b.Context()))(b)
	r := must(relay.New(relay.Config{Store: s.store, Topic: relay.KafkaTopic(cluster, s.topic), Partitions: partitions, Logger: silent}))(b)
	began := time.Now()
	if err := r.RunOnce(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(head.Position)/time.Since(began).Seconds(), "relay-events/s")
	b.ReportMetric(float64(octets(b, s.cluster.Nodes[0].LogDir(), s.topic))/float64(head.Position), "topic-B/event")
}

// octets on the disk below a directory, of the files whose path has a text in it. Sparse files, as
// Kafka's indexes are, count as what they take.
func octets(tb testing.TB, dir, with string) (sum int64) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(path, with) {
			return nil //nolint:nilerr // a file that goes while we look is none
		}
		var st syscall.Stat_t
		if syscall.Lstat(path, &st) == nil {
			sum += st.Blocks * 512
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return sum
}

// rebuild is a node that has nothing, as the program that is built: until it is ready, and what it
// takes then.
func (s *scale) rebuild(b *testing.B) {
	b.Helper()
	program := filepath.Join(b.TempDir(), "tenantry")
	build := exec.CommandContext(b.Context(), "go", "build", "-o", program, "github.com/tenantry/tenantry/cmd/tenantry")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	// The relay goes on meanwhile: a node is ready when it is close to the log's end.
	catalogue := must(daemon.OpenCatalogueServer(b.Context(), daemon.CatalogueServerConfig{
		Listen: "127.0.0.1:0", Database: daemon.Database{URL: s.url}, Observed: daemon.Observed{Logger: silent},
		Kafka: daemon.Kafka{Brokers: s.cluster.Brokers(testservers.Plaintext), Topic: s.topic, Partitions: partitions},
	}))(b)
	defer func() { closeWith(b, catalogue.Close) }()
	head := must(s.store.Head(b.Context()))(b)
	dir, address := b.TempDir(), testservers.FreeAddresses(b, 1)[0]
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	node := exec.CommandContext(ctx, program, "region", "--region", "eu-west", "--data-dir", dir, "--listen", address, "--log-level", "warn",
		"--kafka-brokers", s.cluster.Brokers(testservers.Plaintext)[0], "--kafka-topic", s.topic, "--source", s.url)
	var log bytes.Buffer
	node.Stdout, node.Stderr = &log, &log
	node.Cancel = func() error { return node.Process.Signal(syscall.SIGTERM) }
	began := time.Now()
	if err := node.Start(); err != nil {
		b.Fatal(err)
	}
	for ready := false; !ready; time.Sleep(50 * time.Millisecond) {
		if resp, err := http.Get("http://" + address + "/readyz"); err == nil {
			ready = resp.StatusCode == http.StatusOK
			_ = resp.Body.Close()
		}
		if time.Since(began) > time.Hour {
			b.Fatalf("the node is not ready: %s", log.String())
		}
	}
	took := time.Since(began)
	b.ReportMetric(took.Seconds(), "rebuild-s")
	b.ReportMetric(float64(head.Position)/took.Seconds(), "rebuild-events/s")
	for range min(s.tenants, 20_000) { // so that its caches have what they come to have
		resp := must(http.Get(fmt.Sprintf("http://%s/v1/lookup/bench-%d.example", address, rand.IntN(s.tenants))))(b)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status)
		}
	}
	b.ReportMetric(memory(b, node.Process.Pid, "RssAnon"), "node-own-MB")
	b.ReportMetric(memory(b, node.Process.Pid, "RssFile"), "node-mapped-MB") // the kernel takes it back when it is needed
	b.ReportMetric(float64(octets(b, dir, ""))/float64(s.tenants), "node-disk-B/tenant")
	cancel()
	if err := node.Wait(); err != nil {
		b.Logf("the node ended with %v: %s", err, log.String())
	}
}

// memory of a process in MB; 0 where the system does not tell.
func memory(tb testing.TB, pid int, field string) float64 {
	tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	found := regexp.MustCompile(`(?m)^` + field + `:\s+(\d+) kB`).FindSubmatch(status)
	if err != nil || found == nil {
		return 0
	}
	return must(strconv.ParseFloat(string(found[1]), 64))(tb) / 1000
}
