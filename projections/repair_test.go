package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

func streamID(t *testing.T, s string) events.StreamID {
	t.Helper()
	id, err := events.ParseStreamID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// repairLog has hostnames that moved, a purged tenant, a database and a group.
func repairLog(t *testing.T) []events.Event {
	return newHistory(t).
		add("db_x", events.DatabaseRegistered{Engine: "postgres", Region: "eu-west", Endpoint: events.Endpoint{Host: "a", Port: 1, SecretRef: "vault://x"}}).
		add("grp_g", events.GroupCreated{Name: "G", Ring: 1}).
		add("ten_a", events.TenantRegistered{Name: "A", HomeRegion: "eu-west", Group: groupID(t, "grp_g")}).
		add("ten_a", events.HostnameAttached{Hostname: hostname(t, "a.example")}).
		add("ten_a", events.HostnameAttached{Hostname: hostname(t, "moves.example")}).
		add("ten_a", events.HostnameDetached{Hostname: hostname(t, "moves.example")}).
		add("ten_b", events.TenantRegistered{Name: "B", HomeRegion: "eu-west"}).
		add("ten_b", events.HostnameAttached{Hostname: hostname(t, "moves.example")}).
		add("ten_b", events.HostnameAttached{Hostname: hostname(t, "b.example")}).
		add("ten_a", events.DatabaseAssigned{Database: databaseID(t, "db_x"), Name: "a"}).
		add("ten_gone", events.TenantRegistered{Name: "Gone", HomeRegion: "eu-west"}).
		add("ten_gone", events.HostnameAttached{Hostname: hostname(t, "gone.example")}).
		add("ten_gone", events.TenantDeactivated{}).
		add("ten_gone", events.TenantPurged{}).log
}

// sumsOf are the sums of what is stored.
func sumsOf(t *testing.T, m *readmodel.Model) readmodel.Sums {
	t.Helper()
	in, err := m.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	sums, err := in.Scanned(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return *sums
}

func TestRepair_WhateverIsWrongWithAStream_EndsAsTheSourceSays(t *testing.T) {
	const rubbish = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffrubbish"
	log := repairLog(t)
	claim := func(position byte, tenant string) string { return string([]byte{position}) + tenant }
	for name, test := range map[string]struct {
		damage  map[string]string
		change  func(tx *readmodel.Tx) error
		repairs []Repair
	}{
		"nothing": {repairs: []Repair{{Stream: streamID(t, "ten_a")}, {Stream: streamID(t, "db_x")}, {Stream: streamID(t, "ten_gone")}}},
		"a tenant's record is rubbish": {
			damage:  map[string]string{"t/ten_a": rubbish},
			repairs: []Repair{{Stream: streamID(t, "ten_a"), Hostnames: []events.Hostname{hostname(t, "a.example")}}},
		},
		"a database's and a group's records are rubbish": {
			damage:  map[string]string{"d/db_x": rubbish, "g/grp_g": rubbish},
			repairs: []Repair{{Stream: streamID(t, "db_x")}, {Stream: streamID(t, "grp_g")}},
		},
		"a tenant's entry is rubbish": {
			damage:  map[string]string{"h/b.example": rubbish},
			repairs: []Repair{{Keys: []string{"h/b.example"}}, {Stream: streamID(t, "ten_b"), Hostnames: []events.Hostname{hostname(t, "moves.example")}}},
		},
		"a tenant is missing": {
			change: func(tx *readmodel.Tx) error {
				return tx.Remove(streamID(t, "ten_b"), "h/b.example", "h/moves.example")
			},
			repairs: []Repair{{Stream: streamID(t, "ten_b")}},
		},
		"a tenant that the source does not have": {
			change: func(tx *readmodel.Tx) error {
				return tx.PutTenant(events.Tenant{ID: tenantID(t, "ten_x"), Version: 1, Position: 3, Name: "X", Status: events.StatusActive, HomeRegion: "eu-west", Hostnames: []events.Hostname{hostname(t, "x.example")}})
			},
			repairs: []Repair{{Stream: streamID(t, "ten_x"), Hostnames: []events.Hostname{hostname(t, "x.example")}}},
		},
		"a tenant that was purged": {
			change: func(tx *readmodel.Tx) error {
				return tx.PutTenant(events.Tenant{ID: tenantID(t, "ten_gone"), Version: 2, Position: 12, Name: "Gone", Status: events.StatusActive, HomeRegion: "eu-west"})
			},
			damage:  map[string]string{"h/gone.example": claim(12, "ten_gone")},
			repairs: []Repair{{Stream: streamID(t, "ten_gone"), Hostnames: []events.Hostname{hostname(t, "gone.example")}}},
		},
		"a hostname is another tenant's, by a later claim, its holder first": {
			damage:  map[string]string{"h/a.example": claim(14, "ten_b")},
			repairs: []Repair{{Stream: streamID(t, "ten_a")}, {Stream: streamID(t, "ten_b"), Hostnames: []events.Hostname{hostname(t, "a.example"), hostname(t, "moves.example"), hostname(t, "b.example")}}},
		},
		"a hostname is another tenant's, by a later claim, the other first": {
			damage:  map[string]string{"h/a.example": claim(120, "ten_b")},
			repairs: []Repair{{Stream: streamID(t, "ten_b"), Hostnames: []events.Hostname{hostname(t, "a.example"), hostname(t, "moves.example"), hostname(t, "b.example")}}, {Stream: streamID(t, "ten_a")}},
		},
		"a hostname is nobody's": {
			damage:  map[string]string{"h/b.example": claim(13, ""), "h/a.example": claim(120, "")},
			repairs: []Repair{{Stream: streamID(t, "ten_b"), Hostnames: []events.Hostname{hostname(t, "moves.example")}}, {Stream: streamID(t, "ten_a")}},
		},
		"a hostname is its last holder's again": {
			damage:  map[string]string{"h/moves.example": claim(5, "ten_a")},
			repairs: []Repair{{Stream: streamID(t, "ten_a"), Hostnames: []events.Hostname{hostname(t, "moves.example"), hostname(t, "a.example")}}, {Stream: streamID(t, "ten_b")}},
		},
		"a hostname has a wrong position": {
			damage:  map[string]string{"h/b.example": claim(3, "ten_b"), "h/a.example": claim(99, "ten_a")},
			repairs: []Repair{{Stream: streamID(t, "ten_b"), Hostnames: []events.Hostname{hostname(t, "b.example"), hostname(t, "moves.example")}}, {Stream: streamID(t, "ten_a"), Hostnames: []events.Hostname{hostname(t, "a.example")}}},
		},
		"a stream is in quarantine for nothing": {
			change: func(tx *readmodel.Tx) error {
				return tx.SetQuarantine(readmodel.Quarantine{Stream: streamID(t, "ten_a"), Position: 3, Version: 1, Error: "no"})
			},
			repairs: []Repair{{Stream: streamID(t, "ten_a")}},
		},
		"keys that are nothing": {
			damage:  map[string]string{"t/\xff\x00": "x", "h/not a hostname": "y"},
			repairs: []Repair{{Keys: []string{"t/\xff\x00", "h/not a hostname"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, 3, log)
			for _, records := range published(n.source.id, log, 3, byKey(3)) {
				n.mustDeliver(records...)
			}
			for p, records := range published(n.source.id, log, 3, byKey(3)) {
				last := uint64(0)
				if len(records) > 0 {
					last = records[len(records)-1].Event.Position
				}
				n.mustDeliver(watermark(n.source.id, p, log[len(log)-1], last, log[0].Time))
			}
			want := sumsOf(t, n.model)
			if test.change != nil {
				if err := n.model.Update(test.change); err != nil {
					t.Fatal(err)
				}
			}
			n.damage(test.damage)
			done, err := RepairModel(t.Context(), n.model, n.source, test.repairs, nil)
			if err != nil || done != len(test.repairs) {
				t.Fatalf("mended %d: %v", done, err)
			}
			checkEquals(t, n.model, log)
			if got := sumsOf(t, n.model); got != want {
				t.Errorf("what is stored is not what was: %d buckets differ", len(got.Differing(&want)))
			}
			if list, err := n.model.Quarantined(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("in quarantine: %v, %v", list, err)
			}
		})
	}
}

// A stream may go on in the source beyond what the copy has: that is for the topic to bring.
func TestRepair_CopyThatIsBehind_IsMendedAsFarAsItHasCome(t *testing.T) {
	log := repairLog(t)
	n := newNode(t, 1, log)
	records := published(n.source.id, log, 1, byKey(1))[0]
	n.mustDeliver(records[:5]...) // ten_a has both hostnames
	n.damageLive(map[string]func(tx *readmodel.Tx) error{"forget": func(tx *readmodel.Tx) error { return tx.Forget(streamID(t, "ten_a")) }})
	if _, err := RepairModel(t.Context(), n.model, n.source, []Repair{{Stream: streamID(t, "ten_a")}}, nil); err != nil {
		t.Fatal(err)
	}
	doc, err := n.model.Lookup(hostname(t, "moves.example"))
	if err != nil || doc.Version != 3 {
		t.Errorf("got %+v, %v, want version 3", doc, err)
	}
	n.mustDeliver(records[5:]...)
	checkEquals(t, n.model, log)
}

func (n *node) damageLive(changes map[string]func(tx *readmodel.Tx) error) {
	n.t.Helper()
	for name, change := range changes {
		if err := n.model.Update(change); err != nil {
			n.t.Fatalf("%s: %v", name, err)
		}
	}
}

func TestRepair_SourceOfAnotherIdentityOrAway_ChangesNothing(t *testing.T) {
	log := repairLog(t)
	n := newNode(t, 1, log)
	n.mustDeliver(published(n.source.id, log, 1, byKey(1))[0]...)
	want := sumsOf(t, n.model)
	n.source.id[0] ^= 1
	if _, err := RepairModel(t.Context(), n.model, n.source, []Repair{{Stream: streamID(t, "ten_a")}}, nil); !errors.Is(err, errOtherStore) {
		t.Errorf("got %v, want errOtherStore", err)
	}
	n.source.away = true
	if _, err := RepairModel(t.Context(), n.model, n.source, []Repair{{Stream: streamID(t, "ten_a")}}, nil); !errors.Is(err, errAway) {
		t.Errorf("got %v, want errAway", err)
	}
	if got := sumsOf(t, n.model); got != want {
		t.Error("something was changed")
	}
}

func TestRepair_OnALiveNodeUnderLoad_LetsNoVersionGoBackAndEndsEqual(t *testing.T) {
	const tenants = 20
	h := newHistory(t)
	for i := range tenants {
		id := fmt.Sprintf("ten_t%d", i)
		h.add(id, events.TenantRegistered{Name: id, HomeRegion: "eu-west"})
		h.add(id, events.HostnameAttached{Hostname: hostname(t, fmt.Sprintf("t%d.example", i))})
	}
	s := newStage(t, h.log)
	s.publish(len(h.log))
	p, _ := s.start(Config{})
	s.awaitPosition(p, len(h.log))
	over := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
			}
			h.add(fmt.Sprintf("ten_t%d", i%tenants), events.TenantRenamed{Name: fmt.Sprint("Name ", i)})
			s.extend(h.log)
			s.publish(len(h.log))
		}
	})
	running.Go(func() {
		var seen [tenants]uint64
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
			}
			doc, err := p.Live().Lookup(hostname(t, fmt.Sprintf("t%d.example", i%tenants)))
			if err != nil || doc.Version < seen[i%tenants] {
				t.Errorf("tenant %d: got %+v, %v, and version %d was there", i%tenants, doc, err, seen[i%tenants])
				return
			}
			seen[i%tenants] = doc.Version
		}
	})
	for i := range 300 {
		n, err := p.Repair(t.Context(), []Repair{{Stream: streamID(t, fmt.Sprintf("ten_t%d", i%tenants)), Hostnames: []events.Hostname{hostname(t, fmt.Sprintf("t%d.example", i%tenants))}}})
		if n != 1 || err != nil {
			t.Errorf("repair: %d, %v", n, err)
			break
		}
	}
	close(over)
	running.Wait()
	s.awaitPosition(p, len(h.log))
	checkEquals(t, p.Live(), h.log)
	in, err := p.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if got, want := in.Maintained(), sumsOf(t, p.Live().Model()); got != want {
		t.Error("the sums are not what is stored")
	}
}

// What a replay of the topic publishes again finds what a copy has lost without knowing it.
func TestProjector_EventPublishedAgainThatTheCopyHasLost_FoldsItsStreamAnew(t *testing.T) {
	log := repairLog(t)
	n := newNode(t, 1, log)
	records := published(n.source.id, log, 1, byKey(1))[0]
	n.mustDeliver(records...)
	n.damageLive(map[string]func(tx *readmodel.Tx) error{
		"a": func(tx *readmodel.Tx) error { return tx.Remove(streamID(t, "ten_a"), "h/a.example") },
	})
	n.damage(map[string]string{"t/ten_b": "rubbish"})
	for i := range records {
		records[i].Replayed = uint64(len(log))
	}
	n.mustDeliver(records...)
	checkEquals(t, n.model, log)
	n.sumsAreOfWhatIsStored()
}

// Its own log says, in events that were not folded, that it has let them go; who had them since has let them go, too, and
// nothing here tells of that any more.
func TestRepair_OfAStreamInQuarantine_GivesItNoHostnameThatItMayHaveLetGo(t *testing.T) {
	a, b, kept := hostname(t, "a.example"), hostname(t, "b.example"), hostname(t, "kept.example")
	log := newHistory(t).
		add("ten_a", events.TenantRegistered{Name: "A", HomeRegion: "eu-west"}).
		add("ten_a", events.HostnameAttached{Hostname: a}).
		add("ten_a", events.HostnameAttached{Hostname: b}).
		add("ten_a", events.HostnameAttached{Hostname: kept}).
		add("ten_a", events.TenantRegistered{Name: "once more", HomeRegion: "eu-west"}). // 5: does not fold
		add("ten_a", events.HostnameDetached{Hostname: a}).
		add("ten_a", events.HostnameDetached{Hostname: b}).
		add("ten_b", events.TenantRegistered{Name: "B", HomeRegion: "eu-west"}).
		add("ten_b", events.HostnameAttached{Hostname: a}).
		add("ten_b", events.HostnameDetached{Hostname: a}).
		add("ten_b", events.TenantRenamed{Name: "end"}).log
	n := newNode(t, 1, log)
	n.mustDeliver(published(n.source.id, log, 1, byKey(1))[0]...)
	if swept, err := n.model.Sweep(1000); swept != 1 || err != nil {
		t.Fatalf("swept %d, %v, want what ten_b has let go", swept, err)
	}
	want := sumsOf(t, n.model)
	for _, test := range []struct {
		name    string
		damage  map[string]string
		repairs []Repair
	}{
		{"nothing is wrong", nil, []Repair{{Stream: streamID(t, "ten_a")}}},
		{"with a hostname's entry", map[string]string{"h/a.example": "\x02ten_a"}, []Repair{{Keys: []string{"h/a.example"}}, {Stream: streamID(t, "ten_a"), Hostnames: []events.Hostname{b, kept}}}},
		{"an entry has another position", map[string]string{"h/b.example": "\x01ten_a"}, []Repair{{Stream: streamID(t, "ten_a"), Hostnames: []events.Hostname{b, kept}}}},
		{"one that it cannot have let go is rubbish", map[string]string{"h/kept.example": "\xff"}, []Repair{{Stream: streamID(t, "ten_a")}}},
	} {
		n.damage(test.damage)
		if done, err := RepairModel(t.Context(), n.model, n.source, test.repairs, nil); done != len(test.repairs) || err != nil {
			t.Fatalf("%s: mended %d, %v", test.name, done, err)
		}
		if got := sumsOf(t, n.model); got != want {
			_, err := n.model.Lookup(a)
			t.Errorf("%s: what is stored is not what was: a.example answers %v", test.name, err)
		}
	}
	n.damage(map[string]string{"h/a.example": "\xff"})
	if _, err := RepairModel(t.Context(), n.model, n.source, []Repair{{Stream: streamID(t, "ten_a")}}, nil); err != nil {
		t.Fatal(err)
	}
	if got := sumsOf(t, n.model); got != want {
		t.Error("rubbish for an entry that may be another's became this stream's")
	}
}

// untrue is a source that answers otherwise than it should.
type untrue struct {
	*memorySource
	behind int                                     // it ends before its end so many times that it is asked
	cut    func(log []events.Event) []events.Event // what it tells of a stream; nil: all
	asked  int                                     // for its head
	asking func(time int)                          // called before it is asked for its head; nil: nothing is
}

func (u *untrue) Head(ctx context.Context) (events.Head, error) {
	u.asked++
	if u.asking != nil {
		u.asking(u.asked)
	}
	h, err := u.memorySource.Head(ctx)
	if u.asked <= u.behind {
		h.Position--
	}
	return h, err
}

func (u *untrue) Load(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	log, err := u.memorySource.Load(ctx, id, after)
	if u.cut != nil {
		log = u.cut(log)
	}
	return log, err
}

func nothing([]events.Event) []events.Event        { return nil }
func first(log []events.Event) []events.Event      { return log[:min(1, len(log))] }
func allButLast(log []events.Event) []events.Event { return log[:max(0, len(log)-1)] }

// What stands between may answer for another catalogue, or one that was restored this moment.
func TestRepair_HistoryThatIsNotAllThereIs_ChangesNothing(t *testing.T) {
	log := repairLog(t)
	for _, test := range []struct {
		name, stream string
		cut          func([]events.Event) []events.Event
	}{
		{"no tenant", "ten_b", nothing}, {"no database", "db_x", nothing}, {"no group", "grp_g", nothing}, {"a purged tenant that never was", "ten_gone", nothing},
		{"a tenant's first event", "ten_b", first}, {"all but a tenant's last", "ten_b", allButLast}, {"all but the purge", "ten_gone", allButLast},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t, 1, log)
			n.mustDeliver(published(n.source.id, log, 1, byKey(1))[0]...)
			want := sumsOf(t, n.model)
			repair := Repair{Stream: streamID(t, test.stream), Hostnames: []events.Hostname{hostname(t, "b.example"), hostname(t, "moves.example")}}
			done, err := RepairModel(t.Context(), n.model, &untrue{memorySource: n.source, cut: test.cut}, []Repair{repair}, nil)
			if done != 0 || !errors.Is(err, errNotBelieved) {
				t.Errorf("mended %d, %v, want errNotBelieved", done, err)
			}
			if got := sumsOf(t, n.model); got != want {
				t.Error("something was changed")
			}
		})
	}
}

// The copy says nothing of it any more, but who has compared has read what there is.
func TestRepair_HistoryThatIsNotWhatWasCompared_ChangesNothing(t *testing.T) {
	log := repairLog(t)
	n := newNode(t, 1, log)
	n.mustDeliver(published(n.source.id, log, 1, byKey(1))[0]...)
	id := streamID(t, "ten_b")
	in, err := n.model.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	record, err := in.Record("t/ten_b")
	if err := errors.Join(err, in.Close()); err != nil {
		t.Fatal(err)
	}
	e, _ := readmodel.KV{Key: "t/ten_b", Value: record}.Entry()
	whole := sumsOf(t, n.model)
	n.damageLive(map[string]func(tx *readmodel.Tx) error{"b": func(tx *readmodel.Tx) error { return tx.Remove(id, "h/b.example", "h/moves.example") }})
	want := sumsOf(t, n.model)
	repairs := []Repair{{Stream: id, Read: &Read{UpTo: uint64(len(log)), Digest: e.Digest}}, {Stream: streamID(t, "ten_never"), Read: &Read{UpTo: uint64(len(log))}}}
	for _, cut := range []func([]events.Event) []events.Event{nothing, first, allButLast} {
		done, err := RepairModel(t.Context(), n.model, &untrue{memorySource: n.source, cut: cut}, repairs, nil)
		if done != 1 || !errors.Is(err, errNotBelieved) {
			t.Errorf("mended %d, %v, want the one that there never was, and errNotBelieved", done, err)
		}
		if got := sumsOf(t, n.model); got != want {
			t.Error("something was changed")
		}
	}
	if done, err := RepairModel(t.Context(), n.model, n.source, repairs, nil); done != 2 || err != nil {
		t.Errorf("by all that there is: mended %d, %v", done, err)
	}
	if got := sumsOf(t, n.model); got != whole {
		t.Error("it is not what it was")
	}
}

// Another tenant's history says whose a hostname is, too: here one whose partition has come further.
func TestRepair_HistoryOfAHostnamesHolderThatIsNotAllThereIs_TakesNothingFromHim(t *testing.T) {
	const partitions = 3
	log := repairLog(t)
	a, b := events.Partition("ten_a", partitions), events.Partition("ten_b", partitions)
	if a == b {
		t.Fatal("the two are to be in partitions of their own")
	}
	n := newNode(t, partitions, log)
	records := published(n.source.id, log, partitions, byKey(partitions))
	n.mustDeliver(records[b]...)
	for _, r := range records[a] {
		if r.Event.Position <= 5 { // ten_a has moves.example still
			n.mustDeliver(r)
		}
	}
	want := sumsOf(t, n.model)
	cut := func(log []events.Event) []events.Event {
		return slices.DeleteFunc(log, func(e events.Event) bool { return e.Stream == streamID(t, "ten_b") })
	}
	for _, forgotten := range []bool{false, true} {
		if forgotten { // so that the entry alone tells of it
			n.damageLive(map[string]func(tx *readmodel.Tx) error{"b": func(tx *readmodel.Tx) error { return tx.Forget(streamID(t, "ten_b")) }})
		}
		if _, err := RepairModel(t.Context(), n.model, &untrue{memorySource: n.source, cut: cut}, []Repair{{Stream: streamID(t, "ten_a")}}, nil); !errors.Is(err, errNotBelieved) {
			t.Errorf("got %v, want errNotBelieved", err)
		}
	}
	if done, err := RepairModel(t.Context(), n.model, n.source, []Repair{{Stream: streamID(t, "ten_a")}, {Stream: streamID(t, "ten_b")}}, nil); done != 2 || err != nil {
		t.Errorf("by all that there is: mended %d, %v", done, err)
	}
	if got := sumsOf(t, n.model); got != want {
		t.Error("it is not what it was")
	}
}

func TestRepair_FromASourceThatIsBehind_WaitsForIt_AndThenSaysSo(t *testing.T) {
	log := repairLog(t)
	n := newNode(t, 1, log)
	n.mustDeliver(published(n.source.id, log, 1, byKey(1))[0]...)
	repairs := []Repair{{Stream: streamID(t, "ten_b")}}
	catchesUp := &untrue{memorySource: n.source, behind: 3}
	if done, err := RepairModel(t.Context(), n.model, catchesUp, repairs, nil); done != 1 || err != nil {
		t.Errorf("one that catches up: mended %d, %v", done, err)
	}
	never := &untrue{memorySource: n.source, behind: 1 << 30}
	m := newMender(n.model.Update, never, time.Now, n.log)
	m.patience = 2 * headPause
	if done, err := m.all(t.Context(), repairs); done != 0 || !errors.Is(err, ErrSourceBehind) || never.asked > 10 {
		t.Errorf("one that does not: mended %d, %v, asked %d times, want ErrSourceBehind after a few", done, err, never.asked)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := RepairModel(ctx, n.model, &untrue{memorySource: n.source, behind: 1 << 30}, repairs, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestRepair_OfACopyThatGoesOnFasterThanTheSourceAnswers_EndsAndSaysSo(t *testing.T) {
	all := newHistory(t)
	all.log = repairLog(t)
	n := newNode(t, 1, all.log)
	n.mustDeliver(published(n.source.id, all.log, 1, byKey(1))[0]...)
	times := 0 // that the copy comes further while the source tells of a stream
	src := &untrue{memorySource: n.source, cut: func(log []events.Event) []events.Event {
		if times > 0 {
			times--
			all.add(fmt.Sprintf("ten_new%d", len(all.log)), events.TenantRegistered{Name: "N", HomeRegion: "eu-west"})
			n.source.log = all.log
			e := all.log[len(all.log)-1]
			n.mustDeliver(record{Record: events.Record{Event: e, Previous: e.Position - 1, StoreID: n.source.id}})
		}
		return log
	}}
	for forTimes, mended := range map[int]int{3: 1, 1 << 30: 0} {
		times = forTimes
		m := newMender(n.model.Update, src, time.Now, n.log)
		m.patience = 50 * time.Millisecond
		done, err := m.all(t.Context(), []Repair{{Stream: streamID(t, "ten_b")}})
		if _, left := errors.AsType[*UnmendedError](err); done != mended || left != (mended == 0) || left != errors.Is(err, errGoesOn) {
			t.Errorf("when that happens %d times: mended %d, %v", forTimes, done, err)
		}
	}
}

// The copy gets an event of it, and is damaged, before another stream is read that an entry names.
func TestRepair_OfAStreamThatHasGoneOnSinceItWasRead_ReadsItAgain(t *testing.T) {
	const partitions = 3
	before := repairLog(t)
	h := newHistory(t)
	h.log = slices.Clone(before)
	for _, e := range before {
		h.versions[e.Stream] = e.Version
	}
	log := h.add("ten_a", events.TenantRenamed{Name: "Another"}).log
	n := newNode(t, partitions, before)
	records := published(n.source.id, log, partitions, byKey(partitions))
	a, b := events.Partition("ten_a", partitions), events.Partition("ten_b", partitions)
	n.mustDeliver(records[b]...)
	later := slices.IndexFunc(records[a], func(r record) bool { return r.Event.Position > 5 }) // ten_a has moves.example still
	n.mustDeliver(records[a][:later]...)
	src := &untrue{memorySource: n.source, asking: func(time int) {
		if time == 2 { // before ten_b is read
			n.source.log = log
			n.mustDeliver(records[a][later:]...)
			n.damageLive(map[string]func(tx *readmodel.Tx) error{"a": func(tx *readmodel.Tx) error { return tx.Forget(streamID(t, "ten_a")) }})
		}
	}}
	if done, err := RepairModel(t.Context(), n.model, src, []Repair{{Stream: streamID(t, "ten_a")}}, nil); done != 1 || err != nil {
		t.Fatalf("mended %d, %v", done, err)
	}
	if len(n.source.log) == len(before) {
		t.Fatal("ten_b was not asked for")
	}
	if doc, err := n.model.Lookup(hostname(t, "a.example")); err != nil || !strings.Contains(string(doc.Body), "Another") {
		t.Errorf("got %+v, %v, want what it was renamed to", doc, err)
	}
}

// A preview comes and goes with each change that somebody proposes.
func TestRepair_OfATenantThatHasLetGoThousandsOfHostnames_IsDone(t *testing.T) {
	h := newHistory(t).add("ten_a", events.TenantRegistered{Name: "A", HomeRegion: "eu-west"})
	for i := range 6000 {
		name := hostname(t, fmt.Sprintf("pr-%05d.example", i))
		h.add("ten_a", events.HostnameAttached{Hostname: name}).add("ten_a", events.HostnameDetached{Hostname: name})
	}
	h.add("ten_a", events.HostnameAttached{Hostname: hostname(t, "a.example")})
	n := newNode(t, 1, h.log)
	records := published(n.source.id, h.log, 1, byKey(1))[0]
	for batch := range slices.Chunk(records, 500) {
		n.mustDeliver(batch...)
	}
	want := sumsOf(t, n.model)
	n.damage(map[string]string{"t/ten_a": "rubbish", "h/pr-00017.example": "\x03ten_a", "h/a.example": "rubbish"})
	done, err := RepairModel(t.Context(), n.model, n.source, []Repair{{Stream: streamID(t, "ten_a"), Hostnames: []events.Hostname{hostname(t, "pr-00017.example")}}}, nil)
	if done != 1 || err != nil {
		t.Fatalf("mended %d, %v", done, err)
	}
	if got := sumsOf(t, n.model); got != want {
		t.Errorf("what is stored is not what was: %d buckets differ", len(got.Differing(&want)))
	}
}

// Partitions that have not come so far could bring an older claim of what was let go, so that each needs a tombstone.
func TestRepair_OfAStreamThatDoesNotFitIntoAnUpdate_LeavesItAndMendsTheOthers(t *testing.T) {
	h := newHistory(t).add("ten_a", events.TenantRegistered{Name: "A", HomeRegion: "eu-west"})
	for i := range 6000 {
		name := hostname(t, fmt.Sprintf("pr-%05d.example", i))
		h.add("ten_a", events.HostnameAttached{Hostname: name}).add("ten_a", events.HostnameDetached{Hostname: name})
	}
	h.add("ten_z", events.TenantRegistered{Name: "Z", HomeRegion: "eu-west"})
	n := newNode(t, 2, h.log) // nothing comes in the second partition
	records := published(n.source.id, h.log, 2, func(events.StreamID) int { return events.Partition("ten_a", 2) })[events.Partition("ten_a", 2)]
	if events.Partition("ten_a", 2) != events.Partition("ten_z", 2) {
		t.Fatal("the two are to be in one partition")
	}
	for batch := range slices.Chunk(records, 500) {
		n.mustDeliver(batch...)
	}
	n.damageLive(map[string]func(tx *readmodel.Tx) error{"z": func(tx *readmodel.Tx) error { return tx.Forget(streamID(t, "ten_z")) }})
	done, err := RepairModel(t.Context(), n.model, n.source, []Repair{{Stream: streamID(t, "ten_a")}, {Stream: streamID(t, "ten_z")}}, nil)
	left, ok := errors.AsType[*UnmendedError](err)
	if done != 1 || !ok || len(left.Streams) != 1 || left.Streams[0].Stream != streamID(t, "ten_a") || !errors.Is(err, readmodel.ErrTooBig) {
		t.Errorf("mended %d, %v, want all but ten_a", done, err)
	}
	if doc, err := n.model.Tenant(tenantID(t, "ten_z")); err != nil {
		t.Errorf("ten_z: %+v, %v", doc, err)
	}

	// Nor does it hold up what is published again of the others.
	n.damageLive(map[string]func(tx *readmodel.Tx) error{
		"a": func(tx *readmodel.Tx) error { return tx.Forget(streamID(t, "ten_a")) }, "z": func(tx *readmodel.Tx) error { return tx.Forget(streamID(t, "ten_z")) },
	})
	again := []record{records[0], records[1], records[len(records)-1]}
	for i := range again {
		again[i].Replayed = uint64(len(h.log))
	}
	n.mustDeliver(again...)
	if doc, err := n.model.Tenant(tenantID(t, "ten_z")); err != nil {
		t.Errorf("ten_z, published again: %+v, %v", doc, err)
	}
}

func TestProjector_EventPublishedAgainOfWhichTheSourceDoesNotTell_IsGoneOnFrom(t *testing.T) {
	log := repairLog(t)
	n := newNode(t, 1, log)
	records := published(n.source.id, log, 1, byKey(1))[0]
	n.mustDeliver(records...)
	n.damageLive(map[string]func(tx *readmodel.Tx) error{
		"a": func(tx *readmodel.Tx) error { return tx.Forget(streamID(t, "ten_a")) }, "b": func(tx *readmodel.Tx) error { return tx.Forget(streamID(t, "ten_b")) },
	})
	n.cfg.Source = &untrue{memorySource: n.source, cut: func(log []events.Event) []events.Event {
		return slices.DeleteFunc(log, func(e events.Event) bool { return e.Stream == streamID(t, "ten_a") })
	}}
	for i := range records {
		records[i].Replayed = uint64(len(log))
	}
	n.mustDeliver(records...)
	if _, err := n.model.Tenant(tenantID(t, "ten_a")); !errors.Is(err, readmodel.ErrUnknown) {
		t.Errorf("ten_a: %v", err)
	}
	if _, err := n.model.Tenant(tenantID(t, "ten_b")); err != nil {
		t.Errorf("ten_b: %v", err)
	}
}
