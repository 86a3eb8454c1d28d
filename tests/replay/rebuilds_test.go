//go:build unix

package replay

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tenantry/tenantry/internal/daemon"
)

func TestReplay_RegionsAreRebuiltInTurnUnderLoad_NoLookUpFailsOrGoesBack_AndAllIsEqualAtTheEnd(t *testing.T) {
	rebuilds, seed := int(number(t, "TENANTRY_REBUILDS", fewer(4, 2))), number(t, "TENANTRY_SEED", 1)
	dir := t.TempDir()
	client := newClient(t)
	d := mustReady(t, dir, startDev(t, dir, "", daemon.Addresses{}))
	l := newLoad(client, d)
	l.found(t)
	checkTruth(t, client, d)
	l.run(3, 3, seed)
	began := time.Now()
	var longest time.Duration
	for i := range rebuilds {
		region := regions[i%len(regions)]
		before, _, err := leftOver(dir, region)
		if err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		p := mustReplay(t, dir, region, "--output", "json")
		longest = max(longest, time.Since(started))
		var out struct {
			Generation, Before string
			PID                int
		}
		if err := json.Unmarshal([]byte(p.stdout.String()), &out, json.MatchCaseInsensitiveNames(true)); err != nil {
			t.Fatalf("%v: %s", err, p.stdout.String())
		}
		live, more, err := leftOver(dir, region)
		if err != nil || live != out.Generation || out.Before != before || live == before || out.PID != d.PID {
			t.Errorf("%s was %s: the replay says %+v, and %s is live (%v)", region, before, out, live, err)
		}
		for late := time.Now().Add(patience); len(more) > 0 && err == nil; { // the node removes it once no look-up is on it
			if !time.Now().Before(late) {
				t.Fatalf("%s has %v left over after rebuild %d", region, more, i)
			}
			_, more, err = leftOver(dir, region)
		}
		if i%5 == 0 {
			mustReplay(t, dir, regions[(i+1)%len(regions)], "--verify") // under the same load
		}
		if t.Failed() {
			break
		}
	}
	took := time.Since(began)
	l.halt()
	l.report(t)
	checkTruth(t, client, d)
	for _, region := range regions {
		mustReplay(t, dir, region, "--verify")
	}
	t.Logf("%d rebuilds in %s, the longest %s; %d commands, %d look-ups, %d failed, %d older than before",
		rebuilds, took.Round(time.Second), longest.Round(time.Millisecond), l.commands.Load(), l.lookups.Load(), l.failed.Load(), l.back.Load())
	if l.commands.Load() == 0 || l.lookups.Load() == 0 {
		t.Error("there was no load")
	}
	d.stop(t)
}
