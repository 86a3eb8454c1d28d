package bench

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/projections"
)

// A fail-over: one event gives the database of many tenants another endpoint. ms/visible is from the
// answer to the append until a region has answered with the new one for each of them, one after the
// other; ms/first until it has for the first of them.
func BenchmarkRegion_FailsOverADatabase(b *testing.B) {
	n := tenants() / 2
	store := openStore(b)
	database := must(events.ParseDatabaseID("db_bench"))(b)
	appendOne(b, store, database.Stream(), 0, events.DatabaseRegistered{Engine: "postgres", Region: "eu-west", Endpoint: endpoint(0)})
	fill(b, store, n)
	var head uint64
	for i := range n {
		registered := registration(b, i)
		head = appendOne(b, store, registered.Stream, uint64(len(registered.Events)), events.DatabaseAssigned{Database: database, Name: fmt.Sprintf("t%d", i)})
	}
	cluster, closeTopic := openTopic(b)
	defer closeTopic()
	publishing := start(b, newRelay(b, cluster, store).Run)
	defer publishing.stop(b)
	region := newRegion(b, cluster, store)
	following := start(b, region.Run)
	defer following.stop(b)
	awaitPosition(b, region, head)
	var first, all time.Duration
	version := uint64(1)
	for b.Loop() {
		next := endpoint(version)
		appendOne(b, store, database.Stream(), version, events.DatabaseEndpointChanged{Endpoint: next})
		version++
		began := time.Now()
		awaitHost(b, region, 0, next.Host)
		first += time.Since(began)
		for i := range n {
			awaitHost(b, region, i, next.Host)
		}
		all += time.Since(began)
	}
	b.ReportMetric(float64(first.Microseconds())/1000/float64(b.N), "ms/first")
	b.ReportMetric(float64(all.Microseconds())/1000/float64(b.N), "ms/visible")
	b.ReportMetric(float64(n), "tenants")
}

func endpoint(n uint64) events.Endpoint {
	return events.Endpoint{Host: fmt.Sprintf("pg-%d.internal", n), Port: 5432, SecretRef: "vault://db/bench"}
}

// appendOne appends one event to a stream at a version, and says where the log ends then.
func appendOne(b *testing.B, s *embedded.Store, id events.StreamID, version uint64, p events.Payload) (position uint64) {
	b.Helper()
	made := must(events.New(id, version, events.Metadata{Time: time.Now(), Actor: "bench"}, p))(b)
	return must(s.Append(b.Context(), events.Batch{Stream: id, Expected: version, Events: made}))(b).Position
}

// awaitHost returns when the region's document of the n-th tenant names a database host.
func awaitHost(b *testing.B, region *projections.Projector, n int, host string) {
	b.Helper()
	hostname, want := hostnameOf(b, n), fmt.Appendf(nil, `"host":%q`, host)
	for {
		changed := region.Live().Changed()
		if bytes.Contains(must(region.Live().Lookup(hostname))(b).Body, want) {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			b.Fatalf("%s does not answer with %s", hostname, host)
		}
	}
}
