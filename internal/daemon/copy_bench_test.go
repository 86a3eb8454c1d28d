package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/queryapi"
)

// manyTenants writes a generation of n tenants with two hostnames, a product and a database each, as
// the roster's have them.
func manyTenants(b *testing.B, dir string, store uuid.UUID, n int) {
	b.Helper()
	w, err := readmodel.Create(readmodel.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	part := w.Part(0)
	for i := range n {
		tenant, err := events.ParseTenantID(fmt.Sprintf("ten_%07d", i))
		must(err)
		database, err := events.ParseDatabaseID(fmt.Sprintf("db_%d", i%50))
		must(err)
		h1, err := events.ParseHostname(fmt.Sprintf("t%07d.example", i))
		must(err)
		h2, err := events.ParseHostname(fmt.Sprintf("www.t%07d.example", i))
		must(err)
		t := events.Tenant{
			ID: tenant, Version: 10, Position: uint64(10 * (i + 1)), Name: fmt.Sprintf("Tenant %d and Sons", i), Status: events.StatusActive, HomeRegion: "eu-west",
			Hostnames: []events.Hostname{h1, h2}, Primary: h1, Database: events.Assignment{ID: database, Position: uint64(i + 1), Name: "main"},
			Products: map[string]events.Product{"boards": {Plan: "premium", Features: []string{"roadmaps", "audit-log"}}, "wiki": {Plan: "standard"}},
		}
		kvs, err := readmodel.EntriesOfTenant(t, readmodel.Claims{h1: {Position: t.Position, Held: true}, h2: {Position: t.Position, Held: true}}, false)
		must(err)
		if err := part.Put(kvs); err != nil {
			b.Fatal(err)
		}
	}
	p := &readmodel.Progress{StoreID: store, Complete: true, Partitions: make([]readmodel.Partition, 12)}
	for i := range p.Partitions {
		p.Partitions[i].Position = uint64(10 * n)
	}
	if err := part.Close(); err != nil {
		b.Fatal(err)
	}
	if _, err := w.Finish(context.Background(), p, nil); err != nil {
		b.Fatal(err)
	}
}

// headed is a source that has nothing but an end.
type headed struct {
	projections.Source
	head events.Head
}

func (h headed) Head(context.Context) (events.Head, error) { return h.head, nil }

// BenchmarkBootstrap_FromANeighbour is a new node's way from nothing to a generation that can be opened,
// with a million tenants, over HTTP on this machine. What comes then is what a restart takes.
func BenchmarkBootstrap_FromANeighbour(b *testing.B) {
	const tenants = 1_000_000
	store, dir := uuid.New(), b.TempDir()
	manyTenants(b, filepath.Join(dir, "model"), store, tenants)
	m, err := readmodel.Open(readmodel.Config{Dir: filepath.Join(dir, "model")})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	live := new(readmodel.Live)
	live.Swap(m)
	api := queryapi.New(queryapi.Config{Reader: live, Region: "eu-west", Snapshot: func(ctx context.Context, w io.Writer) error {
		in, err := m.Inspect()
		if err != nil {
			return err
		}
		defer in.Close()
		_, err = in.WriteCopy(ctx, w, "eu-west")
		return err
	}})
	neighbour := httptest.NewServer(http.Handler(api))
	defer neighbour.Close()
	var octets uint64
	for i := 0; b.Loop(); i++ {
		begin := &bootstrap{
			cfg:  RegionConfig{Name: "eu-west", Dir: filepath.Join(dir, fmt.Sprint("node", i)), Source: headed{head: events.Head{StoreID: store, Position: 10 * tenants}}},
			from: neighbour.URL, log: slog.New(slog.DiscardHandler),
		}
		began := time.Now()
		got, err := begin.fetch(b.Context(), readmodel.Dir(begin.cfg.Dir))
		if err != nil {
			b.Fatal(err)
		}
		octets = got.Octets
		fetched := time.Since(began)
		again, err := readmodel.Open(readmodel.Config{Dir: readmodel.Dir(begin.cfg.Dir).Path(got.Generation)})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(fetched.Seconds(), "fetch-s")
		b.ReportMetric((time.Since(began) - fetched).Seconds(), "open-s")
		if err := again.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(octets)/(1<<20), "MiB")
}
