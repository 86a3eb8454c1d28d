package commands

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
)

func TestHandler_Tenant_AsItWas_IsFoldedUpToThere(t *testing.T) {
	now := began
	s := newSystem(t)
	s.Handler = NewHandler(s.store, Config{HomeRegions: regions, Clock: func() time.Time { return now }})
	s.do(register(acme, "a.example")) // versions 1 and 2
	now = began.Add(time.Hour)
	s.do(ChangeTenant{ID: acme, Name: new("Later")}, DeactivateTenant{acme}) // 3 and 4
	now = began.Add(2 * time.Hour)
	s.do(PurgeTenant{acme}) // 5

	for _, tt := range []struct {
		name    string
		at      At
		version uint64 // 0: refused
	}{
		{"now", At{}, 5},
		{"at its first version", At{Version: 1}, 1},
		{"at its newest version", At{Version: 5}, 5},
		{"at a version to come", At{Version: 6}, 0},
		{"at the time of an event", At{Time: began}, 2},
		{"between two events", At{Time: began.Add(90 * time.Minute)}, 4},
		{"at a time to come", At{Time: began.Add(1000 * time.Hour)}, 5},
		{"before it was registered", At{Time: began.Add(-1)}, 0},
		{"at a version, and no later than a time", At{Version: 4, Time: began.Add(time.Minute)}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.Tenant(t.Context(), acme, tt.at)
			if tt.version == 0 {
				if CodeOf(err) != NotFound {
					t.Fatalf("got %+v, %v, want it refused as not found", got, err)
				}
				return
			}
			if err != nil || got.Version != tt.version {
				t.Errorf("got version %d, %v, want %d", got.Version, err, tt.version)
			}
		})
	}
	if got := s.tenant(acme); got.Status != events.StatusPurged || got.Name != "Later" {
		t.Errorf("got %+v, want the purged tenant", got)
	}
}

func TestHandler_Reads_OfWhatIsNotThere_AreNotFound(t *testing.T) {
	s := newSystem(t)
	s.do(database(db("one"), 3), CreateGroup{ID: grp("g"), Name: "G", Ring: new(2)})
	if d, err := s.Database(t.Context(), db("one")); err != nil || d.Capacity != 3 || d.Version != 1 {
		t.Errorf("got %+v, %v, want db_one", d, err)
	}
	if g, err := s.Group(t.Context(), grp("g")); err != nil || g.Ring != 2 {
		t.Errorf("got %+v, %v, want grp_g", g, err)
	}
	_, tenant := s.Tenant(t.Context(), acme, At{})
	_, database := s.Database(t.Context(), db("none"))
	_, group := s.Group(t.Context(), grp("none"))
	for _, err := range []error{tenant, database, group} {
		if CodeOf(err) != NotFound {
			t.Errorf("got %v, want not found", err)
		}
	}
}
