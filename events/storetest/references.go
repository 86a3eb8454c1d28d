package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tenantry/tenantry/events"
)

// referring is a batch of one event that begins and ends references.
func referring(id events.StreamID, version uint64, refer []events.Reference, unrefer ...events.StreamID) events.Batch {
	b := batch(id, version, 1)
	b.Refer, b.Unrefer = refer, unrefer
	return b
}

func to(id events.StreamID, version uint64, limit int) []events.Reference {
	return []events.Reference{{To: id, Version: version, Limit: limit}}
}

var referenceContract = []contract{
	{"ReferencesIsHowManyStreamsReferToThisOne", func(f *fixture) {
		db := database("main")
		f.wantReferences(db, 0)
		f.create(db, 1)
		f.wantReferences(db, 0)
		for i := range 3 {
			f.append(referring(tenant(fmt.Sprintf("t%d", i)), 0, to(db, 1, 0)))
			f.wantReferences(db, i+1)
		}
		f.wantReferences(tenant("t0"), 0)
	}},
	{"AStreamThatRefersTwiceCountsOnce", func(f *fixture) {
		db := database("main")
		f.create(db, 1)
		f.append(referring(tenant("acme"), 0, append(to(db, 1, 0), to(db, 1, 0)...)))
		f.append(referring(tenant("acme"), 1, to(db, 1, 1))) // it is one of the one already
		f.wantReferences(db, 1)
		f.append(referring(tenant("acme"), 2, nil, db))
		f.wantReferences(db, 0)
	}},
	{"UnreferEndsAReference", func(f *fixture) {
		db, other := database("main"), database("other")
		f.create(db, 1)
		f.create(other, 1)
		f.append(referring(tenant("a"), 0, to(db, 1, 0)))
		f.append(referring(tenant("b"), 0, to(db, 1, 0)))
		f.append(referring(tenant("a"), 1, to(other, 1, 0), db)) // it moves
		f.wantReferences(db, 1)
		f.wantReferences(other, 1)
	}},
	{"UnreferComesBeforeReferInABatch", func(f *fixture) {
		db := database("main")
		f.create(db, 1)
		f.append(referring(tenant("a"), 0, to(db, 1, 1)))
		f.append(referring(tenant("a"), 1, to(db, 1, 1), db))
		f.wantReferences(db, 1)
	}},
	{"EndingAReferenceThatIsNoneIsAnError", func(f *fixture) {
		db := database("main")
		f.create(db, 1)
		f.append(referring(tenant("a"), 0, to(db, 1, 0)))
		f.refused(referring(tenant("b"), 0, nil, db), nil)
		f.append(referring(tenant("a"), 1, nil, db))
		f.refused(referring(tenant("a"), 2, nil, db), nil)
		f.wantReferences(db, 0)
	}},
	{"TheStreamReferredToMustBeAtTheVersionWhenTheBatchIsAppended", func(f *fixture) {
		// Tenants come while the database is drained: none may come after.
		db := database("main")
		f.create(db, 1)
		var came, refused atomic.Int64
		race(writers, func(w int) {
			if w == 0 {
				if _, err := f.Append(f.ctx(), batch(db, 1, 1)); err != nil {
					f.Errorf("drain %s: %v", db, err)
				}
				return
			}
			_, err := f.Append(f.ctx(), referring(tenant(fmt.Sprintf("t%d", w)), 0, to(db, 1, 0)))
			switch {
			case err == nil:
				came.Add(1)
			case errors.Is(err, events.ErrConflict):
				refused.Add(1)
			default:
				f.Errorf("refer to %s: %v", db, err)
			}
		})
		moved := f.load(db, 1)
		if len(moved) != 1 {
			f.Fatalf("%s has %d events after version 1, want 1", db, len(moved))
		}
		drained := moved[0].Position
		for _, e := range f.sound() {
			if e.Stream != db && e.Position > drained {
				f.Errorf("position %d: %s refers to %s at version 1, which has moved on at position %d", e.Position, e.Stream, db, drained)
			}
		}
		f.wantReferences(db, int(came.Load()))
		if came.Load()+refused.Load() != writers-1 {
			f.Errorf("%d came and %d were refused, of %d", came.Load(), refused.Load(), writers-1)
		}
	}},
	{"TheLimitCountsThisOneAndTheErrorSaysHowManyThereAre", func(f *fixture) {
		db := database("small")
		f.create(db, 1)
		f.append(referring(tenant("a"), 0, to(db, 1, 2)))
		f.append(referring(tenant("b"), 0, to(db, 1, 2)))
		err := f.refusedWith(referring(tenant("c"), 0, to(db, 1, 2)), events.ErrFull)
		var full *events.ReferenceError
		if !errors.As(err, &full) || full.Stream != db || full.Count != 2 {
			f.Errorf("got %#v, want a *events.ReferenceError of %s with count 2", err, db)
		}
		f.append(referring(tenant("c"), 0, to(db, 1, 0))) // no limit
		f.wantReferences(db, 3)
	}},
	{"FullIsRefusedUntilOneLetsGo", func(f *fixture) {
		db := database("small")
		f.create(db, 1)
		f.append(referring(tenant("a"), 0, to(db, 1, 1)))
		late := referring(tenant("b"), 0, to(db, 1, 1))
		f.refused(late, events.ErrFull)
		f.refused(late, events.ErrFull)
		f.append(referring(tenant("a"), 1, nil, db))
		f.append(late)
		f.wantReferences(db, 1)
	}},
	{"NoMoreThanTheLimitGetInWhenSixteenRace", func(f *fixture) {
		for round := range 10 {
			const limit = 5
			db := database(fmt.Sprintf("small-%d", round))
			f.create(db, 1)
			var in atomic.Int64
			race(writers, func(w int) {
				_, err := f.Append(f.ctx(), referring(tenant(fmt.Sprintf("r%d-%d", round, w)), 0, to(db, 1, limit)))
				if err == nil {
					in.Add(1)
				} else if !errors.Is(err, events.ErrFull) {
					f.Errorf("refer to %s: %v", db, err)
				}
			})
			if in.Load() != limit {
				f.Errorf("%s: %d got in, want %d", db, in.Load(), limit)
			}
			f.wantReferences(db, limit)
		}
	}},
	{"UnreferredRefusesTheBatchWhileAnyStreamRefers", func(f *fixture) {
		db := database("main")
		f.create(db, 1)
		f.append(referring(tenant("a"), 0, to(db, 1, 0)))
		f.append(referring(tenant("b"), 0, to(db, 1, 0)))
		retire := batch(db, 1, 1)
		retire.Unreferred = true
		err := f.refusedWith(retire, events.ErrReferenced)
		var referenced *events.ReferenceError
		if !errors.As(err, &referenced) || referenced.Stream != db || referenced.Count != 2 {
			f.Errorf("got %#v, want a *events.ReferenceError of %s with count 2", err, db)
		}
		f.append(referring(tenant("a"), 1, nil, db))
		f.refused(retire, events.ErrReferenced)
		f.append(referring(tenant("b"), 1, nil, db))
		f.append(retire)
	}},
	{"AStreamIsNeitherRetiredWithReferrersNorReferredToWhenRetired_Race", func(f *fixture) {
		for round := range 20 {
			db := database(fmt.Sprintf("d%d", round))
			f.create(db, 1)
			var retired atomic.Bool
			var came atomic.Int64
			race(4, func(w int) {
				if w == 0 {
					b := batch(db, 1, 1)
					b.Unreferred = true
					_, err := f.Append(f.ctx(), b)
					if retired.Store(err == nil); err != nil && !errors.Is(err, events.ErrReferenced) {
						f.Errorf("retire %s: %v", db, err)
					}
					return
				}
				_, err := f.Append(f.ctx(), referring(tenant(fmt.Sprintf("r%d-%d", round, w)), 0, to(db, 1, 0)))
				if err == nil {
					came.Add(1)
				} else if !errors.Is(err, events.ErrConflict) {
					f.Errorf("refer to %s: %v", db, err)
				}
			})
			if retired.Load() == (came.Load() > 0) {
				f.Errorf("%s: retired %v, and %d refer to it", db, retired.Load(), came.Load())
			}
			f.wantReferences(db, int(came.Load()))
		}
	}},
}
