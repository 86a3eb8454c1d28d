//go:build unix

package replay

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/crashpoint"
	"github.com/tenantry/tenantry/internal/daemon"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// end is one way in which something dies while a region is rebuilt.
type end struct {
	name   string
	replay string // the crash point of the replay; "": none
	node   string // of the node
	// at random: which of the two are killed, within the time that a rebuild takes.
	killReplay, killNode bool
}

func ends() []end {
	out := []end{
		{name: "the replay, at any time", killReplay: true},
		{name: "the node, at any time", killNode: true},
		{name: "both, at any time", killReplay: true, killNode: true},
	}
	for _, p := range []crashpoint.Point{crashpoint.AdoptOpened, crashpoint.AdoptBeforeCurrent, crashpoint.AdoptAfterCurrent, crashpoint.AdoptAfterClose} {
		out = append(out, end{name: "the node, " + string(p), node: string(p) + ":1"})
	}
	for _, p := range crashpoint.All() {
		if p == crashpoint.RebuildMid || strings.HasPrefix(string(p), "replay-") {
			out = append(out, end{name: "the replay, " + string(p), replay: string(p) + ":1"})
		}
	}
	return out
}

func TestReplay_KilledAtAnyMoment_AsTheNode_LeavesAWholeGenerationLiveAndNothingOver(t *testing.T) {
	all := ends()
	kills, seed := int(number(t, "TENANTRY_KILLS", fewer(uint64(len(all)), 2))), number(t, "TENANTRY_SEED", 1)
	dir := t.TempDir()
	client := newClient(t)
	d := mustReady(t, dir, startDev(t, dir, "", daemon.Addresses{}))
	l := newLoad(client, d)
	l.found(t)
	checkTruth(t, client, d)
	took := time.Now()
	mustReplay(t, dir, regions[0])
	usual := time.Since(took)
	sum := make(map[string]int)
	for n := 0; n < kills && !t.Failed(); n++ {
		k := &kill{t: t, dir: dir, load: l, end: all[n%len(all)], region: regions[n/len(all)%len(regions)], rand: rand.New(rand.NewPCG(seed+uint64(n), 3)), usual: usual}
		k.play(sum)
		if t.Failed() {
			t.Logf("this was TENANTRY_SEED=%d, %s, in %s", seed+uint64(n), k.end.name, k.region)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sum)) {
		t.Logf("%4d times: %s", sum[name], name)
	}
	l.dev.Load().stop(t)
}

// Ctrl-C is no kill: the replay itself removes what it has half built, and says what the next one does.
func TestReplay_InterruptedWhileItBuilds_LeavesNothing_AndSaysWhatTheNextRunDoes(t *testing.T) {
	dir := t.TempDir()
	d := mustReady(t, dir, startDev(t, dir, "", daemon.Addresses{}))
	l := newLoad(newClient(t), d)
	l.found(t)
	region := readmodel.Dir(filepath.Join(dir, "regions", regions[0]))
	for range 20 { // it may be done before the signal comes
		before, err := region.Current()
		if err != nil {
			t.Fatal(err)
		}
		p := begin(t, program(t, "", "replay", "--region", regions[0], "--data-dir", dir))
		for half := false; !half && !hasEnded(p); {
			found, err := filepath.Glob(region.Path("*.building"))
			half = len(found) > 0
			if err != nil {
				t.Fatal(err)
			}
		}
		_ = p.cmd.Process.Signal(os.Interrupt) // an error means that it has ended
		p.awaitEnd(t, patience)
		if p.code() == 0 {
			continue
		}
		if text := p.stderr.String(); p.code() != 1 || !strings.Contains(text, "stopped: the region is as it was, and nothing is left over; the next run begins anew") {
			t.Errorf("exit code %d, and it says %s", p.code(), text)
		}
		if live, more, err := leftOver(dir, regions[0]); err != nil || live != before || len(more) > 0 {
			t.Errorf("live is %s, and was %s; left over is %v (%v)", live, before, more, err)
		}
		if left, err := filepath.Glob(filepath.Join(dir, "*.tmp")); err != nil || len(left) > 0 {
			t.Errorf("left over is %v (%v)", left, err)
		}
		if again := mustReplay(t, dir, regions[0]); strings.Contains(again.stderr.String(), "cut short") {
			t.Errorf("the next one found something: %s", again.stderr.String())
		}
		d.stop(t)
		return
	}
	t.Fatal("it was done each time before it was interrupted")
}

// kill is one round: a rebuild under commands, and a death.
type kill struct {
	t      *testing.T
	dir    string
	load   *load
	end    end
	region string
	rand   *rand.Rand
	usual  time.Duration // how long a rebuild takes that nobody disturbs
}

func (k *kill) play(sum map[string]int) {
	d := k.load.dev.Load()
	if k.end.node != "" { // started anew, to die there
		d.stop(k.t)
		d = k.start(k.end.node, d.Addresses)
	}
	before, _, err := leftOver(k.dir, k.region)
	if err != nil {
		k.t.Fatal(err)
	}
	k.load.run(2, 0, k.rand.Uint64()) // commands, so that the source goes on; look-ups fail where the node dies
	p := begin(k.t, program(k.t, k.end.replay, "replay", "--region", k.region, "--data-dir", k.dir))
	if k.end.killReplay || k.end.killNode {
		k.strike(p, d)
	}
	p.awaitEnd(k.t, patience)
	if k.end.node != "" {
		d.awaitEnd(k.t, patience)
	}
	k.load.halt()
	k.check(before, p, d, sum)
}

// strike kills at random moments; the moment is what is tested, and a process that was done by then is
// counted as such.
func (k *kill) strike(p *process, d *dev) {
	type victim struct {
		p  *process
		at time.Duration
	}
	var all []victim
	if k.end.killReplay {
		all = append(all, victim{p, time.Duration(k.rand.Int64N(int64(k.usual)))})
	}
	if k.end.killNode {
		all = append(all, victim{d.process, time.Duration(k.rand.Int64N(int64(k.usual)))})
	}
	slices.SortFunc(all, func(a, b victim) int { return int(a.at - b.at) })
	began := time.Now()
	for _, v := range all {
		moment := time.NewTimer(time.Until(began.Add(v.at)))
		select {
		case <-moment.C:
		case <-v.p.ended:
			moment.Stop()
		}
		v.p.kill()
	}
}

// check starts the node, unless it runs, and expects the region to be whole.
func (k *kill) check(before string, p *process, d *dev, sum map[string]int) {
	k.t.Helper()
	live, _, err := leftOver(k.dir, k.region)
	if err != nil {
		k.t.Fatalf("after it: %v", err)
	}
	if _, err := os.Stat(filepath.Join(k.dir, "regions", k.region, live)); err != nil || strings.Contains(live, ".") {
		k.t.Fatalf("the live generation is %s: %v", live, err)
	}
	nodeDied := hasEnded(d.process)
	if !nodeDied {
		d.stop(k.t)
	}
	next := k.start("", d.Addresses)
	now, more, err := leftOver(k.dir, k.region)
	if err != nil || len(more) > 0 {
		k.t.Errorf("after the next start %v are left over (%v)", more, err)
	}
	if now != live {
		k.t.Errorf("%s was live when the node was stopped, and %s when it was started", live, now)
	}
	mustReplay(k.t, k.dir, k.region, "--verify")
	checkTruth(k.t, k.load.client, next)
	outcome := "the old generation is live"
	if live != before {
		outcome = "the new generation is live"
	}
	died := "nobody died"
	switch r := p.killed(); {
	case r && nodeDied:
		died = "both died"
	case r:
		died = "the replay died"
	case nodeDied:
		died = fmt.Sprintf("the node died, and the replay said %d", p.code())
	}
	sum[fmt.Sprintf("%s: %s, %s", k.end.name, died, outcome)]++
}

func hasEnded(p *process) bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// start starts dev where it was, and returns when its regions are ready.
func (k *kill) start(point string, before daemon.Addresses) *dev {
	k.t.Helper()
	d := mustReady(k.t, k.dir, startDev(k.t, k.dir, point, before))
	k.load.dev.Store(d)
	return d
}
