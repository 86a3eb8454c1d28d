package events_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
)

// The hashes are those that Apache Kafka's own test has (UtilsTest.testMurmur2), as Java's signed
// int. With so many partitions, Partition is the hash without its sign bit.
func TestPartition_HashesAsJavasDefaultPartitioner(t *testing.T) {
	for key, hash := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		want := int(hash) & math.MaxInt32
		if got := events.Partition(key, math.MaxInt64); got != want {
			t.Errorf("%q: got %d, want %d", key, got, want)
		}
		for _, n := range []int{1, 2, 12, 50} {
			if got := events.Partition(key, n); got != want%n {
				t.Errorf("%q of %d partitions: got %d, want %d", key, n, got, want%n)
			}
		}
	}
}

func TestPartition_IsOneOfThem_AndTheSameEachTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, n := eventstest.StreamID().Draw(t, "key").String(), rapid.IntRange(1, 1000).Draw(t, "partitions")
		p := events.Partition(key, n)
		if p < 0 || p >= n || p != events.Partition(key, n) {
			t.Fatalf("%q of %d partitions: got %d", key, n, p)
		}
	})
}
