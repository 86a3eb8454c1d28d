package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
)

var modelContract = []contract{
	{"RandomBatchesAreAnsweredAsByTheModel", func(f *fixture) {
		// One store for all checks: each has streams, hostnames and keys of its own.
		round := 0
		rapid.Check(f.T, func(t *rapid.T) {
			round++
			c := &checked{fixture: f, T: t, world: newWorld(round), model: newModel(), offset: f.head().Position}
			t.Repeat(map[string]func(*rapid.T){
				"append": func(t *rapid.T) {
					b := c.world.batch(draw{t}, c.model)
					out, err := f.Append(f.ctx(), b)
					c.compare(b, events.Result{Outcome: out, Err: err})
				},
				"append all": func(t *rapid.T) {
					batches := make([]events.Batch, rapid.IntRange(1, 6).Draw(t, "batches"))
					for i := range batches {
						batches[i] = c.world.batch(draw{t}, c.model)
					}
					for i, r := range f.AppendAll(f.ctx(), batches) {
						c.compare(batches[i], r)
					}
				},
				"reopen": func(t *rapid.T) {
					if rapid.IntRange(0, 19).Draw(t, "reopen at 0") == 0 {
						f.reopen()
					}
				},
			})
			c.compareState()
		})
		f.sound()
	}},
	{"WhatManyAtOnceAreAnsweredIsExplainedBySomeOrderOfTheirBatches", func(f *fixture) {
		for round := range 12 {
			f.linearizable(round)
		}
		f.sound()
	}},
}

// world is the few streams, hostnames and keys that batches fight for.
type world struct {
	tenants, databases []events.StreamID
	hostnames          []events.Hostname
	keys               []string
}

func newWorld(round int) world {
	var w world
	for i := range 4 {
		w.tenants = append(w.tenants, tenant(fmt.Sprintf("w%d-%d", round, i)))
		w.hostnames = append(w.hostnames, host(fmt.Sprintf("w%d-%d", round, i)))
		w.keys = append(w.keys, fmt.Sprintf("w%d-%d", round, i))
	}
	for i := range 2 {
		w.databases = append(w.databases, database(fmt.Sprintf("w%d-%d", round, i)))
	}
	return w
}

// chooser is where a random batch's numbers come from.
type chooser interface {
	// below is a number from 0 to n-1.
	below(n int) int
}

type draw struct{ *rapid.T }

func (d draw) below(n int) int { return rapid.IntRange(0, n-1).Draw(d.T, "choice") }

type random struct{ *rand.Rand }

func (r random) below(n int) int { return r.IntN(n) }

// batch is a random batch that is right more often than not, as far as the model knows.
func (w world) batch(c chooser, m *model) events.Batch {
	version := func(id events.StreamID) uint64 {
		if c.below(8) == 0 {
			return uint64(c.below(4))
		}
		return m.version[id]
	}
	some := func(pick func(i int)) {
		for range max(0, c.below(5)-2) {
			pick(c.below(4))
		}
	}
	if c.below(5) == 0 {
		db := w.databases[c.below(len(w.databases))]
		b := batch(db, version(db), 1)
		b.Unreferred = c.below(2) == 0
		return b
	}
	id := w.tenants[c.below(len(w.tenants))]
	b := batch(id, version(id), c.below(4))
	if len(b.Events) > 0 {
		some(func(i int) { b.Take = append(b.Take, w.hostnames[i]) })
		some(func(i int) {
			if h := w.hostnames[i]; m.holder[h] == id || c.below(8) == 0 {
				b.Release = append(b.Release, h)
			}
		})
		some(func(i int) {
			db := w.databases[i%len(w.databases)]
			b.Refer = append(b.Refer, events.Reference{To: db, Version: version(db), Limit: c.below(4)})
		})
		some(func(i int) {
			db := w.databases[i%len(w.databases)]
			if m.refers[[2]events.StreamID{id, db}] || c.below(8) == 0 {
				b.Unrefer = append(b.Unrefer, db)
			}
		})
	}
	if c.below(3) == 0 {
		b.Key = key(w.keys[c.below(len(w.keys))], byte(max(0, c.below(6)-4)))
	}
	b.DryRun = c.below(6) == 0
	return b
}

// checked is a store that is compared with a model.
type checked struct {
	*fixture
	*rapid.T
	world  world
	model  *model
	offset uint64 // of the model's position 0 in the store
}

func (c *checked) compare(b events.Batch, got events.Result) {
	wantOut, wantErr := c.model.append(b)
	if !sameAnswer(b, got.Outcome, got.Err, wantOut, wantErr, c.offset) {
		c.T.Fatalf("append %+v:\ngot  %+v, %v\nwant %+v, %v", b, got.Outcome, got.Err, wantOut, wantErr)
	}
}

// compareState compares all that can be asked for.
func (c *checked) compareState() {
	page, err := c.After(c.ctx(), c.offset, len(c.model.log)+1)
	if err != nil || len(page) != len(c.model.log) {
		c.T.Fatalf("log: got %d events, %v, want %d", len(page), err, len(c.model.log))
	}
	for i, e := range page {
		if want := c.model.log[i]; e.Stream != want.stream || e.Version != want.version {
			c.T.Fatalf("position %d: got %s at version %d, want %+v", e.Position, e.Stream, e.Version, want)
		}
	}
	for _, h := range c.world.hostnames {
		if got, want := c.holder(h), c.model.holder[h]; got != want {
			c.T.Fatalf("holder of %s: got %q, want %q", h, got, want)
		}
	}
	for _, id := range slices.Concat(c.world.databases, c.world.tenants) {
		if got, want := c.references(id), c.model.referrers(id); got != want {
			c.T.Fatalf("references to %s: got %d, want %d", id, got, want)
		}
	}
	for name, k := range c.model.keys {
		out, known, err := c.Recall(c.ctx(), events.Key{Key: name, Fingerprint: k.fingerprint})
		k.outcome.Replayed = true
		if !known || !sameAnswer(events.Batch{}, out, err, k.outcome, nil, c.offset) {
			c.T.Fatalf("recall %s: got %v, %+v, %v, want %+v", name, known, out, err, k.outcome)
		}
	}
}

// sameAnswer compares a store's answer with a model's, whose log begins at offset of the store's.
func sameAnswer(b events.Batch, gotOut events.Outcome, gotErr error, wantOut events.Outcome, wantErr error, offset uint64) bool {
	if gotErr != nil || wantErr != nil {
		return sameRefusal(gotErr, wantErr)
	}
	want := wantOut
	want.Events = slices.Clone(wantOut.Events)
	if !b.DryRun || want.Replayed {
		if want.Position > 0 {
			want.Position += offset
		}
		for i := range want.Events {
			want.Events[i].Position += offset
		}
	}
	if len(gotOut.Events) == 0 && len(want.Events) == 0 {
		gotOut.Events, want.Events = nil, nil
	}
	return reflect.DeepEqual(gotOut, want)
}

func sameRefusal(got, want error) bool {
	if got == nil || want == nil {
		return got == nil && want == nil
	}
	sentinels := []error{
		events.ErrConflict, events.ErrClaimed, events.ErrKeyReused, events.ErrFull, events.ErrReferenced, events.ErrUnavailable,
		events.ErrUnknownOutcome,
	}
	for _, s := range sentinels {
		if errors.Is(got, s) != errors.Is(want, s) {
			return false
		}
	}
	var gotClaim, wantClaim *events.ClaimedError
	if errors.As(got, &gotClaim) && errors.As(want, &wantClaim) {
		return *gotClaim == *wantClaim
	}
	var gotReference, wantReference *events.ReferenceError
	if errors.As(got, &gotReference) && errors.As(want, &wantReference) {
		return *gotReference == *wantReference
	}
	return true
}

// linearizable lets several clients append random batches at once, and asks whether there is
// an order of them, in which none comes before one that was answered when it began, that
// explains every answer.
func (f *fixture) linearizable(round int) {
	f.Helper()
	const clients, each = 6, 12
	world := newWorld(1_000_000 + round)
	seed := uint64(round)*1000 + uint64(time.Now().UnixNano())
	offset := f.head().Position
	var clock atomic.Int64
	var mu sync.Mutex
	var history []porcupine.Operation
	seen := newModel() // what the clients believe, so that their batches are mostly right
	race(clients, func(client int) {
		r := random{rand.New(rand.NewPCG(seed, uint64(client)))}
		for range each {
			mu.Lock()
			b := world.batch(r, seen)
			mu.Unlock()
			call := clock.Add(1)
			out, err := f.Append(f.ctx(), b)
			answered := clock.Add(1)
			mu.Lock()
			history = append(history, porcupine.Operation{
				ClientId: client, Input: b, Call: call, Output: events.Result{Outcome: out, Err: err}, Return: answered,
			})
			if err == nil {
				// Near enough: what was refused because others were faster is not believed.
				_, _ = seen.append(b)
			}
			mu.Unlock()
		}
	})
	spec := porcupine.Model{
		Init: func() any { return newModel() },
		Step: func(state, input, output any) (bool, any) {
			b, got := input.(events.Batch), output.(events.Result)
			next := state.(*model).clone()
			out, err := next.append(b)
			return sameAnswer(b, got.Outcome, got.Err, out, err, offset), next
		},
		Equal: reflect.DeepEqual,
	}
	switch porcupine.CheckOperationsTimeout(spec, history, patience) {
	case porcupine.Illegal:
		for _, op := range history {
			f.Logf("%d-%d client %d: %+v\n\t-> %+v", op.Call, op.Return, op.ClientId, op.Input, op.Output)
		}
		f.Errorf("no order of the batches explains the answers (seed %d)", seed)
	case porcupine.Unknown:
		f.Errorf("the search for an order of the batches took too long (seed %d)", seed)
	}
}
