package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/postgres"
	"github.com/tenantry/tenantry/internal/testservers"
)

const clients = 16

// Commands at a catalogue by 16 clients, and the rows that they insert inserted by as many of
// pgbench, one after the other on one server. pgbench takes its positions from a sequence, and so has
// no lock that one client waits for another's commit by; it leaves holes where we may not.
func BenchmarkProduction_AppendsBesidePgbench(b *testing.B) {
	rounds, length := 5, 5*time.Second
	if testing.Short() {
		rounds, length = 1, time.Second
	}
	p := newProduction(b)
	c := p.catalogue(b)
	peer := newPgbench(b, p.store(b), c)
	var ours, theirs, ratios []float64
	var sent atomic.Int64
	for round := range rounds {
		theirs = append(theirs, peer.run(b, length))
		ours = append(ours, commands(b, c.URL(), length, &sent))
		ratios = append(ratios, ours[round]/theirs[round])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours), "commands/s")
	b.ReportMetric(median(theirs), "pgbench/s")
	b.ReportMetric(median(ratios), "ratio")
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// commands is how many registrations a second are answered. The clients are as plain as pgbench's are: a connection
// each, of which one goroutine writes a request and reads its answer.
func commands(b *testing.B, url string, length time.Duration, sent *atomic.Int64) float64 {
	b.Helper()
	address := strings.TrimPrefix(url, "http://")
	ctx, cancel := context.WithTimeout(b.Context(), length)
	defer cancel()
	var answered atomic.Int64
	var running sync.WaitGroup
	began := time.Now()
	for range clients {
		running.Go(func() {
			conn, err := new(net.Dialer).DialContext(b.Context(), "tcp", address)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			for ctx.Err() == nil {
				body := tenantBody(fmt.Sprintf("bench-%d", sent.Add(1)))
				req := fmt.Appendf(nil, "POST /v1/tenants HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", address, len(body), body)
				if _, err := conn.Write(req); err != nil {
					b.Error(err)
					return
				}
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					b.Error(err)
					return
				}
				answer, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusCreated {
					b.Errorf("%s: %s, %v", resp.Status, answer, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	running.Wait()
	return float64(answered.Load()) / time.Since(began).Seconds()
}

// pgbench is Postgres's own, with a script of what one registration inserts.
type pgbench struct{ program, url, script string }

// newPgbench registers one tenant at the catalogue, and makes its rows into a script.
func newPgbench(b *testing.B, store *postgres.Store, c interface{ URL() string }) pgbench {
	b.Helper()
	bin, err := testservers.FindPostgres(b.Context())
	if err != nil {
		testservers.Missing(b, "PostgreSQL", err)
	}
	p := pgbench{program: filepath.Join(bin, "pgbench"), url: newDatabase(b), script: filepath.Join(b.TempDir(), "append.sql")}
	if _, err := os.Stat(p.program); err != nil {
		testservers.Missing(b, "pgbench", err)
	}
	must(postgres.Migrate(b.Context(), postgres.MigrateConfig{Config: postgres.Config{URL: p.url, Logger: silent}}))(b)
	execute(b, p.url, "SELECT tenantry.make_partitions(10000000)", "CREATE SEQUENCE positions CACHE 100")

	resp := must(http.Post(c.URL()+"/v1/tenants", "application/json", bytes.NewReader(tenantBody("model"))))(b)
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusCreated {
		b.Fatalf("%s, %v", resp.Status, err)
	}
	id := must(events.ParseTenantID("ten_model"))(b).Stream()
	model := must(store.Load(b.Context(), id, 0))(b)
	if err := os.WriteFile(p.script, script(model), 0o600); err != nil {
		b.Fatal(err)
	}
	return p
}

// script inserts what the model's batch did, under other names.
func script(model []events.Event) []byte {
	n := len(model)
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	var s bytes.Buffer
	fmt.Fprintf(&s, "\\set n random(1, 1000000000000000)\nBEGIN;\nSELECT nextval('positions') * %d AS p \\gset\n", n)
	fmt.Fprintf(&s, "INSERT INTO tenantry.streams (stream, version, position, referrers) VALUES ('ten_bench-' || :n, %d, :p + %d, 0);\n", n, n)
	fmt.Fprint(&s, "INSERT INTO tenantry.claims (hostname, stream) VALUES ('bench-' || :n || '.example', 'ten_bench-' || :n);\n")
	fmt.Fprintf(&s, "INSERT INTO tenantry.runs (stream, version, position, events) VALUES ('ten_bench-' || :n, %d, :p + %d, %d);\n", n, n, n)
	fmt.Fprint(&s, "INSERT INTO tenantry.events (position, stream, version, id, type, time, actor, reason, correlation_id, causation_id, traceparent, data) VALUES\n")
	for i, e := range model {
		if i > 0 {
			s.WriteString(",\n")
		}
		fmt.Fprintf(&s, "(:p + %d, 'ten_bench-' || :n, %d, gen_random_uuid(), %s, now(), %s, %s, %s, %s, %s, %s)", i+1, e.Version,
			quote(string(e.Type)), quote(e.Actor), quote(e.Reason), quote(e.CorrelationID), quote(e.CausationID), quote(e.Traceparent), quote(string(e.Data)))
	}
	s.WriteString(";\nEND;\n")
	return s.Bytes()
}

var tps = regexp.MustCompile(`(?m)^tps = ([0-9.]+) `)

// run is the transactions a second.
func (p pgbench) run(b *testing.B, length time.Duration) float64 {
	b.Helper()
	seconds := max(1, int(length.Seconds()))
	out, err := exec.CommandContext(b.Context(), p.program, "-n", "-M", "prepared", "-c", strconv.Itoa(clients), "-j", "2",
		"-T", strconv.Itoa(seconds), "-f", p.script, p.url).CombinedOutput()
	found := tps.FindSubmatch(out)
	if err != nil || found == nil {
		b.Fatalf("pgbench: %v: %s", err, out)
	}
	return must(strconv.ParseFloat(string(found[1]), 64))(b)
}
