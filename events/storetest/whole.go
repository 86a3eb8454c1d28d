package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/events"
)

// RunWhole proves the contract of [events.Whole] alone, for what reads a store of another kind.
func RunWhole(t *testing.T, factory Factory) {
	for _, c := range wholeContract {
		t.Run(c.sentence, func(t *testing.T) { c.proof(newFixture(t, factory)) })
	}
}

var wholeContract = []contract{
	{"EverythingUpToTheHeadIsInTheParts", func(f *fixture) {
		f.manyStreams()
		for i := range 40 {
			f.create(tenant(fmt.Sprintf("more-%d", i)), 1+i%5)
		}
		want := byStream(f.sound())
		for _, n := range []int{1, 2, 3, 8, 1000} {
			f.sameStreams(f.wholeIn(n), want)
		}
	}},
	{"AStoreWithoutEventsHasNoStreams", func(f *fixture) {
		if got := f.wholeIn(2); len(got) != 0 {
			f.Errorf("got %d streams", len(got))
		}
		w := f.whole()
		if got, want := w.Head(), f.head(); got != want {
			f.Errorf("head: got %+v, want %+v", got, want)
		}
	}},
	{"NothingBeyondTheHeadAlthoughWritersGoOn", func(f *fixture) {
		f.manyStreams()
		want := byStream(f.log())
		w := f.whole()
		head := f.head()
		f.create(tenant("0-before-all"), 3)
		f.create(tenant("zz-behind-all"), 3)
		f.append(batch(tenant("a"), uint64(len(want[indexOf(want, tenant("a"))])), 4))
		if w.Head() != head {
			f.Errorf("head: got %+v, want %+v", w.Head(), head)
		}
		first := f.partsOf(w, 2)
		f.create(tenant("m-in-between"), 3)
		f.sameStreams(f.streamsOf(first), want)
		f.sameStreams(f.streamsOf(f.partsOf(w, 3)), want)
	}},
	{"WhileWritersAppendEachWholeIsTheLogUpToItsHead", func(f *fixture) {
		f.create(tenant("first"), 1)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		defer wg.Wait()
		defer close(stop)
		for i := range 4 {
			wg.Go(func() {
				id := tenant(fmt.Sprintf("writer-%d", i))
				for version := uint64(0); ; version += 2 {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := f.Append(f.ctx(), batch(id, version, 2)); err != nil {
						f.Errorf("append: %v", err)
						return
					}
				}
			})
		}
		for range 10 {
			w := f.whole()
			head := w.Head()
			log := f.log()
			f.sameStreams(f.streamsOf(f.partsOf(w, 2)), byStream(log[:head.Position]))
		}
	}},
	{"APartThatIsReadOnceMoreIsTheSame", func(f *fixture) {
		f.manyStreams()
		w := f.whole()
		f.sameStreams(f.streamsOf(f.partsOf(w, 3)), f.streamsOf(f.partsOf(w, 3)))
	}},
	{"AStreamThatIsOnlyReferredToIsNone", func(f *fixture) {
		f.append(referring(tenant("acme"), 0, to(database("later"), 0, 0)))
		f.sameStreams(f.wholeIn(2), byStream(f.log()))
	}},
	{"AnErrorOfTheCallerEndsItAsItIs", func(f *fixture) {
		f.manyStreams()
		errEnough := errors.New("enough")
		seen := 0
		err := f.partsOf(f.whole(), 1)[0].Streams(f.ctx(), func([]events.Event) error {
			if seen++; seen == 2 {
				return errEnough
			}
			return nil
		})
		if err != errEnough || seen != 2 { //nolint:errorlint // as it is
			f.Errorf("got %v after %d streams, want the caller's error after 2", err, seen)
		}
	}},
	{"TheEndOfTheContextEndsIt", func(f *fixture) {
		for i := range 300 {
			f.create(tenant(fmt.Sprint(i)), 2)
		}
		w := f.whole()
		parts := f.partsOf(w, 1)
		ctx, cancel := context.WithCancel(f.ctx())
		defer cancel()
		seen := 0
		err := parts[0].Streams(ctx, func([]events.Event) error {
			seen++
			cancel()
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			f.Errorf("got %v after %d streams, want the context's error", err, seen)
		}
		if _, err := f.Store.Whole(ctx); !errors.Is(err, context.Canceled) {
			f.Errorf("open: got %v, want the context's error", err)
		}
		if err := w.Close(); err != nil {
			f.Errorf("close: %v", err)
		}
	}},
	{"ClosedNothingOfItIsReadAnyMore", func(f *fixture) {
		f.manyStreams()
		w := f.whole()
		parts := f.partsOf(w, 2)
		for range 2 {
			if err := w.Close(); err != nil {
				f.Fatalf("close: %v", err)
			}
		}
		if _, err := w.Parts(f.ctx(), 2); err == nil {
			f.Error("a closed whole has parts")
		}
		if err := parts[0].Streams(f.ctx(), func([]events.Event) error { return nil }); err == nil {
			f.Error("a part of a closed whole is read")
		}
	}},
	{"SeveralAreReadAtTheSameTime", func(f *fixture) {
		f.manyStreams()
		want := byStream(f.log())
		first := f.whole()
		f.create(tenant("later"), 2)
		later := byStream(f.log())
		second := f.whole()
		var wg sync.WaitGroup
		for _, c := range []struct {
			w    events.Whole
			want [][]events.Event
		}{{first, want}, {second, later}} {
			wg.Go(func() {
				got, err := read(f.ctx(), c.w, 2)
				if err != nil {
					f.Error(err)
					return
				}
				f.sameStreams(got, c.want)
			})
		}
		wg.Wait()
	}},
	{"EventsHaveWhatFoldingNeeds", func(f *fixture) {
		id := tenant("acme")
		b := batch(id, 0, 3)
		b.Events[1].Type = "tenantry.tenant.from-the-future.v9"
		b.Events[2].Data = []byte(`{"name":"名前 \" ` + long("x", 3000) + `"}`)
		out := f.append(b)
		got := f.wholeIn(1)
		if len(got) != 1 || len(got[0]) != 3 {
			f.Fatalf("got %v", got)
		}
		for i, e := range got[0] {
			want := b.Events[i]
			want.Position = out.Events[i].Position
			f.sameEvent(e, forFolding(want))
		}
	}},
}

// forFolding is an event without what a [events.Part] may leave out.
func forFolding(e events.Event) events.Event {
	return events.Event{ID: e.ID, Stream: e.Stream, Version: e.Version, Position: e.Position, Type: e.Type, Time: e.Time, Data: e.Data}
}

// byStream is a log as a Whole has it.
func byStream(log []events.Event) [][]events.Event {
	streams := make(map[events.StreamID][]events.Event)
	for _, e := range log {
		streams[e.Stream] = append(streams[e.Stream], e)
	}
	var out [][]events.Event
	for _, stream := range streams {
		out = append(out, stream)
	}
	slices.SortFunc(out, func(a, b []events.Event) int { return cmp.Compare(a[0].Stream.String(), b[0].Stream.String()) })
	return out
}

func indexOf(streams [][]events.Event, id events.StreamID) int {
	return slices.IndexFunc(streams, func(s []events.Event) bool { return s[0].Stream == id })
}

// whole opens one that ends with the test.
func (f *fixture) whole() events.Whole {
	f.Helper()
	w, err := f.Whole(f.ctx())
	if err != nil {
		f.Fatalf("open the whole log: %v", err)
	}
	f.atEnd = append(f.atEnd, func() {
		if err := w.Close(); err != nil {
			f.Errorf("close the whole log: %v", err)
		}
	})
	return w
}

func (f *fixture) partsOf(w events.Whole, n int) []events.Part {
	f.Helper()
	parts, err := w.Parts(f.ctx(), n)
	if err != nil {
		f.Fatalf("parts of the whole log: %v", err)
	}
	if len(parts) > n {
		f.Errorf("got %d parts, want %d at most", len(parts), n)
	}
	return parts
}

// streamsOf are those of all parts, which are read at the same time.
func (f *fixture) streamsOf(parts []events.Part) [][]events.Event {
	f.Helper()
	got, err := readParts(f.ctx(), parts)
	if err != nil {
		f.Fatalf("read the whole log: %v", err)
	}
	return got
}

func (f *fixture) wholeIn(parts int) [][]events.Event {
	f.Helper()
	return f.streamsOf(f.partsOf(f.whole(), parts))
}

func read(ctx context.Context, w events.Whole, n int) ([][]events.Event, error) {
	parts, err := w.Parts(ctx, n)
	if err != nil {
		return nil, err
	}
	return readParts(ctx, parts)
}

// readParts copies what it gets, and spoils what it was lent.
func readParts(ctx context.Context, parts []events.Part) ([][]events.Event, error) {
	got := make([][][]events.Event, len(parts))
	errs := make([]error, len(parts))
	race(len(parts), func(i int) {
		errs[i] = parts[i].Streams(ctx, func(stream []events.Event) error {
			own := slices.Clone(stream)
			for j := range own {
				own[j].Data = slices.Clone(own[j].Data)
				clear(stream[j].Data)
			}
			clear(stream)
			got[i] = append(got[i], own)
			return nil
		})
	})
	return slices.Concat(got...), errors.Join(errs...)
}

// sameStreams compares what folding needs, and the order of the streams.
func (f *fixture) sameStreams(got, want [][]events.Event) {
	f.Helper()
	if len(got) != len(want) {
		f.Errorf("got %d streams, want %d", len(got), len(want))
		return
	}
	for i := range want {
		if len(got[i]) != len(want[i]) {
			f.Errorf("stream %d: got %s with %d events, want %s with %d", i, got[i][0].Stream, len(got[i]), want[i][0].Stream, len(want[i]))
			return
		}
		for j := range want[i] {
			f.sameEvent(forFolding(got[i][j]), forFolding(want[i][j]))
		}
	}
}
