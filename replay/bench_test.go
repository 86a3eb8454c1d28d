package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	compression "github.com/dgraph-io/badger/v4/options"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// madeSource has so many tenants of ten events each, which are made when they are read: what is measured
// with it is the comparison, and not a store.
type madeSource struct {
	id      uuid.UUID
	tenants int
}

const madeEvents = 10 // of each tenant

func (s *madeSource) head() events.Head {
	return events.Head{Position: uint64(s.tenants * madeEvents), StoreID: s.id}
}

func (s *madeSource) Head(context.Context) (events.Head, error) { return s.head(), nil }

func (s *madeSource) stream(i int) []events.Event {
	id, err := events.ParseStreamID(fmt.Sprintf("ten_%07d", i))
	if err != nil {
		panic(err)
	}
	types := [madeEvents]events.Type{
		"tenantry.tenant.registered.v1", "tenantry.tenant.hostname-attached.v1", "tenantry.tenant.hostname-attached.v1", "tenantry.tenant.activated.v1",
		"tenantry.tenant.config-set.v1", "tenantry.tenant.config-set.v1", "tenantry.tenant.config-set.v1", "tenantry.tenant.config-set.v1", "tenantry.tenant.suspended.v1", "tenantry.tenant.resumed.v1",
	}
	data := [madeEvents]string{
		fmt.Sprintf(`{"name":"Tenant %d","home_region":"eu-west"}`, i), fmt.Sprintf(`{"hostname":"a%d.example"}`, i), fmt.Sprintf(`{"hostname":"b%d.example"}`, i), `{}`,
		`{"key":"a","value":1}`, `{"key":"b","value":"two"}`, `{"key":"c","value":[3]}`, `{"key":"a","value":4}`, `{}`, `{}`,
	}
	out := make([]events.Event, madeEvents)
	for j := range out {
		position := uint64(i*madeEvents + j + 1)
		out[j] = events.Event{
			ID:     uuid.UUID{0: 1, 8: byte(position >> 32), 9: byte(position >> 24), 10: byte(position >> 16), 11: byte(position >> 8), 12: byte(position)},
			Stream: id, Version: uint64(j) + 1, Position: position, Type: types[j], Time: time.Unix(1_800_000_000, 0), Data: jsontext.Value(data[j]),
		}
	}
	return out
}

func (s *madeSource) Load(_ context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	var i int
	if _, err := fmt.Sscanf(id.String(), "ten_%07d", &i); err != nil || i >= s.tenants {
		return nil, nil //nolint:nilerr // there is no such stream
	}
	return s.stream(i)[after:], nil
}

func (s *madeSource) After(_ context.Context, position uint64, _ int) ([]events.Event, error) {
	if position >= s.head().Position {
		return nil, nil
	}
	return s.stream(int(position) / madeEvents)[position%madeEvents:][:1], nil
}

func (s *madeSource) Whole(context.Context) (events.Whole, error) { return madeWhole{s}, nil }

type madeWhole struct{ s *madeSource }

func (w madeWhole) Head() events.Head { return w.s.head() }
func (w madeWhole) Close() error      { return nil }
func (w madeWhole) Parts(_ context.Context, n int) (parts []events.Part, err error) {
	for i := range n {
		parts = append(parts, madePart{w.s, i * w.s.tenants / n, (i + 1) * w.s.tenants / n})
	}
	return parts, nil
}

type madePart struct {
	s        *madeSource
	from, to int
}

func (p madePart) Streams(ctx context.Context, yield func([]events.Event) error) error {
	for i := p.from; i < p.to; i++ {
		if err := errors.Join(ctx.Err(), yield(p.s.stream(i))); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkReplay compares and mends a stopped region of a million tenants: go test -bench Replay -benchtime 1x
func BenchmarkReplay(b *testing.B) {
	for _, tenants := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) { benchmarkReplay(b, tenants) })
	}
}

func benchmarkReplay(b *testing.B, tenants int) {
	s := &madeSource{id: uuid.New(), tenants: tenants}
	dir := readmodel.Dir(b.TempDir())
	if _, err := projections.Build(b.Context(), projections.BuildConfig{Source: s.Whole, Dir: dir.Path("gen-0001"), Partitions: 12}); err != nil {
		b.Fatal(err)
	}
	if err := dir.SetCurrent("gen-0001"); err != nil {
		b.Fatal(err)
	}
	r, err := OpenStopped(dir, "eu-west", s, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for b.Loop() {
		report := benchmarkVerify(b, r, s, dir)
		if !report.Equal() || report.Tenants != uint64(tenants) {
			b.Fatalf("got %+v", report)
		}
		b.ReportMetric(report.Took.Seconds(), "s/verify")
		b.ReportMetric(float64(tenants)/report.Took.Seconds(), "tenants/s")
		quick, err := Verify(b.Context(), VerifyConfig{Region: r, Source: s, Dir: string(dir), AtHand: true})
		if err != nil || !quick.Equal() {
			b.Fatalf("with sums at hand: %+v, %v", quick, err)
		}
		b.ReportMetric(quick.Took.Seconds(), "s/verify-at-hand")

		if err := r.closeModel(); err != nil {
			b.Fatal(err)
		}
		db, err := badger.Open(badger.DefaultOptions(dir.Path("gen-0001")).WithLogger(nil).WithCompression(compression.None).WithMemTableSize(5 << 20).WithValueThreshold(700 << 10))
		if err != nil {
			b.Fatal(err)
		}
		err = db.Update(func(txn *badger.Txn) error {
			for i := range 100 {
				if err := txn.Delete(fmt.Appendf(nil, "t/ten_%07d", i*tenants/100)); err != nil {
					return err
				}
			}
			return nil
		})
		if err := errors.Join(err, db.Close()); err != nil {
			b.Fatal(err)
		}
		report = benchmarkVerify(b, r, s, dir)
		b.ReportMetric(report.Took.Seconds(), "s/verify-of-100-wrong")
		began := time.Now()
		fixed, err := Repair(b.Context(), VerifyConfig{Region: r, Source: s, Dir: string(dir)})
		if err != nil || fixed.Repaired != 100 || len(fixed.Left) > 0 {
			b.Fatalf("mended %+v, %v", fixed, err)
		}
		b.ReportMetric((time.Since(began) - fixed.Took).Seconds(), "s/repair-of-100")
	}
}

func benchmarkVerify(b *testing.B, r Region, s Source, dir readmodel.Dir) *Report {
	report, err := Verify(b.Context(), VerifyConfig{Region: r, Source: s, Dir: string(dir)})
	if err != nil {
		b.Fatal(err)
	}
	return report
}
