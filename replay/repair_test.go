package replay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections"
)

func mended(t *testing.T, r Region, s Source, tenant string) (*RepairReport, []string) {
	t.Helper()
	var lines []string
	cfg := VerifyConfig{Region: r, Source: s, Dir: t.TempDir(), Each: func(d Difference) error {
		lines = append(lines, told(d))
		return nil
	}}
	if tenant != "" {
		cfg.Tenant, _ = streamID(t, tenant).Tenant()
	}
	report, err := Repair(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return report, lines
}

func TestRepair_MendsWhatDiffers_AndTheCopyIsEqualThen(t *testing.T) {
	s := aCatalogue(t, 300, 11)
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
		return errors.Join(
			txn.Delete([]byte("t/ten_00002")),
			txn.Set([]byte("t/ten_99999"), record),
			txn.Set([]byte("t/ten_00006"), []byte("\x80")),
			txn.Delete([]byte("h/h0.t8.example")),
			txn.Set([]byte("h/h0.t9.example"), append(binary.AppendUvarint(nil, 1<<40), "ten_00010"...)),
			txn.Set([]byte("h/new.example"), append(binary.AppendUvarint(nil, 7), "ten_00011"...)),
			txn.Set([]byte("h/h0.t12.example"), binary.AppendUvarint(nil, 1<<40)),
			txn.Set([]byte("h/h0.t13.example"), []byte{0xff}),
			txn.Set([]byte("h/nobody.example"), []byte{0xff}),
			txn.Set([]byte("t/\xff\x00"), record),
			txn.Delete([]byte("d/db_3")),
		)
	})
	for _, over := range []string{"in process", "over the socket"} {
		t.Run(over, func(t *testing.T) {
			var r Region = openStopped(t, dir, s)
			if over == "over the socket" {
				control(t, dir, r, sessionIdle)
				r = client(t, dir)
			}
			report, lines := mended(t, r, s, "")
			if over == "in process" && (len(lines) != 12 || report.Repaired != 12) || over != "in process" && report.Repaired != 0 {
				t.Errorf("found %d, mended %d: %q", len(lines), report.Repaired, lines)
			}
			if len(report.Left) > 0 {
				t.Errorf("left are %+v", report.Left)
			}
			if after, lines := verified(t, r, s); !after.Equal() {
				t.Errorf("after the repair: %+v %q", after, lines)
			}
		})
	}
}

func TestRepair_OfRandomDamage_EndsEqual(t *testing.T) {
	s := aCatalogue(t, 200, 12)
	for seed := range uint64(10) {
		dir := aStopped(t, s)
		r := rand.New(rand.NewPCG(seed, 2))
		damage(t, dir, "gen-0001", func(txn *badger.Txn) error { return atRandom(txn, r, 20) })
		region := openStopped(t, dir, s)
		report, lines := mended(t, region, s, "")
		if report.Equal() || len(report.Left) > 0 {
			t.Errorf("seed %d: found %q, left %+v", seed, lines, report.Left)
		}
		if after, lines := verified(t, region, s); !after.Equal() {
			t.Errorf("seed %d: after the repair: %+v %q", seed, after, lines)
		}
	}
}

// atRandom deletes, alters, swaps, cuts off and adds entries.
func atRandom(txn *badger.Txn, r *rand.Rand, n int) error {
	var keys [][]byte
	it := txn.NewIterator(badger.IteratorOptions{})
	for it.Rewind(); it.Valid(); it.Next() {
		if k := it.Item().KeyCopy(nil); len(k) > 1 && k[1] == '/' && (k[0] == 't' || k[0] == 'h' || k[0] == 'd' || k[0] == 'g') {
			keys = append(keys, k)
		}
	}
	it.Close()
	value := func(key []byte) []byte {
		item, err := txn.Get(key)
		if err != nil {
			return nil // deleted by the damage before this one
		}
		b, err := item.ValueCopy(nil)
		if err != nil {
			return nil
		}
		return b
	}
	for range n {
		a, b := keys[r.IntN(len(keys))], keys[r.IntN(len(keys))]
		x, y := value(a), value(b)
		var err error
		switch r.IntN(5) {
		case 0:
			err = txn.Delete(a)
		case 1:
			if len(x) > 0 {
				x[r.IntN(len(x))] ^= 1 << r.IntN(8)
				err = txn.Set(a, x)
			}
		case 2:
			if a[0] == b[0] && x != nil && y != nil {
				err = errors.Join(txn.Set(a, y), txn.Set(b, x))
			}
		case 3:
			if len(x) > 0 {
				err = txn.Set(a, x[:r.IntN(len(x))])
			}
		case 4:
			err = txn.Set(fmt.Appendf(nil, "%c/%s%d", a[0], map[byte]string{'t': "ten_x", 'd': "db_x", 'g': "grp_x", 'h': "x"}[a[0]], r.IntN(1000)), x)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func TestRepair_OfOneTenant_LeavesTheOthersAsTheyAre(t *testing.T) {
	s := aCatalogue(t, 50, 13)
	dir := aStopped(t, s)
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
		return errors.Join(txn.Delete([]byte("t/ten_00004")), txn.Delete([]byte("t/ten_00005")), txn.Set([]byte("h/x.example"), append([]byte{9}, "ten_never"...)))
	})
	r := openStopped(t, dir, s)
	if report, lines := mended(t, r, s, "ten_00004"); report.Repaired != 1 || len(report.Left) > 0 || len(lines) != 1 {
		t.Errorf("got %+v, %q", report, lines)
	}
	if report, lines := mended(t, r, s, "ten_never"); report.Repaired != 1 || len(report.Left) > 0 || len(lines) != 1 || lines[0] != "extra ten_never; x.example: ten_never -> " {
		t.Errorf("a tenant that never was: got %+v, %q", report, lines)
	}
	_, lines := verified(t, r, s)
	expect(t, lines, "missing ten_00005")
}

func TestRepair_OfEachTenantThatDiffers_LeavesNoWrongSum(t *testing.T) {
	s := aCatalogue(t, 50, 16)
	for _, over := range []string{"in process", "over the socket"} {
		t.Run(over, func(t *testing.T) {
			dir := aStopped(t, s)
			damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
				return errors.Join(
					txn.Set([]byte("t/ten_00006"), []byte("\x80")),
					txn.Set([]byte("h/h0.t9.example"), append(binary.AppendUvarint(nil, 1<<40), "ten_00010"...)), // counts for ten_00010 now
				)
			})
			var r Region = openStopped(t, dir, s)
			if over == "over the socket" {
				control(t, dir, r, sessionIdle)
				r = client(t, dir)
			}
			for _, id := range []string{"ten_00006", "ten_00009"} {
				if report, lines := mended(t, r, s, id); report.Repaired != 1 || len(report.Left) > 0 || len(lines) != 1 {
					t.Errorf("%s: got %+v, %q", id, report, lines)
				}
			}
			if report, lines := verified(t, r, s); !report.Equal() {
				t.Errorf("then: got %+v, %q", report, lines)
			}
		})
	}
}

// It decides no answer now, and would keep the hostname from whoever gets it next.
func TestRepair_OfAHostnameThatWasLetGoAtAPositionThatIsNotThere_RemovesIt(t *testing.T) {
	s := aCatalogue(t, 20, 18)
	for _, over := range []string{"in process", "over the socket"} {
		t.Run(over, func(t *testing.T) {
			dir := aStopped(t, s)
			damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
				return errors.Join(
					txn.Set([]byte("h/free.example"), binary.AppendUvarint(nil, 1<<40)),
					txn.Set([]byte("h/past.example"), binary.AppendUvarint(nil, 5)), // as any that was let go
				)
			})
			var r Region = openStopped(t, dir, s)
			if over == "over the socket" {
				control(t, dir, r, sessionIdle)
				r = client(t, dir)
			}
			report, lines := mended(t, r, s, "")
			expect(t, lines, `damaged ; key h/free.example`)
			if c := report.Change(); c.Part() != 0 || report.Repaired != 1 || len(report.Left) > 0 {
				t.Errorf("got %+v, and a change of %+v", report, c)
			}
			if report, lines := verified(t, r, s); !report.Equal() {
				t.Errorf("then: got %+v, %q", report, lines)
			}
		})
	}
}

// Another repair may have counted anew while this one mended.
func TestRepair_WhereSomebodyElseHasCountedAnewMeanwhile_CountsAllAgain(t *testing.T) {
	s := aCatalogue(t, 20, 17)
	dir := aStopped(t, s)
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error { return txn.Set([]byte("t/ten_00006"), []byte("\x80")) })
	r := &overtaken{openStopped(t, dir, s)}
	if report, _ := mended(t, r, s, ""); report.Repaired != 1 || len(report.Left) > 0 {
		t.Errorf("got %+v", report)
	}
	if report, lines := verified(t, r.Stopped, s); !report.Equal() {
		t.Errorf("then: got %+v, %q", report, lines)
	}
}

// overtaken is a copy that is counted anew by another between what is mended and what is counted.
type overtaken struct{ *Stopped }

func (o *overtaken) Repair(ctx context.Context, repairs []projections.Repair) (int, error) {
	n, err := o.Stopped.Repair(ctx, repairs)
	return n, errors.Join(err, o.Recount(ctx))
}

func TestRepair_ACopyThatIsEqual_IsNotWrittenTo(t *testing.T) {
	s := aCatalogue(t, 20, 14)
	region := &unmendable{openStopped(t, aStopped(t, s), s)}
	if report, lines := mended(t, region, s, ""); !report.Equal() || report.Repaired != 0 || len(lines) != 0 {
		t.Errorf("got %+v, %q", report, lines)
	}
}

// unmendable is a copy that nothing may be done to.
type unmendable struct{ *Stopped }

func (u *unmendable) Recount(context.Context) error { return errors.New("recounted") }

func TestAskTenant_TellsWhatTheSourceHas(t *testing.T) {
	s := aCatalogue(t, 20, 15)
	for id, want := range map[string]TenantState{"ten_00003": TenantPurged, "ten_00004": TenantThere, "ten_nobody": TenantUnknown} {
		tenant, _ := streamID(t, id).Tenant()
		if got, err := AskTenant(t.Context(), s, tenant); got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", id, got, err, want)
		}
	}
}

// forgetful is a source that does not tell of a stream when it is asked for that alone.
type forgetful struct {
	*memorySource
	stream events.StreamID
	behind bool // it ends before its end
}

func (f *forgetful) Load(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	if id == f.stream {
		return nil, nil
	}
	return f.memorySource.Load(ctx, id, after)
}

func (f *forgetful) Head(ctx context.Context) (events.Head, error) {
	h, err := f.memorySource.Head(ctx)
	if f.behind {
		h.Position--
	}
	return h, err
}

func TestRepair_OfATenantOfWhichTheSourceDoesNotTellAgain_LeavesItAndSaysSo(t *testing.T) {
	s := aCatalogue(t, 50, 21)
	for name, damaged := range map[string]func(*badger.Txn) error{
		"its record":   func(txn *badger.Txn) error { return txn.Delete([]byte("t/ten_00002")) },
		"its hostname": func(txn *badger.Txn) error { return txn.Delete([]byte("h/h0.t2.example")) },
		"all but a few": func(txn *badger.Txn) error {
			return errors.Join(txn.Delete([]byte("t/ten_00002")), txn.Delete([]byte("h/h0.t2.example")), txn.Delete([]byte("h/h1.t2.example")), txn.Delete([]byte("h/h2.t2.example")))
		},
	} {
		for _, over := range []string{"in process", "over the socket"} {
			t.Run(name+", "+over, func(t *testing.T) {
				dir := aStopped(t, s)
				damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
					return errors.Join(damaged(txn), txn.Delete([]byte("t/ten_00004")))
				})
				lost := &forgetful{memorySource: s, stream: streamID(t, "ten_00002")}
				var r Region = openStopped(t, dir, lost)
				if over == "over the socket" {
					control(t, dir, r, sessionIdle)
					r = client(t, dir)
				}
				_, before := verified(t, r, s)
				report, lines := mended(t, r, lost, "")
				if len(lines) != 2 || report.Repaired != 1 || len(report.Left) != 1 || report.Left[0].Stream != lost.stream {
					t.Errorf("found %q, mended %d, left %+v: want ten_00002 left, and the other mended", lines, report.Repaired, report.Left)
				}
				_, after := verified(t, r, s)
				expect(t, after, before[0])
			})
		}
	}
}

func TestRepair_WhereTheSourceFallsBehindBeforeItIsComparedAgain_WaitsAndSaysSo(t *testing.T) {
	s := aCatalogue(t, 20, 22)
	dir := aStopped(t, s)
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error { return txn.Delete([]byte("t/ten_00001")) })
	replica := &forgetful{memorySource: s}
	_, err := Repair(t.Context(), VerifyConfig{Region: openStopped(t, dir, s), Source: replica, Dir: t.TempDir(), Patience: 10 * time.Millisecond, Each: func(Difference) error {
		replica.behind = true
		return nil
	}})
	if !errors.Is(err, ErrSourceBehind) {
		t.Errorf("got %v, want ErrSourceBehind", err)
	}
}

// What such a key answers is never asked; it must not be found again and again.
func TestRepair_OfHostnamesThatAreNotSpelledAsAny_RemovesThem(t *testing.T) {
	s := aCatalogue(t, 20, 23)
	for _, key := range []string{"h/H0.T1.EXAMPLE", "h/h0.t1.example.", "h/xn--bcher-kva.example.", "h/B\u00fccher.example", "h/h0.t1.example/", "h/"} {
		t.Run(key, func(t *testing.T) {
			dir := aStopped(t, s)
			damage(t, dir, "gen-0001", func(txn *badger.Txn) error { return txn.Set([]byte(key), []byte("\x05ten_00001")) })
			r := openStopped(t, dir, s)
			if report, lines := mended(t, r, s, ""); report.Equal() || len(report.Left) > 0 {
				t.Errorf("found %q, left %+v", lines, report.Left)
			}
			if report, lines := verified(t, r, s); !report.Equal() {
				t.Errorf("then: %+v %q", report, lines)
			}
		})
	}
}

// Whether a hostname of a stream in quarantine is its still, the whole source tells, and its own history does not.
func TestRepair_OfAStreamInQuarantine_GoesByTheWholeSource(t *testing.T) {
	h := &history{t: t}
	h.add("ten_a", events.TenantRegistered{Name: "A", HomeRegion: "eu-west"}).
		add("ten_a", events.HostnameAttached{Hostname: hostname(t, "went.example")}).
		add("ten_a", events.HostnameAttached{Hostname: hostname(t, "kept.example")}).
		add("ten_a", events.TenantRegistered{Name: "once more", HomeRegion: "eu-west"}). // does not fold
		add("ten_a", events.HostnameDetached{Hostname: hostname(t, "went.example")}).
		add("ten_a", events.HostnameDetached{Hostname: hostname(t, "kept.example")}).
		add("ten_b", events.TenantRegistered{Name: "B", HomeRegion: "eu-west"}).
		add("ten_b", events.HostnameAttached{Hostname: hostname(t, "went.example")}).
		add("ten_b", events.HostnameDetached{Hostname: hostname(t, "went.example")})
	s := &memorySource{id: uuid.New(), log: h.log}
	dir := aStopped(t, s)
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error { return txn.Delete([]byte("h/went.example")) }) // it is swept
	r, err := OpenStopped(dir, "eu-west", s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"ten_a", ""} {
		if report, lines := mended(t, r, s, tenant); !report.Equal() {
			t.Errorf("%q: found %q", tenant, lines)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, dir, "gen-0001", func(txn *badger.Txn) error {
		return errors.Join(txn.Set([]byte("t/ten_a"), []byte("rubbish")), txn.Delete([]byte("h/kept.example")))
	})
	report, lines := mended(t, openStopped(t, dir, s), s, "")
	if report.Repaired != 1 || len(report.Left) != 1 || len(report.Left[0].Hostnames) != 1 || report.Left[0].Hostnames[0].Hostname != "kept.example" || report.Left[0].record {
		t.Errorf("found %q, left %+v: want the hostname alone, which nobody can tell to be its", lines, report.Left)
	}
}
