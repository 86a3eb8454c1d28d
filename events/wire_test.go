package events_test

import (
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
	"github.com/tenantry/tenantry/schemas/schematest"
)

// headersOf are a record's headers as a consumer gets them.
func headersOf(t interface{ Fatalf(string, ...any) }, r events.Record) map[string]string {
	headers := make(map[string]string)
	r.Headers(func(name, value string) {
		if _, twice := headers[name]; twice {
			t.Fatalf("the header %s is there twice", name)
		}
		headers[name] = value
	})
	return headers
}

func getter(headers map[string]string) func(string) string {
	return func(name string) string { return headers[name] }
}

func TestRecord_ReadsWhatItWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := eventstest.Event().Draw(t, "event")
		want := events.Record{
			Event:    e,
			Previous: rapid.Uint64Max(e.Position-1).Draw(t, "previous"),
			StoreID:  eventstest.UUID().Draw(t, "store ID"),
		}
		if rapid.Bool().Draw(t, "published again") {
			want.Replayed = rapid.Uint64Min(e.Position).Draw(t, "complete up to")
		}
		headers := headersOf(t, want)
		got, err := events.ParseRecord(getter(headers), want.Event.Data)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v\n%v", got, err, want, headers)
		}
		if got.IsWatermark() || got.Key() != want.Event.Stream.String() {
			t.Fatalf("got watermark %t, key %q, want an event with its stream as key", got.IsWatermark(), got.Key())
		}
		if err := schematest.CheckRecord(headers, want.Event.Data); err != nil {
			t.Fatal(err)
		}
		for name, value := range headers {
			if value == "" {
				t.Fatalf("the header %s is empty, want it left out", name)
			}
		}
	})
}

func TestRecord_AWatermarkCarriesNoEvent(t *testing.T) {
	want := events.Record{
		Event:    events.Event{ID: uuid.New(), Type: events.TypeWatermark, Time: time.Date(2026, 11, 21, 2, 14, 0, 5000, time.UTC), Position: 1042},
		Previous: 977, StoreID: uuid.New(),
	}
	if !want.IsWatermark() || want.Key() != "" {
		t.Errorf("got watermark %t, key %q, want one without a key", want.IsWatermark(), want.Key())
	}
	headers := headersOf(t, want)
	if got, err := events.ParseRecord(getter(headers), nil); err != nil || !reflect.DeepEqual(got, want) || !got.IsWatermark() {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	schematest.Record(t, headers, nil)
	for _, name := range []string{events.HeaderSubject, events.HeaderVersion, events.HeaderContentType} {
		if _, there := headers[name]; there {
			t.Errorf("the watermark has the header %s, which speaks of an event", name)
		}
	}
}

func TestRecord_IsACloudEvent(t *testing.T) {
	e := events.Event{
		ID: uuid.MustParse("0193f3a1-6f7e-7c3a-9a51-0d2a4c1b7e90"), Stream: streamID(t, "ten_acme"), Version: 2, Position: 1042,
		Type: events.TypeTenantRenamed, Time: time.Date(2026, 11, 21, 2, 14, 0, 123456000, time.UTC), Actor: "mara", Reason: "why",
		CorrelationID: "req-1", CausationID: "cmd-1", Traceparent: "00-x", Data: []byte(`{"name":"Acme"}`),
	}
	want := map[string]string{
		"ce_specversion": "1.0", "ce_id": "0193f3a1-6f7e-7c3a-9a51-0d2a4c1b7e90", "ce_source": "/tenantry/0f9d7a1e-7a0b-4b39-9f0a-3f8d3a4c2b10",
		"ce_type": "tenantry.tenant.renamed.v1", "ce_subject": "ten_acme", "ce_time": "2026-11-21T02:14:00.123456Z", "content-type": "application/json",
		"ce_position": "1042", "ce_version": "2", "ce_previous": "977", "ce_storeid": "0f9d7a1e-7a0b-4b39-9f0a-3f8d3a4c2b10",
		"ce_actor": "mara", "ce_reason": "why", "ce_correlationid": "req-1", "ce_causationid": "cmd-1", "ce_traceparent": "00-x",
	}
	got := headersOf(t, events.Record{Event: e, Previous: 977, StoreID: uuid.MustParse("0f9d7a1e-7a0b-4b39-9f0a-3f8d3a4c2b10")})
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParseRecord_RefusesWhatIsNotOfThisTopic(t *testing.T) {
	good := headersOf(t, events.Record{
		Event:   events.Event{ID: uuid.New(), Stream: streamID(t, "ten_acme"), Version: 2, Position: 7, Type: events.TypeTenantActivated, Time: time.Unix(0, 0).UTC()},
		StoreID: uuid.New(),
	})
	if _, err := events.ParseRecord(getter(good), []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ header, value string }{
		{events.HeaderID, ""},
		{events.HeaderID, "7"},
		{events.HeaderStoreID, ""},
		{events.HeaderStoreID, "here"},
		{events.HeaderTime, ""},
		{events.HeaderTime, "yesterday"},
		{events.HeaderPosition, ""},
		{events.HeaderPosition, "-1"},
		{events.HeaderPosition, "1.5"},
		{events.HeaderPosition, "18446744073709551616"},
		{events.HeaderPrevious, ""},
		{events.HeaderPrevious, "x"},
		{events.HeaderPosition, "0"},
		{events.HeaderPrevious, "7"}, // that is its own position
		{events.HeaderPrevious, "8"},
		{events.HeaderVersion, "0"},
		{events.HeaderSubject, ""},
		{events.HeaderSubject, "acme"},
		{events.HeaderVersion, ""},
		{events.HeaderVersion, "two"},
	} {
		headers := maps.Clone(good)
		headers[c.header] = c.value
		r, err := events.ParseRecord(getter(headers), []byte(`{}`))
		if !errors.Is(err, events.ErrBadRecord) || !strings.Contains(err.Error(), c.header) || !reflect.DeepEqual(r, events.Record{}) {
			t.Errorf("%s = %q: got %+v, %v, want ErrBadRecord that names the header", c.header, c.value, r, err)
		}
	}
}
