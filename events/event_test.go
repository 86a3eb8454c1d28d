package events_test

import (
	"bytes"
	stdjson "encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
	"github.com/tenantry/tenantry/schemas/schematest"
)

func TestEvent_InJSONReadsAsWhatWasWritten_AndFitsItsSchema(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := eventstest.Event().Draw(rt, "event")
		line, err := json.Marshal(want)
		if err != nil {
			rt.Fatal(err)
		}
		if bytes.ContainsRune(line, '\n') {
			rt.Fatalf("got more than one line: %s", line)
		}
		schematest.Event(t, line)
		var got events.Event
		if err := json.Unmarshal(line, &got, json.RejectUnknownMembers(true)); err != nil || !reflect.DeepEqual(got, want) {
			rt.Fatalf("got %+v, %v, want %+v\n%s", got, err, want, line)
		}
		// Clients in Go use the standard library.
		std, err := stdjson.Marshal(want)
		if err != nil {
			rt.Fatal(err)
		}
		got = events.Event{}
		if err := stdjson.Unmarshal(std, &got); err != nil || !got.Time.Equal(want.Time) || got.Stream != want.Stream || got.ID != want.ID || got.Position != want.Position {
			rt.Fatalf("encoding/json: got %+v, %v, want %+v\n%s", got, err, want, std)
		}
	})
}

func TestEvent_InJSONHasOneFormForEachKindOfMember(t *testing.T) {
	e := events.Event{
		ID: uuid.MustParse("0193f3a1-6f7e-7c3a-9a51-0d2a4c1b7e90"), Stream: streamID(t, "ten_acme"), Version: 2, Position: 1042,
		Type: events.TypeHostnameAttached, Time: time.Date(2026, 11, 21, 2, 14, 0, 123456000, time.UTC),
		Actor: "mara@acme.example", Reason: "moved <in> & out", Data: []byte(`{"hostname":"acme.example"}`),
		CorrelationID: "req-1", CausationID: "cmd-1", Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	want := `{"id":"0193f3a1-6f7e-7c3a-9a51-0d2a4c1b7e90","stream":"ten_acme","version":2,"position":1042,` +
		`"type":"tenantry.tenant.hostname-attached.v1","time":"2026-11-21T02:14:00.123456Z","actor":"mara@acme.example",` +
		`"reason":"moved <in> & out","data":{"hostname":"acme.example"},"correlation_id":"req-1","causation_id":"cmd-1",` +
		`"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}`
	if got, err := json.Marshal(e); err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	least := events.Event{ID: e.ID, Stream: e.Stream, Version: 1, Type: events.TypeTenantActivated, Time: e.Time.Truncate(time.Second), Data: []byte(`{}`)}
	want = `{"id":"0193f3a1-6f7e-7c3a-9a51-0d2a4c1b7e90","stream":"ten_acme","version":1,` +
		`"type":"tenantry.tenant.activated.v1","time":"2026-11-21T02:14:00Z","data":{}}`
	if got, err := json.Marshal(least); err != nil || string(got) != want {
		t.Errorf("not appended yet: got  %s, %v\nwant %s", got, err, want)
	}
}

func streamID(t testing.TB, s string) events.StreamID {
	t.Helper()
	id, err := events.ParseStreamID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestNew_NumbersTheEventsOfOneCommand(t *testing.T) {
	stream := streamID(t, "ten_acme")
	at := time.Date(2026, 11, 21, 3, 14, 0, 123456789, time.FixedZone("CET", 3600))
	meta := events.Metadata{Time: at, Actor: "a", Reason: "r", CorrelationID: "c", CausationID: "d", Traceparent: "t"}
	made, err := events.New(stream, 6, meta, events.TenantActivated{}, events.TenantRenamed{Name: "Acme"})
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != 2 {
		t.Fatalf("got %d events, want 2", len(made))
	}
	for i, want := range []struct {
		typ  events.Type
		data string
	}{{events.TypeTenantActivated, `{}`}, {events.TypeTenantRenamed, `{"name":"Acme"}`}} {
		e := made[i]
		if e.Stream != stream || e.Version != uint64(7+i) || e.Position != 0 || e.Type != want.typ || string(e.Data) != want.data {
			t.Errorf("event %d: got %+v, want %+v at version %d without a position", i, e, want, 7+i)
		}
		if got := e.Time.Format(time.RFC3339Nano); got != "2026-11-21T02:14:00.123456Z" {
			t.Errorf("event %d: got the time %s, want it in UTC, cut to microseconds", i, got)
		}
		if e.Actor != "a" || e.Reason != "r" || e.CorrelationID != "c" || e.CausationID != "d" || e.Traceparent != "t" {
			t.Errorf("event %d: got %+v, want what is common to the command", i, e)
		}
	}
	if none, err := events.New(stream, 6, meta); err != nil || len(none) != 0 {
		t.Errorf("got %v, %v, want no events for no payloads", none, err)
	}
}

func TestNew_TheSameKeyMakesTheSameIDs_AndNothingElseDoes(t *testing.T) {
	ids := func(stream, key string) []uuid.UUID {
		made, err := events.New(streamID(t, stream), 0, events.Metadata{IdempotencyKey: key}, events.TenantActivated{}, events.TenantActivated{})
		if err != nil {
			t.Fatal(err)
		}
		return []uuid.UUID{made[0].ID, made[1].ID}
	}
	if a, b := ids("ten_a", "k"), ids("ten_a", "k"); !reflect.DeepEqual(a, b) {
		t.Errorf("got %v and %v for one key, want the same", a, b)
	}
	seen := make(map[uuid.UUID]string)
	for _, c := range []struct{ stream, key string }{{"ten_a", "k"}, {"ten_a", "k2"}, {"ten_b", "k"}, {"ten_a", ""}, {"ten_a", ""}, {"ten_a", "k\x000"}} {
		for i, id := range ids(c.stream, c.key) {
			if before, ok := seen[id]; ok {
				t.Errorf("%v, event %d: got the ID of %s", c, i, before)
			}
			seen[id] = c.stream + " " + c.key
		}
	}
	later, err := events.New(streamID(t, "ten_a"), 0, events.Metadata{IdempotencyKey: "k", Time: time.Unix(1, 0)}, events.TenantActivated{})
	if err != nil {
		t.Fatal(err)
	}
	if before, ok := seen[later[0].ID]; ok {
		t.Errorf("a key that was used again after a restore: got the ID of %s", before)
	}
	again, err := events.New(streamID(t, "ten_a"), 2, events.Metadata{IdempotencyKey: "k"}, events.TenantActivated{})
	if err != nil {
		t.Fatal(err)
	}
	if before, ok := seen[again[0].ID]; ok {
		t.Errorf("a key that was used again later on the stream: got the ID of %s", before)
	}
	// Clients have seen these, so that they may not change from one release to the next.
	if got, want := ids("ten_a", "k")[0].String(), "052845c6-0d75-5bf5-8b4b-0ff1d6a98d8c"; got != want {
		t.Errorf("got the ID %s, want %s", got, want)
	}
}

func FuzzEventJSON(f *testing.F) {
	f.Add([]byte(`{"id":"0193f3a1-6f7e-7c3a-9a51-0d2a4c1b7e90","stream":"ten_acme","version":2,"position":7,"type":"tenantry.tenant.renamed.v1","time":"2026-11-21T02:14:00.5+01:00","data":{"name":"A"}}`))
	f.Add([]byte(`{"stream":"","data":null}`))
	f.Add([]byte(`{"data":{"a":[1e400,"\ud800"]}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var e events.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return
		}
		first, err := json.Marshal(e)
		if err != nil {
			if strings.Contains(err.Error(), "year") {
				return // an offset can carry a time out of the years that RFC 3339 has
			}
			t.Fatalf("%q: got %+v, which does not encode: %v", line, e, err)
		}
		var again events.Event
		if err := json.Unmarshal(first, &again); err != nil {
			t.Fatalf("%q: got %s, which does not decode: %v", line, first, err)
		}
		if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%q: got %s, and of that %s, %v", line, first, second, err)
		}
		if p, err := e.Payload(); err == nil {
			if data, err := events.Encode(p); err != nil {
				t.Fatalf("%q: the payload %#v does not encode: %v", line, p, err)
			} else if q, err := events.NewCodec().Decode(p.EventType(), data); err != nil || !reflect.DeepEqual(normal(t, q), normal(t, p)) {
				t.Fatalf("%q: got %#v, and of that %#v, %v", line, p, q, err)
			}
		}
	})
}

// normal is a payload as it is written, since a time that was read may have a location of its own.
func normal(t *testing.T, p events.Payload) string {
	data, err := events.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
