package commands

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// history gives a tenant so many events, one a batch, as years of commands do.
func history(tb testing.TB, store events.Store, id events.TenantID, n int) {
	tb.Helper()
	batches := make([]events.Batch, n)
	for i := range batches {
		var p events.Payload = events.ConfigSet{Key: fmt.Sprintf("k%d", i%20), Value: raw(fmt.Sprint(i))}
		if i == 0 {
			p = events.TenantRegistered{Name: "Old", HomeRegion: "eu"}
		}
		news, err := events.New(id.Stream(), uint64(i), events.Metadata{Time: began}, p)
		if err != nil {
			tb.Fatal(err)
		}
		batches[i] = events.Batch{Stream: id.Stream(), Expected: uint64(i), Events: news}
	}
	for _, r := range store.AppendAll(tb.Context(), batches) {
		if r.Err != nil {
			tb.Fatal(r.Err)
		}
	}
}

// counting says how many events are read of streams.
type counting struct {
	events.Store
	read int
}

func (s *counting) Load(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	out, err := s.Store.Load(ctx, id, after)
	s.read += len(out)
	return out, err
}

func TestHandler_ALongStream_IsReadFromWhereItWasLast(t *testing.T) {
	store := &counting{Store: openStore(t)}
	s := systemOn(t, store)
	history(t, store, acme, 1000)
	s.do(SetConfig{acme, "a", raw("1")})
	if store.read != 1000 {
		t.Errorf("the first command read %d events, want all 1000", store.read)
	}
	for i := range 10 {
		store.read = 0
		s.do(SetConfig{acme, "a", raw(fmt.Sprint(i + 2))})
		if store.read > 2 {
			t.Errorf("a command behind it read %d events, want the last that was known and what is new", store.read)
		}
	}
	store.read = 0
	got, err := s.Tenant(t.Context(), acme, At{})
	if err != nil || store.read > 2 {
		t.Errorf("reading the tenant read %d events (%v)", store.read, err)
	}
	stream, err := store.Load(t.Context(), acme.Stream(), 0)
	if err != nil {
		t.Fatal(err)
	}
	want, err := events.FoldTenant(events.Tenant{}, stream)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v (%v)", got, want, err)
	}
}

func TestHandler_AShortStream_IsNotKept(t *testing.T) {
	s := newSystem(t)
	s.do(register(acme, "a.example"), ActivateTenant{acme})
	if n := s.folds.kept.EstimatedSize(); n != 0 {
		t.Errorf("got %d folds of short streams", n)
	}
}

// A Postgres that is restored under a running catalogue.
func TestHandler_TheStoreIsRestoredToAnotherPast_DecidesOnWhatIsThere(t *testing.T) {
	for name, past := range map[string]int{"a shorter one": 60, "one of the same length": 101, "a longer one": 200} {
		t.Run(name, func(t *testing.T) {
			store := &counting{Store: openStore(t)}
			s := systemOn(t, store)
			history(t, store, acme, 100)
			s.do(AttachHostname{ID: acme, Hostname: host("before.example")})
			store.Store = openStore(t)
			history(t, store, acme, past)
			if a := s.do(AttachHostname{ID: acme, Hostname: host("before.example")}); a.Unchanged || a.Version != uint64(past+1) {
				t.Errorf("got %+v, want the hostname attached at version %d", a, past+1)
			}
			if got, err := s.Tenant(t.Context(), acme, At{}); err != nil || got.Version != uint64(past+1) {
				t.Errorf("got version %d (%v), want %d", got.Version, err, past+1)
			}
			store.Store = openStore(t)
			s.refuses(Request{Command: SuspendTenant{acme}}, NotFound)
		})
	}
}

func TestFolds_OfManyTenants_StayInTheirBounds(t *testing.T) {
	f := newFolds(nil)
	config := make(map[string]jsontext.Value)
	for i := range 20 {
		config[fmt.Sprint(i)] = raw(`"` + strings.Repeat("x", 4000) + `"`)
	}
	const each = 20 * 4000
	for i := range 3 * maxFolds / each {
		id := ten(fmt.Sprint(i)).Stream()
		f.kept.Set(id, fold{state: state{id: id, tenant: events.Tenant{Version: 100, Config: config}}})
	}
	if n := f.kept.EstimatedSize(); n == 0 || n*each > maxFolds {
		t.Errorf("got %d folds of more than %d octets, in %d", n, each, maxFolds)
	}
}

// BenchmarkDoWithHistory is what a command costs on a tenant that many came before to.
func BenchmarkDoWithHistory(b *testing.B) {
	for _, n := range []int{5, 50, 500, 10_000, 100_000} {
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
			store := openStore(b)
			s := systemOn(b, store)
			history(b, store, acme, n)
			b.Run("load", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := store.Load(b.Context(), acme.Stream(), 0); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("dry", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.Do(b.Context(), Request{Command: SetConfig{acme, "k", raw(`"x"`)}, DryRun: true}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
