package projections

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tenantry/tenantry/events"
)

// quarantinedStreams are those in quarantine, one after the other.
func (n *node) quarantinedStreams() string {
	n.t.Helper()
	list, err := n.model.Quarantined(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	var names []string
	for _, q := range list {
		if q.Error == "" {
			n.t.Errorf("%s is in quarantine without a reason", q.Stream)
		}
		names = append(names, q.Stream.String())
	}
	return strings.Join(names, " ")
}

// Events that can be folded and not stored stand in the middle of a batch of good ones.
func TestProjector_EventThatCannotBeStored_StopsItsOwnTenantAndNoOther(t *testing.T) {
	for name, value := range map[string]string{
		"more than a transaction holds": `"` + strings.Repeat("x", 3<<20) + `"`,
		"more than a value may have":    `"` + strings.Repeat("x", 20<<20) + `"`,
		"nested too deep to be written": strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999),
	} {
		for way, run := range map[string]func(n *node, log []events.Event) error{
			"from the topic": func(n *node, log []events.Event) error {
				return n.deliver(published(n.source.id, log, 1, byKey(1))[0]...)
			},
			"from the source, to heal": func(n *node, log []events.Event) error {
				records := published(n.source.id, log, 1, byKey(1))[0]
				return n.deliver(records[len(records)-1])
			},
			"from the source, to build a copy": func(n *node, log []events.Event) error {
				_, _, _, err := n.foldLog(log)
				return err
			},
		} {
			t.Run(name+" "+way, func(t *testing.T) {
				h := newHistory(t)
				for i := range 40 {
					h.add(fmt.Sprintf("ten_before%d", i), events.TenantRegistered{Name: "Before", HomeRegion: "eu-west"})
				}
				h.add("ten_bad", events.TenantRegistered{Name: "Bad", HomeRegion: "eu-west"}).
					add("ten_bad", events.HostnameAttached{Hostname: hostname(t, "bad.example")}).
					add("ten_bad", events.ConfigSet{Key: "k", Value: jsontext.Value(value)}).
					add("ten_bad", events.TenantActivated{})
				for i := range 40 {
					h.add(fmt.Sprintf("ten_after%d", i), events.TenantRegistered{Name: "After", HomeRegion: "eu-west"})
				}
				n := newNode(t, 1, h.log)
				if err := run(n, h.log); err != nil {
					t.Fatal(err)
				}
				if got := n.quarantinedStreams(); got != "ten_bad" {
					t.Errorf("in quarantine: got %q, want ten_bad", got)
				}
				bad, err := n.model.Lookup(hostname(t, "bad.example"))
				if err != nil || !bad.Quarantined || bad.Version != 2 {
					t.Errorf("got %+v, %v, want the context before that event, flagged", bad, err)
				}
				if _, err := n.model.Tenant(tenantID(t, "ten_after39")); err != nil {
					t.Errorf("a tenant behind it: %v", err)
				}
				if got := n.model.Progress().Position(); got != uint64(len(h.log)) {
					t.Errorf("position: got %d, want %d", got, len(h.log))
				}
				// Made anew or not, each event is counted once.
				for o, want := range map[outcome]int{folded: 82, quarantined: 1, skipped: 1, duplicate: 0} {
					got := testutil.ToFloat64(n.metrics.foldedByOut[o])
					if o == duplicate && way == "from the source, to heal" {
						want = 1 // the record behind the gap, which was healed too
					}
					if o != duplicate && got != float64(want) || o == duplicate && got > float64(want) {
						t.Errorf("counted as %d: got %v, want %d", o, got, want)
					}
				}
				// It is tried again at the next start, and is no better then.
				if err := n.retryQuarantined(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := n.quarantinedStreams(); got != "ten_bad" {
					t.Errorf("after another try: got %q, want ten_bad", got)
				}
			})
		}
	}
}

func TestProjector_DatabaseAndGroupThatCannotBeStored_LeaveTheirTenantsFlagged(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	log := newHistory(t).
		add("db_old", events.DatabaseRegistered{Engine: "postgres", Region: "eu-west", Endpoint: events.Endpoint{Host: "a", Port: 1, SecretRef: "vault://x"}}).
		add("ten_old", events.TenantRegistered{Name: "Old", HomeRegion: "eu-west"}).
		add("ten_old", events.DatabaseAssigned{Database: databaseID(t, "db_old"), Name: "a"}).
		add("db_old", events.DatabaseEndpointChanged{Endpoint: events.Endpoint{Host: long, Port: 2, SecretRef: "vault://x"}}).
		add("db_new", events.DatabaseRegistered{Engine: "postgres", Region: "eu-west", Endpoint: events.Endpoint{Host: long, Port: 1, SecretRef: "vault://x"}}).
		add("ten_new", events.TenantRegistered{Name: "New", HomeRegion: "eu-west"}).
		add("ten_new", events.DatabaseAssigned{Database: databaseID(t, "db_new"), Name: "n"}).
		add("grp_new", events.GroupCreated{Name: long, Ring: 1}).
		add("ten_grouped", events.TenantRegistered{Name: "Grouped", HomeRegion: "eu-west", Group: groupID(t, "grp_new")}).
		add("ten_fine", events.TenantRegistered{Name: "Fine", HomeRegion: "eu-west"}).log
	n := newNode(t, 1, log)
	n.mustDeliver(published(n.source.id, log, 1, byKey(1))[0]...)
	if got := n.quarantinedStreams(); got != "db_new db_old grp_new" {
		t.Errorf("in quarantine: got %q", got)
	}
	for id, want := range map[string]struct {
		flagged bool
		part    string
	}{
		"ten_old":     {true, `"host":"a"`},
		"ten_new":     {true, `"database":{"id":"db_new","pending":true}`},
		"ten_grouped": {true, `"group":{"id":"grp_new","pending":true}`},
		"ten_fine":    {false, `"name":"Fine"`},
	} {
		doc, err := n.model.Tenant(tenantID(t, id))
		if err != nil || doc.Quarantined != want.flagged || !strings.Contains(string(doc.Body), want.part) {
			t.Errorf("%s: got %+v, %v, want flagged %t and %s", id, doc, err, want.flagged, want.part)
		}
	}
}

// An event may quote what no JSON may hold.
func TestProjector_ReasonThatIsNoText_IsKeptAllTheSame(t *testing.T) {
	log := newHistory(t).add("ten_bad", events.TenantRegistered{Name: "Bad", HomeRegion: "eu-west"}).log
	log[0].Type = events.Type("\xff\xfe" + strings.Repeat("z", 1<<20))
	log[0].Data = jsontext.Value("\xff{")
	n := newNode(t, 1, log)
	n.mustDeliver(published(n.source.id, log, 1, byKey(1))[0]...)
	if got := n.quarantinedStreams(); got != "ten_bad" {
		t.Errorf("in quarantine: got %q, want ten_bad", got)
	}
}

// damage writes into the stopped copy behind the projector's back.
func (n *node) damage(values map[string]string) {
	n.t.Helper()
	if err := n.model.Close(); err != nil {
		n.t.Fatal(err)
	}
	db, err := badger.Open(badger.DefaultOptions(n.cfg.Dir.Path("gen-0001")).WithLogger(nil))
	if err != nil {
		n.t.Fatal(err)
	}
	if err := db.Update(func(txn *badger.Txn) error {
		for key, value := range values {
			if err := txn.Set([]byte(key), []byte(value)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		n.t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		n.t.Fatal(err)
	}
	m, err := n.projector.openModel("gen-0001")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = m.Close() })
	n.model = m
}

func TestProjector_RecordOfItsOwnCopyThatIsDamaged_IsFoldedAnewFromTheSource(t *testing.T) {
	const rubbish = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffrubbish"
	log := newHistory(t).
		add("db_x", events.DatabaseRegistered{Engine: "postgres", Region: "eu-west", Endpoint: events.Endpoint{Host: "a", Port: 1, SecretRef: "vault://x"}}).
		add("grp_g", events.GroupCreated{Name: "G", Ring: 1}).
		add("ten_a", events.TenantRegistered{Name: "A", HomeRegion: "eu-west", Group: groupID(t, "grp_g")}).
		add("ten_a", events.HostnameAttached{Hostname: hostname(t, "a.example")}).
		add("ten_a", events.HostnameAttached{Hostname: hostname(t, "b.example")}).
		add("ten_a", events.HostnameDetached{Hostname: hostname(t, "b.example")}).
		add("ten_b", events.TenantRegistered{Name: "B", HomeRegion: "eu-west"}).
		add("ten_b", events.HostnameAttached{Hostname: hostname(t, "b.example")}).
		add("ten_a", events.DatabaseAssigned{Database: databaseID(t, "db_x"), Name: "a"}).log
	next := &history{t: t, log: append([]events.Event(nil), log...), versions: map[events.StreamID]uint64{}}
	for _, e := range log {
		next.versions[e.Stream] = e.Version
	}
	next.add("ten_a", events.TenantActivated{}).
		add("db_x", events.DatabaseEndpointChanged{Endpoint: events.Endpoint{Host: "b", Port: 2, SecretRef: "vault://x"}}).
		add("grp_g", events.GroupChanged{Name: "G", Ring: 5}).
		add("ten_b", events.TenantRenamed{Name: "Bee"}).
		add("ten_a", events.HostnameDetached{Hostname: hostname(t, "a.example")})
	n := newNode(t, 1, next.log)
	records := published(n.source.id, next.log, 1, byKey(1))[0]
	n.mustDeliver(records[:len(log)]...)
	n.damage(map[string]string{"t/ten_a": rubbish, "d/db_x": rubbish, "g/grp_g": rubbish, "h/a.example": rubbish})
	n.mustDeliver(records[len(log):]...)
	if got := n.quarantinedStreams(); got != "" {
		t.Errorf("in quarantine: got %q, want none", got)
	}
	checkEquals(t, n.model, next.log)
	n.sumsAreOfWhatIsStored()
}

// sumsAreOfWhatIsStored holds that they are, after the next sweep.
func (n *node) sumsAreOfWhatIsStored() {
	n.t.Helper()
	n.countAnew(n.t.Context())
	if got, want := n.model.Sums(), sumsOf(n.t, n.model); got != want {
		n.t.Errorf("the sums are not of what is stored: %d buckets differ", len(got.Differing(&want)))
	}
}

func TestProjector_QuarantineWhoseRecordIsDamaged_IsTriedAgainAllTheSame(t *testing.T) {
	log := newHistory(t).
		add("ten_bad", events.TenantRegistered{Name: "Bad", HomeRegion: "eu-west"}).
		add("ten_bad", events.TenantRenamed{Name: "Worse"}).log
	n := newNode(t, 1, spoilt(log, 2))
	n.mustDeliver(published(n.source.id, spoilt(log, 2), 1, byKey(1))[0]...)
	n.damage(map[string]string{"q/ten_bad": "rubbish", "t/ten_bad": "\xff"})
	if got := n.quarantinedStreams(); got != "ten_bad" {
		t.Errorf("in quarantine: got %q, want ten_bad", got)
	}
	n.source.log = log
	if err := n.retryQuarantined(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := n.quarantinedStreams(); got != "" {
		t.Errorf("in quarantine: got %q, want none", got)
	}
	checkEquals(t, n.model, log)
	n.sumsAreOfWhatIsStored()
}

// Nothing is known of a record whose headers cannot be read but that there was one. What was in it
// shows in what comes next.
func TestProjector_RecordWithoutHeaders_IsPassedOverAndItsEventReadFromTheSource(t *testing.T) {
	log := roster(t, 3)
	n := newNode(t, 1, log)
	records := published(n.source.id, log, 1, byKey(1))[0]
	n.mustDeliver(records[:2]...)
	batch := []delivery{
		{partition: 0, offset: 2, key: "ten_t1", err: events.ErrBadRecord},
		{partition: 0, offset: 3, err: events.ErrBadRecord},
		{partition: 0, offset: 4, record: records[4].Record},
	}
	if err := n.apply(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	checkEquals(t, n.model, log[:5])
	if got := testutil.ToFloat64(n.metrics.badRecords); got != 2 {
		t.Errorf("records passed over: got %v, want 2", got)
	}
	if got := strings.Count(n.logged.String(), "passing over"); got != 1 {
		t.Errorf("told %d times, want once for both:\n%s", got, n.logged)
	}
	if got := n.model.Progress().Partitions[0].Offset; got != 5 {
		t.Errorf("offset: got %d, want 5", got)
	}
}

func tenantID(t *testing.T, s string) events.TenantID {
	t.Helper()
	id, err := events.ParseTenantID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
