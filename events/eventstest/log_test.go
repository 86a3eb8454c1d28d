package eventstest_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
)

func TestLog_IsOneThatAStoreCouldHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := eventstest.Log(100).Draw(t, "log")
		if len(log) > 100 {
			t.Fatalf("got %d events, want 100 at most", len(log))
		}
		versions := make(map[events.StreamID]uint64)
		holders := make(map[events.Hostname]events.StreamID)
		for i, e := range log {
			if e.Position != uint64(i)+1 {
				t.Fatalf("event %d: got position %d", i+1, e.Position)
			}
			if versions[e.Stream]++; e.Version != versions[e.Stream] {
				t.Fatalf("%s at %d: got version %d, want %d", e.Stream, e.Position, e.Version, versions[e.Stream])
			}
			if i > 0 && e.Time.Before(log[i-1].Time) {
				t.Fatalf("position %d is before position %d in time", e.Position, e.Position-1)
			}
			p, err := e.Payload()
			if err != nil {
				t.Fatal(err)
			}
			switch p := p.(type) {
			case events.HostnameAttached:
				if holder, held := holders[p.Hostname]; held {
					t.Fatalf("position %d gives %s to %s, and %s has it", e.Position, p.Hostname, e.Stream, holder)
				}
				holders[p.Hostname] = e.Stream
			case events.HostnameDetached:
				if holders[p.Hostname] != e.Stream {
					t.Fatalf("position %d takes %s from %s, and %s has it", e.Position, p.Hostname, e.Stream, holders[p.Hostname])
				}
				delete(holders, p.Hostname)
			case events.TenantPurged:
				for h, holder := range holders {
					if holder == e.Stream {
						delete(holders, h)
					}
				}
			}
		}
		streams := eventstest.Streams(log)
		for id, stream := range streams {
			var err error
			switch id.Kind() {
			case events.KindTenant:
				_, err = events.FoldTenant(events.Tenant{}, stream)
			case events.KindDatabase:
				_, err = events.FoldDatabase(events.Database{}, stream)
			case events.KindGroup:
				_, err = events.FoldGroup(events.Group{}, stream)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A kind of event that never happens in these logs would be tested by none of the tests that use
// them.
func TestLog_EveryTypeHappens_AndHostnamesMoveBetweenTenants(t *testing.T) {
	happened := make(map[events.Type]bool)
	moves := 0
	for seed := range 300 {
		last := make(map[events.Hostname]events.StreamID)
		for _, e := range eventstest.Log(150).Example(seed) {
			happened[e.Type] = true
			if p, err := e.Payload(); err == nil {
				if p, ok := p.(events.HostnameAttached); ok {
					if before, was := last[p.Hostname]; was && before != e.Stream {
						moves++
					}
					last[p.Hostname] = e.Stream
				}
			}
		}
	}
	for _, typ := range events.Types() {
		if !happened[typ] {
			t.Errorf("%s never happened", typ)
		}
	}
	if moves == 0 {
		t.Error("no hostname moved from one tenant to another")
	}
}
