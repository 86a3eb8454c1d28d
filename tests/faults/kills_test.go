//go:build unix

package faults

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/crashpoint"
	"github.com/tenantry/tenantry/internal/testservers"
)

// roundOf is after how many kills all is checked in the long form.
const roundOf = 100

// TestKills_OfEveryProcessAtEveryPoint_LoseDoubleAndReorderNothing kills each way once, or, with
// TENANTRY_KILLS=n, as often as makes n kills.
func TestKills_OfEveryProcessAtEveryPoint_LoseDoubleAndReorderNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	kills := 0
	if v := os.Getenv("TENANTRY_KILLS"); v != "" {
		var err error
		if kills, err = strconv.Atoi(v); err != nil || kills < 1 {
			t.Fatalf("TENANTRY_KILLS=%s is not how many processes to kill", v)
		}
	}
	t.Parallel()
	r := draw(t)
	s := open(t, options{postgres: true, kafka: 3})
	k := &killer{t: t, s: s, load: startLoad(t, s, r), rand: r, done: make(map[string]*killed)}

	for _, way := range k.ways() { // each once, in this order
		k.kill(way)
	}
	for k.kills < kills {
		if k.kills/roundOf > k.rounds {
			k.rounds++
			k.note(k.load.check())
			k.load.resume()
		}
		k.kill(k.draw())
	}
	v := k.load.check()
	k.load.checkTopic(v)
	k.note(v)
	k.table()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// way is one way to kill.
type way struct {
	name   string
	weight int // how often it is drawn
	do     func() error
}

// killed is what came of one way.
type killed struct {
	times int
	worst time.Duration // until a command was answered and shown everywhere again
}

// killer kills processes of a system under load.
type killer struct {
	t      *testing.T
	s      *system
	load   *load
	rand   *rand.Rand
	kills  int
	rounds int
	died   time.Time     // of the last kill
	well   time.Duration // that it took, where that is not until the killed one is back
	done   map[string]*killed
	total  verdict
}

// kill kills in one way, at a random time, and waits until all is well again.
func (k *killer) kill(w way) {
	k.t.Helper()
	pause(k.t, time.Duration(k.rand.Int64N(int64(100*time.Millisecond))))
	k.well = 0
	err := w.do()
	if err == nil {
		_, err = k.load.probe()
	}
	took := time.Since(k.died)
	if k.well > 0 {
		took = k.well
	}
	if err == nil {
		err = k.load.err()
	}
	if err != nil {
		k.table()
		k.t.Fatalf("kill %d, %s: %v", k.kills, w.name, err)
	}
	d := k.done[w.name]
	if d == nil {
		d = new(killed)
		k.done[w.name] = d
	}
	d.times++
	d.worst = max(d.worst, took)
	k.t.Logf("kill %d: %s, well again after %s", k.kills, w.name, took.Round(time.Millisecond))
}

// draw is a way, by the ways' weights.
func (k *killer) draw() way {
	all := k.ways()
	sum := 0
	for _, w := range all {
		sum += w.weight
	}
	n := k.rand.IntN(sum)
	for _, w := range all {
		if n -= w.weight; n < 0 {
			return w
		}
	}
	panic("weights")
}

// gone counts a kill that has just been.
func (k *killer) gone() {
	k.kills++
	k.died = time.Now()
}

func (k *killer) ways() []way {
	ways := []way{
		{"catalogue", 12, func() error { return k.restart(pick(k.rand, k.s.catalogues)) }},
		{"leading relay", 12, k.leader},
		{"region node", 12, func() error { return k.restart(pick(k.rand, k.s.nodes)) }},
		{"PostgreSQL", 4, k.postgres},
		{"all catalogues", 4, func() error { return k.restart(k.s.catalogues...) }},
		{"all region nodes", 4, func() error { return k.restart(k.s.nodes...) }},
		{"everything at once", 1, k.everything},
	}
	if k.s.kafka != nil {
		for _, n := range k.s.kafka.Nodes {
			ways = append(ways, way{fmt.Sprintf("Kafka broker %d", n.ID), 2, func() error { return k.broker(n) }})
		}
	}
	for _, p := range crashpoint.All() {
		if strings.HasPrefix(string(p), "adopt-") || strings.HasPrefix(string(p), "replay-") {
			continue // nobody builds a generation to hand over here
		}
		ways = append(ways, way{"at " + string(p), 6, func() error { return k.at(p) }})
	}
	return ways
}

func pick[T any](r *rand.Rand, all []T) T { return all[r.IntN(len(all))] }

// restart kills servers, and starts them again at once.
func (k *killer) restart(servers ...*server) error {
	for _, s := range servers {
		s.kill()
		k.gone()
	}
	return start(servers)
}

// start starts servers side by side.
func start(servers []*server) error {
	var group errgroup.Group
	for _, s := range servers {
		group.Go(func() error { return s.start() })
	}
	return group.Wait()
}

// everything is a power cut of all machines, but that what was written is on the disks.
func (k *killer) everything() error {
	for _, s := range k.s.servers() {
		s.kill()
		k.gone()
	}
	if err := k.s.postgres.Kill(); err != nil {
		return err
	}
	k.gone()
	for _, n := range k.s.kafka.Nodes {
		if err := n.Kill(); err != nil {
			return err
		}
		k.gone()
	}
	if err := k.s.postgres.Restart(k.t.Context()); err != nil {
		return err
	}
	for _, n := range k.s.kafka.Nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	// Nobody waits for Kafka.
	if err := start(k.s.servers()); err != nil {
		return err
	}
	if err := k.s.kafka.Ready(k.t.Context()); err != nil {
		return err
	}
	return k.s.ready()
}

func (k *killer) leader() error {
	var leader *server
	if err := await(patience, "a relay leads", func() bool { leader = k.s.leader(); return leader != nil }); err != nil {
		return err
	}
	return k.restart(leader)
}

func (k *killer) postgres() error {
	if err := k.s.postgres.Kill(); err != nil {
		return err
	}
	k.gone()
	return k.s.postgres.Restart(k.t.Context())
}

func (k *killer) broker(n *testservers.KafkaNode) error {
	if err := n.Kill(); err != nil {
		return err
	}
	k.gone()
	// The others go on without it, which is what counts.
	if _, err := k.load.probe(); err != nil {
		return fmt.Errorf("while a broker is away: %w", err)
	}
	k.well = time.Since(k.died)
	if err := n.Start(); err != nil {
		return err
	}
	return k.s.kafka.Ready(k.t.Context())
}

// at has a process die at a point.
func (k *killer) at(p crashpoint.Point) error {
	name := string(p)
	switch {
	case strings.HasPrefix(name, "store-"):
		return k.dies(pick(k.rand, k.s.catalogues), p, 1+k.rand.IntN(20), nothing)
	case p == crashpoint.RelayAfterLead:
		return k.asLeader(p, 1)
	case strings.HasPrefix(name, "relay-"):
		return k.asLeader(p, 1+k.rand.IntN(20))
	case strings.HasPrefix(name, "fold-"):
		return k.dies(pick(k.rand, k.s.nodes), p, 1+k.rand.IntN(20), nothing)
	default: // rebuild-
		n := pick(k.rand, k.s.nodes)
		n.kill()
		if err := n.lose(); err != nil {
			return err
		}
		return k.dies(n, p, 1, nothing)
	}
}

func nothing() error { return nil }

// dies has a server die at a point, and starts it again.
func (k *killer) dies(s *server, p crashpoint.Point, n int, do func() error) error {
	k.kills++ // it is killed to be armed
	if err := s.dies(p, n, do); err != nil {
		return err
	}
	k.gone()
	return s.start()
}

// asLeader has a catalogue die at a point of the relay, which only the leader comes to: the others are
// killed until it has.
func (k *killer) asLeader(p crashpoint.Point, n int) error {
	victim := pick(k.rand, k.s.catalogues)
	var others []*server
	err := k.dies(victim, p, n, func() error {
		for _, c := range k.s.catalogues {
			if c != victim {
				others = append(others, c)
				c.kill()
				k.kills++
			}
		}
		return nil
	})
	for _, c := range others {
		if err == nil {
			err = c.start()
		}
	}
	return err
}

func (k *killer) note(v *verdict) {
	k.total.commands += v.commands
	k.total.retried += v.retried
	k.total.replayed += v.replayed
	k.total.events += v.events
	k.total.lost += v.lost
	k.total.doubled += v.doubled
	k.total.reordered += v.reordered
}

// table prints what came of all kills.
func (k *killer) table() {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-30s %6s  %s\n", "killed", "times", "worst recovery")
	var worst time.Duration
	for _, name := range slices.Sorted(maps.Keys(k.done)) {
		d := k.done[name]
		fmt.Fprintf(&b, "%-30s %6d  %s\n", name, d.times, d.worst.Round(time.Millisecond))
		worst = max(worst, d.worst)
	}
	fmt.Fprintf(&b, "%-30s %6d  %s\n", "all, with those to arm a point", k.kills, worst.Round(time.Millisecond))
	fmt.Fprintf(&b, "%s\n", &k.total)
	k.t.Log(b.String())
}
