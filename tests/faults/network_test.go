//go:build unix

package faults

import (
	"fmt"
	"testing"
	"time"
)

// fault is something wrong with a way between two parts.
type fault struct {
	name  string
	begin func(l *link) (mend func() error, err error)
}

func toxic(direction, kind, attributes string) func(*link) (func() error, error) {
	return func(l *link) (func() error, error) { return l.spoil(direction, kind, attributes) }
}

// held is for how long a way that holds packets does so.
const held = 30 * time.Second

var networkFaults = []fault{
	{"latency there", toxic(up, "latency", `{"latency":300,"jitter":200}`)},
	{"latency back", toxic(down, "latency", `{"latency":300,"jitter":200}`)},
	{"20 KB/s there", toxic(up, "bandwidth", `{"rate":20}`)},
	{"20 KB/s back", toxic(down, "bandwidth", `{"rate":20}`)},
	{"reset", toxic(down, "reset_peer", `{"timeout":50}`)},
	{"no way there", toxic(up, "timeout", `{"timeout":0}`)},
	{"no way back", toxic(down, "timeout", `{"timeout":0}`)},
	{"cut", (*link).cut},
	// What is on its way comes when it has been held, or the fault is over.
	{"held there", toxic(up, "latency", fmt.Sprintf(`{"latency":%d}`, held.Milliseconds()))},
	{"held back", toxic(down, "latency", fmt.Sprintf(`{"latency":%d}`, held.Milliseconds()))},
}

func TestNetwork_EachWayWithEachFault_LosesDoublesAndReordersNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	t.Parallel()
	r := draw(t)
	s := open(t, options{kafka: 1, through: true})
	l := startLoad(t, s, r)
	ways := []string{"catalogue-0=postgres", "catalogues=kafka-1", "regions=kafka-1", "eu-west-0=source", "us-east-1=source"}

	// In each round each way has another fault, so that after all rounds each has had all.
	for round := range networkFaults {
		var mend []func() error
		what := ""
		lasts := time.Duration(1+r.IntN(2000)) * time.Millisecond
		for i, way := range ways {
			f := networkFaults[(round+2*i)%len(networkFaults)]
			undo, err := f.begin(s.links.by[way])
			if err != nil {
				t.Fatal(err)
			}
			mend = append(mend, undo)
			what += fmt.Sprintf(", %s: %s", way, f.name)
			if f.name == "held there" && long() {
				lasts = held + time.Second
			}
		}
		// A node that builds its copy anew needs its source all the while.
		victim := s.nodes[(round%2)*3] // eu-west-0 or us-east-1
		victim.kill()
		if err := victim.lose(); err != nil {
			t.Fatal(err)
		}
		if err := victim.start(); err != nil {
			t.Fatal(err)
		}
		pause(t, lasts)
		for _, undo := range mend {
			if err := undo(); err != nil {
				t.Fatal(err)
			}
		}
		l.well(t, fmt.Sprintf("%s of faults%s", lasts, what))
	}
	v := l.check()
	l.checkTopic(v)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
