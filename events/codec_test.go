package events_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
	"github.com/tenantry/tenantry/schemas/schematest"
)

func TestPayloads_EveryTypeHasAGenerator(t *testing.T) {
	types := events.Types()
	slices.Sort(types)
	if made := slices.Sorted(maps.Keys(eventstest.Payloads())); !slices.Equal(made, types) {
		t.Errorf("got generators for %q, want one for each of %q", made, types)
	}
	for _, typ := range types {
		switch kind := eventstest.KindOf(typ); kind {
		case events.KindTenant, events.KindDatabase, events.KindGroup:
		default:
			t.Errorf("%s: got the kind %q, want one of a stream", typ, kind)
		}
		if !strings.HasPrefix(string(typ), "tenantry.") {
			t.Errorf("%s: got a type without its prefix", typ)
		}
	}
}

func TestPayload_DecodesToWhatWasEncoded_AndFitsItsSchema(t *testing.T) {
	for typ, generator := range eventstest.Payloads() {
		t.Run(string(typ), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				want := generator.Draw(t, "payload")
				data, err := events.Encode(want)
				if err != nil {
					t.Fatal(err)
				}
				if err := schematest.CheckPayload(string(typ), data); err != nil {
					t.Fatal(err)
				}
				got, err := events.NewCodec().Decode(typ, data)
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("%s: got %#v, %v, want %#v", data, got, err, want)
				}
				if again, err := events.Encode(got); err != nil || !bytes.Equal(again, data) {
					t.Fatalf("got %s, %v, want %s again", again, err, data)
				}
			})
		})
	}
}

func TestPayload_DoesNotShareMemoryWithWhatItWasDecodedFrom(t *testing.T) {
	data := jsontext.Value(`{"key":"theme","value":{"dark":true}}`)
	p, err := events.NewCodec().Decode(events.TypeConfigSet, data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = 'x' // as a buffer that is read into again
	}
	if got := string(p.(events.ConfigSet).Value); got != `{"dark":true}` {
		t.Errorf("got the value %s, want it as it was", got)
	}
}

func TestCodec_AnUnknownTypeSaysSo(t *testing.T) {
	for _, typ := range []events.Type{"", "tenantry.tenant.registered.v2", "tenantry.tenant.registered", "tenantry.tenant.Registered.v1", "other"} {
		if p, err := events.NewCodec().Decode(typ, jsontext.Value(`{}`)); !errors.Is(err, events.ErrUnknownType) || p != nil {
			t.Errorf("%q: got %v, %v, want ErrUnknownType", typ, p, err)
		}
	}
	e := events.Event{Type: "tenantry.tenant.registered.v2", Stream: events.NewTenantID().Stream(), Version: 4, Data: jsontext.Value(`{}`)}
	if _, err := e.Payload(); !errors.Is(err, events.ErrUnknownType) || !strings.Contains(err.Error(), e.Stream.String()) {
		t.Errorf("got %v, want ErrUnknownType with the stream that it is of", err)
	}
}

func TestCodec_ADamagedPayloadIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		typ  events.Type
		data string
	}{
		"nothing":                          {events.TypeTenantRenamed, ``},
		"no JSON":                          {events.TypeTenantRenamed, `{`},
		"an unknown member":                {events.TypeTenantRenamed, `{"name":"a","nick":"b"}`},
		"an unknown member in an empty":    {events.TypeTenantActivated, `{"reason":"b"}`},
		"an unknown member of the product": {events.TypeProductChanged, `{"product":"a","plan":"b","colour":"c"}`},
		"a member in capitals":             {events.TypeTenantRenamed, `{"Name":"a"}`},
		"a member twice":                   {events.TypeTenantRenamed, `{"name":"a","name":"b"}`},
		"a member of the wrong type":       {events.TypeTenantRenamed, `{"name":7}`},
		"an array":                         {events.TypeTenantRenamed, `["a"]`},
		"a string":                         {events.TypeTenantRenamed, `"a"`},
		"two documents":                    {events.TypeTenantRenamed, `{"name":"a"}{"name":"b"}`},
		"invalid UTF-8":                    {events.TypeTenantRenamed, "{\"name\":\"\xff\"}"},
		"an ID of another kind":            {events.TypeDatabaseAssigned, `{"database":"ten_a","name":"b"}`},
		"a broken ID":                      {events.TypeTenantGroupChanged, `{"group":"grp_"}`},
		"no hostname":                      {events.TypeHostnameAttached, `{"hostname":"a_b.example"}`},
		"seats beyond int64":               {events.TypeProductChanged, `{"product":"a","plan":"b","seats":9223372036854775808}`},
		"seats with a fraction":            {events.TypeProductChanged, `{"product":"a","plan":"b","seats":1.5}`},
		"a time that is none":              {events.TypeProductChanged, `{"product":"a","plan":"b","trial_until":"tomorrow"}`},
		"a port that is a string":          {events.TypeDatabaseEndpointChanged, `{"host":"a","port":"5432","secret_ref":"env://A"}`},
	} {
		if p, err := events.NewCodec().Decode(c.typ, jsontext.Value(c.data)); err == nil {
			t.Errorf("%s: got %#v, want an error", name, p)
		}
	}
}

// The chain leads a made-up first version of a payload, by way of a second, to the current one.
func TestCodec_UpcastsAPayloadOfAnyEarlierVersion(t *testing.T) {
	const (
		v0  events.Type = "tenantry.tenant.renamed.v0"
		v00 events.Type = "tenantry.tenant.renamed.v0-draft"
	)
	codec := events.NewCodec(
		// The draft had a bare string, and v0 called the member "title".
		events.Upcaster{From: v00, To: v0, Up: func(data jsontext.Value) (jsontext.Value, error) {
			if data.Kind() != '"' {
				return nil, fmt.Errorf("got %s, want a string", data)
			}
			return jsontext.Value(`{"title":` + string(data) + `}`), nil
		}},
		events.Upcaster{From: v0, To: events.TypeTenantRenamed, Up: func(data jsontext.Value) (jsontext.Value, error) {
			var old struct {
				Title string `json:"title"`
			}
			if err := json.Unmarshal(data, &old, json.RejectUnknownMembers(true)); err != nil {
				return nil, err
			}
			return json.Marshal(map[string]string{"name": old.Title})
		}},
	)
	want := events.TenantRenamed{Name: "Acme"}
	for typ, data := range map[events.Type]string{v00: `"Acme"`, v0: `{"title":"Acme"}`, events.TypeTenantRenamed: `{"name":"Acme"}`} {
		if got, err := codec.Decode(typ, jsontext.Value(data)); err != nil || got != want {
			t.Errorf("%s %s: got %#v, %v, want %#v", typ, data, got, err, want)
		}
	}
	for typ, data := range map[events.Type]string{v00: `7`, v0: `{"name":"Acme"}`} {
		if got, err := codec.Decode(typ, jsontext.Value(data)); err == nil || !strings.Contains(err.Error(), string(v0)) {
			t.Errorf("%s %s: got %#v, %v, want an error that names the version", typ, data, got, err)
		}
	}
	// A codec that does not know the old version does not guess.
	if _, err := events.NewCodec().Decode(v0, jsontext.Value(`{"title":"Acme"}`)); !errors.Is(err, events.ErrUnknownType) {
		t.Errorf("got %v, want ErrUnknownType", err)
	}
	dangling := events.NewCodec(events.Upcaster{From: v00, To: v0, Up: func(data jsontext.Value) (jsontext.Value, error) { return data, nil }})
	if _, err := dangling.Decode(v00, jsontext.Value(`{}`)); !errors.Is(err, events.ErrUnknownType) || !strings.Contains(err.Error(), string(v0)) {
		t.Errorf("a chain that ends nowhere: got %v, want ErrUnknownType of %s", err, v0)
	}
}

func TestEncode_WritesTheSameBytesForTheSamePayload(t *testing.T) {
	p := events.ConfigSet{Key: "k", Value: jsontext.Value(" {\n \"b\" : [ 1 , 2.50 ] , \"a\" : \"\\u0041\" } ")}
	want := `{"key":"k","value":{"b":[1,2.50],"a":"A"}}`
	for range 20 {
		if got, err := events.Encode(p); err != nil || string(got) != want {
			t.Fatalf("got %s, %v, want %s", got, err, want)
		}
	}
	if got, err := events.Encode(events.ConfigSet{Key: "k", Value: jsontext.Value(`{`)}); err == nil {
		t.Errorf("a value that is no JSON: got %s, want an error", got)
	}
}
