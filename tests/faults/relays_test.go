//go:build unix

package faults

import (
	"syscall"
	"testing"
	"time"
)

func TestRelays_TheLeaderPausedWhileAnotherTakesOver_DoubleAndReorderNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := draw(t)
	s := open(t, options{})
	l := startLoad(t, s, r)
	rounds := 4
	if long() {
		rounds = 40
	}
	for range rounds {
		pause(t, time.Duration(r.Int64N(int64(time.Second))))
		var old, next *server
		if err := await(patience, "a relay leads", func() bool { old = s.leader(); return old != nil }); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := old.signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		err := await(patience, "another relay leads", func() bool { next = s.leaderBut(old); return next != nil })
		took := time.Since(began)
		if err == nil {
			// The new one has written when a node shows what was commanded meanwhile.
			_, err = l.probeAt(next)
		}
		pause(t, time.Duration(r.Int64N(int64(time.Second))))
		if more := old.signal(syscall.SIGCONT); err == nil {
			err = more
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s was paused; %s led after %s", old.name, next.name, took.Round(time.Millisecond))
		if err := await(patience, "the old leader knows that it leads no more", func() bool {
			v, err := old.metric("tenantry_relay_leading")
			return err == nil && v == "0"
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.probe(); err != nil {
			t.Fatal(err)
		}
	}
	v := l.check()
	l.checkTopic(v) // not even the topic has anything twice
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
