package replay

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeRegion is a copy that a test makes up.
type fakeRegion struct {
	info    Info
	entries []Entry
	records map[string][]byte
	sums    Sums
	fail    error // what every call answers, where it is set

	mu        sync.Mutex
	repaired  []projections.Repair
	adopted   []string
	recounts  int
	recounted Sums
	open      int // inspections
	waiting   chan struct{}
}

func (f *fakeRegion) Info(context.Context) (Info, error) { return f.info, f.fail }
func (f *fakeRegion) Close() error                       { return nil }

func (f *fakeRegion) Inspect(context.Context) (Inspection, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	f.open++
	return &local{snapshot: &fakeMoment{f}}, nil
}

func (f *fakeRegion) Repair(_ context.Context, repairs []projections.Repair) (int, error) {
	f.repaired = append(f.repaired, repairs...)
	return len(repairs), f.fail
}

func (f *fakeRegion) Recount(context.Context) error {
	f.recounts++
	return f.fail
}

// Adopt waits for its end where a test wants it to be under way.
func (f *fakeRegion) Adopt(ctx context.Context, generation string) error {
	if f.waiting != nil {
		close(f.waiting)
		<-ctx.Done()
		return ctx.Err()
	}
	f.adopted = append(f.adopted, generation)
	return f.fail
}

func (f *fakeRegion) Rollback(context.Context) (string, error) { return "gen-0001", f.fail }

func (f *fakeRegion) inspections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

type fakeMoment struct{ of *fakeRegion }

func (m *fakeMoment) Progress() *readmodel.Progress {
	return &readmodel.Progress{StoreID: m.of.info.StoreID, Complete: true, Partitions: []readmodel.Partition{{Offset: 7, LastEvent: 3, Position: 9}}}
}
func (m *fakeMoment) Maintained() Sums { return m.of.sums }

func (m *fakeMoment) Scan(ctx context.Context, _ int, yield func(Entry) error) error {
	for _, e := range m.of.entries {
		if err := yield(e); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (m *fakeMoment) Quarantined(context.Context) ([]readmodel.Quarantine, error) {
	return []readmodel.Quarantine{{Stream: m.of.entries[0].Stream, Version: 3, Error: "no"}}, nil
}

func (m *fakeMoment) Record(key string) ([]byte, error) {
	b, ok := m.of.records[key]
	if !ok {
		return nil, readmodel.ErrUnknown
	}
	return b, m.of.fail
}

func (m *fakeMoment) Scanned(context.Context, int) (*Sums, error) {
	return nil, errors.New("read once more")
}

// Recount takes what was scanned before.
func (m *fakeMoment) Recount(scanned *Sums) error {
	m.of.recounted = *scanned
	return m.of.fail
}

func (m *fakeMoment) Close() error {
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	m.of.open--
	return nil
}

func streamID(t *testing.T, s string) events.StreamID {
	t.Helper()
	id, err := events.ParseStreamID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// aRegion is a copy with some entries, one of them damaged.
func aRegion(t *testing.T) *fakeRegion {
	t.Helper()
	f := &fakeRegion{info: Info{Region: "eu-west", PID: 42, Generation: "gen-0007", StoreID: uuid.New(), Position: 9, Partitions: 1, Complete: true}}
	for i, name := range []string{"ten_a", "ten_b", "db_c"} {
		id := streamID(t, name)
		f.entries = append(f.entries, Entry{Key: readmodel.RecordKey(id), Stream: id, Bucket: readmodel.BucketOf(id), Digest: uint64(i) + 1})
	}
	f.entries = append(f.entries, Entry{Key: "t/\xff\x00", Bucket: 77, Digest: 1 << 63})
	slices.SortFunc(f.entries, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	f.records = map[string][]byte{"t/ten_a": {1, 2, 3}, "t/\xff\x00": {}}
	f.sums[5] = 1<<64 - 1
	return f
}
