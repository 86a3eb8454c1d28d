package storetest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/events"
)

var refusalContract = []contract{
	{"NothingIsStoredOfABatchThatWasRefused", func(f *fixture) {
		// Each refusal in turn, of a batch that would change everything a batch can change.
		for _, r := range f.refusals() {
			b := r.batch
			b.Take = append(b.Take, hosts("wanted")...)
			b.Refer = append(b.Refer, events.Reference{To: group("open"), Version: 1})
			if b.Key == nil {
				b.Key = key("of "+r.name, 1)
			}
			f.refused(b, r.want) // looks at every trace
		}
		f.wantHolder(host("wanted"), events.StreamID{})
		f.wantReferences(group("open"), 0)
		f.sound()
	}},
	{"Conflict_TheStreamIsNotAtTheVersionThatTheBatchWasDecidedAt", func(f *fixture) {
		id := tenant("acme")
		f.create(id, 3)
		f.refused(batch(id, 0, 1), events.ErrConflict) // it must not exist
		f.refused(batch(id, 2, 1), events.ErrConflict)
		f.refused(batch(id, 4, 1), events.ErrConflict)
		f.refused(batch(tenant("none"), 1, 1), events.ErrConflict)
	}},
	{"Conflict_LoadDecideAndAppendAgainSucceeds", func(f *fixture) {
		id := tenant("acme")
		f.create(id, 1)
		f.append(batch(id, 1, 1))
		f.refused(batch(id, 1, 1), events.ErrConflict)
		f.append(batch(id, uint64(len(f.load(id, 0))), 1))
	}},
	{"Conflict_AStreamThatTheBatchRefersToHasMovedOn", func(f *fixture) {
		f.create(database("main"), 2)
		b := batch(tenant("acme"), 0, 1)
		for _, version := range []uint64{0, 1, 3} {
			b.Refer = []events.Reference{{To: database("main"), Version: version}}
			f.refused(b, events.ErrConflict)
		}
		b.Refer = []events.Reference{{To: database("none"), Version: 1}}
		f.refused(b, events.ErrConflict)
		b.Refer = []events.Reference{{To: database("main"), Version: 2}, {To: group("none"), Version: 1}}
		f.refused(b, events.ErrConflict) // the second of two
		b.Refer = []events.Reference{{To: database("main"), Version: 2}}
		f.append(b)
	}},
	{"Conflict_ComesBeforeAnyOtherRefusalButThatOfTheKey", func(f *fixture) {
		for _, r := range f.refusals() {
			if errors.Is(r.want, events.ErrConflict) || errors.Is(r.want, events.ErrKeyReused) {
				continue
			}
			b := r.batch
			stale := batch(b.Stream, b.Expected+7, 1)
			b.Expected, b.Events = stale.Expected, stale.Events
			f.refused(b, events.ErrConflict)
		}
	}},
	{"EachErrorSaysWhatItIsAbout", func(f *fixture) {
		for _, r := range f.refusals() {
			err := f.refusedWith(r.batch, r.want)
			if text := err.Error(); !strings.Contains(text, r.names) {
				f.Errorf("%s: the error %q does not name %s", r.name, text, r.names)
			}
		}
	}},
}

// refusal is a batch that must be refused, and why.
type refusal struct {
	name  string
	batch events.Batch
	want  error
	names string // what the error's text must hold
}

// refusals fills the store so that each kind of refusal has its reason, and makes a batch for each.
func (f *fixture) refusals() []refusal {
	f.Helper()
	exists := func(id events.StreamID) bool { return len(f.load(id, 0)) > 0 }
	if !exists(group("open")) {
		f.create(group("open"), 1)
		f.create(database("small"), 1)
		f.create(tenant("moved"), 2)
		b := batch(tenant("settled"), 0, 1)
		b.Take = hosts("taken")
		b.Refer = []events.Reference{{To: database("small"), Version: 1, Limit: 1}}
		b.Key = key("used", 1)
		f.append(b)
	}
	fresh := func(change func(b *events.Batch)) events.Batch {
		b := batch(tenant("fresh"), 0, 2)
		change(&b)
		return b
	}
	unreferred := batch(database("small"), 1, 1)
	unreferred.Unreferred = true
	return []refusal{
		{"a conflict", batch(tenant("moved"), 1, 2), events.ErrConflict, "ten_moved"},
		{"a conflict of a reference", fresh(func(b *events.Batch) {
			b.Refer = []events.Reference{{To: database("small"), Version: 9}}
		}), events.ErrConflict, "db_small"},
		{"a claim", fresh(func(b *events.Batch) { b.Take = hosts("free", "taken") }), events.ErrClaimed, "ten_settled"},
		{"a full stream", fresh(func(b *events.Batch) {
			b.Refer = []events.Reference{{To: database("small"), Version: 1, Limit: 1}}
		}), events.ErrFull, "db_small"},
		{"a stream that is referred to", unreferred, events.ErrReferenced, "db_small"},
		{"a key of another command", fresh(func(b *events.Batch) { b.Key = key("used", 2) }), events.ErrKeyReused, "idempotency key"},
		{"a hostname of another's to release", fresh(func(b *events.Batch) { b.Release = hosts("taken") }), nil, "taken.example"},
		{"a hostname of no one's to release", fresh(func(b *events.Batch) { b.Release = hosts("nobodys") }), nil, "nobodys.example"},
		{"a reference that is none to end", fresh(func(b *events.Batch) {
			b.Unrefer = []events.StreamID{database("small")}
		}), nil, fmt.Sprint(database("small"))},
	}
}
