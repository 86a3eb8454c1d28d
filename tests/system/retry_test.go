package system

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
)

// place is where dev answers now, or a channel that is closed when it does again.
type place struct {
	admin string
	moved chan struct{}
}

func TestPromise1_CommandsSentAgainWithTheirKeysAfterKills_AllHappenOnce(t *testing.T) {
	t.Parallel()
	const writers, commands, kills = 6, 40, 4
	dir := t.TempDir()
	c := newClient(t)
	d := start(t, dir)
	var now atomic.Pointer[place]
	now.Store(&place{d.Admin, make(chan struct{})})

	f := &findings{}
	var done atomic.Int64
	var writing sync.WaitGroup
	for i := range writers {
		id := fmt.Sprintf("ten_w%d", i)
		steps := []step{{"POST", "", fmt.Sprintf(`{"id":%q,"name":"Name 0","hostnames":[],"home_region":"eu-west"}`, id)}}
		for n := range commands {
			steps = append(steps, step{"PATCH", "/" + id, fmt.Sprintf(`{"name":"Name %d"}`, n+1)})
		}
		writing.Go(func() {
			for n, s := range steps {
				if err := untilAnswered(c, &now, s, fmt.Sprintf("%s-%d", id, n)); err != nil {
					f.add("%s: %v", id, err)
					return
				}
				done.Add(1)
			}
		})
	}

	for i := range kills {
		// Somewhere in the part of the commands that is this kill's.
		target := int64((writers * (commands + 1)) * (i + 1) / (kills + 1))
		await(t, func() bool { return done.Load() >= target })
		<-time.After(time.Duration(rand.Int64N(int64(5 * time.Millisecond))))
		d.kill()
		d = start(t, dir)
		before := now.Swap(&place{d.Admin, make(chan struct{})})
		close(before.moved)
	}
	writing.Wait()
	f.report(t, "none")

	w := checkRegions(t, c, d)
	checkTopic(t, d.Kafka, w)
	for i := range writers {
		id := fmt.Sprintf("ten_w%d", i)
		var names []string
		for _, e := range w.Events {
			if e.Stream.String() != id {
				continue
			}
			p, err := e.Payload()
			if err != nil {
				t.Fatal(err)
			}
			switch p := p.(type) {
			case events.TenantRegistered:
				names = append(names, p.Name)
			case events.TenantRenamed:
				names = append(names, p.Name)
			}
		}
		if len(names) != commands+1 {
			t.Errorf("%s: got %d events from %d commands: %q", id, len(names), commands+1, names)
		}
		for n, name := range names {
			if want := fmt.Sprintf("Name %d", n); name != want {
				t.Errorf("%s: event %d says %q, want %q", id, n, name, want)
			}
		}
	}
	d.stop()
}

// untilAnswered sends a command with the same key until it is answered, wherever dev is.
func untilAnswered(c *client, now *atomic.Pointer[place], s step, key string) error {
	for {
		p := now.Load()
		r, err := c.try(s.method, p.admin+"/v1/tenants"+s.path, s.body, "Idempotency-Key: "+key)
		if err == nil && (r.status == http.StatusOK || r.status == http.StatusCreated) {
			return nil
		}
		if err == nil {
			return fmt.Errorf("%s %s with key %s: %d %s", s.method, s.path, key, r.status, r.body)
		}
		// Nobody knows whether it was done. It was killed, or is about to be.
		select {
		case <-p.moved:
		case <-c.t.Context().Done():
			return err
		case <-time.After(patience):
			return err
		}
	}
}

// await returns once something is so.
func await(t *testing.T, so func() bool) {
	t.Helper()
	soon := time.NewTicker(time.Millisecond)
	defer soon.Stop()
	late := time.After(patience)
	for !so() {
		select {
		case <-soon.C:
		case <-late:
			t.Fatalf("it is not so after %s", patience)
		}
	}
}
