package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

var appendContract = []contract{
	{"StoresAllEventsOfTheBatch", func(f *fixture) {
		b := batch(tenant("acme"), 0, 3)
		out := f.append(b)
		got := f.load(b.Stream, 0)
		for i := range b.Events {
			b.Events[i].Position = out.Events[i].Position
		}
		f.sameEvents(got, b.Events)
		f.sameEvents(f.log(), got)
	}},
	{"StoresNoneOfABatchThatIsRefusedForItsLastPart", func(f *fixture) {
		holder := batch(tenant("holder"), 0, 1)
		holder.Take = hosts("last")
		f.append(holder)
		b := batch(tenant("acme"), 0, 500)
		for i := range 499 {
			b.Take = append(b.Take, host(fmt.Sprintf("n%d", i)))
		}
		b.Take = append(b.Take, host("last"))
		f.refused(b, events.ErrClaimed)
		f.wantHolder(host("n0"), events.StreamID{})
		f.wantHolder(host("last"), holder.Stream)
	}},
	{"GivesTheEventsTheNextPositions", func(f *fixture) {
		f.create(tenant("first"), 2)
		b := batch(tenant("second"), 0, 2)
		b.Events[0].Position, b.Events[1].Position = 77, 1 // whatever they said before
		out := f.append(b)
		want := events.Outcome{Stream: b.Stream, Version: 2, Position: 4, Events: []events.Appended{
			{Type: events.TypeTenantRenamed, Version: 1, Position: 3},
			{Type: events.TypeTenantRenamed, Version: 2, Position: 4},
		}}
		if !reflect.DeepEqual(out, want) {
			f.Errorf("outcome:\ngot  %+v\nwant %+v", out, want)
		}
		f.sound()
	}},
	{"TakesVersionsFromExpectedPlusOneOnAndRefusesOthers", func(f *fixture) {
		id := tenant("acme")
		f.create(id, 2)
		f.append(batch(id, 2, 2))
		for name, spoil := range map[string]func(b *events.Batch){
			"a hole":         func(b *events.Batch) { b.Events[1].Version++ },
			"a double":       func(b *events.Batch) { b.Events[1].Version-- },
			"too early":      func(b *events.Batch) { b.Events = b.Events[1:] },
			"another stream": func(b *events.Batch) { b.Events[1].Stream = tenant("other") },
			"no stream":      func(b *events.Batch) { b.Stream = events.StreamID{} },
		} {
			b := batch(id, 4, 3)
			spoil(&b)
			if out, err := f.Append(f.ctx(), b); err == nil {
				f.Errorf("%s: got %+v, want an error", name, out)
			}
		}
		if got := len(f.sound()); got != 4 {
			f.Errorf("events in the log: got %d, want 4", got)
		}
	}},
	{"WithoutEventsOrKeyChangesNothing", func(f *fixture) {
		id := tenant("acme")
		f.create(id, 2)
		out := f.append(events.Batch{Stream: id, Expected: 2})
		want := events.Outcome{Stream: id, Version: 2, Position: 2}
		if len(out.Events) != 0 || out.Version != want.Version || out.Position != want.Position || out.Stream != want.Stream {
			f.Errorf("outcome: got %+v, want %+v", out, want)
		}
		f.refused(events.Batch{Stream: id, Expected: 1}, events.ErrConflict)
	}},
	{"WithoutEventsMayNotChangeClaimsOrReferences", func(f *fixture) {
		// The log would not tell where they come from.
		id := tenant("acme")
		b := batch(id, 0, 1)
		b.Take = hosts("held")
		f.append(b)
		f.refused(events.Batch{Stream: id, Expected: 1, Take: hosts("a")}, nil)
		f.refused(events.Batch{Stream: id, Expected: 1, Release: hosts("held")}, nil)
		f.refused(events.Batch{Stream: id, Expected: 1, Refer: []events.Reference{{To: database("d")}}}, nil)
	}},
	{"PositionsAndVersionsHaveNoHoleAndNoDouble_SixteenWritersWithConflicts", func(f *fixture) {
		const rounds, streams = 40, 5
		var appended, conflicts atomic.Int64
		race(writers, func(w int) {
			for i := range rounds {
				id := tenant(fmt.Sprintf("t%d", (w+i)%streams))
				for {
					stream, err := f.Load(f.ctx(), id, 0)
					if err != nil {
						f.Errorf("load %s: %v", id, err)
						return
					}
					n := 1 + i%3
					_, err = f.Append(f.ctx(), batch(id, uint64(len(stream)), n))
					if err == nil {
						appended.Add(int64(n))
						break
					}
					if !errors.Is(err, events.ErrConflict) {
						f.Errorf("append to %s: %v", id, err)
						return
					}
					conflicts.Add(1)
				}
			}
		})
		if got := len(f.sound()); int64(got) != appended.Load() {
			f.Errorf("events in the log: got %d, answered %d", got, appended.Load())
		}
		if conflicts.Load() == 0 {
			f.Error("no writer met a conflict, so the test proved nothing")
		}
	}},
	{"AnswersEachWriterWithItsOwnEvents_SixteenWriters", func(f *fixture) {
		var mu sync.Mutex
		answered := make(map[uint64]uuid.UUID)
		race(writers, func(w int) {
			id := tenant(fmt.Sprintf("t%d", w))
			for i := range uint64(30) {
				b := batch(id, i, 1)
				out, err := f.Append(f.ctx(), b)
				if err != nil {
					f.Errorf("append to %s: %v", id, err)
					return
				}
				mu.Lock()
				answered[out.Position] = b.Events[0].ID
				mu.Unlock()
			}
		})
		for _, e := range f.sound() {
			if answered[e.Position] != e.ID {
				f.Errorf("position %d: got event %s, answered was %s", e.Position, e.ID, answered[e.Position])
			}
		}
	}},
	{"ALargeBatchIsAtomic_500HostnamesAnd128KiBOfConfig", func(f *fixture) {
		b := registration(tenant("large"))
		holder := batch(tenant("holder"), 0, 1)
		holder.Take = b.Take[499:]
		f.append(holder)
		f.refused(b, events.ErrClaimed)
		free := batch(holder.Stream, 1, 1)
		free.Release = holder.Take
		f.append(free)
		out := f.append(b)
		if len(out.Events) != len(b.Events) {
			f.Errorf("events of the outcome: got %d, want %d", len(out.Events), len(b.Events))
		}
		for i := range b.Events {
			b.Events[i].Position = out.Events[i].Position
		}
		f.sameEvents(f.load(b.Stream, 0), b.Events)
		f.sound()
		f.wantHolder(b.Take[0], b.Stream)
		f.wantHolder(b.Take[499], b.Stream)
	}},
}

// registration is the largest tenant that one command can make: 500 hostnames, 100 products, 128
// KiB of configuration, and the longest texts about it.
func registration(id events.StreamID) events.Batch {
	var b events.Batch
	payloads := []events.Payload{events.TenantRegistered{Name: long("n", 200), HomeRegion: "eu"}}
	for i := range 500 {
		h := host(fmt.Sprintf("%s-%d.%s", long("a", 50), i, long("b", 60)))
		b.Take = append(b.Take, h)
		payloads = append(payloads, events.HostnameAttached{Hostname: h})
	}
	for i := range 100 {
		features := make([]string, 100)
		for j := range features {
			features[j] = long("f", 60)
		}
		payloads = append(payloads, events.ProductActivated{
			Name: fmt.Sprintf("product-%d", i), Product: events.Product{Plan: "standard", Features: features},
		})
	}
	for i := range 8 {
		payloads = append(payloads, events.ConfigSet{Key: fmt.Sprintf("key-%d", i), Value: []byte(`"` + long("c", 16<<10-2) + `"`)})
	}
	b.Stream = id
	b.Events = must(events.New(id, 0, events.Metadata{
		Time: epoch, Actor: long("界", 500), Reason: long("な", 500),
		CorrelationID: uuid.Nil.String(), Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}, payloads...))
	return b
}

func long(s string, n int) string {
	out := make([]byte, 0, n*len(s))
	for range n {
		out = append(out, s...)
	}
	return string(out)
}
