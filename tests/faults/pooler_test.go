//go:build unix

package faults

import (
	"errors"
	"testing"
	"time"
)

// TestPooler is about a pgbouncer in transaction mode before all that may go through one.
func TestPooler_BeforeCataloguesAndNodes_LosesDoublesAndReordersNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := draw(t)
	s := open(t, options{postgres: true, pooler: true})
	l := startLoad(t, s, r)
	for _, fault := range []struct {
		what string
		do   func() error
	}{
		{"the leading relay is killed", func() error {
			leader := s.leader()
			if leader == nil {
				return errors.New("no relay leads")
			}
			leader.kill()
			return leader.start()
		}},
		// The pooler's sessions are among them: its clients stay connected.
		{"all sessions are ended, again and again", s.endSessionsTimes(20)},
		{"a node loses its copy, and builds it through the pooler", func() error {
			n := s.nodes[0]
			n.kill()
			if err := n.lose(); err != nil {
				return err
			}
			return n.start()
		}},
	} {
		if err := await(patience, "a relay leads", func() bool { return s.leader() != nil }); err != nil {
			t.Fatal(err)
		}
		pause(t, time.Second)
		if err := fault.do(); err != nil {
			t.Fatalf("%s: %v", fault.what, err)
		}
		l.well(t, fault.what)
	}
	v := l.check()
	l.checkTopic(v)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
