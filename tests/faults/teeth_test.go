//go:build unix

package faults

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/tests/truth"
)

// stored is an event of a log, by the command that it is of.
func stored(t *testing.T, position uint64, stream string, version uint64, key string) events.Event {
	t.Helper()
	id, err := events.ParseStreamID(stream)
	if err != nil {
		t.Fatal(err)
	}
	return events.Event{Position: position, Stream: id, Version: version, Type: "x", Reason: key}
}

// answered is a command that was answered one event, asked for and answered at some seconds.
func answered(key, stream string, version, position uint64, called, returned int) outcome {
	o := outcome{key: key, status: 200, tries: 1, called: time.Duration(called) * time.Second, returned: time.Duration(returned) * time.Second}
	o.stream = stream
	o.answer.Version, o.answer.Position = version, position
	o.answer.Events = append(o.answer.Events, struct {
		Type     string `json:"type"`
		Version  uint64 `json:"version"`
		Position uint64 `json:"position"`
	}{"x", version, position})
	return o
}

func TestCheckAnswers_FindsWhatWasLostOrDoubled(t *testing.T) {
	a, b := answered("a", "ten_a", 1, 1, 0, 1), answered("b", "ten_a", 2, 2, 1, 2)
	refused := outcome{key: "b", status: 409}
	for _, c := range []struct {
		name          string
		round         []outcome
		log           []events.Event
		lost, doubled int
	}{
		{"all is well", []outcome{a, b}, []events.Event{stored(t, 1, "ten_a", 1, "a"), stored(t, 2, "ten_a", 2, "b")}, 0, 0},
		{"the end is lost", []outcome{a, b}, []events.Event{stored(t, 1, "ten_a", 1, "a")}, 1, 1},
		{"another stands there", []outcome{a, b}, []events.Event{stored(t, 1, "ten_a", 1, "a"), stored(t, 2, "ten_b", 2, "b")}, 1, 0},
		{"twice", []outcome{a}, []events.Event{stored(t, 1, "ten_a", 1, "a"), stored(t, 2, "ten_a", 2, "a")}, 0, 1},
		{"refused and stored", []outcome{a, refused}, []events.Event{stored(t, 1, "ten_a", 1, "a"), stored(t, 2, "ten_a", 2, "b")}, 0, 1},
		{"nobody's", []outcome{a}, []events.Event{stored(t, 1, "ten_a", 1, "a"), stored(t, 2, "ten_a", 2, "b")}, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, v := &load{t: t}, new(verdict)
			l.checkAnswers(v, c.round, &truth.Log{Events: c.log})
			if v.lost != c.lost || v.doubled != c.doubled || len(v.findings) != c.lost+c.doubled {
				t.Errorf("got %s, %q; want lost %d, doubled %d", v, v.findings, c.lost, c.doubled)
			}
		})
	}
}

func TestCheckOrder_FindsWhatNoOrderExplains(t *testing.T) {
	took := func(who string, called, returned int) outcome {
		o := answered(fmt.Sprint(who, called), who, 7, 0, called, returned)
		o.answer.Events = nil // so that it says nothing of the stream's version
		o.attach = []string{"h"}
		return o
	}
	gave := func(who string, called, returned int) outcome {
		o := took(who, called, returned)
		o.attach, o.detach = nil, "h"
		return o
	}
	taken := func(who, holder string, called, returned int) outcome {
		o := outcome{status: 409, called: time.Duration(called) * time.Second, returned: time.Duration(returned) * time.Second}
		o.stream, o.attach = who, []string{"h"}
		o.problem = problem{Type: "x/hostname-taken", Hostname: "h", Holder: holder}
		return o
	}
	stale := func(ifMatch, version uint64, called, returned int) outcome {
		o := outcome{status: 412, called: time.Duration(called) * time.Second, returned: time.Duration(returned) * time.Second}
		o.stream, o.ifMatch = "ten_a", ifMatch
		o.problem = problem{Type: "x/version-mismatch", CurrentVersion: version}
		return o
	}
	one, two, three := answered("1", "ten_a", 1, 1, 0, 1), answered("2", "ten_a", 2, 2, 1, 2), answered("3", "ten_a", 3, 3, 2, 3)
	for _, c := range []struct {
		name  string
		round []outcome
		well  bool
	}{
		{"versions rise", []outcome{three, one, two}, true},
		{"a version is missing", []outcome{one, three}, false},
		{"a version was given twice", []outcome{one, two, answered("4", "ten_a", 2, 2, 3, 4)}, false},
		{"a version before its time", []outcome{one, answered("5", "ten_a", 3, 3, 1, 2), answered("6", "ten_a", 2, 2, 3, 4)}, false},
		{"at the same time any order will do", []outcome{one, answered("5", "ten_a", 3, 3, 1, 9), answered("6", "ten_a", 2, 2, 1, 9)}, true},
		{"a mismatch says the version", []outcome{one, stale(7, 1, 1, 2), answered("8", "ten_a", 2, 2, 3, 4)}, true},
		{"a mismatch says an old version", []outcome{one, two, stale(7, 1, 4, 5)}, false},
		{"one after the other", []outcome{took("ten_a", 0, 1), gave("ten_a", 2, 3), took("ten_b", 4, 5)}, true},
		{"two have it", []outcome{took("ten_a", 0, 1), took("ten_b", 4, 5)}, false},
		{"another has it than is said", []outcome{took("ten_a", 0, 1), taken("ten_c", "ten_b", 4, 5)}, false},
		{"who has it is said", []outcome{took("ten_a", 0, 1), taken("ten_c", "ten_a", 4, 5)}, true},
		{"given by who does not have it", []outcome{took("ten_a", 0, 1), gave("ten_b", 2, 3)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, v := &load{t: t}, new(verdict)
			l.checkOrder(v, slices.Clone(c.round))
			if (v.reordered == 0) != c.well {
				t.Errorf("got %s, %q; want it to be well: %v", v, v.findings, c.well)
			}
		})
	}
}

func TestReaders_FindAVersionThatGoesBack(t *testing.T) {
	w := watch{versions: make(map[string]uint64)}
	for _, version := range []uint64{1, 2, 2, 5} {
		w.saw("node", "ten_a", version)
	}
	w.saw("other", "ten_a", 1)
	if w.back != 0 {
		t.Errorf("got %q, want nothing", w.findings)
	}
	w.saw("node", "ten_a", 4)
	if w.back != 1 || len(w.findings) != 1 {
		t.Errorf("got %d, %q; want one finding", w.back, w.findings)
	}
}
