package storetest

import (
	"math"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// back appends the events, and wants each back as it went in: from its stream, from the log
// and after the store was opened anew.
func (f *fixture) back(b events.Batch) {
	f.Helper()
	out := f.append(b)
	for i := range b.Events {
		b.Events[i].Position = out.Events[i].Position
	}
	f.sameEvents(f.load(b.Stream, 0), b.Events)
	f.reopen()
	f.sameEvents(f.load(b.Stream, 0), b.Events)
	all := f.log()
	f.sameEvents(all[len(all)-len(b.Events):], b.Events)
}

var fidelityContract = []contract{
	{"EveryFieldOfTheEnvelopeComesBack", func(f *fixture) {
		b := batch(tenant("acme"), 0, 4)
		full := &b.Events[1]
		full.Actor, full.Reason = "ops@example.com", "the customer asked"
		full.CorrelationID, full.CausationID = "request-1", "command-2"
		full.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		full.Type = "tenantry.tenant.of-a-newer-version.v9" // a store does not need to know it
		full.Time = epoch.Add(time.Hour)
		b.Events[2].Actor, b.Events[2].Reason = "", ""
		b.Events[3].ID = uuid.Max
		f.back(b)
	}},
	{"ThePayloadComesBackOctetForOctet", func(f *fixture) {
		payloads := []string{
			`{}`, `null`, `0`, `"x"`, `[]`,
			` { "b" : 1 ,	"a":2,` + "\n" + `"a b":[ 1.0, 1e2, 0.10, -0, 123456789012345678901234567890 ] } `,
			`{"escaped":"\u0041\u00e9\ud83d\udd11\u0000\/\b","raw":"é🔑/"}`,
			`{"` + long("k", 1000) + `":true}`,
			`{"value":"` + long("v", 100<<10) + `"}`,
			`{"value":"` + long("界", 40<<10) + `"}`,
		}
		b := batch(tenant("acme"), 0, len(payloads))
		for i, p := range payloads {
			b.Events[i].Data = jsontext.Value(p)
		}
		f.back(b)
	}},
	{"TextsOfEveryScriptComeBack", func(f *fixture) {
		texts := []string{
			"Universität Zürich", "Πανεπιστήμιο Αθηνών", "Московский университет", "جامعة القاهرة", "אוניברסיטת תל אביב",
			"東京大学", "서울대학교", "มหาวิทยาลัย", "दिल्ली विश्वविद्यालय", "🏫👩‍🔬🇦🇶", "e\u0301 is not é", "'; DROP TABLE events; --", `"\`, "\u200f\u2028\ufeff", " ",
			long("界", 500),
		}
		b := batch(tenant("acme"), 0, len(texts))
		for i, s := range texts {
			e := &b.Events[i]
			e.Actor, e.Reason, e.CorrelationID, e.CausationID = s, s, s, s
			e.Data = must(events.Encode(events.TenantRenamed{Name: s}))
		}
		f.back(b)
		for i, e := range f.load(b.Stream, 0) {
			if got := must(e.Payload()).(events.TenantRenamed).Name; got != texts[i] {
				f.Errorf("name: got %q, want %q", got, texts[i])
			}
		}
	}},
	{"TimesComeBackInMicrosecondsUTC", func(f *fixture) {
		times := []time.Time{
			epoch, epoch.Add(time.Microsecond), epoch.Truncate(time.Second),
			time.UnixMicro(0), time.UnixMicro(-1), time.Date(1900, 1, 1, 0, 0, 0, 1000, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC),
			epoch.In(time.FixedZone("somewhere", 5*3600+1800)),
		}
		b := batch(tenant("acme"), 0, len(times))
		for i, at := range times {
			b.Events[i].Time = at.UTC()
			if i == len(times)-1 {
				b.Events[i].Time = at
			}
		}
		f.back(b)
	}},
	{"EveryVersionAndPositionComesBackOfALongStream", func(f *fixture) {
		const n, size = 60, 50
		id := tenant("long")
		for i := range uint64(n) {
			f.append(batch(id, i*size, size))
		}
		f.sound()
		if got := len(f.load(id, 0)); got != n*size {
			f.Errorf("got %d events, want %d", got, n*size)
		}
		if got := f.load(id, math.MaxUint64); len(got) != 0 {
			f.Errorf("after the last version there is: got %d events", len(got))
		}
	}},
	{"AnAppendedBatchIsTheCallersAgain", func(f *fixture) {
		b := batch(tenant("acme"), 0, 2)
		want := b.Events[0].Data.String()
		out := f.append(b)
		for i := range b.Events[0].Data {
			b.Events[0].Data[i] = 'x'
		}
		b.Events[0].Actor = "another"
		out.Events[0].Version = 9
		first := f.load(b.Stream, 0)[0]
		if string(first.Data) != want || first.Actor != "storetest" {
			f.Errorf("the stored event changed with the caller's: %+v", first)
		}
		first.Data[0] = 'x'
		if again := f.load(b.Stream, 0)[0]; string(again.Data) != want {
			f.Errorf("the stored event changed with a reader's: %+v", again)
		}
	}},
}
