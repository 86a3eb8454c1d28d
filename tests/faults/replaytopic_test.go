//go:build unix

package faults

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The topic is published again while writers write, and the catalogue that does it, or the command that
// asked for it, is killed now and then: the same command goes on, and ends.
func TestReplayTopic_ItsCatalogueAndItsCommandKilled_DoublesAndReordersNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := draw(t)
	s := open(t, options{kafka: 1})
	l := startLoad(t, s, r)
	pause(t, 2*time.Second)
	rounds := 3
	if long() {
		rounds = 30
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	resumed := 0
	for round := range rounds {
		var leader *server
		if err := await(patience, "a relay leads", func() bool { leader = s.leader(); return leader != nil }); err != nil {
			t.Fatal(err)
		}
		args := []string{"replay", "--topic", "--rate", "40", "--log-level", "warn"}
		if round > 0 { // all of it once; the log grows as long as the others run
			since, err := lately(leader)
			if err != nil {
				t.Fatal(err)
			}
			args = append(args, "--since", since)
		}
		ask := func(c *server) *exec.Cmd {
			cmd := exec.Command(path, append(args, "--admin", c.url)...)
			cmd.Env = environment()
			dieWithTests(cmd)
			return cmd
		}
		cmd := ask(leader)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := await(patience, "events are published again", func() bool {
			v, err := leader.metric("tenantry_relay_events_replayed_total")
			return err == nil && v != "0"
		}); err != nil {
			t.Fatal(err)
		}
		pause(t, 1500*time.Millisecond+time.Duration(r.Int64N(int64(time.Second)))) // it is noted each second how far it is
		if round%2 == 0 {
			leader.kill()
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		if round%2 == 0 {
			if err := leader.start(); err != nil {
				t.Fatal(err)
			}
		}
		if err := await(patience, "a relay leads", func() bool { leader = s.leader(); return leader != nil }); err != nil {
			t.Fatal(err)
		}
		out, err := ask(leader).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "published again: ") {
			t.Fatalf("the replay after the kill: %v\n%s", err, out)
		}
		if strings.Contains(string(out), "going on at position") {
			resumed++
		}
		t.Logf("round %d: %s", round, strings.TrimSpace(string(out)))
		if _, err := l.probe(); err != nil {
			t.Fatal(err)
		}
	}
	if resumed == 0 {
		t.Error("no replay went on where the one before was killed")
	}
	v := l.check()
	l.checkTopic(v)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// lately is a position some hundred events before the end of the log.
func lately(catalogue *server) (string, error) {
	v, err := catalogue.metric("tenantry_relay_head_position")
	if err != nil {
		return "", err
	}
	head, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return "", err
	}
	return strconv.Itoa(max(1, int(head)-200)), nil
}
