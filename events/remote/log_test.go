package remote_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/tenantry/tenantry/commands"
	"github.com/tenantry/tenantry/commands/adminapi"
	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/events/remote"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/schemas"
	"github.com/tenantry/tenantry/schemas/schematest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ projections.Source = (*remote.Log)(nil)

// catalogue is the real admin API on a real store, with some events, and one stream of more than so many.
func catalogue(t *testing.T, long int) (http.Handler, *embedded.Store) {
	t.Helper()
	store, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	api, err := adminapi.New(adminapi.Config{
		Commands: commands.NewHandler(store, commands.Config{HomeRegions: []string{"eu-west"}, Logger: slog.New(slog.DiscardHandler)}),
		Store:    store, Partitions: 4,
	})
	if err != nil {
		t.Fatal(err)
	}
	post := func(path, body string) {
		t.Helper()
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Tenantry-Actor", "mara")
		r.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		if api.ServeHTTP(w, r); w.Code >= 300 {
			t.Fatalf("POST %s: %d %s", path, w.Code, w.Body)
		}
	}
	post("/v1/databases", `{"id":"db_x","engine":"postgres","region":"eu-west","host":"pg","port":5432,"secret_ref":"vault://x"}`)
	post("/v1/groups", `{"id":"grp_g","name":"G","ring":1}`)
	for i := range 30 {
		post("/v1/tenants", fmt.Sprintf(`{"id":"ten_t%d","name":"東京 %d","hostnames":["t%d.example"],"home_region":"eu-west","group":"grp_g","database":"db_x"}`, i, i, i))
	}
	post("/v1/tenants/ten_t0/activate", "{}")
	for i := range long {
		post("/v1/tenants/ten_t0/"+[]string{"suspend", "resume"}[i%2], `{"reason":"r"}`)
	}
	post("/v1/databases/db_x/drain", "{}")
	return api, store
}

func serve(t *testing.T, h http.Handler, adjust ...func(*remote.Config)) *remote.Log {
	t.Helper()
	s := httptest.NewServer(h)
	cfg := remote.Config{URL: s.URL}
	for _, a := range adjust {
		a(&cfg)
	}
	l, err := remote.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return l
}

func stream(t *testing.T, s string) events.StreamID {
	t.Helper()
	id, err := events.ParseStreamID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// asJSON compares events by what they are when they are written.
func asJSON(t *testing.T, log []events.Event) []string {
	t.Helper()
	var out []string
	for _, e := range log {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

func TestLog_OfARealCatalogue_ReadsWhatItsStoreHolds(t *testing.T) {
	api, store := catalogue(t, 210)                                  // more than a page
	l := serve(t, schematest.Validate(t, schemas.AdminOpenAPI)(api)) // it asks for what the contract offers
	ctx := t.Context()
	want, err := store.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.Head(ctx); err != nil || got != want {
		t.Errorf("head: got %+v, %v, want %+v", got, err, want)
	}
	for _, c := range []struct {
		after uint64
		limit int
	}{{0, 1}, {0, 1000}, {0, 1 << 20}, {7, 10}, {want.Position - 1, 5}, {want.Position, 5}, {want.Position + 100, 5}} {
		stored, err := store.After(ctx, c.after, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.After(ctx, c.after, c.limit)
		if diff := cmp.Diff(asJSON(t, stored), asJSON(t, got)); err != nil || diff != "" {
			t.Errorf("after %d, %d: %v (-store +remote)\n%s", c.after, c.limit, err, diff)
		}
	}
	for _, c := range []struct {
		stream string
		after  uint64
	}{
		{"ten_t0", 0}, {"ten_t0", 3}, {"ten_t0", 205}, {"ten_t0", 10_000}, {"ten_t7", 0}, {"ten_nobody", 0},
		{"db_x", 0}, {"db_x", 1}, {"db_none", 0}, {"grp_g", 0}, {"grp_none", 0},
	} {
		stored, err := store.Load(ctx, stream(t, c.stream), c.after)
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.Load(ctx, stream(t, c.stream), c.after)
		if diff := cmp.Diff(asJSON(t, stored), asJSON(t, got)); err != nil || diff != "" {
			t.Errorf("load %s after %d: %v (-store +remote)\n%s", c.stream, c.after, err, diff)
		}
	}
	var read []events.Event
	if err := l.Read(ctx, 2, want.Position, func(e events.Event) error {
		read = append(read, e)
		return nil
	}); err != nil {
		t.Error(err)
	}
	if got := len(read); got != int(want.Position)-2 || read[0].Position != 3 {
		t.Errorf("read %d events, want all from position 3", got)
	}
	if err := l.Read(ctx, 0, want.Position+1, func(events.Event) error { return nil }); !errors.Is(err, remote.ErrProtocol) {
		t.Errorf("beyond the end: got %v", err)
	}
	errEnough := errors.New("enough")
	if err := l.Read(ctx, 0, want.Position, func(events.Event) error { return errEnough }); !errors.Is(err, errEnough) {
		t.Errorf("got %v, want the caller's own error", err)
	}
}

func TestLog_DatabaseOrGroupOfAnOlderCatalogue_IsFoundInItsLog(t *testing.T) {
	api, store := catalogue(t, 20)
	for name, status := range map[string]int{"no such route": 404, "no such method": 405} {
		var scanned atomic.Bool
		l := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/events") && !strings.HasPrefix(r.URL.Path, "/v1/tenants/") && r.URL.Path != "/v1/events":
				w.WriteHeader(status)
			default:
				scanned.Store(scanned.Load() || r.URL.Path == "/v1/events")
				api.ServeHTTP(w, r)
			}
		}))
		for _, id := range []string{"db_x", "grp_g", "db_none"} {
			scanned.Store(false)
			want, err := store.Load(t.Context(), stream(t, id), 0)
			if err != nil {
				t.Fatal(err)
			}
			got, err := l.Load(t.Context(), stream(t, id), 0)
			if diff := cmp.Diff(asJSON(t, want), asJSON(t, got)); err != nil || diff != "" || !scanned.Load() {
				t.Errorf("%s, %s: %v, scanned %t (-store +remote)\n%s", name, id, err, scanned.Load(), diff)
			}
		}
	}
	// A catalogue of today is not read from its beginning for one stream.
	l := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/events" {
			t.Error("the whole log was asked for")
		}
		api.ServeHTTP(w, r)
	}))
	for id, want := range map[string]int{"db_x": 2, "grp_g": 1, "db_none": 0} {
		if got, err := l.Load(t.Context(), stream(t, id), 0); err != nil || len(got) != want {
			t.Errorf("%s: got %d events, %v, want %d", id, len(got), err, want)
		}
	}
}

// An address may lead to two catalogues, as that of a balancer that is set up wrongly does.
func TestLog_HistoryOfAnotherStore_IsNotTakenForThatOfThisOne(t *testing.T) {
	api, store := catalogue(t, 20)
	other, _ := catalogue(t, 4)
	var astray atomic.Bool
	l := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if astray.Load() && r.URL.Path != "/v1/events" {
			other.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	}))
	if _, err := l.Head(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"ten_t0", "ten_t7", "db_x", "grp_g", "ten_nobody"} {
		astray.Store(true)
		if got, err := l.Load(t.Context(), stream(t, id), 0); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("%s: got %d events, %v, want ErrUnavailable", id, len(got), err)
		}
		astray.Store(false)
		want, err := store.Load(t.Context(), stream(t, id), 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.Load(t.Context(), stream(t, id), 0)
		if diff := cmp.Diff(asJSON(t, want), asJSON(t, got)); err != nil || diff != "" {
			t.Errorf("%s, of its own: %v (-store +remote)\n%s", id, err, diff)
		}
	}
}

func TestLog_CatalogueWhoseStoreWasReplaced_IsReadOn(t *testing.T) {
	before, _ := catalogue(t, 4)
	after, store := catalogue(t, 20)
	var replaced atomic.Bool
	l := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if replaced.Load() {
			after.ServeHTTP(w, r)
			return
		}
		before.ServeHTTP(w, r)
	}))
	if _, err := l.Head(t.Context()); err != nil {
		t.Fatal(err)
	}
	replaced.Store(true)
	want, err := store.Load(t.Context(), stream(t, "ten_t0"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.Load(t.Context(), stream(t, "ten_t0"), 0); err != nil || len(got) != len(want) {
		t.Errorf("got %d events, %v, want %d", len(got), err, len(want))
	}
}

// breaking is a catalogue whose answers break off after so many octets.
func breaking(h http.Handler, octets int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		maps.Copy(w.Header(), rec.Header())
		w.Header().Del("Content-Length")
		w.WriteHeader(rec.Code)
		if rec.Body.Len() <= octets {
			_, _ = w.Write(rec.Body.Bytes())
			return
		}
		_, _ = w.Write(rec.Body.Bytes()[:octets])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
}

func TestLog_AnswersThatBreakOff_AreReadToTheEndAllTheSame(t *testing.T) {
	api, store := catalogue(t, 20)
	ctx := t.Context()
	head, err := store.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want, err := store.After(ctx, 0, int(head.Position))
	if err != nil {
		t.Fatal(err)
	}
	for _, octets := range []int{1000, 4096, 10_000, 30_001} {
		l := serve(t, breaking(api, octets))
		var got []events.Event
		if err := l.Read(ctx, 0, head.Position, func(e events.Event) error {
			got = append(got, e)
			return nil
		}); err != nil {
			t.Errorf("broken off at %d: %v", octets, err)
		}
		if diff := cmp.Diff(asJSON(t, want), asJSON(t, got)); diff != "" {
			t.Errorf("broken off at %d: (-store +remote)\n%s", octets, diff)
		}
		if part, err := l.After(ctx, 0, 1000); err != nil || len(part) == 0 {
			t.Errorf("broken off at %d: After got %d events, %v, want those that came whole", octets, len(part), err)
		}
	}
	// Less than one event is no progress.
	if got, err := serve(t, breaking(api, 10)).After(ctx, 0, 10); !errors.Is(err, events.ErrUnavailable) || len(got) > 0 {
		t.Errorf("got %d events, %v, want ErrUnavailable", len(got), err)
	}
}

func answer(status int, header map[string]string, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func TestLog_WhatIsNoCatalogue_IsRefusedWithAReason(t *testing.T) {
	log := map[string]string{"Tenantry-Position": "9", "Tenantry-Store-Id": uuid.NewString()}
	problemJSON := map[string]string{"Content-Type": "application/problem+json"}
	for name, c := range map[string]struct {
		handler http.Handler
		is      error
		says    string
	}{
		"a page of HTML":          {answer(200, nil, "<html>"), remote.ErrProtocol, "Tenantry-Position"},
		"no identity":             {answer(200, map[string]string{"Tenantry-Position": "9"}, ""), remote.ErrProtocol, "Tenantry-Store-Id"},
		"no lines of JSON":        {answer(200, log, "<html>\n"), remote.ErrProtocol, "position 0"},
		"a hole":                  {answer(200, log, `{"id":"0193f3a1-6f7e-7c3a-9a51-0d2a4c1b7e90","stream":"ten_a","version":1,"position":2,"type":"x","time":"2026-11-21T00:00:00Z","data":{}}`+"\n"), remote.ErrProtocol, "position 2"},
		"a stream of no kind":     {answer(200, log, `{"stream":"acme","version":1,"position":1}`+"\n"), remote.ErrProtocol, "position 0"},
		"another place":           {http.RedirectHandler("/elsewhere", http.StatusFound), remote.ErrProtocol, "302"},
		"a token is needed":       {answer(401, problemJSON, `{"type":"https://tenantry.dev/problems/unauthorized","title":"No","status":401,"detail":"send a token"}`), remote.ErrRefused, "send a token"},
		"a token is not enough":   {answer(403, nil, "no"), remote.ErrRefused, "403"},
		"nothing there":           {answer(404, problemJSON, `{"type":"https://tenantry.dev/problems/no-such-route","title":"There is nothing at this path"}`), nil, "is it that of a node's query API?"},
		"a proxy without upkeep":  {answer(502, nil, "<html>"), events.ErrUnavailable, "502"},
		"a store that is away":    {answer(503, problemJSON, `{"title":"The request cannot be served now","detail":"again"}`), events.ErrUnavailable, "again"},
		"less than it says it is": {answer(200, log, ""), events.ErrUnavailable, "goes to 9"},
	} {
		t.Run(name, func(t *testing.T) {
			l := serve(t, c.handler)
			_, err := l.After(t.Context(), 0, 100)
			if err == nil || (c.is != nil && !errors.Is(err, c.is)) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line of %v that says %q", err, c.is, c.says)
			}
			if _, err := l.Load(t.Context(), stream(t, "ten_a"), 0); err == nil {
				t.Error("a history was read from it")
			}
		})
	}
}

func TestLog_CatalogueThatIsAwayForAMoment_IsAskedAgain(t *testing.T) {
	api, _ := catalogue(t, 20)
	var asked atomic.Int64
	l := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler)
		default:
			api.ServeHTTP(w, r)
		}
	}))
	if _, err := l.Head(t.Context()); err != nil || asked.Load() != 3 {
		t.Errorf("got %v after %d requests, want success at the third", err, asked.Load())
	}
	asked.Store(-1000) // what is refused for good is asked once
	refusing := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusForbidden)
	}))
	if _, err := refusing.Head(t.Context()); !errors.Is(err, remote.ErrRefused) || asked.Load() != -999 {
		t.Errorf("got %v after %d requests, want ErrRefused after one", err, asked.Load()+1000)
	}
}

func TestLog_CatalogueThatFallsSilent_IsAway(t *testing.T) {
	done := make(chan struct{})
	silent := func(first string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Tenantry-Position", "9")
			w.Header().Set("Tenantry-Store-Id", uuid.NewString())
			if first != "" {
				_, _ = io.WriteString(w, first)
				_ = http.NewResponseController(w).Flush()
			}
			select {
			case <-done:
			case <-r.Context().Done():
			}
		})
	}
	defer close(done)
	soon := func(cfg *remote.Config) { cfg.Silence = 20 * time.Millisecond }
	for name, first := range map[string]string{"from the beginning": "", "in the middle of a line": `{"id":`} {
		if _, err := serve(t, silent(first), soon).After(t.Context(), 0, 10); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", name, err)
		}
	}
	// The caller's own patience is told from the catalogue's silence.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := serve(t, silent("")).Head(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the caller's deadline", err)
	}
}

func TestLog_WithAToken_SendsItAndNowhereElse(t *testing.T) {
	api, _ := catalogue(t, 20)
	var got atomic.Value
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	tokens := func(cfg *remote.Config) { cfg.Token = func(context.Context) (string, error) { return "t0ken", nil } }
	l := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Header.Get("Authorization"))
		api.ServeHTTP(w, r)
	}), tokens)
	if _, err := l.Head(t.Context()); err != nil || got.Load() != "Bearer t0ken" {
		t.Errorf("got %v, %v", got.Load(), err)
	}
	if _, err := serve(t, http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect), tokens).Head(t.Context()); err == nil || strings.Contains(err.Error(), "t0ken") {
		t.Errorf("got %v, want a refusal without the token", err)
	}
	errGone := errors.New("the token's file is gone")
	gone := serve(t, api, func(cfg *remote.Config) { cfg.Token = func(context.Context) (string, error) { return "", errGone } })
	if _, err := gone.Head(t.Context()); !errors.Is(err, errGone) {
		t.Errorf("got %v, want the reason why there is no token", err)
	}
}

func TestNew_OfAnAddressThatCannotBe_RepeatsNoPassword(t *testing.T) {
	for _, address := range []string{"", "localhost:8080", "postgres://u:s3cret@h/d", "http://", "http://u:s3cret@h", "http://h?token=s3cret", "http://h/#s3cret", "http://u:s3cret%zz@h"} {
		if _, err := remote.New(remote.Config{URL: address}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want an error that does not repeat it", address, err)
		}
	}
	for _, address := range []string{"http://h", "https://h:1/", "http://h/base/"} {
		if _, err := remote.New(remote.Config{URL: address}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
