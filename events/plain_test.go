package events

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

// checkPlain holds the reader of plain payloads to the JSON decoder, and says whether it took this one.
func checkPlain(t interface {
	Errorf(format string, args ...any)
}, typ Type, data []byte) bool {
	kept := bytes.Clone(data)
	got, ok := decodePlain(typ, data)
	if !ok {
		return false
	}
	want, err := decoders[typ](bytes.Clone(data))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s %q: got %#v, want %#v, %v", typ, data, got, want, err)
	}
	if !bytes.Equal(kept, data) {
		t.Errorf("%s %q was changed to %q", typ, kept, data)
	}
	clear(data)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s %q: what was read shares memory with it", typ, kept)
	}
	return true
}

// samples are payloads, plain ones and others.
var samples = map[Type][]string{
	TypeTenantRegistered: {
		`{"name":"Acme","home_region":"eu-west"}`, `{"name":"東京","home_region":"eu-west","group":"grp_g"}`,
		`{"name":"Acme","home_region":"eu-west","group":""}`, `{"name":"Acme","home_region":"eu-west","group":"ten_g"}`, `{"home_region":"eu-west","name":"Acme"}`,
		`{"name":"a\"b","home_region":"eu"}`, "{\"name\":\"\xff\",\"home_region\":\"eu\"}", "{\"name\":\"a\tb\",\"home_region\":\"eu\"}", `{"name":"Acme"}`,
		`{"name":"Acme","home_region":"eu-west","more":1}`, `{"name":"Acme","home_region":"eu-west"} `,
	},
	TypeTenantActivated: {`{}`, `{ }`, `{"more":1}`, ``, `null`, `{`, `}`, `{}}`},
	TypeTenantRenamed:   {`{"name":""}`, `{"name":null}`, `{"name":"a`, `{"name":"a"`},
	TypeHostnameAttached: {
		`{"hostname":"app.example"}`, `{"hostname":"APP.example."}`, `{"hostname":"bücher.example"}`, `{"hostname":""}`, `{"hostname":"x"}`,
	},
	TypeProductActivated: {
		`{"product":"wiki","plan":"free"}`, `{"product":"wiki","plan":"free","seats":0}`, `{"product":"wiki","plan":"free","seats":100,"features":["a","b"]}`,
		`{"product":"wiki","plan":"free","seats":-1}`, `{"product":"wiki","plan":"free","seats":01}`, `{"product":"wiki","plan":"free","seats":1.5}`, `{"product":"wiki","plan":"free","seats":1e3}`,
		`{"product":"wiki","plan":"free","seats":9223372036854775807}`, `{"product":"wiki","plan":"free","seats":99999999999999999999}`,
		`{"product":"wiki","plan":"free","seats":null}`, `{"product":"wiki","plan":"free","features":[]}`, `{"product":"wiki","plan":"free","features":["a",]}`, `{"product":"wiki","plan":"free","features":[1]}`,
		`{"product":"wiki","plan":"free","trial_until":"2026-11-21T00:00:00Z"}`, `{"product":"wiki","plan":"free","features":["a"],"seats":1}`,
	},
	TypeDatabaseAssigned:   {`{"database":"db_x","name":"tenant"}`, `{"database":"","name":"tenant"}`},
	TypeTenantGroupChanged: {`{"group":"grp_g"}`, `{}`, `{"group":""}`},
	TypeConfigSet: {
		`{"key":"k","value":"v"}`, `{"key":"k","value":1}`, `{"key":"k","value":true}`, `{"key":"k","value":false}`, `{"key":"k","value":null}`, `{"key":"k","value":-1}`, `{"key":"k","value":1.50}`,
		`{"key":"k","value":{"a":1,"b":[1,2]}}`, `{"key":"k","value":{"a":1,"a":2}}`, `{"key":"k","value":[]}`, `{"key":"k","value":{ "a" : 1 }}`, `{"key":"k","value": 1}`, `{"key":"k","value":1 }`,
		`{"key":"k","value":"a\nb"}`, `{"key":"k","value":}`, `{"key":"k","value":truefalse}`, `{"key":"k","value":1,"more":2}`, `{"key":"k","value":{},"more":{}}`, `{"key":"k","value":"a","more":"b"}`,
		`{"key":"k"}`, `{"key":"k","value":{"a":"` + "\xff" + `"}}`, `{"key":"k","value":01}`,
	},
}

func TestDecodePlain_OfWhateverItTakes_IsWhatTheDecoderReads(t *testing.T) {
	for typ, texts := range samples {
		for _, text := range texts {
			checkPlain(t, typ, []byte(text))
		}
	}
	types := Types()
	rapid.Check(t, func(rt *rapid.T) {
		typ := rapid.SampledFrom(types).Draw(rt, "type")
		from := rapid.SampledFrom(types).Draw(rt, "of the type")
		texts := samples[from]
		if len(texts) == 0 {
			texts = []string{`{}`}
		}
		data := []byte(rapid.SampledFrom(texts).Draw(rt, "sample"))
		for range rapid.IntRange(0, 3).Draw(rt, "changes") {
			if len(data) == 0 {
				break
			}
			at := rapid.IntRange(0, len(data)-1).Draw(rt, "at")
			switch rapid.IntRange(0, 2).Draw(rt, "change") {
			case 0:
				data[at] = rapid.SampledFrom([]byte(`{}[]",:\ 0a-`+"\x00\xff\n")).Draw(rt, "octet")
			case 1:
				data = append(data[:at:at], data[at+1:]...)
			case 2:
				data = append(data[:at:at], append([]byte(rapid.SampledFrom([]string{`"`, `\`, ` `, `,`, `}`, `"name":"x",`, "é"}).Draw(rt, "text")), data[at:]...)...)
			}
		}
		if rapid.Bool().Draw(rt, "its own type") {
			typ = from
		}
		checkPlain(rt, typ, data)
	})
}

func FuzzDecodePlain(f *testing.F) {
	for typ, texts := range samples {
		for _, text := range texts {
			f.Add(string(typ), []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, typ string, data []byte) { checkPlain(t, Type(typ), data) })
}

// Otherwise nothing would tell when all are read the slow way.
func TestDecodePlain_TakesWhatEncodeWrites(t *testing.T) {
	seats := int64(100)
	hostname, err := ParseHostname("app.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []Payload{
		TenantRegistered{Name: "Acme 東京", HomeRegion: "eu-west"}, TenantActivated{}, TenantRenamed{Name: "Acme"}, TenantSuspended{}, TenantPurged{},
		HostnameAttached{Hostname: hostname}, HostnameDetached{Hostname: hostname}, PrimaryHostnameChanged{Hostname: hostname},
		ProductActivated{Name: "wiki", Product: Product{Plan: "free", Seats: &seats, Features: []string{"a", "b"}}},
		ProductChanged{Name: "wiki", Product: Product{Plan: "free"}}, ProductDeactivated{Name: "wiki"}, HomeRegionChanged{HomeRegion: "eu"},
		DatabaseAssigned{Database: DatabaseID{s: "db_x"}, Name: "t"}, TenantGroupChanged{Group: GroupID{s: "grp_g"}},
		ConfigSet{Key: "k", Value: jsontext.Value(`{"a":1}`)}, ConfigSet{Key: "k", Value: jsontext.Value(`"en-GB"`)}, ConfigUnset{Key: "k"},
	} {
		data, err := Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		if !checkPlain(t, p.EventType(), data) {
			t.Errorf("%s %s is read the slow way", p.EventType(), data)
		}
	}
}
