package replay

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// verified is what a comparison says, a line for each difference.
func verified(t *testing.T, r Region, s Source) (*Report, []string) {
	t.Helper()
	var lines []string
	report, err := Verify(t.Context(), VerifyConfig{Region: r, Source: s, Dir: t.TempDir(), Each: func(d Difference) error {
		lines = append(lines, told(d))
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return report, lines
}

// told is a difference in one line.
func told(d Difference) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", d.Kind, d.Stream)
	if d.Purged {
		b.WriteString(" purged")
	}
	for _, f := range d.Fields {
		fmt.Fprintf(&b, "; %s: %s -> %s", f.Field, string(f.Here), string(f.Source))
	}
	for _, h := range d.Hostnames {
		fmt.Fprintf(&b, "; %s: %s -> %s", h.Hostname, h.Here, h.Source)
	}
	for _, k := range d.Keys {
		fmt.Fprintf(&b, "; key %s", readableKey(string(k)))
	}
	return b.String()
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestVerify_ACopyThatHasAll_IsEqual(t *testing.T) {
	s := aCatalogue(t, 300, 1)
	report, lines := verified(t, openStopped(t, aStopped(t, s), s), s)
	if !report.Equal() || report.Tenants != 300 || report.Streams != 310 || report.Position != uint64(len(s.log)) || report.Generation != "gen-0001" || report.Region != "eu-west" {
		t.Errorf("got %+v", report)
	}
	expect(t, lines)
}

func TestVerify_NamesEachStreamThatDiffers_AndNoOther_WithWhatIsWrong(t *testing.T) {
	s := aCatalogue(t, 300, 2)
	dir := aStopped(t, s)
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
		item, err := txn.Get([]byte("t/ten_00005"))
		if err != nil {
			return err
		}
		record, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		other := bytes.ReplaceAll(record, []byte("Tenant 5"), []byte("Tenant 7"))
		return errors.Join(
			txn.Delete([]byte("t/ten_00002")),
			txn.Set([]byte("t/ten_00005"), other),
			txn.Set([]byte("t/ten_99999"), record),
			txn.Set([]byte("t/ten_00006"), []byte("\x80")),
			txn.Delete([]byte("h/h0.t8.example")),
			txn.Set([]byte("h/h0.t9.example"), append(binary.AppendUvarint(nil, 1<<40), "ten_00010"...)),
			txn.Set([]byte("h/new.example"), append(binary.AppendUvarint(nil, 7), "ten_00011"...)),
			txn.Set([]byte("h/h0.t12.example"), binary.AppendUvarint(nil, 1<<40)), // let go
			txn.Set([]byte("h/h0.t13.example"), []byte{0xff}),
			txn.Set([]byte("t/\xff\x00"), record),
			txn.Delete([]byte("d/db_3")),
			txn.Delete([]byte("g/grp_1")),
		)
	})
	report, lines := verified(t, openStopped(t, dir, s), s)
	for i, line := range lines { // long, and said by another test
		lines[i], _, _ = strings.Cut(line, "; the whole record")
	}
	expect(t, lines,
		`damaged ; key "t/\xff\x00"`,
		`missing db_3`,
		`missing grp_1`,
		`missing ten_00002`,
		`different ten_00005; context.name: "Tenant 7" -> "Tenant 5"`,
		`different ten_00006`,
		`different ten_00008; h0.t8.example:  -> ten_00008`,
		`different ten_00009; h0.t9.example: ten_00010 -> ten_00009`,
		`different ten_00010; h0.t9.example: ten_00010 -> ten_00009`,
		`different ten_00011; new.example: ten_00011 -> `,
		`different ten_00012; h0.t12.example:  -> ten_00012`,
		`different ten_00013; h0.t13.example:  -> ten_00013`,
		`extra ten_99999`,
	)
	if report.Equal() || report.Differences() != len(lines) || report.Missing != 3 || report.Extra != 1 || report.Damaged != 1 || report.Hostnames != 6 || report.WrongSums == 0 {
		t.Errorf("got %+v", report)
	}
}

func TestVerify_APurgedTenantThatIsLeft_IsNamedAsSuch(t *testing.T) {
	h := &history{t: t}
	h.add("ten_a", events.TenantRegistered{Name: "A", HomeRegion: "eu-west"}).
		add("ten_a", events.HostnameAttached{Hostname: hostname(t, "a.example")}).
		add("ten_a", events.TenantDeactivated{}).add("ten_a", events.TenantPurged{}).
		add("ten_b", events.TenantRegistered{Name: "B", HomeRegion: "eu-west"})
	s := &memorySource{id: uuid.New(), log: h.log}
	before := &memorySource{id: s.id, log: h.log[:3]}
	left, now := readmodel.Dir(t.TempDir()), aStopped(t, s)
	fill(t, left, "gen-0001", before, everything(before))
	values := make(map[string][]byte)
	damage(t, left, "gen-0001", func(txn *badger.Txn) error {
		for _, key := range []string{"t/ten_a", "h/a.example"} {
			item, err := txn.Get([]byte(key))
			if err != nil {
				return err
			}
			if values[key], err = item.ValueCopy(nil); err != nil {
				return err
			}
		}
		return nil
	})
	damage(t, now, "gen-0001", func(txn *badger.Txn) error {
		return errors.Join(txn.Set([]byte("t/ten_a"), values["t/ten_a"]), txn.Set([]byte("h/a.example"), values["h/a.example"]))
	})
	_, lines := verified(t, openStopped(t, now, s), s)
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "different ten_a purged; ") || !strings.HasSuffix(lines[0], "; a.example: ten_a -> ") {
		t.Errorf("got %q", lines)
	}
}

func TestVerify_AHostnameOnItsWayBetweenPartitions_IsNoDifference(t *testing.T) {
	// Two tenants in different partitions: the copy has the later claim, and not yet the release before it.
	from, to := "ten_a", ""
	for i := range 100 {
		to = fmt.Sprintf("ten_b%d", i)
		if events.Partition(to, partitions) != events.Partition(from, partitions) {
			break
		}
	}
	moved := hostname(t, "moved.example")
	h := &history{t: t}
	h.add(from, events.TenantRegistered{Name: "A", HomeRegion: "eu-west"}).
		add(from, events.HostnameAttached{Hostname: moved}).
		add(to, events.TenantRegistered{Name: "B", HomeRegion: "eu-west"}).
		add(from, events.HostnameDetached{Hostname: moved}).
		add(to, events.HostnameAttached{Hostname: moved}).
		add(to, events.HostnameDetached{Hostname: moved}).
		add(to, events.TenantActivated{})
	s := &memorySource{id: uuid.New(), log: h.log}
	for ahead := uint64(3); ahead <= 7; ahead++ {
		dir := readmodel.Dir(t.TempDir())
		upTo := slices.Repeat([]uint64{ahead}, partitions)
		upTo[events.Partition(from, partitions)] = 3
		fill(t, dir, "gen-0001", s, upTo)
		r := openStopped(t, dir, s)
		report, lines := verified(t, r, s)
		if !report.Equal() {
			t.Errorf("the one partition at 3, the other at %d: got %q", ahead, lines)
		}
		for _, id := range []string{from, to} {
			tenant, _ := streamID(t, id).Tenant()
			var one []string
			if _, err := Verify(t.Context(), VerifyConfig{Region: r, Source: s, Dir: t.TempDir(), Tenant: tenant, Each: func(d Difference) error {
				one = append(one, told(d))
				return nil
			}}); err != nil || len(one) > 0 {
				t.Errorf("%s alone, the other partition at %d: got %q, %v", id, ahead, one, err)
			}
		}
	}
}

// An entry may say that a hostname was let go when somebody was purged: that has to be somebody who had it.
func TestVerify_AHostnameThatWasLetGoByAnothersPurge_IsNamed_AndMended(t *testing.T) {
	h := &history{t: t}
	h.add("ten_a", events.TenantRegistered{Name: "A", HomeRegion: "eu-west"}).
		add("ten_a", events.HostnameAttached{Hostname: hostname(t, "a.example")}).
		add("ten_b", events.TenantRegistered{Name: "B", HomeRegion: "eu-west"}).
		add("ten_b", events.HostnameAttached{Hostname: hostname(t, "b.example")}).
		add("ten_b", events.TenantDeactivated{}).add("ten_b", events.TenantPurged{})
	s := &memorySource{id: uuid.New(), log: h.log}
	dir := aStopped(t, s)
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
		return txn.Set([]byte("h/a.example"), binary.AppendUvarint(nil, uint64(len(h.log))))
	})
	r := openStopped(t, dir, s)
	_, lines := verified(t, r, s)
	expect(t, lines, "different ten_a; a.example:  -> ten_a")
	if report, _ := mended(t, r, s, ""); len(report.Left) > 0 {
		t.Errorf("left are %+v", report.Left)
	}
	if report, lines := verified(t, r, s); !report.Equal() {
		t.Errorf("after the repair: %q", lines)
	}
}

func TestVerify_WhatTheSourceHasBeyondTheCopy_IsNoDifference(t *testing.T) {
	s := aCatalogue(t, 100, 3)
	for _, upTo := range [][]uint64{{100, 200, 300}, {0, 0, 1}, {400, 5, 77}} {
		dir := readmodel.Dir(t.TempDir())
		fill(t, dir, "gen-0001", s, upTo)
		report, lines := verified(t, openStopped(t, dir, s), s)
		if !report.Equal() || report.Position != slices.Min(upTo) {
			t.Errorf("the copy at %v: got %+v, %q", upTo, report, lines)
		}
	}
}

func TestVerify_OverTheSocket_FindsTheSame(t *testing.T) {
	s := aCatalogue(t, 200, 4)
	dir := aStopped(t, s)
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
		return errors.Join(txn.Delete([]byte("t/ten_00050")), txn.Set([]byte("t/ten_00060"), []byte{1}), txn.Delete([]byte("h/h0.t70.example")), txn.Set([]byte("t/\xff"), nil))
	})
	r := openStopped(t, dir, s)
	_, near := verified(t, r, s)
	control(t, dir, r, sessionIdle)
	_, far := verified(t, client(t, dir), s)
	expect(t, far, near...)
	if len(near) != 4 {
		t.Errorf("got %q, want four", near)
	}
}

func TestVerify_OneTenant_ReadsNoOther(t *testing.T) {
	s := aCatalogue(t, 100, 5)
	dir := aStopped(t, s)
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
		return errors.Join(txn.Delete([]byte("t/ten_00004")), txn.Delete([]byte("t/ten_00005")))
	})
	r := openStopped(t, dir, s)
	for id, want := range map[string]string{"ten_00005": "missing ten_00005", "ten_00006": "", "ten_nobody": ""} {
		tenant, _ := streamID(t, id).Tenant()
		s.reads = 0
		var got []string
		if _, err := Verify(t.Context(), VerifyConfig{Region: r, Source: s, Dir: t.TempDir(), Tenant: tenant, Each: func(d Difference) error {
			got = append(got, told(d))
			return nil
		}}); err != nil || strings.Join(got, "") != want || s.reads != 1 {
			t.Errorf("%s: got %q, %v after %d streams, want %q after one", id, got, err, s.reads, want)
		}
	}
}

func TestVerify_ASourceThatThisCopyCannotBeOf_IsRefused(t *testing.T) {
	s := aCatalogue(t, 20, 6)
	dir := aStopped(t, s)
	r := openStopped(t, dir, s)
	restored := &memorySource{id: s.id, log: aCatalogue(t, 30, 7).log} // the same identity, another past
	for what, c := range map[string]struct {
		source *memorySource
		want   error
		text   string
	}{
		"no events":       {&memorySource{id: s.id}, ErrSourceEmpty, "is it the right one?"},
		"another store":   {&memorySource{id: uuid.New(), log: s.log}, ErrOtherStore, s.id.String()},
		"another past":    {restored, ErrOtherStore, "another event at position"},
		"not reachable":   {&memorySource{fails: events.ErrUnavailable}, events.ErrUnavailable, "ask the source"},
		"dying half way":  {&memorySource{id: s.id, log: s.log, dies: 3}, events.ErrUnavailable, "read the source: "},
		"behind the copy": {&memorySource{id: s.id, log: s.log[:10]}, ErrSourceBehind, "the source ends at 10"},
	} {
		_, err := Verify(t.Context(), VerifyConfig{Region: r, Source: c.source, Dir: t.TempDir(), Patience: time.Millisecond})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %v and %q in one line", what, err, c.want, c.text)
		}
	}
}

func TestVerify_ManyDifferences_AreAllNamed_InGroups(t *testing.T) {
	s := aCatalogue(t, 400, 8)
	dir := aStopped(t, s)
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
		for i := range 400 {
			if err := txn.Delete(fmt.Appendf(nil, "t/ten_%05d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	r := openStopped(t, dir, s)
	report, lines := verified(t, r, s)
	if report.Missing != 400 || len(lines) != 400 || !slices.IsSorted(lines) {
		t.Errorf("got %d missing, %d lines", report.Missing, len(lines))
	}
}

func TestVerify_WhoIsWronglyInQuarantine_OrWronglyNot_IsNamed_AndMended(t *testing.T) {
	s := aCatalogue(t, 30, 9)
	var poisoned []events.StreamID
	for i, e := range s.log {
		if e.Version == 3 && len(poisoned) < 2 {
			s.log[i].Data = jsontext.Value(`17`)
			poisoned = append(poisoned, e.Stream)
		}
	}
	dir := aStopped(t, s)
	r := openStopped(t, dir, s)
	if report, lines := verified(t, r, s); !report.Equal() {
		t.Fatalf("with two in quarantine on both sides: got %q", lines)
	}
	if err := r.closeModel(); err != nil {
		t.Fatal(err)
	}
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
		item, err := txn.Get([]byte("q/" + poisoned[0].String()))
		if err != nil {
			return err
		}
		why, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		return errors.Join(txn.Delete([]byte("q/"+poisoned[0].String())), txn.Set([]byte("q/ten_00020"), bytes.ReplaceAll(why, []byte(poisoned[0].String()), []byte("ten_00020"))))
	})
	want := []string{
		fmt.Sprintf(`different %s; quarantine:  -> "since version 3"`, poisoned[0]),
		`different ten_00020; quarantine: "since version 3" -> `,
	}
	_, lines := verified(t, r, s)
	expect(t, lines, want...)
	report, lines := mended(t, r, s, "")
	expect(t, lines, want...)
	if len(report.Left) > 0 {
		t.Errorf("left are %+v", report.Left)
	}
	if report, lines := verified(t, r, s); !report.Equal() {
		t.Errorf("after the repair: %q", lines)
	}
}

// swapping is a region in which another generation becomes live while it is compared, so many times.
type swapping struct {
	*Stopped
	t     *testing.T
	swaps int
	late  bool // not when it is scanned
}

func (s *swapping) Inspect(ctx context.Context) (Inspection, error) {
	in, err := s.Stopped.Inspect(ctx)
	return &swapped{in, s}, err
}

type swapped struct {
	Inspection
	of *swapping
}

func (s *swapped) Scan(ctx context.Context, rate int) (*Scanned, error) {
	if !s.of.late {
		s.of.swap()
	}
	return s.Inspection.Scan(ctx, rate)
}

func (s *swapping) swap() {
	if s.swaps == 0 {
		return
	}
	s.swaps--
	info, err := s.Info(s.t.Context())
	next := map[string]string{"gen-0001": "gen-0002", "gen-0002": "gen-0001"}[info.Generation]
	if err := errors.Join(err, s.Adopt(s.t.Context(), next)); err != nil {
		s.t.Error(err)
	}
}

func TestVerify_WhileAnotherGenerationBecomesLive_BeginsAnewWithThat(t *testing.T) {
	s := aCatalogue(t, 50, 41)
	for _, over := range []string{"in process", "over the socket"} {
		t.Run(over, func(t *testing.T) {
			dir := aStopped(t, s)
			fill(t, dir, "gen-0002", s, everything(s))
			damage(t, dir, "gen-0002", func(txn *badger.Txn) error { return txn.Delete([]byte("t/ten_00001")) })
			node := &swapping{Stopped: openStopped(t, dir, s), t: t}
			var r Region = node
			if over == "over the socket" {
				control(t, dir, r, sessionIdle)
				r = client(t, dir)
			}
			var logged, lines []string
			cfg := VerifyConfig{Region: r, Source: s, Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(lineWriter(func(l string) { logged = append(logged, l) }), nil)), Each: func(d Difference) error {
				lines = append(lines, told(d))
				return nil
			}}
			node.swaps = 2
			report, err := Verify(t.Context(), cfg)
			if err != nil || report.Generation != "gen-0002" || len(logged) != 2 {
				t.Fatalf("two times: got %+v, %v, logged %q", report, err, logged)
			}
			expect(t, lines, "missing ten_00001")

			node.swaps = 100
			if _, err := Verify(t.Context(), cfg); !errors.Is(err, readmodel.ErrClosed) || !strings.Contains(err.Error(), "begin again") {
				t.Errorf("again and again: got %v", err)
			}
			if got := 100 - node.swaps; got != verifyTries {
				t.Errorf("tried %d times, want %d", got, verifyTries)
			}
		})
	}
}

// lineWriter takes each line that is written.
type lineWriter func(string)

func (w lineWriter) Write(b []byte) (int, error) {
	w(string(b))
	return len(b), nil
}

// What was told cannot be taken back.
func TestVerify_ThatHasToldOfSomething_DoesNotBeginAnew(t *testing.T) {
	s := aCatalogue(t, 50, 42)
	dir := readmodel.Dir(t.TempDir())
	for _, name := range []string{"gen-0001", "gen-0002"} {
		fill(t, dir, name, s, everything(s))
		damage(t, dir, name, func(txn *badger.Txn) error {
			return errors.Join(txn.Delete([]byte("t/ten_00001")), txn.Delete([]byte("t/ten_00002")))
		})
	}
	node := &swapping{Stopped: openStopped(t, dir, s), t: t, swaps: 1, late: true}
	told := 0
	_, err := Repair(t.Context(), VerifyConfig{Region: node, Source: s, Dir: t.TempDir(), Each: func(Difference) error {
		told++
		node.swap()
		return nil
	}})
	if err == nil || !strings.Contains(err.Error(), "begin again") || told != 2 {
		t.Errorf("got %v, told %d times, want 2", err, told)
	}
}
