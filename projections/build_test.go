package projections

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// memoryWhole is a log in memory as a store gives all of it.
type memoryWhole struct {
	head events.Head
	log  []events.Event
	fail error // what the last part ends with
}

func (w *memoryWhole) Head() events.Head { return w.head }
func (w *memoryWhole) Close() error      { return nil }

func (w *memoryWhole) Parts(_ context.Context, n int) ([]events.Part, error) {
	streams := slices.SortedFunc(maps.Values(eventstest.Streams(w.log)), func(a, b []events.Event) int {
		return cmp.Compare(a[0].Stream.String(), b[0].Stream.String())
	})
	n = max(1, min(n, len(streams)))
	parts := make([]events.Part, n)
	for i := range parts {
		parts[i] = memoryPart{streams[i*len(streams)/n : (i+1)*len(streams)/n], nil}
	}
	parts[n-1] = memoryPart{parts[n-1].(memoryPart).streams, w.fail}
	return parts, nil
}

type memoryPart struct {
	streams [][]events.Event
	fail    error
}

func (p memoryPart) Streams(ctx context.Context, yield func([]events.Event) error) error {
	for _, s := range p.streams {
		if err := ctx.Err(); err != nil {
			return err
		}
		// What was lent is spoilt afterwards, as the memory of a store is used again.
		lent := slices.Clone(s)
		for i := range lent {
			lent[i].Data = slices.Clone(lent[i].Data)
		}
		if err := yield(lent); err != nil {
			return err
		}
		for i := range lent {
			clear(lent[i].Data)
		}
	}
	return p.fail
}

// entriesOf are the entries of a fold, and its sums.
func entriesOf(t fatal, w events.Whole, cfg FoldConfig) (map[string]uint64, readmodel.Sums, Folded) {
	t.Helper()
	var mu sync.Mutex
	var sums readmodel.Sums
	entries := make(map[string]uint64)
	out, err := FoldSource(context.Background(), w, cfg, func(_ int, stream events.StreamID, kvs []readmodel.KV) error {
		mu.Lock()
		defer mu.Unlock()
		for _, kv := range kvs {
			e, counts := kv.Entry()
			if _, twice := entries[kv.Key]; twice || !counts || e.Stream != stream {
				return fmt.Errorf("%s of %s: twice %t, counts %t, belongs to %s", kv.Key, stream, twice, counts, e.Stream)
			}
			entries[kv.Key] = e.Digest
			sums.Add(e)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("fold the source: %v", err)
	}
	return entries, sums, out
}

type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// stored are the entries of a model, and its sums.
func stored(t fatal, m *readmodel.Model) (map[string]uint64, readmodel.Sums, []readmodel.Quarantine) {
	t.Helper()
	i, err := m.Inspect()
	if err != nil {
		t.Fatalf("inspect: %v", err)
	}
	entries := make(map[string]uint64)
	err = i.Scan(context.Background(), 0, func(e readmodel.Entry) error {
		entries[e.Key] = e.Digest
		return nil
	})
	if err := errors.Join(err, i.Close()); err != nil {
		t.Fatalf("scan: %v", err)
	}
	list, err := m.Quarantined(context.Background())
	if err != nil {
		t.Fatalf("quarantined: %v", err)
	}
	for i := range list {
		list[i].Since = time.Time{}
	}
	return entries, m.Sums(), list
}

// withFaults is a log some of whose events cannot be folded.
func withFaults(t *rapid.T, log []events.Event) []events.Event {
	out := slices.Clone(log)
	for range rapid.IntRange(0, 3).Draw(t, "faults") {
		out[rapid.IntRange(0, len(out)-1).Draw(t, "fault")].Data = jsontext.Value(`{"from":"the future"}`)
	}
	return out
}

// The fold of a whole source and the projector share the fold of one event, and little else: they
// must agree on every octet, wherever the projector stands, and in whatever order the partitions
// came to it.
func TestFoldSource_OfAnyLogUpToAnyVector_IsWhatTheProjectorHasThere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := withFaults(rt, eventstest.Log(80).Draw(rt, "log"))
		partitions := rapid.IntRange(1, 5).Draw(rt, "partitions")
		n := newNode(t, partitions, log)
		records := published(n.source.id, log, partitions, byKey(partitions))
		vector, toEnd := make([]uint64, partitions), rapid.Bool().Draw(rt, "to the end")
		var arrivals []int // the partitions whose next record arrives
		for p := range records {
			if vector[p] = uint64(len(log)); !toEnd {
				vector[p] = uint64(rapid.IntRange(0, len(log)).Draw(rt, "cutoff"))
			}
			records[p] = slices.DeleteFunc(records[p], func(r record) bool { return r.Event.Position > vector[p] })
			arrivals = append(arrivals, slices.Repeat([]int{p}, len(records[p]))...)
		}
		if len(arrivals) > 0 {
			arrivals = rapid.Permutation(arrivals).Draw(rt, "arrivals")
		}
		for _, p := range arrivals {
			n.mustDeliver(records[p][0])
			records[p] = records[p][1:]
		}
		entries, sums, out := entriesOf(rt, &memoryWhole{head: events.Head{Position: uint64(len(log)), StoreID: n.source.id}, log: log}, FoldConfig{
			Partitions: partitions, Workers: rapid.IntRange(1, 4).Draw(rt, "workers"),
			Cutoff: func(p int) uint64 { return vector[p] }, Clock: func() time.Time { return time.Time{} },
		})
		want, wantSums, quarantined := stored(rt, n.model)
		if diff := gocmp.Diff(want, entries); diff != "" {
			rt.Errorf("entries (-projector +fold)\n%s", diff)
		}
		if diff := wantSums.Differing(&sums); len(diff) > 0 {
			rt.Errorf("sums differ in %v", diff)
		}
		if diff := gocmp.Diff(quarantined, out.Quarantined, cmpopts.EquateEmpty(), gocmp.Comparer(func(a, b events.StreamID) bool { return a == b })); diff != "" {
			rt.Errorf("quarantine (-projector +fold)\n%s", diff)
		}
		for p, part := range n.model.Progress().Partitions {
			if got := out.Partitions[p]; got.LastEvent != part.LastEvent || got.LastID != part.LastID {
				rt.Errorf("partition %d: got last event %d %s, want %d %s", p, got.LastEvent, got.LastID, part.LastEvent, part.LastID)
			}
		}
		if out.Events != uint64(len(arrivals)) {
			rt.Errorf("got %d events, want %d", out.Events, len(arrivals))
		}
		if err := n.model.Close(); err != nil {
			rt.Error(err)
		}
	})
}

// What tenants say about one hostname contradicts itself only where one of them is in quarantine, which
// random logs seldom bring together.
func TestFoldSource_OfHostnamesThatMove_WhicheverEventCannotBeFolded_IsWhatTheProjectorHas(t *testing.T) {
	for name, log := range histories(t) {
		for position := range log {
			bad := spoilt(log, uint64(position)+1)
			n := newNode(t, 1, bad)
			n.mustDeliver(published(n.source.id, bad, 1, byKey(1))[0]...)
			entries, _, _ := entriesOf(t, &memoryWhole{head: events.Head{Position: uint64(len(log))}, log: bad}, FoldConfig{Partitions: 1})
			want, _, _ := stored(t, n.model)
			if diff := gocmp.Diff(want, entries); diff != "" {
				t.Errorf("%s, without position %d: entries (-projector +fold)\n%s", name, position+1, diff)
			}
			if err := n.model.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestFoldSource_ThatDiesHalfWayOrIsTooShort_IsAnError(t *testing.T) {
	log := roster(t, 40)
	errDied := errors.New("it died")
	for name, c := range map[string]struct {
		w    *memoryWhole
		want error
	}{
		"died":              {&memoryWhole{head: events.Head{Position: uint64(len(log))}, log: log, fail: errDied}, errDied},
		"has less than all": {&memoryWhole{head: events.Head{Position: uint64(len(log)) + 1}, log: log}, nil},
	} {
		_, err := FoldSource(t.Context(), c.w, FoldConfig{Partitions: 3, Workers: 3}, func(int, events.StreamID, []readmodel.KV) error { return nil })
		if err == nil || (c.want != nil && !errors.Is(err, c.want)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	errEnough := errors.New("enough")
	if _, err := FoldSource(t.Context(), &memoryWhole{head: events.Head{Position: uint64(len(log))}, log: log}, FoldConfig{Partitions: 3, Workers: 3},
		func(int, events.StreamID, []readmodel.KV) error { return errEnough }); !errors.Is(err, errEnough) {
		t.Errorf("got %v, want the caller's error", err)
	}
}

// A tenant whose context has become larger than an update takes is served as it was before.
func TestFoldSource_OfAStreamThatCannotBeStored_StopsWhereTheProjectorDoes(t *testing.T) {
	h := newHistory(t).add("ten_big", events.TenantRegistered{Name: "Big", HomeRegion: "eu-west"})
	value := jsontext.Value(`"` + strings.Repeat("x", 400_000) + `"`)
	for i := range 8 {
		h.add("ten_big", events.ConfigSet{Key: fmt.Sprint(i), Value: value})
	}
	log := h.add("ten_big", events.ConfigUnset{Key: "0"}).add("ten_other", events.TenantRegistered{Name: "Other", HomeRegion: "eu-west"}).log
	n := newNode(t, 1, log)
	for _, r := range published(n.source.id, log, 1, byKey(1))[0] {
		n.mustDeliver(r)
	}
	entries, _, out := entriesOf(t, &memoryWhole{head: events.Head{Position: uint64(len(log)), StoreID: n.source.id}, log: log}, FoldConfig{Partitions: 1})
	want, _, quarantined := stored(t, n.model)
	if len(quarantined) != 1 || len(out.Quarantined) != 1 || out.Quarantined[0].Position != quarantined[0].Position {
		t.Errorf("quarantine: got %+v, want %+v", out.Quarantined, quarantined)
	}
	if diff := gocmp.Diff(want, entries); diff != "" {
		t.Errorf("entries (-projector +fold)\n%s", diff)
	}
}

func (w *memoryWhole) open(context.Context) (events.Whole, error) { return w, nil }

// Promise 3: what is built from the log alone is what a region has that read every event from the
// topic, octet for octet, and goes on from there as that does.
func TestBuild_OfAnyLog_IsWhatTheProjectorHas(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := withFaults(rt, eventstest.Log(80).Draw(rt, "log"))
		partitions := rapid.IntRange(1, 5).Draw(rt, "partitions")
		n := newNode(t, partitions, log)
		for _, records := range published(n.source.id, log, partitions, byKey(partitions)) {
			n.mustDeliver(records...)
		}
		now := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
		head := events.Head{Position: uint64(len(log)), StoreID: n.source.id}
		dir := t.TempDir() + "/gen-0001"
		built, err := Build(t.Context(), BuildConfig{
			Source: (&memoryWhole{head: head, log: log}).open, Dir: dir, Partitions: partitions,
			Workers: rapid.IntRange(1, 4).Draw(rt, "workers"), Clock: func() time.Time { return now },
		})
		if err != nil {
			rt.Fatal(err)
		}
		m, err := readmodel.Open(readmodel.Config{Dir: dir})
		if err != nil {
			rt.Fatal(err)
		}
		entries, sums, quarantined := stored(rt, m)
		want, wantSums, wantQuarantined := stored(rt, n.model)
		if diff := gocmp.Diff(want, entries); diff != "" {
			rt.Errorf("entries (-projector +built)\n%s", diff)
		}
		if sums != wantSums || *built.Sums != wantSums {
			rt.Errorf("sums differ in %v", wantSums.Differing(built.Sums))
		}
		if diff := gocmp.Diff(wantQuarantined, quarantined, gocmp.Comparer(func(a, b events.StreamID) bool { return a == b })); diff != "" {
			rt.Errorf("quarantine (-projector +built)\n%s", diff)
		}
		progress := m.Progress()
		if !progress.Complete || progress.StoreID != head.StoreID || len(progress.Partitions) != partitions {
			rt.Errorf("progress: got %+v", progress)
		}
		for p, part := range n.model.Progress().Partitions {
			part.Offset, part.Position, part.Watermark = -1, head.Position, now
			if got := progress.Partitions[p]; got != part {
				rt.Errorf("partition %d: got %+v, want %+v", p, got, part)
			}
		}
		if built.Events != head.Position || built.Streams != uint64(len(eventstest.Streams(log))) {
			rt.Errorf("got %d events and %d streams", built.Events, built.Streams)
		}
		if err := errors.Join(m.Close(), n.model.Close()); err != nil {
			rt.Error(err)
		}
	})
}

func TestBuild_ThatFails_LeavesNothingBehind(t *testing.T) {
	log := roster(t, 40)
	head := events.Head{Position: uint64(len(log))}
	errDied := errors.New("it died")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		w    *memoryWhole
		free uint64
		want error
	}{
		"a source that dies half way":        {t.Context(), &memoryWhole{head: head, log: log, fail: errDied}, 1 << 40, errDied},
		"a source that is too short":         {t.Context(), &memoryWhole{head: events.Head{Position: head.Position + 1}, log: log}, 1 << 40, nil},
		"a caller who has had enough":        {cancelled, &memoryWhole{head: head, log: log}, 1 << 40, context.Canceled},
		"a disk that is full from the start": {t.Context(), &memoryWhole{head: head, log: log}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir() + "/gen-0001.building"
			_, err := Build(c.ctx, BuildConfig{
				Source: c.w.open, Dir: dir, Partitions: 3, Workers: 2,
				FreeSpace: func(string) (uint64, error) { return c.free, nil },
			})
			if err == nil || (c.want != nil && !errors.Is(err, c.want)) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) > 0 {
				t.Errorf("it left %v, %v", left, err)
			}
		})
	}
	if _, err := Build(t.Context(), BuildConfig{Source: func(context.Context) (events.Whole, error) { return nil, errDied }, Dir: t.TempDir() + "/gen", Partitions: 1}); !errors.Is(err, errDied) {
		t.Errorf("got %v, want the source's error", err)
	}
}

func TestBuild_TellsItsProgress(t *testing.T) {
	log := roster(t, 40)
	var told [][2]uint64
	_, err := Build(t.Context(), BuildConfig{
		Source: (&memoryWhole{head: events.Head{Position: uint64(len(log))}, log: log}).open, Dir: t.TempDir() + "/gen", Partitions: 3, Workers: 3,
		Progress: func(done, total uint64) { told = append(told, [2]uint64{done, total}) },
	})
	if err != nil || len(told) == 0 || told[len(told)-1] != [2]uint64{uint64(len(log)), uint64(len(log))} {
		t.Errorf("got %v, %v, want it to end with all %d", told, err, len(log))
	}
}
