package commands

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
)

// openStore is a store of the test's own, on the disk.
func openStore(tb testing.TB) *embedded.Store {
	tb.Helper()
	s, err := embedded.Open(tb.Context(), embedded.Config{Dir: tb.TempDir(), Logger: slog.New(slog.DiscardHandler), MinFree: 1})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// system is a handler on a store, and what tests ask of both.
type system struct {
	t     testing.TB
	store events.Store
	*Handler
}

func newSystem(t testing.TB) *system { return systemOn(t, openStore(t)) }

func systemOn(t testing.TB, store events.Store) *system {
	return &system{t: t, store: store, Handler: NewHandler(store, Config{HomeRegions: regions})}
}

// do carries out commands that have to succeed, and answers the last one's answer.
func (s *system) do(commands ...Command) Answer {
	s.t.Helper()
	var last Answer
	for _, c := range commands {
		a, err := s.Do(s.t.Context(), Request{Command: c})
		if err != nil {
			s.t.Fatalf("%s of %s: %v", c.name(), c.Target(), err)
		}
		last = a
	}
	return last
}

// refusal carries out a request that has to be refused with this code.
func (s *system) refusal(r Request, want Code) *Refusal {
	s.t.Helper()
	a, err := s.Do(s.t.Context(), r)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != want {
		s.t.Fatalf("%s of %s: got %+v, %v; want it refused as %s", r.Command.name(), r.Command.Target(), a, err, want)
	}
	return refusal
}

// refuses is refusal where its code says enough.
func (s *system) refuses(r Request, want Code) {
	s.t.Helper()
	_ = s.refusal(r, want)
}

func (s *system) head() uint64 {
	s.t.Helper()
	h, err := s.store.Head(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return h.Position
}

func (s *system) stream(id events.StreamID) []events.Event {
	s.t.Helper()
	stream, err := s.store.Load(s.t.Context(), id, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	return stream
}

func (s *system) tenant(id events.TenantID) events.Tenant {
	s.t.Helper()
	t, err := s.Tenant(s.t.Context(), id, At{})
	if err != nil {
		s.t.Fatal(err)
	}
	return t
}

// log is every event there is.
func (s *system) log() []events.Event {
	s.t.Helper()
	log, err := s.store.After(s.t.Context(), 0, 1<<20)
	if err != nil {
		s.t.Fatal(err)
	}
	return log
}

// together runs all of them at the same time, and waits for them.
func together(all ...func()) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for _, f := range all {
		wg.Go(func() {
			<-start
			f()
		})
	}
	close(start)
	wg.Wait()
}

// interrupted is a store at which another comes in between: the functions run once, before
// the next call of that method.
type interrupted struct {
	events.Store
	beforeLoad, beforeAppend, beforeAppendAll func()

	appends int // single ones
}

func once(f *func()) {
	if g := *f; g != nil {
		*f = nil
		g()
	}
}

func (s *interrupted) Load(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	once(&s.beforeLoad)
	return s.Store.Load(ctx, id, after)
}

func (s *interrupted) Append(ctx context.Context, b events.Batch) (events.Outcome, error) {
	s.appends++
	once(&s.beforeAppend)
	return s.Store.Append(ctx, b)
}

func (s *interrupted) AppendAll(ctx context.Context, batches []events.Batch) []events.Result {
	once(&s.beforeAppendAll)
	return s.Store.AppendAll(ctx, batches)
}

// failing is an empty store whose every append fails.
type failing struct {
	events.Store
	err     error
	appends int
}

func (s *failing) Load(context.Context, events.StreamID, uint64) ([]events.Event, error) {
	return nil, nil
}

func (s *failing) Append(context.Context, events.Batch) (events.Outcome, error) {
	s.appends++
	return events.Outcome{}, s.err
}

func (s *failing) AppendAll(_ context.Context, batches []events.Batch) []events.Result {
	s.appends++
	out := make([]events.Result, len(batches))
	for i := range out {
		out[i].Err = s.err
	}
	return out
}

// key is an idempotency key; the fingerprint stands for the command's content.
func key(name string, fingerprint byte) *events.Key {
	return &events.Key{Key: name, Fingerprint: [32]byte{fingerprint}, Time: time.Now()}
}

func register(id events.TenantID, hostnames ...string) RegisterTenant {
	return RegisterTenant{ID: id, Name: "Name of " + id.Suffix(), HomeRegion: "eu-west", Hostnames: hosts(hostnames...)}
}

func database(id events.DatabaseID, capacity int) RegisterDatabase {
	return RegisterDatabase{ID: id, Engine: "postgres", Region: "eu-west-1", Endpoint: endpoint, Capacity: capacity}
}
