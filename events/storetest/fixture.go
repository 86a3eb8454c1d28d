package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
)

// writers is how many goroutines race in the tests that say so.
const writers = 16

// patience is how long a test waits for what must come: much longer than it ever takes.
const patience = 3 * time.Minute

// epoch is the time of the tests' events.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

// fixture is a test with an open store of its own.
type fixture struct {
	*testing.T
	Store
	data    Data
	context context.Context // see ctx
	atEnd   []func()        // before the store is closed
}

func newFixture(t *testing.T, factory Factory) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	f := &fixture{T: t, data: factory(t), context: ctx}
	f.open()
	t.Cleanup(func() {
		for _, end := range f.atEnd {
			end()
		}
		if f.Store != nil {
			f.close()
		}
	})
	return f
}

// ctx ends when the test waits for something that does not come.
func (f *fixture) ctx() context.Context { return f.context }

func (f *fixture) open() {
	f.Helper()
	s, err := f.data.Open(f.Context())
	if err != nil {
		f.Fatalf("open the store: %v", err)
	}
	f.Store = s
}

func (f *fixture) close() {
	f.Helper()
	if err := f.Store.Close(); err != nil {
		f.Errorf("close the store: %v", err)
	}
	f.Store = nil
}

func (f *fixture) reopen() {
	f.Helper()
	f.close()
	f.open()
}

// kill ends the store without a Close, and opens what it left.
func (f *fixture) kill() {
	f.Helper()
	if f.data.Kill == nil {
		f.Skip(f.data.NoKill)
	}
	if err := f.data.Kill(f.Store); err != nil {
		f.Fatalf("kill the store: %v", err)
	}
	f.open()
}

// must ends the test on an error.
func must[V any](v V, err error) V {
	if err != nil {
		panic(fmt.Sprintf("storetest: a fixed input is wrong: %v", err)) // a bug of the suite
	}
	return v
}

func tenant(s string) events.StreamID   { return must(events.ParseTenantID("ten_" + s)).Stream() }
func database(s string) events.StreamID { return must(events.ParseDatabaseID("db_" + s)).Stream() }
func group(s string) events.StreamID    { return must(events.ParseGroupID("grp_" + s)).Stream() }
func host(s string) events.Hostname     { return must(events.ParseHostname(s + ".example")) }

func hosts(names ...string) []events.Hostname {
	out := make([]events.Hostname, len(names))
	for i, n := range names {
		out[i] = host(n)
	}
	return out
}

// key is an idempotency key whose fingerprint begins with the command's.
func key(name string, fingerprint byte) *events.Key {
	return &events.Key{Key: name, Fingerprint: [32]byte{fingerprint, 31: 7}, Time: epoch}
}

// batch is n events on a stream that is at version. A store does not look into payloads.
func batch(stream events.StreamID, version uint64, n int) events.Batch {
	payloads := make([]events.Payload, n)
	for i := range payloads {
		payloads[i] = events.TenantRenamed{Name: fmt.Sprintf("%s, the %d.", stream, version+uint64(i)+1)}
	}
	meta := events.Metadata{Time: epoch, Actor: "storetest", Reason: "to see what happens"}
	return events.Batch{Stream: stream, Expected: version, Events: must(events.New(stream, version, meta, payloads...))}
}

// append appends what must succeed.
func (f *fixture) append(b events.Batch) events.Outcome {
	f.Helper()
	out, err := f.Append(f.ctx(), b)
	if err != nil {
		f.Fatalf("append to %s at version %d: %v", b.Stream, b.Expected, err)
	}
	return out
}

// create appends n events to a stream that does not exist yet.
func (f *fixture) create(stream events.StreamID, n int) {
	f.Helper()
	f.append(batch(stream, 0, n))
}

// refused appends what must be refused with an error that is want (nil: any), and proves that
// nothing of it is stored.
func (f *fixture) refused(b events.Batch, want error) {
	f.Helper()
	_ = f.refusedWith(b, want)
}

// refusedWith is the error that a batch is refused with, as refused proves.
func (f *fixture) refusedWith(b events.Batch, want error) error {
	f.Helper()
	before := f.traces(b)
	out, err := f.Append(f.ctx(), b)
	switch {
	case err == nil:
		f.Fatalf("append to %s at version %d: got %+v, want it refused", b.Stream, b.Expected, out)
	case want != nil && !errors.Is(err, want):
		f.Fatalf("append to %s at version %d: got error %q, want %q", b.Stream, b.Expected, err, want)
	case !reflect.DeepEqual(out, events.Outcome{}):
		f.Errorf("append to %s: refused, but with the outcome %+v", b.Stream, out)
	}
	if after := f.traces(b); !reflect.DeepEqual(before, after) {
		f.Errorf("append to %s was refused (%v) and changed\n     %+v\nto   %+v", b.Stream, err, before, after)
	}
	return err
}

// traces is all that a batch could change, in a form that can be compared.
func (f *fixture) traces(b events.Batch) map[string]any {
	f.Helper()
	out := map[string]any{"head": f.head().Position, "stream": len(f.load(b.Stream, 0))}
	for _, h := range append(append([]events.Hostname{}, b.Take...), b.Release...) {
		out["holder of "+h.String()] = f.holder(h)
	}
	streams := append([]events.StreamID{b.Stream}, b.Unrefer...)
	for _, r := range b.Refer {
		streams = append(streams, r.To)
	}
	for _, id := range streams {
		out["references to "+id.String()] = f.references(id)
	}
	if b.Key != nil && b.Key.Key != "" {
		_, known, err := f.Recall(f.ctx(), *b.Key)
		out["key"] = fmt.Sprint(known, err)
	}
	return out
}

// holder is the stream that holds a hostname, as a stream that wants it is told.
func (f *fixture) holder(h events.Hostname) events.StreamID {
	f.Helper()
	probe := batch(tenant("probe"), 0, 1)
	probe.Take, probe.DryRun = []events.Hostname{h}, true
	_, err := f.Append(f.ctx(), probe)
	if claimed, ok := errors.AsType[*events.ClaimedError](err); ok {
		return claimed.Holder
	}
	if err != nil {
		f.Fatalf("ask who holds %s: %v", h, err)
	}
	return events.StreamID{}
}

func (f *fixture) wantHolder(h events.Hostname, want events.StreamID) {
	f.Helper()
	if got := f.holder(h); got != want {
		f.Errorf("holder of %s: got %q, want %q", h, got, want)
	}
}

func (f *fixture) head() events.Head {
	f.Helper()
	h, err := f.Head(f.ctx())
	if err != nil {
		f.Fatalf("head: %v", err)
	}
	return h
}

func (f *fixture) load(id events.StreamID, after uint64) []events.Event {
	f.Helper()
	out, err := f.Load(f.ctx(), id, after)
	if err != nil {
		f.Fatalf("load %s after version %d: %v", id, after, err)
	}
	return out
}

func (f *fixture) historyOf(id events.StreamID, after uint64, limit int) []events.Event {
	f.Helper()
	out, err := f.History(f.ctx(), id, after, limit)
	if err != nil {
		f.Fatalf("history of %s after version %d: %v", id, after, err)
	}
	return out
}

func (f *fixture) references(id events.StreamID) int {
	f.Helper()
	n, err := f.References(f.ctx(), id)
	if err != nil {
		f.Fatalf("references to %s: %v", id, err)
	}
	return n
}

func (f *fixture) wantReferences(id events.StreamID, want int) {
	f.Helper()
	if got := f.references(id); got != want {
		f.Errorf("references to %s: got %d, want %d", id, got, want)
	}
}

// log reads the whole log, in pages of a size that does not fit into batches.
func (f *fixture) log() []events.Event {
	f.Helper()
	var all []events.Event
	for {
		page, err := f.After(f.ctx(), uint64(len(all)), 97)
		if err != nil {
			f.Fatalf("read after position %d: %v", len(all), err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

// sound proves that the log has no hole and no double in its positions, nor in the versions of
// any stream, and that each stream loads as it stands in the log. It returns the log.
func (f *fixture) sound() []events.Event {
	f.Helper()
	all := f.log()
	streams := make(map[events.StreamID][]events.Event)
	for i, e := range all {
		if e.Position != uint64(i)+1 {
			f.Fatalf("position %d of the log: got %d", i+1, e.Position)
		}
		if want := uint64(len(streams[e.Stream])) + 1; e.Version != want {
			f.Fatalf("position %d: %s at version %d, want %d", e.Position, e.Stream, e.Version, want)
		}
		streams[e.Stream] = append(streams[e.Stream], e)
	}
	if got := f.head().Position; got != uint64(len(all)) {
		f.Errorf("head: got %d, want %d", got, len(all))
	}
	for id, want := range streams {
		f.sameEvents(f.load(id, 0), want)
	}
	return all
}

func (f *fixture) sameEvents(got, want []events.Event) {
	f.Helper()
	if len(got) != len(want) {
		f.Errorf("got %d events, want %d", len(got), len(want))
		return
	}
	for i := range got {
		f.sameEvent(got[i], want[i])
	}
}

// sameEvent compares every field, payload octet by octet.
func (f *fixture) sameEvent(got, want events.Event) {
	f.Helper()
	if !bytes.Equal(got.Data, want.Data) {
		f.Errorf("payload of %s at version %d:\ngot  %.300q\nwant %.300q", want.Stream, want.Version, got.Data, want.Data)
	}
	if !got.Time.Equal(want.Time) || got.Time.Location() != time.UTC {
		f.Errorf("time of %s at version %d: got %v, want %v", want.Stream, want.Version, got.Time, want.Time)
	}
	got.Data, want.Data, got.Time, want.Time = nil, nil, time.Time{}, time.Time{}
	if !reflect.DeepEqual(got, want) {
		f.Errorf("envelope:\ngot  %+v\nwant %+v", got, want)
	}
}

// race runs n goroutines that begin together, and waits for them.
func race(n int, run func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			run(i)
		})
	}
	close(start)
	wg.Wait()
}
