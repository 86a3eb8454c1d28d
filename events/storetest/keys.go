package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/tenantry/tenantry/events"
)

// keyed is a batch of n events with an idempotency key.
func keyed(id events.StreamID, version uint64, n int, k *events.Key) events.Batch {
	b := batch(id, version, n)
	b.Key = k
	return b
}

// replayed appends again what was answered with first, and wants that answer.
func (f *fixture) replayed(b events.Batch, first events.Outcome) {
	f.Helper()
	before := f.head().Position
	out := f.append(b)
	f.sameOutcome(out, first)
	if after := f.head().Position; after != before {
		f.Errorf("a replay moved the head from %d to %d", before, after)
	}
}

// sameOutcome wants the outcome of before, now marked as replayed.
func (f *fixture) sameOutcome(got, first events.Outcome) {
	f.Helper()
	first.Replayed = true
	if len(got.Events) == 0 && len(first.Events) == 0 {
		got.Events, first.Events = nil, nil
	}
	if !reflect.DeepEqual(got, first) {
		f.Errorf("replayed outcome:\ngot  %+v\nwant %+v", got, first)
	}
}

func (f *fixture) wantKey(k events.Key, want bool) {
	f.Helper()
	_, known, err := f.Recall(f.ctx(), k)
	if err != nil || known != want {
		f.Errorf("recall %q: got %v, %v, want %v", k.Key, known, err, want)
	}
}

var keyContract = []contract{
	{"TheSameKeyWithTheSameFingerprintReturnsTheFirstOutcome", func(f *fixture) {
		b := keyed(tenant("acme"), 0, 3, key("k", 1))
		first := f.append(b)
		if first.Replayed {
			f.Error("the first outcome says that it is replayed")
		}
		f.replayed(b, first) // although its expected version is stale now
		f.append(batch(b.Stream, 3, 2))
		f.replayed(b, first) // and although the stream went on
		f.replayed(keyed(b.Stream, 5, 1, b.Key), first)
		f.sound()
	}},
	{"TheOutcomeOfAKeyComesBeforeAnythingElseIsChecked", func(f *fixture) {
		first := f.append(keyed(tenant("acme"), 0, 1, key("k", 1)))
		for _, r := range f.refusals() {
			b := r.batch
			b.Key = key("k", 1)
			f.replayed(b, first)
		}
	}},
	{"AnotherFingerprintIsRefusedWhateverElseIsRight", func(f *fixture) {
		f.append(keyed(tenant("acme"), 0, 1, key("k", 1)))
		f.refused(keyed(tenant("acme"), 1, 1, key("k", 2)), events.ErrKeyReused)
		f.refused(keyed(tenant("acme"), 9, 1, key("k", 2)), events.ErrKeyReused)
		f.refused(keyed(tenant("other"), 0, 1, key("k", 2)), events.ErrKeyReused)
	}},
	{"WithoutAKeyTheSameBatchTwiceIsAConflict", func(f *fixture) {
		b := batch(tenant("acme"), 0, 1)
		f.append(b)
		f.refused(b, events.ErrConflict)
	}},
	{"ARefusedBatchDoesNotUseUpItsKey", func(f *fixture) {
		f.create(tenant("acme"), 1)
		f.refused(keyed(tenant("acme"), 0, 1, key("k", 1)), events.ErrConflict)
		out := f.append(keyed(tenant("acme"), 1, 1, key("k", 2)))
		if out.Replayed {
			f.Error("the key was remembered with a refusal")
		}
	}},
	{"ABatchWithoutEventsIsRememberedByItsKey", func(f *fixture) {
		id := tenant("acme")
		f.create(id, 2)
		b := keyed(id, 2, 0, key("k", 1))
		first := f.append(b)
		if first.Version != 2 || first.Position != 2 || len(first.Events) != 0 || first.Replayed {
			f.Errorf("outcome: got %+v", first)
		}
		f.append(batch(id, 2, 1))
		f.replayed(b, first)
		f.refused(keyed(id, 3, 1, key("k", 2)), events.ErrKeyReused)
		f.refused(keyed(id, 2, 0, key("stale", 1)), events.ErrConflict)
	}},
	{"KeysOfOneBatchAfterTheOtherDoNotMeet", func(f *fixture) {
		// Names of which one begins with the other, in several scripts, and of great length.
		names := []string{"k", "kk", "k ", "K", "ключ", "鍵", "🗝", long("x", 255)}
		var first []events.Outcome
		for i, name := range names {
			first = append(first, f.append(keyed(tenant(fmt.Sprintf("t%d", i)), 0, 1+i, key(name, byte(i)))))
		}
		for i, name := range names {
			out, known, err := f.Recall(f.ctx(), *key(name, byte(i)))
			if err != nil || !known {
				f.Errorf("recall %q: got %v, %v", name, known, err)
			}
			f.sameOutcome(out, first[i])
		}
	}},
	{"SixteenWhoSendTheSameKeyAtOnceStoreItOnce", func(f *fixture) {
		for round := range 15 {
			b := keyed(tenant(fmt.Sprintf("t%d", round)), 0, 2, key(fmt.Sprintf("k%d", round), 1))
			var mu sync.Mutex
			var firsts int
			var outcomes []events.Outcome
			race(writers, func(int) {
				out, err := f.Append(f.ctx(), b)
				if err != nil {
					f.Errorf("append: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				if !out.Replayed {
					firsts++
				}
				out.Replayed = true
				outcomes = append(outcomes, out)
			})
			if firsts != 1 {
				f.Errorf("%d answers say that they are the first, want 1", firsts)
			}
			for _, out := range outcomes {
				f.sameOutcome(out, outcomes[0])
			}
			if got := len(f.load(b.Stream, 0)); got != 2 {
				f.Errorf("%s has %d events, want 2", b.Stream, got)
			}
		}
	}},
	{"OfTwoCommandsThatSendTheSameKeyAtOnceOneIsRefused", func(f *fixture) {
		for round := range 15 {
			var mu sync.Mutex
			var stored, reused int
			race(2, func(w int) {
				b := keyed(tenant(fmt.Sprintf("t%d-%d", round, w)), 0, 1, key(fmt.Sprintf("k%d", round), byte(w)))
				_, err := f.Append(f.ctx(), b)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					stored++
				case errors.Is(err, events.ErrKeyReused):
					reused++
				default:
					f.Errorf("append: %v", err)
				}
			})
			if stored != 1 || reused != 1 {
				f.Errorf("%d stored and %d refused, want one of each", stored, reused)
			}
		}
		f.sound()
	}},
	{"RecallIsFalseForANewKeyAndTheOutcomeForAKnownOne", func(f *fixture) {
		k := key("k", 1)
		f.wantKey(*k, false)
		first := f.append(keyed(tenant("acme"), 0, 3, k))
		out, known, err := f.Recall(f.ctx(), *k)
		if err != nil || !known {
			f.Fatalf("recall: got %v, %v", known, err)
		}
		f.sameOutcome(out, first)
		f.wantKey(*key("kk", 1), false)
	}},
	{"RecallIsRefusedForAnotherFingerprint", func(f *fixture) {
		f.append(keyed(tenant("acme"), 0, 1, key("k", 1)))
		if _, known, err := f.Recall(f.ctx(), *key("k", 2)); known || !errors.Is(err, events.ErrKeyReused) {
			f.Errorf("recall: got %v, %v, want ErrKeyReused", known, err)
		}
	}},
	{"DropKeysForgetsThoseFirstUsedBeforeATimeAndSaysHowMany", func(f *fixture) {
		now := epoch
		at := func(name string, age time.Duration) *events.Key {
			k := key(name, 1)
			k.Time = now.Add(-age)
			return k
		}
		const day = 24 * time.Hour
		old := []*events.Key{at("a week", 7*day), at("a day and a microsecond", day+time.Microsecond), at("of 1969", now.Sub(time.Unix(-1000, 0)))}
		young := []*events.Key{at("a day", day), at("an hour", time.Hour), at("now", 0), at("of tomorrow", -day)}
		first := make(map[string]events.Outcome)
		for i, k := range append(append([]*events.Key{}, old...), young...) {
			first[k.Key] = f.append(keyed(tenant(fmt.Sprintf("t%d", i)), 0, 1, k))
		}
		f.replayed(keyed(tenant("t0"), 0, 1, at("a week", 0)), first["a week"]) // its first use counts
		n, err := f.DropKeys(f.ctx(), now.Add(-day))
		if err != nil || n != len(old) {
			f.Errorf("drop keys: got %d, %v, want %d", n, err, len(old))
		}
		for _, k := range old {
			f.wantKey(*k, false)
		}
		for i, k := range young {
			f.replayed(keyed(tenant(fmt.Sprintf("t%d", len(old)+i)), 0, 1, k), first[k.Key])
		}
		if n, err := f.DropKeys(f.ctx(), now.Add(-day)); err != nil || n != 0 {
			f.Errorf("drop keys again: got %d, %v, want 0", n, err)
		}
		// A key that was dropped names a new command, even another one.
		out := f.append(keyed(tenant("t0"), 1, 1, key("a week", 9)))
		if out.Replayed {
			f.Error("a key that was dropped was replayed")
		}
		if n, err := f.DropKeys(f.ctx(), now.Add(-day)); err != nil || n != 0 {
			f.Errorf("drop keys after a key was used anew: got %d, %v, want 0", n, err)
		}
		f.wantKey(*key("a week", 9), true)
		f.sound() // and no event went with them
	}},
	{"DropKeysForgetsManyWhileOthersAppend", func(f *fixture) {
		const keys = 2500
		batches := make([]events.Batch, keys)
		for i := range batches {
			k := key(fmt.Sprintf("old-%d", i), 1)
			k.Time = epoch.Add(time.Duration(i) * time.Millisecond)
			batches[i] = keyed(tenant(fmt.Sprintf("t%d", i)), 0, 1, k)
		}
		for _, r := range f.AppendAll(f.ctx(), batches) {
			if r.Err != nil {
				f.Fatalf("append: %v", r.Err)
			}
		}
		race(5, func(w int) {
			if w == 0 {
				n, err := f.DropKeys(f.ctx(), epoch.Add(time.Hour))
				if err != nil || n != keys {
					f.Errorf("drop keys: got %d, %v, want %d", n, err, keys)
				}
				return
			}
			for i := range 20 {
				k := key(fmt.Sprintf("new-%d-%d", w, i), 1)
				k.Time = epoch.Add(2 * time.Hour)
				if _, err := f.Append(f.ctx(), keyed(group(fmt.Sprintf("g%d-%d", w, i)), 0, 1, k)); err != nil {
					f.Errorf("append: %v", err)
				}
			}
		})
		if n, err := f.DropKeys(f.ctx(), epoch.Add(3*time.Hour)); err != nil || n != 80 {
			f.Errorf("drop the other keys: got %d, %v, want 80", n, err)
		}
		f.sound()
	}},
}
