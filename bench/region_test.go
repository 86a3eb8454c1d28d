package bench

import (
	"math/rand/v2"
	"testing"

	"github.com/tenantry/tenantry/events"
)

// From a full store through relay and broker to one region that folds and commits: from the
// relay's start until the region's position is the store's.
func BenchmarkRegion_FollowsTheRelay(b *testing.B) {
	var m meter
	for b.Loop() {
		b.StopTimer()
		store := openStore(b)
		cluster, closeTopic := openTopic(b)
		region := newRegion(b, cluster, store)
		following := start(b, region.Run)
		awaitPosition(b, region, 0)
		head := fill(b, store, tenants()) // behind the region's back: it has begun, and reads Kafka alone
		publishing := newRelay(b, cluster, store)
		var relaying running
		m.during(b, func() uint64 {
			relaying = start(b, publishing.Run)
			awaitPosition(b, region, head)
			return head
		})
		relaying.stop(b)
		following.stop(b)
		closeTopic()
		b.StartTimer()
	}
	m.report(b)
}

// The same without the relay at work: what stands in the topic, read by one region.
func BenchmarkRegion_ReadsTheTopic(b *testing.B) {
	var m meter
	for b.Loop() {
		b.StopTimer()
		store := openStore(b)
		cluster, closeTopic := openTopic(b)
		dir := b.TempDir()
		region := newRegionIn(dir, cluster, store)
		following := start(b, region.Run)
		awaitPosition(b, region, 0)
		following.stop(b)
		head := fill(b, store, tenants())
		if err := newRelay(b, cluster, store).RunOnce(b.Context()); err != nil {
			b.Fatal(err)
		}
		region = newRegionIn(dir, cluster, store)
		m.during(b, func() uint64 {
			following = start(b, region.Run)
			awaitPosition(b, region, head)
			return head
		})
		following.stop(b)
		closeTopic()
		b.StartTimer()
	}
	m.report(b)
}

// A region that has nothing, from the embedded store: until it is ready.
func BenchmarkRegion_BuildsItsCopyFromTheStore(b *testing.B) {
	store := openStore(b)
	head := fill(b, store, tenants())
	cluster, closeTopic := openTopic(b)
	defer closeTopic()
	var m meter
	for b.Loop() {
		b.StopTimer()
		region := newRegion(b, cluster, store)
		var following running
		m.during(b, func() uint64 {
			following = start(b, region.Run)
			awaitPosition(b, region, head)
			return head
		})
		following.stop(b)
		b.StartTimer()
	}
	m.report(b)
}

// A look-up in process, without HTTP: of hostnames that the region keeps whole documents of in
// memory, and of any of so many that most come from Badger.
func BenchmarkRegion_LooksUp(b *testing.B) {
	n := 5 * tenants()
	store := openStore(b)
	head := fill(b, store, n)
	cluster, closeTopic := openTopic(b)
	defer closeTopic()
	region := newRegion(b, cluster, store)
	following := start(b, region.Run)
	defer following.stop(b)
	awaitPosition(b, region, head)
	hostnames := make([]events.Hostname, n)
	for i := range hostnames {
		hostnames[i] = hostnameOf(b, i)
	}
	for _, c := range []struct {
		name string
		of   []events.Hostname
	}{{"Thousand", hostnames[:min(n, 1000)]}, {"All", hostnames}} {
		b.Run("of="+c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := region.Live().Lookup(c.of[rand.IntN(len(c.of))]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
