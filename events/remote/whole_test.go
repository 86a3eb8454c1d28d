package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/commands/adminapi"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/events/remote"
	"github.com/tenantry/tenantry/events/storetest"
)

// served is a store whose whole log is read over HTTP.
type served struct {
	*embedded.Store
	log  *remote.Log
	stop func()
}

func (s *served) Whole(ctx context.Context) (events.Whole, error) { return s.log.Whole(ctx) }

func (s *served) Close() error {
	s.stop()
	return s.Store.Close()
}

func TestLog_KeepsTheContractOfAWhole(t *testing.T) {
	for name, between := range map[string]func(http.Handler) http.Handler{
		"Plain":             func(h http.Handler) http.Handler { return h },
		"AwayNowAndThen":    flaky,
		"InSeveralMergings": func(h http.Handler) http.Handler { return h },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "InSeveralMergings" {
				defer remote.SetCollected(500)()
			}
			storetest.RunWhole(t, func(t *testing.T) storetest.Data {
				dir := t.TempDir()
				return storetest.Data{
					Open: func(ctx context.Context) (storetest.Store, error) {
						store, err := embedded.Open(ctx, embedded.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
						if err != nil {
							return nil, err
						}
						return publish(t, store, between)
					},
					NoKill: "it is the store behind it that is killed",
				}
			})
		})
	}
}

func publish(t *testing.T, store *embedded.Store, between func(http.Handler) http.Handler) (storetest.Store, error) {
	t.Helper()
	api, err := adminapi.New(adminapi.Config{
		Commands: commands.NewHandler(store, commands.Config{HomeRegions: []string{"eu-west"}, Logger: slog.New(slog.DiscardHandler)}),
		Store:    store, Partitions: 4,
	})
	if err != nil {
		return nil, err
	}
	server := httptest.NewServer(between(api))
	log, err := remote.New(remote.Config{URL: server.URL, TempDir: t.TempDir()})
	if err != nil {
		return nil, err
	}
	return &served{store, log, func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	}}, nil
}

// flaky is a catalogue that refuses every third request.
func flaky(h http.Handler) http.Handler {
	var asked atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1)%3 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// allOf is a whole as one log by stream.
func allOf(t *testing.T, w events.Whole, n int) map[string][]uint64 {
	t.Helper()
	parts, err := w.Parts(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]uint64)
	for _, p := range parts {
		if err := p.Streams(t.Context(), func(stream []events.Event) error {
			for _, e := range stream {
				out[e.Stream.String()] = append(out[e.Stream.String()], e.Position)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestWhole_ThatIsOpen_LeavesNoFileBehindWhateverHappens(t *testing.T) {
	api, _ := catalogue(t, 20)
	dir := t.TempDir()
	l := serve(t, api, func(cfg *remote.Config) { cfg.TempDir = dir })
	w, err := l.Whole(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("got %v, %v, want no file that a kill would leave", left, err)
	}
	if got := allOf(t, w, 2); len(got) != 32 {
		t.Errorf("got %d streams, want 32", len(got))
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	missing := serve(t, api, func(cfg *remote.Config) { cfg.TempDir = dir + "/none" })
	if _, err := missing.Whole(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want an error for a directory that is not there", err)
	}
}

func TestWhole_TellsHowMuchOfTheLogItHasRead(t *testing.T) {
	api, _ := catalogue(t, 20)
	l := serve(t, api, func(cfg *remote.Config) { cfg.TempDir = t.TempDir() })
	var done, total uint64
	w, err := l.Whole(events.WithReading(t.Context(), func(d, all uint64) { done, total = d, all }))
	if err != nil {
		t.Fatal(err)
	}
	if head := w.Head().Position; done != head || total != head || head == 0 {
		t.Errorf("told %d of %d, want %d of it", done, total, head)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhole_CatalogueThatIsAwayForLong_IsWaitedForAsLongAsItsPatience(t *testing.T) {
	api, store := catalogue(t, 20)
	var logs atomic.Int64
	away := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.RawQuery, "after=9223372036854775807") {
			api.ServeHTTP(w, r)
			return
		}
		if n := logs.Add(1); n > 1 && n < 7 { // more than one request is asked again
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		breaking(api, 5000).ServeHTTP(w, r)
	})
	w, err := serve(t, away).Whole(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	whole, err := store.Whole(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(allOf(t, whole, 1), allOf(t, w, 3)); diff != "" {
		t.Errorf("(-store +remote)\n%s", diff)
	}
	if err := whole.Close(); err != nil {
		t.Error(err)
	}
	var first sync.Once
	gone := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.RawQuery, "after=9223372036854775807") {
			answered := false
			first.Do(func() { api.ServeHTTP(w, r); answered = true })
			if answered {
				return
			}
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	if _, err := serve(t, gone, func(cfg *remote.Config) { cfg.Patience = time.Nanosecond }).Whole(t.Context()); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

// headed answers the log of a store, with a head that it is told.
func headed(api http.Handler, head func(asked int64, position *uint64, id *uuid.UUID)) http.Handler {
	var asked atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, r)
		position := uint64(0)
		if _, err := fmt.Sscan(rec.Header().Get("Tenantry-Position"), &position); err != nil {
			panic(err)
		}
		id := uuid.MustParse(rec.Header().Get("Tenantry-Store-Id"))
		head(asked.Add(1), &position, &id)
		w.Header().Set("Tenantry-Position", fmt.Sprint(position))
		w.Header().Set("Tenantry-Store-Id", id.String())
		_, _ = io.Copy(w, rec.Body)
	})
}

func TestWhole_StoreThatWasRestoredMeanwhile_IsNoHistory(t *testing.T) {
	api, _ := catalogue(t, 20)
	other := uuid.New()
	for name, head := range map[string]func(asked int64, position *uint64, id *uuid.UUID){
		"another identity": func(asked int64, _ *uint64, id *uuid.UUID) {
			if asked > 2 {
				*id = other
			}
		},
		"it became shorter": func(asked int64, position *uint64, _ *uuid.UUID) {
			if asked > 2 {
				*position = 3
			}
		},
		"it was longer before it was read": func(asked int64, position *uint64, _ *uuid.UUID) {
			if asked == 1 {
				*position += 5
			}
		},
	} {
		if _, err := serve(t, headed(api, head)).Whole(t.Context()); !errors.Is(err, remote.ErrRestored) {
			t.Errorf("%s: got %v, want ErrRestored", name, err)
		}
	}
}
