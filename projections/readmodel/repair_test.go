package readmodel

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
)

// damage changes records behind the model's back, and says which keys.
func damage(t *rapid.T, m *Model) []string {
	records := counted(all(t, m))
	keys := slices.Sorted(maps.Keys(records))
	var touched []string
	for range rapid.IntRange(1, 6).Draw(t, "damages") {
		key := ""
		var value []byte
		switch how := rapid.SampledFrom([]string{"delete", "alter", "swap", "cut", "add tenant", "add hostname", "add rubbish"}).Draw(t, "how"); {
		case how == "add tenant":
			key, value = "t/ten_stranger", []byte{0, 1, 1, 0, 0, 0, 0, 0}
		case how == "add hostname":
			key, value = "h/stranger.example", encodeClaim(rapid.Uint64().Draw(t, "position"), must(events.ParseTenantID("ten_a")))
		case how == "add rubbish":
			key = rapid.SampledFrom([]string{"t/rubbish", "h/..", "d/", "h/\xff", "zzz"}).Draw(t, "key")
			value = rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "value")
		case len(keys) == 0:
			continue
		default:
			key = rapid.SampledFrom(keys).Draw(t, "key")
			value = []byte(records[key])
			switch how {
			case "delete":
				value = nil
			case "alter":
				value[rapid.IntRange(0, len(value)-1).Draw(t, "octet")] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
			case "swap":
				value = []byte(records[rapid.SampledFrom(keys).Draw(t, "with")])
			case "cut":
				value = value[:rapid.IntRange(0, len(value)-1).Draw(t, "length")]
			}
		}
		touched = append(touched, key)
		if err := m.db.Update(func(txn *badger.Txn) error {
			if value == nil {
				return txn.Delete([]byte(key))
			}
			return txn.Set([]byte(key), value)
		}); err != nil {
			t.Fatal(err)
		}
	}
	return touched
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestRepair_OfAnyDamage_EndsEqual_AndTheSumsOnceTheyAreCounted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRegion(rt, t.TempDir(), eventstest.Log(60).Draw(rt, "log"), 2)
		defer func() {
			if err := r.model.Close(); err != nil {
				rt.Fatal(err)
			}
		}()
		quarantined := make(map[events.StreamID]bool)
		for _, id := range r.ids {
			n := rapid.IntRange(0, 60).Draw(rt, "events")
			quarantined[id] = rapid.IntRange(0, 5).Draw(rt, "quarantined at 0") == 0
			r.update(func(tx *Tx) error {
				if err := r.fold(tx, id, n); err != nil || !quarantined[id] {
					return err
				}
				return tx.SetQuarantine(Quarantine{Stream: id, Error: "test"})
			})
		}
		want := r.wanted(quarantined)
		if diff := cmp.Diff(want, counted(all(rt, r.model))); diff != "" {
			rt.Fatalf("before the damage (-want +got):\n%s", diff)
		}
		damage(rt, r.model)
		// Who compares has scanned it all, and needs not do it again afterwards.
		before, err := r.model.Inspect()
		if err != nil {
			rt.Fatal(err)
		}
		defer before.Close()
		scanned, err := before.Scanned(t.Context(), 0)
		if err != nil {
			rt.Fatal(err)
		}

		// What is stored and not wanted is dropped, and each stream is replaced: more than a repair would do.
		stored := counted(all(rt, r.model))
		r.update(func(tx *Tx) error {
			for key, value := range stored {
				if wanted, ok := want[key]; !ok || wanted != value {
					if err := tx.Drop(key); err != nil {
						return err
					}
				}
			}
			for _, id := range r.ids {
				var q *Quarantine
				if quarantined[id] {
					q = &Quarantine{Stream: id, Error: "test"}
				}
				if err := tx.Replace(id, r.entriesOf(id, r.folded[id], quarantined[id]), q); err != nil {
					return err
				}
			}
			return nil
		})
		if diff := cmp.Diff(want, counted(all(rt, r.model))); diff != "" {
			rt.Fatalf("after the repair (-want +got):\n%s", diff)
		}
		if rapid.Bool().Draw(rt, "scan again") {
			if err := r.model.Recount(t.Context()); err != nil {
				rt.Fatal(err)
			}
			if err := r.model.Recounted(before, scanned); !errors.Is(err, ErrRecounted) {
				rt.Fatalf("the same once more: got %v, want ErrRecounted", err)
			}
		} else if err := r.model.Recounted(before, scanned); err != nil {
			rt.Fatal(err)
		}
		r.check("recounted")
		r.reopen()
		r.check("reopened")
	})
}

func TestRepair_RemovedStreamLeavesNothing(t *testing.T) {
	m := emptyModel(t)
	empty := all(t, m)
	many(t, m, 1)
	id := must(events.ParseStreamID("ten_000000"))
	update := func(fn func(*Tx) error) {
		t.Helper()
		if err := m.Update(fn); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx *Tx) error { return tx.SetQuarantine(Quarantine{Stream: id, Error: "test"}) })
	if _, err := m.Lookup(must(events.ParseHostname("h000000.example"))); err != nil {
		t.Fatal(err)
	}
	update(func(tx *Tx) error {
		tx.Progress().Partitions[0].Position = 0
		return tx.Remove(id, "h/h000000.example")
	})
	got := all(t, m)
	page := pageKey(BucketOf(id) / pageBuckets)
	if got[page] != string(new(Sums).encodePage(BucketOf(id)/pageBuckets)) {
		t.Errorf("the sums still have it")
	}
	delete(got, page)
	if diff := cmp.Diff(empty, got); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	if doc, err := m.Lookup(must(events.ParseHostname("h000000.example"))); err == nil {
		t.Errorf("a look-up still answers %s", doc.Body)
	}
	if err := m.Update(func(tx *Tx) error { return tx.Drop(keyMeta) }); err == nil {
		t.Error("the meta record could be dropped")
	}
}

// The truth about a hostname may be with a tenant whose partition is ahead: who has it by a later event keeps it.
func TestRepair_OfATenant_TakesNoHostnameFromALaterClaim(t *testing.T) {
	m := emptyModel(t)
	h := must(events.ParseHostname("moving.example"))
	tenant := func(id string, position uint64) events.Tenant {
		return events.Tenant{ID: must(events.ParseTenantID(id)), Version: 1, Position: position, Hostnames: []events.Hostname{h}, Primary: h}
	}
	a, b := tenant("ten_a", 3), tenant("ten_b", 9)
	if err := m.Update(func(tx *Tx) error { return tx.PutTenant(b) }); err != nil {
		t.Fatal(err)
	}
	kvs := must(EntriesOfTenant(a, Claims{h: {Position: 3, Held: true}}, false))
	holders := func(tx *Tx) (string, uint64) {
		id, position, err := tx.Holder(h)
		if err != nil {
			t.Fatal(err)
		}
		return id.String(), position
	}
	if err := m.Update(func(tx *Tx) error {
		if err := tx.Replace(a.ID.Stream(), kvs, nil); err != nil {
			return err
		}
		if id, position := holders(tx); id != "ten_b" || position != 9 {
			t.Errorf("after the repair: got %s since %d, want ten_b since 9", id, position)
		}
		if err := tx.Drop(HostnameKey(h)); err != nil {
			return err
		}
		if id, position := holders(tx); id != "" || position != 0 {
			t.Errorf("dropped: got %s since %d, want nobody", id, position)
		}
		return tx.Replace(a.ID.Stream(), kvs, nil)
	}); err != nil {
		t.Fatal(err)
	}
	if err := m.Update(func(tx *Tx) error {
		if id, position := holders(tx); id != "ten_a" || position != 3 {
			t.Errorf("after the entry was dropped: got %s since %d, want ten_a since 3", id, position)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := m.Update(func(tx *Tx) error { return tx.Replace(b.ID.Stream(), kvs, nil) }); err == nil {
		t.Error("a stream was replaced by another's records")
	}
}
