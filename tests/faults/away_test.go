//go:build unix

package faults

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// TestAway_OfWhatIsUpstream is about engines that are slow or gone; readers, who run all the while,
// must not notice anything of it.
func TestAway_OfWhatIsUpstream_CommandsAreToldAndLookUpsGoOn(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := draw(t)
	s := open(t, options{postgres: true, kafka: 1, through: true})
	l := startLoad(t, s, r)
	goneFor := 5 * time.Second
	if long() {
		goneFor = time.Minute
	}

	for _, away := range []struct {
		what       string
		begin, end func() error
	}{
		{"PostgreSQL is gone", s.postgres.Kill, func() error { return s.postgres.Restart(t.Context()) }},
		{"PostgreSQL hangs", s.signalPostgres(syscall.SIGSTOP), s.signalPostgres(syscall.SIGCONT)},
		{"PostgreSQL hangs up", s.cut("catalogue-0=postgres", "catalogue-1=postgres"), s.mend("catalogue-0=postgres", "catalogue-1=postgres")},
	} {
		what := away.what
		if err := away.begin(); err != nil {
			t.Fatal(err)
		}
		for _, c := range s.catalogues {
			for range 3 {
				began := time.Now()
				status, header, body, err := c.put("/v1/tenants/ten_t0/config/away", `{"value":1}`)
				if err != nil || status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%s: %s answers a command after %s: %d %v %v %s, want 503 with Retry-After", what, c.name, time.Since(began), status, err, header, body)
				}
				t.Logf("%s: %s answers 503 after %s", what, c.name, time.Since(began).Round(time.Millisecond))
			}
		}
		if err := away.end(); err != nil {
			t.Fatal(err)
		}
		l.well(t, what)
	}

	// Kafka: commands are taken, and the relay catches up.
	if err := await(patience, "a relay publishes, and knows its lag", func() bool {
		c := s.leader()
		if c == nil {
			return false
		}
		_, err := c.metric("tenantry_relay_lag_events")
		return err == nil
	}); err != nil {
		t.Fatal(err)
	}
	refused := l.history.count503()
	if err := s.kafka.Nodes[0].Pause(); err != nil {
		t.Fatal(err)
	}
	pause(t, goneFor)
	if n := l.history.count503(); n != refused {
		t.Errorf("while Kafka hangs %d commands were answered 503", n-refused)
	}
	// A leader shows its lag. One that came to lead meanwhile has not seen the topic, and knows none:
	// then it is that nobody publishes which an operator sees.
	lag, publishing := "none that is known", "1"
	if c := s.leader(); c != nil {
		if known, err := c.metric("tenantry_relay_lag_events"); err == nil {
			lag = known
		}
		publishing, _ = c.metric("tenantry_relay_publishing")
	}
	if n, err := strconv.ParseFloat(lag, 64); (err != nil || n < 1) && publishing != "0" {
		t.Errorf("while Kafka hangs the relay's lag is %s, and tenantry_relay_publishing %q: want some events, or 0", lag, publishing)
	}
	if err := s.kafka.Nodes[0].Continue(); err != nil {
		t.Fatal(err)
	}
	l.well(t, fmt.Sprintf("Kafka hung for %s, and the lag was %s events", goneFor, lag))

	// A node that is cut off says how old it may be, and catches up by itself.
	cut := []string{"regions=kafka-1", "eu-west-0=source", "eu-west-1=source", "us-east-0=source", "us-east-1=source"}
	if err := await(patience, "every node has heard just now that it is complete", func() bool {
		for _, n := range s.nodes {
			if complete, err := n.completeAt(); err != nil || time.Since(complete) > 2*time.Second {
				return false
			}
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := s.cut(cut...)(); err != nil {
		t.Fatal(err)
	}
	gone := time.Now()
	pause(t, goneFor)
	for _, n := range s.nodes {
		asked := time.Now()
		complete, err := n.completeAt()
		if err != nil || complete.After(gone) || complete.Before(began.Add(-3*time.Second)) {
			t.Errorf("%s was cut off at %s, and at %s says that it was complete at %s (%v)", n.name, gone, asked, complete, err)
		}
	}
	if err := s.mend(cut...)(); err != nil {
		t.Fatal(err)
	}
	l.well(t, fmt.Sprintf("the regions were cut off for %s", goneFor))

	// 2 s a statement: a look-up asks nobody. The times are for who reads this; the machine has
	// other things to do.
	quick := medianLookUp(t, s.nodes)
	var mend []func() error
	for _, way := range []string{"catalogue-0=postgres", "catalogue-1=postgres", "eu-west-0=source", "us-east-0=source"} {
		undo, err := s.links.by[way].spoil(down, "latency", `{"latency":2000}`)
		if err != nil {
			t.Fatal(err)
		}
		mend = append(mend, undo)
	}
	slow := medianLookUp(t, s.nodes)
	for _, undo := range mend {
		if err := undo(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("half of all look-ups take %s at most; %s while PostgreSQL takes 2 s a statement", quick, slow)
	l.well(t, "PostgreSQL took 2 s a statement")

	v := l.check()
	l.checkTopic(v)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

func (s *system) signalPostgres(sig syscall.Signal) func() error {
	return func() error {
		for _, pid := range s.postgres.PIDs() {
			// A child may have ended meanwhile.
			if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH {
				return err
			}
		}
		return nil
	}
}

// cut cuts ways, until mend.
func (s *system) cut(ways ...string) func() error {
	return func() error {
		for _, way := range ways {
			s.links.by[way].proxy.Stop()
		}
		return nil
	}
}

func (s *system) mend(ways ...string) func() error {
	return func() error {
		for _, way := range ways {
			if err := s.links.by[way].proxy.Start(); err != nil {
				return err
			}
		}
		return nil
	}
}

// count503 is how many answers were 503.
func (h *history) count503() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refused
}

// completeAt is when a node knew last that it had everything, by what it says of its staleness.
func (s *server) completeAt() (time.Time, error) {
	asked := time.Now()
	resp, err := s.http.Get(s.url + "/v1/lookup/own-t0.example")
	if err != nil {
		return time.Time{}, err
	}
	defer resp.Body.Close()
	ms, err := strconv.ParseInt(resp.Header.Get("Tenantry-Staleness"), 10, 64)
	return asked.Add(-time.Duration(ms) * time.Millisecond), err
}

// medianLookUp is how long half of some look-ups take at most.
func medianLookUp(t *testing.T, nodes []*server) time.Duration {
	t.Helper()
	var all []time.Duration
	for range 200 {
		for _, n := range nodes {
			began := time.Now()
			status, body, err := n.look("/v1/lookup/own-t1.example")
			all = append(all, time.Since(began))
			if err != nil || status != http.StatusOK {
				t.Errorf("a look-up at %s: %d %v %s", n.name, status, err, body)
			}
		}
	}
	slices.Sort(all)
	return all[len(all)/2]
}
