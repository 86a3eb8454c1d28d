package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

func control(t *testing.T, dir readmodel.Dir, r Region, idle time.Duration) *Control {
	t.Helper()
	c, err := serve(dir, r, slog.New(slog.DiscardHandler), idle)
	if err != nil {
		t.Fatal(err)
	}
	return closedAfter(t, c)
}

func client(t *testing.T, dir readmodel.Dir) *Client {
	t.Helper()
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestControl_ANodeAnswersOverItsSocket_WhatItAnswersInProcess(t *testing.T) {
	dir := readmodel.Dir(t.TempDir())
	region := aRegion(t)
	control(t, dir, region, time.Minute)
	c := client(t, dir)

	info, err := c.Info(t.Context())
	if err != nil || info != region.info {
		t.Errorf("info: got %+v, %v, want %+v", info, err, region.info)
	}
	near, err := region.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	far, err := c.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(near.Progress(), far.Progress()); diff != "" {
		t.Errorf("progress (-node +over the socket):\n%s", diff)
	}
	if near.Maintained() != far.Maintained() {
		t.Error("the sums are others over the socket")
	}
	want, err1 := near.Scan(t.Context(), 0)
	got, err2 := far.Scan(t.Context(), 0)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got.Damaged) != 1 || got.Tenants != 2 {
		t.Errorf("scan: got %d tenants, damaged %q (-node +over the socket):\n%s", got.Tenants, got.Damaged, diff)
	}
	if err := far.Recount(t.Context()); err != nil || region.recounted != want.Sums {
		t.Errorf("recount of what was scanned: %v, and the sums are others", err)
	}
	set := new(BucketSet)
	set.Add(readmodel.BucketOf(streamID(t, "ten_b")))
	if diff := cmp.Diff(entriesOf(t, near, set), entriesOf(t, far, set)); diff != "" {
		t.Errorf("entries (-node +over the socket):\n%s", diff)
	}
	wrong, err1 := near.Quarantined(t.Context())
	told, err2 := far.Quarantined(t.Context())
	if err := errors.Join(err1, err2); err != nil || len(told) != 1 || told[0] != wrong[0] {
		t.Errorf("in quarantine: got %+v, want %+v (%v)", told, wrong, err)
	}
	for _, key := range []string{"t/ten_a", "t/ten_b", "t/\xff\x00"} {
		want, err1 := near.Record(t.Context(), key)
		got, err2 := far.Record(t.Context(), key)
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("record %q: got %v, want %v (%v)", key, got, want, err)
		}
	}
	if err := errors.Join(near.Close(), far.Close()); err != nil || region.inspections() != 0 {
		t.Errorf("closed: %v; %d inspections are open", err, region.inspections())
	}
	if _, err := far.Scan(t.Context(), 0); !errors.Is(err, ErrSessionGone) {
		t.Errorf("a scan after Close: got %v, want ErrSessionGone", err)
	}

	h, err := events.ParseHostname("a.example")
	if err != nil {
		t.Fatal(err)
	}
	asked := []projections.Repair{{Stream: streamID(t, "ten_a"), Hostnames: []events.Hostname{h}, Read: &projections.Read{UpTo: 9, Digest: 1<<64 - 1}}, {Keys: []string{"t/\xff\x00"}}}
	n, err := c.Repair(t.Context(), asked)
	if diff := cmp.Diff(asked, region.repaired, cmp.AllowUnexported(events.StreamID{}, events.Hostname{})); err != nil || n != 2 || diff != "" {
		t.Errorf("repair: %d, %v (-asked +of the node):\n%s", n, err, diff)
	}
	if err := c.Recount(t.Context()); err != nil || region.recounts != 1 {
		t.Errorf("recount: %v, %d times", err, region.recounts)
	}
	if err := c.Adopt(t.Context(), "gen-0008"); err != nil || len(region.adopted) != 1 || region.adopted[0] != "gen-0008" {
		t.Errorf("adopt: %v, the node was asked for %q", err, region.adopted)
	}
	if to, err := c.Rollback(t.Context()); err != nil || to != "gen-0001" {
		t.Errorf("rollback: got %q, %v", to, err)
	}
}

func entriesOf(t *testing.T, in Inspection, set *BucketSet) (out []string) {
	t.Helper()
	if err := in.Entries(t.Context(), set, func(e Entry) error {
		out = append(out, fmt.Sprintf("%q %s %d", e.Key, e.Stream, e.Digest))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(out) < 2 {
		t.Errorf("got entries %q, want one of the bucket and the damaged one", out)
	}
	return out
}

func TestControl_AnErrorOfTheNode_IsTheSameErrorOnTheOtherSide(t *testing.T) {
	dir := readmodel.Dir(t.TempDir())
	region := aRegion(t)
	control(t, dir, region, time.Minute)
	c := client(t, dir)
	for _, sentinel := range []error{readmodel.ErrNoModel, readmodel.ErrUnusable, readmodel.ErrDiskFull, events.ErrUnavailable} {
		region.fail = fmt.Errorf("adopt gen-0008: %w", sentinel)
		err := c.Adopt(t.Context(), "gen-0008")
		if !errors.Is(err, sentinel) || err.Error() != region.fail.Error() {
			t.Errorf("got %v, want %v", err, region.fail)
		}
	}
	region.fail = errors.New("something else")
	if _, err := c.Repair(t.Context(), nil); err == nil || err.Error() != "something else" {
		t.Errorf("got %v, want the node's own words", err)
	}
	region.fail = &projections.UnmendedError{Streams: []projections.Unmended{{Stream: streamID(t, "ten_a"), Err: readmodel.ErrClosed}, {Stream: streamID(t, "ten_b"), Err: errors.New("why not")}}}
	n, err := c.Repair(t.Context(), make([]projections.Repair, 7))
	if n != 7 || !errors.Is(err, readmodel.ErrClosed) || err.Error() != region.fail.Error() {
		t.Errorf("some that were not mended: got %d, %v, want 7, %v", n, err, region.fail)
	}
}

func TestControl_ASocketThatAKillHasLeft_IsReplaced_AndNobodyAnswersOnItBefore(t *testing.T) {
	dir := readmodel.Dir(t.TempDir())
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNoNode) {
		t.Errorf("without a socket: got %v, want ErrNoNode", err)
	}
	c, err := serve(dir, aRegion(t), slog.New(slog.DiscardHandler), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	// As a kill does: the process is gone, and the file is there.
	path := dir.Path(socketFile)
	if err := os.Rename(path, path+".kept"); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".kept", path); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNoNode) {
		t.Errorf("with a socket that nobody has: got %v, want ErrNoNode", err)
	}
	control(t, dir, aRegion(t), time.Minute)
	if _, err := client(t, dir).Info(t.Context()); err != nil {
		t.Errorf("after the next start: %v", err)
	}
}

func TestControl_ASecondNodeOnTheDirectory_IsRefused_AndTheFirstStaysReachable(t *testing.T) {
	dir := readmodel.Dir(t.TempDir())
	control(t, dir, aRegion(t), time.Minute)
	if _, err := Serve(dir, aRegion(t), slog.New(slog.DiscardHandler)); !errors.Is(err, readmodel.ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	if _, err := client(t, dir).Info(t.Context()); err != nil {
		t.Errorf("the first one: %v", err)
	}
}

func TestControl_OnlyThisUserCanConnect_AndNothingIsLeftAfterClose(t *testing.T) {
	dir := readmodel.Dir(t.TempDir())
	c, err := Serve(dir, aRegion(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(dir.Path(socketFile))
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket: got %v, %v, want mode 0600", info.Mode(), err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(string(dir))
	if err != nil || len(left) != 1 || left[0].Name() != "control.lock" {
		t.Errorf("left are %v, %v, want control.lock alone", left, err)
	}
}

func TestControl_InADirectoryDeeperThanASocketsPathMayBe(t *testing.T) {
	dir := readmodel.Dir(filepath.Join(t.TempDir(), strings.Repeat("deep/", 30), "regions", "eu-west"))
	if err := os.MkdirAll(string(dir), 0o750); err != nil {
		t.Fatal(err)
	}
	control(t, dir, aRegion(t), time.Minute)
	if info, err := client(t, dir).Info(t.Context()); err != nil || info.Region != "eu-west" {
		t.Errorf("got %+v, %v", info, err)
	}
}

func TestControl_AnInspectionThatIsGivenUp_IsClosed(t *testing.T) {
	dir := readmodel.Dir(t.TempDir())
	region := aRegion(t)
	control(t, dir, region, 10*time.Millisecond)
	c := client(t, dir)
	var w wireInspection // of a caller that is killed then
	if err := c.call(t.Context(), http.MethodPost, "/inspections", nil, &w); err != nil {
		t.Fatal(err)
	}
	within(t, "the inspection to be closed", func() bool { return region.inspections() == 0 })
	in := &distant{client: c, path: "/inspections/" + w.ID}
	if _, err := in.Scan(t.Context(), 0); !errors.Is(err, ErrSessionGone) {
		t.Errorf("got %v, want ErrSessionGone", err)
	}
}

func TestControl_AnInspectionOfWhichNothingIsAskedForLong_IsKeptUntilItsCallerClosesIt(t *testing.T) {
	dir := readmodel.Dir(t.TempDir())
	region := aRegion(t)
	const idle = 2 * time.Second
	kept := control(t, dir, region, idle)
	in, err := client(t, dir).Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, dir)
	var w wireInspection // one that is given up, since when this one has been idle for longer
	if err := c.call(t.Context(), http.MethodPost, "/inspections", nil, &w); err != nil {
		t.Fatal(err)
	}
	within(t, "the other to be closed", func() bool {
		kept.mu.Lock()
		defer kept.mu.Unlock()
		return kept.sessions[w.ID] == nil
	})
	if _, err := in.Scan(t.Context(), 0); err != nil {
		t.Errorf("a scan after that: %v", err)
	}
	if err := in.Close(); err != nil || region.inspections() != 0 {
		t.Errorf("closed: %v; %d inspections are open", err, region.inspections())
	}
}

func TestControl_Close_EndsAnAdoptionThatWaits_AndClosesInspections(t *testing.T) {
	dir := readmodel.Dir(t.TempDir())
	region := aRegion(t)
	region.waiting = make(chan struct{})
	server, err := Serve(dir, region, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, dir)
	in, err := c.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	adopted := make(chan error, 1)
	go func() { adopted <- c.Adopt(context.Background(), "gen-0008") }()
	<-region.waiting
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-adopted; err == nil {
		t.Error("the adoption that was ended says that it was done")
	}
	if region.inspections() != 0 {
		t.Errorf("%d inspections are open", region.inspections())
	}
	if err := in.Close(); err == nil {
		t.Error("an inspection of a node that is gone was closed there")
	}
}

func TestControl_OneCallerCannotHoldTooManyMoments(t *testing.T) {
	dir := readmodel.Dir(t.TempDir())
	region := aRegion(t)
	control(t, dir, region, time.Minute)
	c := client(t, dir)
	for range maxSessions {
		in, err := c.Inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = in.Close() }) // the node may be gone by then
	}
	if _, err := c.Inspect(t.Context()); err == nil || !strings.Contains(err.Error(), "wait until one has ended") {
		t.Errorf("one more: got %v", err)
	}
	if region.inspections() != maxSessions {
		t.Errorf("%d inspections are open, want %d", region.inspections(), maxSessions)
	}
}

// within polls for what happens in the background.
func within(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(time.Millisecond):
		}
	}
}
