package projections

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// spoilt is the log with one event that this program cannot read.
func spoilt(log []events.Event, position uint64) []events.Event {
	out := append([]events.Event(nil), log...)
	out[position-1].Data = jsontext.Value(`{"from":"the future"}`)
	return out
}

func TestProjector_EventThatCannotBeFolded_StopsItsOwnTenantAndNoOther(t *testing.T) {
	log := newHistory(t).
		add("ten_good", events.TenantRegistered{Name: "Good", HomeRegion: "eu-west"}).
		add("ten_bad", events.TenantRegistered{Name: "Bad", HomeRegion: "eu-west"}).
		add("ten_bad", events.HostnameAttached{Hostname: hostname(t, "bad.example")}).
		add("ten_bad", events.TenantRenamed{Name: "Worse"}).
		add("ten_bad", events.TenantRenamed{Name: "Worst"}).
		add("ten_good", events.TenantRenamed{Name: "Better"}).
		add("ten_good", events.HostnameAttached{Hostname: hostname(t, "good.example")}).log
	n := newNode(t, 1, spoilt(log, 4))
	n.mustDeliver(published(n.source.id, spoilt(log, 4), 1, byKey(1))[0]...)

	good, err := n.model.Lookup(hostname(t, "good.example"))
	if err != nil {
		t.Fatal(err)
	}
	if good.Quarantined || good.Version != 3 {
		t.Errorf("the other tenant: quarantined %t at version %d, want false at 3", good.Quarantined, good.Version)
	}
	bad, err := n.model.Lookup(hostname(t, "bad.example"))
	if err != nil {
		t.Fatal(err)
	}
	if !bad.Quarantined || bad.Version != 2 || !strings.Contains(string(bad.Body), `"name":"Bad"`) {
		t.Errorf("want the last good context, flagged; got quarantined %t at version %d: %s", bad.Quarantined, bad.Version, bad.Body)
	}
	list, err := n.model.Quarantined(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Stream.String() != "ten_bad" || list[0].Position != 4 || list[0].Version != 3 || list[0].Error == "" {
		t.Errorf("quarantine: got %+v", list)
	}
	if got := n.model.Progress().Position(); got != uint64(len(log)) {
		t.Errorf("position: got %d, want %d: a tenant in quarantine holds up nothing", got, len(log))
	}

	// The next start is with a program that can read it.
	n.source.log = log
	n.retried = false
	if err := n.retryQuarantined(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkEquals(t, n.model, log)
	if list, err := n.model.Quarantined(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("still in quarantine: %+v, %v", list, err)
	}
	if bad, err = n.model.Lookup(hostname(t, "bad.example")); err != nil || bad.Quarantined {
		t.Errorf("still flagged: %+v, %v", bad, err)
	}
}

func TestProjector_StreamThatStillDoesNotFold_StaysInQuarantineWhole(t *testing.T) {
	log := newHistory(t).
		add("ten_bad", events.TenantRegistered{Name: "Bad", HomeRegion: "eu-west"}).
		add("ten_bad", events.HostnameAttached{Hostname: hostname(t, "bad.example")}).
		add("ten_bad", events.TenantRenamed{Name: "Worse"}).
		add("ten_bad", events.TenantRenamed{Name: "Worst"}).log
	n := newNode(t, 1, spoilt(log, 3))
	n.mustDeliver(published(n.source.id, spoilt(log, 3), 1, byKey(1))[0]...)
	n.source.log = spoilt(log, 4) // version 3 folds now, version 4 does not
	if err := n.retryQuarantined(t.Context()); err != nil {
		t.Fatal(err)
	}
	doc, err := n.model.Lookup(hostname(t, "bad.example"))
	if err != nil || !doc.Quarantined || doc.Version != 2 {
		t.Errorf("got %+v, %v, want version 2, flagged", doc, err)
	}
}

func TestProjector_DatabaseInQuarantine_LeavesItsTenantsTheLastGoodEndpoint(t *testing.T) {
	log := newHistory(t).
		add("db_x", events.DatabaseRegistered{Engine: "postgres", Region: "eu-west", Endpoint: events.Endpoint{Host: "a", Port: 1, SecretRef: "vault://x"}}).
		add("ten_a", events.TenantRegistered{Name: "A", HomeRegion: "eu-west"}).
		add("ten_a", events.HostnameAttached{Hostname: hostname(t, "a.example")}).
		add("ten_a", events.DatabaseAssigned{Database: databaseID(t, "db_x"), Name: "a"}).
		add("db_x", events.DatabaseEndpointChanged{Endpoint: events.Endpoint{Host: "b", Port: 2, SecretRef: "vault://x"}}).
		add("ten_a", events.TenantActivated{}).log
	n := newNode(t, 1, spoilt(log, 5))
	n.mustDeliver(published(n.source.id, spoilt(log, 5), 1, byKey(1))[0]...)
	doc, err := n.model.Lookup(hostname(t, "a.example"))
	if err != nil || !strings.Contains(string(doc.Body), `"host":"a"`) || !strings.Contains(string(doc.Body), `"status":"active"`) {
		t.Fatalf("got %v, %v", doc, err)
	}
	if !doc.Quarantined {
		t.Error("the document has an old endpoint and is not flagged")
	}
	n.source.log = log
	if err := n.retryQuarantined(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkEquals(t, n.model, log)
	if doc, err = n.model.Lookup(hostname(t, "a.example")); err != nil || doc.Quarantined {
		t.Errorf("still flagged: %+v, %v", doc, err)
	}
}

// What stands between may answer that there is no such stream.
func TestProjector_StreamInQuarantineOfWhichTheSourceDoesNotTell_StaysInQuarantine(t *testing.T) {
	log := newHistory(t).
		add("ten_bad", events.TenantRegistered{Name: "Bad", HomeRegion: "eu-west"}).
		add("ten_bad", events.HostnameAttached{Hostname: hostname(t, "bad.example")}).
		add("ten_bad", events.TenantRenamed{Name: "Worse"}).log
	n := newNode(t, 1, spoilt(log, 3))
	n.mustDeliver(published(n.source.id, spoilt(log, 3), 1, byKey(1))[0]...)
	n.source.log = log
	n.cfg.Source = &untrue{memorySource: n.source, cut: nothing}
	if err := n.retryQuarantined(t.Context()); err != nil {
		t.Fatal(err)
	}
	if doc, err := n.model.Lookup(hostname(t, "bad.example")); err != nil || !doc.Quarantined || doc.Version != 2 {
		t.Errorf("got %+v, %v, want version 2, flagged", doc, err)
	}
}
