package adminapi_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/commands/adminapi"
	"github.com/tenantry/tenantry/events"
)

type replayFunc = func(context.Context, adminapi.TopicReplay, func(adminapi.TopicProgress) error) (adminapi.TopicProgress, error)

func replaying(t *testing.T, replay replayFunc) *server {
	t.Helper()
	s := newServer(t, func(c *adminapi.Config) { c.ReplayTopic = replay })
	s.acme("")
	return s
}

func TestReplayTopic_AnswersHowFarItIs_AndThatItIsDone(t *testing.T) {
	var asked adminapi.TopicReplay
	s := replaying(t, func(_ context.Context, what adminapi.TopicReplay, told func(adminapi.TopicProgress) error) (adminapi.TopicProgress, error) {
		asked = what
		p := adminapi.TopicProgress{From: 2, Position: 1, UpTo: 3, Resumed: true}
		if err := told(p); err != nil {
			return p, err
		}
		p.Position, p.Events = 3, 2
		return p, told(p)
	})
	got := s.must("POST", "/v1/topic/replay", `{"since": 2, "tenant": "ten_acme", "rate": 50, "restart": true}`).lines()
	want := []string{
		`{"from":2,"position":1,"up_to":3,"events":0,"resumed":true}`,
		`{"from":2,"position":3,"up_to":3,"events":2,"resumed":true,"done":true}`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the lines: -want +got\n%s", d)
	}
	id, err := events.ParseTenantID("ten_acme")
	if err != nil {
		t.Fatal(err)
	}
	if want := (adminapi.TopicReplay{Since: 2, Tenant: id, Rate: 50, Restart: true}); asked != want {
		t.Errorf("asked for %+v, want %+v", asked, want)
	}

	s.must("POST", "/v1/topic/replay", `{"since_time": "2026-11-21T12:00:00+01:00"}`)
	if want := (adminapi.TopicReplay{SinceTime: time.Date(2026, 11, 21, 11, 0, 0, 0, time.UTC)}); asked != want {
		t.Errorf("asked for %+v, want %+v", asked, want)
	}
	s.must("POST", "/v1/topic/replay", "")
	if asked != (adminapi.TopicReplay{}) {
		t.Errorf("asked for %+v, want everything", asked)
	}
}

func TestReplayTopic_WhatIsRefused_SaysWhatToDo(t *testing.T) {
	var answer error
	s := replaying(t, func(context.Context, adminapi.TopicReplay, func(adminapi.TopicProgress) error) (adminapi.TopicProgress, error) {
		return adminapi.TopicProgress{}, answer
	})
	answer = fmt.Errorf("%w: the topic holds records of another history", adminapi.ErrNotLeading)
	if why := s.send("POST", "/v1/topic/replay", "").refused(409, "not-leading").Detail; !strings.Contains(why, "does not publish: the topic holds records of another history") {
		t.Errorf("got %s, want the reason in it", why)
	}
	answer = adminapi.ErrReplaying
	s.send("POST", "/v1/topic/replay", "{}").refused(409, "replay-running")
	answer = errors.New("not reached")
	s.send("POST", "/v1/topic/replay", `{"tenant":"ten_nobody"}`).refused(404, "not-found")
	for body, pointer := range map[string]string{
		`{"tenant":"db_eu"}`:     "/tenant",
		`{"since":0}`:            "/since",
		`{"rate":-1}`:            "/rate",
		`{"since_time":"noon"}`:  "/since_time",
		`{"tenants":"ten_acme"}`: "/tenants",
		`{"since":1,"since_time":"2026-11-21T12:00:00Z"}`: "/since_time",
	} {
		if got := s.send("POST", "/v1/topic/replay", body).refused(422, "invalid").pointers(); got != pointer {
			t.Errorf("%s: got %q at fault, want %q", body, got, pointer)
		}
	}
	newServer(t).send("POST", "/v1/topic/replay", "").refused(409, "not-leading")
}

func TestReplayTopic_BrokenOff_SaysSoInItsLastLine(t *testing.T) {
	for want, cause := range map[string]error{
		"problems/not-leading": adminapi.ErrNotLeading,
		"problems/unavailable": errors.New("the broker burns"),
	} {
		s := replaying(t, func(_ context.Context, _ adminapi.TopicReplay, told func(adminapi.TopicProgress) error) (adminapi.TopicProgress, error) {
			p := adminapi.TopicProgress{From: 1, Position: 1, UpTo: 3, Events: 1}
			return p, errors.Join(told(p), cause)
		})
		lines := s.must("POST", "/v1/topic/replay", "").lines()
		last := lines[len(lines)-1]
		if !strings.Contains(last, want) || !strings.Contains(last, `"position":1`) || strings.Contains(last, "done") || strings.Contains(last, "burns") {
			t.Errorf("got the last line %s, want %s at position 1, and nothing from inside", last, want)
		}
	}
}
