package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestReplayTopic_OnARunningDev_PublishesAgain(t *testing.T) {
	d, dir := openDev(t)
	tenantryWith(t.Context(), t, input, "import", "-", "--data-dir", dir).exits(exitPartial)
	ready(t, d)
	tenantry(t, "replay", "--topic", "--data-dir", dir).exits(exitDone).prints("published again: ", "of the positions 1 to ")
	tenantry(t, "replay", "--topic", "--tenant", "ten_acme", "--since", "2026-01-01T00:00:00Z", "--data-dir", dir, "--output", "json").exits(exitDone).prints(`"from": 1`, `"events": `)
	tenantry(t, "replay", "--topic", "--since", "3", "--rate", "1000", "--restart", "--data-dir", dir).exits(exitDone).prints("of the positions 3 to ")
	tenantry(t, "replay", "--topic", "--since", "2026-01-31", "--data-dir", dir).exits(exitDone).prints("published again: ", "of the positions 1 to ")
	tenantry(t, "replay", "--topic", "--since", "900", "--data-dir", dir).exits(exitDone).prints("nothing was published again: there is no event since 900; the log ends at position ")
	tenantry(t, "replay", "--topic", "--since", "2100-01-31", "--data-dir", dir).exits(exitDone).prints("nothing was published again: there is no event since 2100-01-31; ")
	tenantry(t, "replay", "--topic", "--tenant", "ten_nobody", "--data-dir", dir).exits(exitFailed, "there is no tenant ten_nobody")
	for _, url := range d.Addresses().Regions { // and the regions take no harm
		if metrics := body(t, url+"/metrics"); !strings.Contains(metrics, `tenantry_projection_gaps_total{region="`) {
			t.Fatal("there is no count of gaps")
		} else {
			for line := range strings.Lines(metrics) {
				if strings.HasPrefix(line, "tenantry_projection_gaps_total") && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
					t.Errorf("a region found a gap: %s", line)
				}
			}
		}
	}
}

func TestReplayTopic_WrongUsage_SaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--topic", "--since", "yesterday"}, "neither a position"},
		{[]string{"--topic", "--since", "2026-11-31"}, "neither a position"},
		{[]string{"--topic", "--since", "0"}, "from 1 on"},
		{[]string{"--topic", "--tenant", "acme"}, "not a tenant's ID"},
		{[]string{"--topic", "--rate", "-1"}, "whole number"},
	} {
		tenantry(t, append([]string{"replay"}, c.args...)...).exits(exitUsage, c.want)
	}
	tenantry(t, "replay", "--topic", "--admin", "http://127.0.0.1:1").exits(exitFailed, "no answer from http://127.0.0.1:1")
}

// script is an admin API that answers each request for a replay as the next line of the script says.
type script struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func scripted(t *testing.T, answers ...func(w http.ResponseWriter)) *script {
	t.Helper()
	s := new(script)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		n := len(s.asked)
		s.asked = append(s.asked, string(b))
		s.mu.Unlock()
		if n >= len(answers) {
			t.Errorf("asked %d times, want %d", n+1, len(answers))
			return
		}
		answers[n](w)
	}))
	t.Cleanup(s.Close)
	return s
}

func lines(text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = io.WriteString(w, text)
	}
}

func TestReplayTopic_AnotherLeads_OrTheCatalogueDies_AsksUntilItIsDone(t *testing.T) {
	notLeading := func(detail string) func(w http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			answering(409, "application/problem+json", `{"type":"https://tenantry.dev/problems/not-leading","title":"Another catalogue publishes","status":409,"detail":"`+detail+`"}`).ServeHTTP(w, nil)
		}
	}
	s := scripted(t,
		notLeading("at first"),
		lines(`{"from":1,"position":40,"up_to":100,"events":40}`+"\n"), // and then it is killed
		notLeading("until another does"),
		lines(`{"from":41,"position":60,"up_to":100,"events":20,"resumed":true,"error":{"type":"https://tenantry.dev/problems/not-leading","title":"t","detail":"d"}}`+"\n"),
		lines(`{"from":61,"position":100,"up_to":100,"events":40,"resumed":true,"done":true}`+"\n"),
	)
	tenantry(t, "replay", "--topic", "--restart", "--admin", s.URL).exits(exitDone, "looking for the catalogue that leads, for 15s at most\n", "going on at position").prints("100 events, of the positions 1 to 100")
	want := []string{`{"restart":true}`, `{"restart":true}`, `{}`, `{}`, `{}`}
	if !slices.Equal(s.asked, want) {
		t.Errorf("asked for %q, want %q: what is published is not begun anew", s.asked, want)
	}
}

func TestReplayTopic_Stopped_SaysHowFarItIsAndThatItGoesOn(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	gone := make(chan struct{})
	s := scripted(t, func(w http.ResponseWriter) {
		lines(`{"from":1,"position":40,"up_to":100,"events":40}` + "\n")(w)
		_ = http.NewResponseController(w).Flush()
		stop()
		<-gone
	})
	tenantryWith(ctx, t, "", "replay", "--topic", "--admin", s.URL).exits(exitFailed, "tenantry: stopped", "the same command goes on")
	close(gone)
	want := "stopped: all up to position 40 of 100 is published again, and perhaps some more; the same command goes on behind it"
	if got := stoppedTopic(topicLine{From: 1, Position: 40, UpTo: 100}).Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
