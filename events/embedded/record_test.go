package embedded

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// The records as they are on disks, and so for ever: another layout takes another
// recordFormat, and the decoding of both.
const (
	goldenRun = "01b802080282c0f8daa6fda5060874656e5f61636d65036f7073047768793f01630161023030" + // 312, 8, 2, time, texts
		"010203000000000000000000000000101a74656e616e7472792e74656e616e742e72656e616d65642e76310d7b226e616d65223a2241227d20" +
		"000000000000000000000000000000011c74656e616e7472792e74656e616e742e6163746976617465642e7631027b7d"
	goldenState = "09e724ac02"
	goldenKey   = "010100000000000000000000000000000000000000000000000000000000000002" + "010874656e5f61636d6509e72402"
)

func acme(t testing.TB) events.StreamID {
	t.Helper()
	id, err := events.ParseTenantID("ten_acme")
	if err != nil {
		t.Fatal(err)
	}
	return id.Stream()
}

func sampleRun(t testing.TB) []events.Event {
	t.Helper()
	first := events.Event{
		ID: uuid.UUID{1, 2, 3, 15: 16}, Stream: acme(t), Version: 8, Position: 4710, Type: events.TypeTenantRenamed,
		Time: time.Date(2026, 3, 1, 12, 0, 0, 1000, time.UTC), Actor: "ops", Reason: "why?", Data: []byte(`{"name":"A"} `),
		CorrelationID: "c", CausationID: "a", Traceparent: "00",
	}
	second := first
	second.ID, second.Version, second.Position = uuid.UUID{15: 1}, 9, 4711
	second.Type, second.Data = events.TypeTenantActivated, []byte(`{}`)
	return []events.Event{first, second}
}

func sampleKey(t testing.TB) keyRecord {
	t.Helper()
	return keyRecord{fingerprint: [32]byte{1, 31: 2}, time: time.UnixMicro(-1).UTC(), stream: acme(t), version: 9, position: 4711, count: 2}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRun_IsStoredAsItEverWas(t *testing.T) {
	want := sampleRun(t)
	if got := hex.EncodeToString(encodeRun(want, 312)); got != goldenRun {
		t.Errorf("encoded:\ngot  %s\nwant %s", got, goldenRun)
	}
	r, err := openRun(unhex(t, goldenRun), 4711)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.events(nil)
	if err != nil || r.previous != 312 || !reflect.DeepEqual(got, want) {
		t.Errorf("decoded: got %+v, previous %d, %v, want %+v", got, r.previous, err, want)
	}
}

func TestState_IsStoredAsItEverWas(t *testing.T) {
	want := state{version: 9, position: 4711, referrers: 300}
	if got := hex.EncodeToString(want.encode()); got != goldenState {
		t.Errorf("encoded: got %s, want %s", got, goldenState)
	}
	if got, err := decodeState(unhex(t, goldenState)); err != nil || got != want {
		t.Errorf("decoded: got %+v, %v, want %+v", got, err, want)
	}
}

func TestKeyRecord_IsStoredAsItEverWas(t *testing.T) {
	want := sampleKey(t)
	if got := hex.EncodeToString(want.encode()); got != goldenKey {
		t.Errorf("encoded: got %s, want %s", got, goldenKey)
	}
	if got, err := decodeKeyRecord(unhex(t, goldenKey)); err != nil || got != want {
		t.Errorf("decoded: got %+v, %v, want %+v", got, err, want)
	}
}

func TestRuns_EndWhereTheMetadataDiffersOrTheyGrowTooLong(t *testing.T) {
	one := sampleRun(t)[0]
	batch := make([]events.Event, 7)
	for i := range batch {
		batch[i] = one
	}
	batch[2].Actor = "another"
	batch[4].Data = bytes.Repeat([]byte("x"), maxRun+1)
	batch[5].Data = bytes.Repeat([]byte("x"), maxRun-20)
	var got []int
	for _, r := range runs(batch) {
		got = append(got, len(r))
	}
	if want := []int{2, 1, 1, 1, 2}; !reflect.DeepEqual(got, want) {
		t.Errorf("lengths of the runs: got %v, want %v", got, want)
	}
	if got := runs(nil); len(got) != 0 {
		t.Errorf("runs of nothing: got %d", len(got))
	}
}

func TestRecord_CutAnywhere_IsAnErrorAndNotAnEvent(t *testing.T) {
	whole := unhex(t, goldenRun)
	for n := range whole {
		r, err := openRun(whole[:n:n], 4711)
		if err == nil {
			_, err = r.events(nil)
		}
		if !errors.Is(err, errRecord) {
			t.Errorf("the first %d of %d octets: got %v, want errRecord", n, len(whole), err)
		}
	}
	for _, golden := range []string{goldenKey, goldenState} {
		whole := unhex(t, golden)
		for n := range whole {
			_, err := decodeKeyRecord(whole[:n:n])
			if golden == goldenState {
				_, err = decodeState(whole[:n:n])
			}
			if !errors.Is(err, errRecord) {
				t.Errorf("the first %d of %d octets: got %v, want errRecord", n, len(whole), err)
			}
		}
	}
	other := bytes.Clone(whole)
	other[0]++
	if _, err := openRun(other, 4711); !errors.Is(err, errRecord) {
		t.Errorf("a run of another format: got %v, want errRecord", err)
	}
}

func FuzzRecords_AnyOctets_AreDecodedOrRefused(f *testing.F) {
	f.Add(unhex(f, goldenRun), uint64(4711))
	f.Add(unhex(f, goldenKey), uint64(1))
	f.Add(unhex(f, goldenState), uint64(0))
	f.Fuzz(func(t *testing.T, value []byte, last uint64) {
		if r, err := openRun(value, last); err == nil {
			if list, err := r.events(nil); err == nil && uint64(len(list)) != r.count {
				t.Errorf("got %d events of %d", len(list), r.count)
			}
		}
		if k, err := decodeKeyRecord(value); err == nil && k.count > k.version {
			t.Errorf("got a key with %d events at version %d", k.count, k.version)
		}
		if s, err := decodeState(value); err == nil {
			if again, err := decodeState(s.encode()); err != nil || again != s {
				t.Errorf("got %+v, and again %+v, %v", s, again, err)
			}
		}
	})
}
