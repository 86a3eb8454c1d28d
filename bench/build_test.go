//go:build unix

package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/postgres"
	"github.com/tenantry/tenantry/projections"
)

// A region's read model from the whole of a store, beside what the store itself can give: ten events
// a tenant, in two batches that lie far from one another, and tenants in an order that has nothing to do
// with that of their IDs. [EnvTenants] says how many.
func BenchmarkBuild(b *testing.B) {
	n := tenants() / 4
	if s := os.Getenv(EnvTenants); s != "" {
		n = must(strconv.Atoi(s))(b)
	}
	b.Run("from=embedded", func(b *testing.B) {
		s := openStore(b)
		fillSpread(b, n, s.AppendAll)
		buildRounds(b, s.Whole, nil)
	})
	b.Run("from=postgres", func(b *testing.B) {
		url := newDatabase(b)
		must(postgres.Migrate(b.Context(), postgres.MigrateConfig{Config: postgres.Config{URL: url, Logger: silent}}))(b)
		s := must(postgres.Open(b.Context(), postgres.Config{URL: url, Logger: silent, AnswerTimeout: time.Minute, StatementTimeout: time.Minute}))(b)
		b.Cleanup(func() { closeWith(b, s.Close) })
		fillSpread(b, n, s.AppendAll)
		execute(b, url, "VACUUM ANALYZE")
		buildRounds(b, s.Whole, map[string]func() time.Duration{
			"copy-same-columns": func() time.Duration {
				return copied(b, url, "stream, version, position, id, type, time, data")
			},
			"copy-whole-rows": func() time.Duration { return copied(b, url, "*") },
		})
	})
}

// fillSpread gives n tenants ten events each.
func fillSpread(tb testing.TB, n int, appendAll func(context.Context, []events.Batch) []events.Result) {
	tb.Helper()
	step := 7919 // and every n from 0 comes once, since it is a prime
	if n%step == 0 {
		step = 7907
	}
	for _, batch := range []func(testing.TB, int) events.Batch{registration, change} {
		for first := 0; first < n; first += 500 {
			var batches []events.Batch
			for i := first; i < min(n, first+500); i++ {
				batches = append(batches, batch(tb, i*step%n))
			}
			for _, r := range appendAll(tb.Context(), batches) {
				if r.Err != nil {
					tb.Fatal(r.Err)
				}
			}
		}
	}
}

// buildRounds builds in turn with what it is held beside, and reports medians.
func buildRounds(b *testing.B, open func(context.Context) (events.Whole, error), beside map[string]func() time.Duration) {
	b.Helper()
	var took []time.Duration
	others := make(map[string][]time.Duration)
	var most, size int64
	var count uint64
	for b.Loop() {
		for name, measure := range beside {
			others[name] = append(others[name], measure())
		}
		dir := filepath.Join(b.TempDir(), "gen-0001")
		stop := watchMemory(b)
		began := time.Now()
		built, err := projections.Build(b.Context(), projections.BuildConfig{Source: open, Dir: dir, Partitions: partitions, Logger: silent})
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
		most = max(most, stop())
		count, size = built.Events, sizeOf(b, dir)
		if err := os.RemoveAll(dir); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	rate := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(count) / d[len(d)/2].Seconds()
	}
	own := rate(took)
	b.ReportMetric(own, "events/s")
	for name, d := range others {
		b.ReportMetric(rate(d), name+"-events/s")
		b.ReportMetric(own/rate(d), "ratio-to-"+name)
	}
	b.ReportMetric(float64(most)/(1<<20), "own-MB-above-before")
	b.ReportMetric(float64(size)/(1<<20), "model-MB")
}

// copied is how long PostgreSQL takes to hand out its events in the order of their streams, to
// somebody who does nothing with them.
func copied(b *testing.B, url, columns string) time.Duration {
	b.Helper()
	conn := must(pgx.Connect(b.Context(), url))(b)
	defer func() { closeWith(b, func() error { return conn.Close(b.Context()) }) }()
	must(conn.Exec(b.Context(), `SET work_mem = '64MB'`))(b)
	began := time.Now()
	must(conn.PgConn().CopyTo(b.Context(), io.Discard, fmt.Sprintf(`COPY (SELECT %s FROM tenantry.events ORDER BY stream, version) TO STDOUT`, columns)))(b)
	return time.Since(began)
}

// watchMemory returns a function that says by how much this process's own memory rose at most since
// the call; 0 where the system does not tell.
func watchMemory(tb testing.TB) (stop func() int64) {
	tb.Helper()
	before := ownMemory()
	most := before
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		often := time.NewTicker(20 * time.Millisecond)
		defer often.Stop()
		for {
			select {
			case <-done:
				return
			case <-often.C:
				most = max(most, ownMemory())
			}
		}
	})
	return func() int64 {
		close(done)
		wg.Wait()
		return most - before
	}
}

func ownMemory() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

func sizeOf(tb testing.TB, dir string) (octets int64) {
	tb.Helper()
	for _, e := range must(os.ReadDir(dir))(tb) {
		octets += must(e.Info())(tb).Size()
	}
	return octets
}
