//go:build unix

package faults

import (
	"testing"
	"time"
)

// A broker that hangs keeps its connections and answers nothing, which is worse than one that is gone.
func TestKafka_EachBrokerHangsInTurn_DoublesAndReordersNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := draw(t)
	s := open(t, options{kafka: 3})
	l := startLoad(t, s, r)
	rounds := 1
	if long() {
		rounds = 10
	}
	for range rounds {
		for _, n := range s.kafka.Nodes {
			pause(t, time.Duration(r.Int64N(int64(time.Second))))
			began := time.Now()
			if err := n.Pause(); err != nil {
				t.Fatal(err)
			}
			// The others go on without it, and all nodes show what is commanded meanwhile.
			_, err := l.probe()
			took := time.Since(began)
			if more := n.Continue(); err == nil {
				err = more
			}
			if err != nil {
				t.Fatalf("while broker %d hangs: %v", n.ID, err)
			}
			t.Logf("broker %d hung: well again after %s", n.ID, took.Round(time.Millisecond))
			if err := s.kafka.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := l.probe(); err != nil {
				t.Fatalf("after broker %d hung: %v", n.ID, err)
			}
		}
	}
	v := l.check()
	l.checkTopic(v)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
