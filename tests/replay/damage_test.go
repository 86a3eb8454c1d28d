package replay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/replay"
	"github.com/tenantry/tenantry/tests/truth"
)

const region = "eu-west"

// replaySums is what a comparison keeps of the source, in the region's directory.
const replaySums = "source.sums"

// tally is what came of all rounds.
type tally struct {
	records, files, refused, harmless, named, repaired, rebuilt int
}

func TestReplay_WhateverIsDamaged_IsNamedExactlyOrRefused_AndIsMendedToTheTruth(t *testing.T) {
	rounds, seed := number(t, "TENANTRY_ROUNDS", fewer(40, 10)), number(t, "TENANTRY_SEED", 1)
	c := newCatalogue(t)
	c.live(7)
	bases := c.bases()
	l := c.fold()
	right, err := rightAnswers(l, asked(l))
	if err != nil {
		t.Fatal(err)
	}
	var sum tally
	for _, b := range bases {
		w := &round{t: t, c: c, log: l, right: right, base: b, dir: readmodel.Dir(t.TempDir())}
		b.write(t, string(w.dir))
		if err := w.same("a copy that nobody has damaged"); err != nil {
			t.Fatalf("%s: %v", b.name, err)
		}
		b.keep(t, string(w.dir), replaySums)
	}
	parent := t.TempDir()
	began := time.Now()
	for i := range rounds {
		w := &round{
			t: t, c: c, log: l, right: right, base: bases[(seed+i)%uint64(len(bases))],
			rand: rand.New(rand.NewPCG(seed+i, 1)), dir: readmodel.Dir(filepath.Join(parent, fmt.Sprint(i))), sum: &sum, atHand: (seed+i)%2 == 0,
		}
		w.base.write(t, string(w.dir))
		err := w.play()
		if err != nil {
			t.Errorf("TENANTRY_SEED=%d, a region %s: %v\nwhat was done to it:\n  %s", seed+i, w.base.name, err, strings.Join(w.did, "\n  "))
		}
		if err := os.RemoveAll(string(w.dir)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d rounds in %s: %d of records, %d of files; %d refused, %d harmless, %d with streams that were named (%d in all); %d repaired, %d rebuilt",
		rounds, time.Since(began).Round(time.Second), sum.records, sum.files, sum.refused, sum.harmless, rounds-uint64(sum.refused+sum.harmless), sum.named, sum.repaired, sum.rebuilt)
}

// round is one region that is damaged and mended.
type round struct {
	t     *testing.T
	c     *catalogue
	log   *truth.Log
	right answers
	base  *base
	rand  *rand.Rand
	dir   readmodel.Dir
	did   []string
	sum   *tally
	// atHand has it compared with what an earlier comparison has kept, and not with the log.
	atHand bool
}

func (w *round) play() error {
	if w.rand.IntN(5) < 3 {
		w.sum.records++
		return w.playRecords()
	}
	w.sum.files++
	return w.playFiles()
}

func (w *round) playRecords() error {
	after, did := spoilRecords(w.t, w.rand, w.dir.Path("gen-0001"), w.base.records)
	w.did = did
	want := judge(w.base.records, after, uint64(len(w.c.log)))
	got, err := w.verify()
	if err != nil {
		if !want.mayRefuse || !refused(err) {
			return fmt.Errorf("verify: %w", err)
		}
		w.sum.refused++
		return w.rebuild()
	}
	if want.refuse {
		return errors.New("what says how far the copy is was altered, and it is taken for good")
	}
	if !maps.Equal(got.streams, want.streams) {
		return fmt.Errorf("verify names %v, want %v", slices.Sorted(maps.Keys(got.streams)), slices.Sorted(maps.Keys(want.streams)))
	}
	if !maps.Equal(got.keys, want.keys) {
		return fmt.Errorf("verify names entries %q, want %q", slices.Sorted(maps.Keys(got.keys)), slices.Sorted(maps.Keys(want.keys)))
	}
	if err := w.covered(got, after); err != nil {
		return err
	}
	w.sum.named += len(got.streams)
	if len(got.streams)+len(got.keys) == 0 {
		w.sum.harmless++
	}
	if w.rand.IntN(5) == 0 {
		return w.rebuild()
	}
	return w.repair()
}

// found is what a verify has named.
type found struct {
	streams, keys map[string]bool
	hostnames     map[string]bool
	report        *replay.Report
}

func (w *round) open(context.Context) (replay.Region, error) {
	return replay.OpenStopped(w.dir, region, w.c.store, slog.New(slog.DiscardHandler))
}

// with opens the region, stopped as it is.
func (w *round) with(do func(replay.Region) error) error {
	r, err := w.open(w.t.Context())
	if err != nil {
		return err
	}
	return errors.Join(do(r), r.Close())
}

func (w *round) verify() (*found, error) {
	got := &found{streams: make(map[string]bool), keys: make(map[string]bool), hostnames: make(map[string]bool)}
	return got, w.with(func(r replay.Region) (err error) {
		got.report, err = replay.Verify(w.t.Context(), replay.VerifyConfig{Region: r, Source: w.c.store, Dir: string(w.dir), AtHand: w.atHand, Each: func(d replay.Difference) error {
			if !d.Stream.IsZero() {
				got.streams[d.Stream.String()] = true
			} else {
				for _, k := range d.Keys {
					got.keys[string(k)] = true
				}
			}
			for _, h := range d.Hostnames {
				got.hostnames[h.Hostname] = true
			}
			return nil
		}})
		return err
	})
}

// covered expects every answer that is wrong to be somebody's who was named.
func (w *round) covered(got *found, after map[string]string) error {
	want := maps.Clone(w.right)
	for key := range after { // what the log never knew of
		name := strings.TrimPrefix(strings.TrimPrefix(key, "h/"), "t/")
		if _, known := want[name]; name != key && !known && canBeAsked(name) {
			want[name] = ""
		}
	}
	m, err := readmodel.Open(readmodel.Config{Dir: w.dir.Path("gen-0001"), CacheBytes: 1 << 20})
	if err != nil {
		return err
	}
	var missed []string
	for _, what := range want.wrong(m) {
		if !w.isNamed(got, what) && !got.keys["h/"+what] && !got.keys["t/"+what] {
			missed = append(missed, what)
		}
	}
	if err := m.Close(); err != nil {
		return err
	}
	if len(missed) > 0 {
		return fmt.Errorf("%v are answered wrongly, and verify does not say so", missed)
	}
	return nil
}

func canBeAsked(what string) bool {
	_, err := events.ParseHostname(what)
	_, idErr := events.ParseTenantID(what)
	return err == nil || idErr == nil
}

func (w *round) isNamed(got *found, what string) bool {
	if got.hostnames[what] || got.streams[what] {
		return true
	}
	tenant, there := w.log.Holder(what)
	if id, err := events.ParseTenantID(what); err == nil {
		tenant, there = w.log.Tenants[id]
	}
	return there && (got.streams[tenant.ID.String()] || got.streams[tenant.Database.ID.String()] || got.streams[tenant.Group.String()])
}

// refused tells that an error says that there is no copy that could be used.
func refused(err error) bool {
	return errors.Is(err, readmodel.ErrUnusable) || errors.Is(err, readmodel.ErrNoModel) || errors.Is(err, readmodel.ErrNoGeneration)
}

func (w *round) repair() error {
	w.sum.repaired++
	if err := w.with(func(r replay.Region) error {
		report, err := replay.Repair(w.t.Context(), replay.VerifyConfig{Region: r, Source: w.c.store, Dir: string(w.dir)})
		if err == nil && len(report.Left) > 0 {
			err = fmt.Errorf("%d streams differ still, such as %+v", len(report.Left), report.Left[0])
		}
		return err
	}); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	return w.same("after the repair")
}

func (w *round) rebuild() error {
	w.sum.rebuilt++
	r, err := replay.Rebuild(w.t.Context(), replay.RebuildConfig{Dir: w.dir, Open: w.open, Source: w.c.store, Partitions: partitions, MaxChange: 1})
	if err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	if now, err := w.dir.Current(); err != nil || now != r.Generation {
		return fmt.Errorf("the rebuild made %s, and %s is live (%w)", r.Generation, now, err)
	}
	return w.same("after the rebuild")
}

// same expects the live generation to be equal, and to answer and to hold what an undamaged one does.
func (w *round) same(when string) error {
	got, err := w.verify()
	if err != nil {
		return fmt.Errorf("%s, verify: %w", when, err)
	}
	if !got.report.Equal() || len(got.streams)+len(got.keys) > 0 {
		return fmt.Errorf("%s verify says %+v", when, got.report)
	}
	name, err := w.dir.Current()
	if err != nil {
		return err
	}
	m, err := readmodel.Open(readmodel.Config{Dir: w.dir.Path(name), CacheBytes: 1 << 20})
	if err != nil {
		return fmt.Errorf("%s: %w", when, err)
	}
	// A node reads what the copy had not yet from Kafka.
	if err := catchUp(m, w.c.log); err != nil {
		return errors.Join(fmt.Errorf("%s, going on: %w", when, err), m.Close())
	}
	wrong := w.right.wrong(m)
	if err := m.Close(); err != nil {
		return fmt.Errorf("%s: %w", when, err)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s, with verify saying equal, %d look-ups are answered wrongly: %v", when, len(wrong), wrong[:min(len(wrong), 10)])
	}
	is := records(w.t, w.dir.Path(name))
	for key := range union(counted(is), counted(w.base.records)) {
		if is[key] != w.base.records[key] {
			return fmt.Errorf("%s %q holds %q, want %q", when, key, is[key], w.base.records[key])
		}
	}
	return w.tidy(when)
}

// counted are the records that answer look-ups.
func counted(all map[string]string) map[string]string {
	out := make(map[string]string)
	for key, value := range all {
		switch kindOf(key) {
		case "t/", "d/", "g/":
			out[key] = value
		case "h/":
			if holder, _, readable := holderOf(value, true); holder != "" || !readable {
				out[key] = value
			}
		}
	}
	return out
}

// tidy expects nothing to be left over, at the latest when a node has started.
func (w *round) tidy(when string) error {
	unlock, err := w.dir.Lock(readmodel.ByNode)
	if err != nil {
		return err
	}
	_, err = w.dir.Tidy()
	if err := errors.Join(err, unlock()); err != nil {
		return err
	}
	kept := make(map[string]bool)
	for _, ask := range []func() (string, error){w.dir.Current, w.dir.Previous} {
		name, err := ask()
		if err != nil && !errors.Is(err, readmodel.ErrNoGeneration) {
			return err
		}
		kept[name] = true
	}
	entries, err := os.ReadDir(string(w.dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && !kept[e.Name()] {
			return fmt.Errorf("%s %s is left over", when, e.Name())
		}
	}
	return nil
}

func (w *round) playFiles() error {
	w.did = spoilFiles(w.t, w.rand, string(w.dir), w.base)
	got, err := w.verify()
	switch {
	case refused(err) || errors.Is(err, fs.ErrNotExist):
		w.sum.refused++
		return w.rebuild()
	case err != nil:
		return fmt.Errorf("verify: %w", err)
	case got.report.Equal():
		w.sum.harmless++
		return w.same("with verify saying equal")
	}
	w.sum.named += len(got.streams)
	return w.repair()
}
