package storetest

import (
	"fmt"
	"math"
	"slices"

	"github.com/tenantry/tenantry/events"
)

var readContract = []contract{
	{"LoadIsTheStreamsEventsAfterAVersionInOrder", func(f *fixture) {
		id := tenant("acme")
		var all []events.Event
		for _, n := range []int{1, 5, 2, 1, 12} { // batches, to be cut at each place
			b := batch(id, uint64(len(all)), n)
			out := f.append(b)
			for i := range b.Events {
				b.Events[i].Position = out.Events[i].Position
			}
			all = append(all, b.Events...)
			f.create(tenant(fmt.Sprintf("between-%d", len(all))), 1)
		}
		for v := range all {
			f.sameEvents(f.load(id, uint64(v)), all[v:])
		}
	}},
	{"HistoryIsAsManyOfTheStreamsEventsAfterAVersionAsWereAskedFor", func(f *fixture) {
		id := tenant("acme")
		version := uint64(0)
		for _, n := range []int{1, 5, 2, 1, 12} { // batches, to be cut at each place
			f.append(batch(id, version, n))
			version += uint64(n)
			f.create(tenant(fmt.Sprintf("between-%d", version)), 1)
		}
		all := f.load(id, 0)
		for _, limit := range []int{1, 2, 3, 6, 20, 21, 22, math.MaxInt} {
			for after := range all {
				f.sameEvents(f.historyOf(id, uint64(after), limit), all[after:after+min(limit, len(all)-after)])
			}
		}
		for _, none := range []struct {
			id    events.StreamID
			after uint64
			limit int
		}{
			{tenant("none"), 0, 10},
			{id, uint64(len(all)), 10},
			{id, 1<<64 - 1, 10},
			{id, 1<<63 + 5, math.MaxInt},
			{id, 0, 0},
		} {
			if got := f.historyOf(none.id, none.after, none.limit); len(got) != 0 {
				f.Errorf("history of %s after version %d up to %d: got %d events", none.id, none.after, none.limit, len(got))
			}
		}
	}},
	{"LoadIsNoneWhenThereAreNone", func(f *fixture) {
		f.create(tenant("acme"), 2)
		for _, c := range []struct {
			id    events.StreamID
			after uint64
		}{{tenant("none"), 0}, {tenant("none"), 3}, {tenant("acme"), 2}, {tenant("acme"), 3}, {tenant("acme"), 1<<63 + 5}, {tenant("acm"), 0}, {tenant("acme-2"), 0}} {
			if got := f.load(c.id, c.after); len(got) != 0 {
				f.Errorf("load %s after version %d: got %d events", c.id, c.after, len(got))
			}
		}
	}},
	{"AStreamThatIsOnlyReferredToDoesNotExist", func(f *fixture) {
		f.append(referring(tenant("acme"), 0, to(database("later"), 0, 0)))
		if got := f.load(database("later"), 0); len(got) != 0 {
			f.Errorf("load: got %d events", len(got))
		}
		if page, err := f.Streams(f.ctx(), events.KindDatabase, events.StreamID{}, 10); err != nil || len(page) != 0 {
			f.Errorf("streams: got %d, %v", len(page), err)
		}
		f.wantReferences(database("later"), 1)
		f.create(database("later"), 1)
		f.wantReferences(database("later"), 1)
	}},
	{"StreamsIsTheWholeOfEachInTheOrderOfTheirIDs", func(f *fixture) {
		want := f.manyStreams()
		for _, limit := range []int{1, 2, 3, len(want), len(want) + 1, 10_000} {
			var got []events.StreamID
			var after events.StreamID
			for {
				page, err := f.Streams(f.ctx(), events.KindTenant, after, limit)
				if err != nil {
					f.Fatalf("streams after %q: %v", after, err)
				}
				if len(page) > limit {
					f.Fatalf("streams after %q: got %d, the limit is %d", after, len(page), limit)
				}
				if len(page) == 0 {
					break
				}
				for _, stream := range page {
					f.sameEvents(stream, f.load(stream[0].Stream, 0))
					got = append(got, stream[0].Stream)
				}
				if after = got[len(got)-1]; len(got) > len(want) {
					f.Fatalf("pages of %d: got %v and no end", limit, got)
				}
			}
			if !slices.Equal(got, want) {
				f.Errorf("pages of %d:\ngot  %v\nwant %v", limit, got, want)
			}
		}
	}},
	{"StreamsGoesOnAfterAnIDThatNoStreamHas", func(f *fixture) {
		f.create(tenant("a"), 1)
		f.create(tenant("c"), 1)
		for after, want := range map[events.StreamID]int{tenant("0"): 2, tenant("b"): 1, tenant("a-"): 1, tenant("d"): 0} {
			page, err := f.Streams(f.ctx(), events.KindTenant, after, 10)
			if err != nil || len(page) != want {
				f.Errorf("streams after %s: got %d, %v, want %d", after, len(page), err, want)
			}
		}
	}},
	{"StreamsIsOfOneKind", func(f *fixture) {
		f.manyStreams()
		for kind, want := range map[events.Kind]int{events.KindDatabase: 2, events.KindGroup: 1} {
			page, err := f.Streams(f.ctx(), kind, events.StreamID{}, 10)
			if err != nil || len(page) != want {
				f.Errorf("streams of kind %s: got %d, %v, want %d", kind, len(page), err, want)
			}
			for _, stream := range page {
				if got := stream[0].Stream.Kind(); got != kind {
					f.Errorf("streams of kind %s: got %s", kind, stream[0].Stream)
				}
			}
		}
		if page, err := f.Streams(f.ctx(), events.KindTenant, events.StreamID{}, 0); err != nil || len(page) != 0 {
			f.Errorf("no stream was asked for: got %d, %v", len(page), err)
		}
	}},
	{"StreamsIsNoneInAnEmptyStore", func(f *fixture) {
		if page, err := f.Streams(f.ctx(), events.KindTenant, events.StreamID{}, 10); err != nil || len(page) != 0 {
			f.Errorf("got %d, %v", len(page), err)
		}
	}},
}

// manyStreams creates tenants whose IDs are hard to order, in batches that lie between each
// other, and some of other kinds. It returns the tenants in the order of their IDs.
func (f *fixture) manyStreams() []events.StreamID {
	f.Helper()
	var ids []events.StreamID
	for _, s := range []string{"a", "b", "ab", "a-", "a-b", "a0", "a1", "a10", "a2", "0", "9", "z", "z-z", long("z", 63), "a-0"} {
		ids = append(ids, tenant(s))
	}
	for i, id := range ids {
		f.create(id, 1+i%3)
	}
	f.create(database("a"), 1)
	f.create(database("z"), 2)
	f.create(group("m"), 1)
	for i, id := range ids {
		f.append(batch(id, uint64(1+i%3), 2))
	}
	slices.SortFunc(ids, func(a, b events.StreamID) int {
		if a.String() < b.String() {
			return -1
		}
		return 1
	})
	return ids
}
