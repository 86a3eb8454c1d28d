package broker

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestOpen_AnOctetOfAPartitionIsDamaged_ThePartitionIsDroppedAndTheRestIsKept(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	c := client(t, b.Addr())
	for _, topic := range []string{"hurt", "whole"} {
		makeTopic(t, c, topic)
		for range 3 { // three batches
			produce(t, c, topic, time.Now(), "one", "two")
		}
	}
	closeBroker(t, b)
	path := filepath.Join(dir, "partitions", "hurt-0", "0.dat")
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkSegment(log, 0); err != nil {
		t.Fatalf("a whole segment: %v", err)
	}
	missed := 0
	for i := range log {
		hurt := slices.Clone(log)
		hurt[i] ^= 0x04
		if checkSegment(hurt, 0) == nil {
			missed++
		}
	}
	// What no checksum covers: of each batch the leader's epoch, which nobody reads, and a length
	// that points behind the end, which looks like an end that is cut off.
	if limit := 3 * (4 + 4); missed > limit {
		t.Errorf("%d octets of %d can be others unnoticed, want %d at most", missed, len(log), limit)
	}
	for i := range log {
		if err := checkSegment(log[:i], 0); err != nil {
			t.Fatalf("cut off at %d, as a kill may leave it: %v", i, err)
		}
	}

	hurt := slices.Clone(log)
	hurt[len(hurt)/2] ^= 1
	if err := os.WriteFile(path, hurt, 0o600); err != nil {
		t.Fatal(err)
	}
	b = open(t, dir)
	c = client(t, b.Addr())
	if got := consume(t, c, "hurt"); len(got) != 0 {
		t.Errorf("the damaged partition: got %q, want nothing", got)
	}
	if got := consume(t, c, "whole"); len(got) != 6 {
		t.Errorf("the other one: got %q, want its 6 records", got)
	}
	produce(t, c, "hurt", time.Now(), "anew")
	if got := consume(t, c, "hurt"); !slices.Equal(got, []string{"anew"}) {
		t.Errorf("the dropped partition: got %q, want what was produced since", got)
	}
}
