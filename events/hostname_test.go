package events_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
)

// long is a name of n octets in labels of at most 63.
func long(n int) string {
	var b strings.Builder
	for b.Len() < n {
		label := min(63, n-b.Len())
		if rest := n - b.Len() - label; rest == 1 {
			label-- // a dot alone cannot end it
		}
		b.WriteString(strings.Repeat("a", label))
		if b.Len() < n {
			b.WriteByte('.')
		}
	}
	return b.String()
}

func TestParseHostname_NormalisesWhatPeopleAndBrowsersWrite(t *testing.T) {
	for in, want := range map[string]string{
		"acme.example":                   "acme.example",
		"a.b":                            "a.b",
		"0.example":                      "0.example",
		"1.2.3.example":                  "1.2.3.example",
		"0x7f.example":                   "0x7f.example",
		"1.2.3.0xg":                      "1.2.3.0xg", // no number, and so no address
		"a-b.example":                    "a-b.example",
		"a--b.example":                   "a--b.example",
		"r3---sn-h5q7dn7r.example":       "r3---sn-h5q7dn7r.example", // in use, though UTS 46 alone would refuse it
		"R3---SN-H5Q7DN7R.example":       "r3---sn-h5q7dn7r.example",
		"ACME.Example":                   "acme.example",
		"acme.example.":                  "acme.example",
		"ACME.EXAMPLE.":                  "acme.example",
		"bücher.example":                 "xn--bcher-kva.example",
		"BÜCHER.example":                 "xn--bcher-kva.example",
		"bu\u0308cher.example":           "xn--bcher-kva.example", // decomposed
		"xn--bcher-kva.example":          "xn--bcher-kva.example",
		"XN--BCHER-KVA.example":          "xn--bcher-kva.example",
		"straße.example":                 "xn--strae-oqa.example", // as browsers do now, not strasse
		"中国.example":                     "xn--fiqs8s.example",
		"acme。example":                   "acme.example", // an ideographic full stop
		"ａｃｍｅ.example":                   "acme.example", // full width
		"ac\u00adme.example":             "acme.example", // a soft hyphen
		"مثال.إختبار":                    "xn--mgbh0fb.xn--kgbechtv",
		"xn--fiqs8s.xn--fiqs8s":          "xn--fiqs8s.xn--fiqs8s",
		strings.Repeat("a", 63) + ".b":   strings.Repeat("a", 63) + ".b",
		long(253):                        long(253),
		long(253) + ".":                  long(253),
		strings.ToUpper(long(253)) + ".": long(253),
	} {
		h, err := events.ParseHostname(in)
		if err != nil || h.String() != want {
			t.Errorf("%q: got %q, %v, want %q", in, h, err, want)
		}
	}
}

func TestParseHostname_RefusesWhatIsNoHostnameAndSaysWhatToDo(t *testing.T) {
	for _, c := range []struct{ name, in, says string }{
		{"nothing", "", "empty"},
		{"a dot", ".", "empty label"},
		{"an empty label", "acme..example", "empty label"},
		{"an empty first label", ".acme.example", "empty label"},
		{"two trailing dots", "acme.example..", "empty label"},
		{"a label of 64 octets", strings.Repeat("a", 64) + ".example", "64 octets"},
		{"a label of 64 octets in capitals", strings.Repeat("A", 64) + ".example", "64 octets"},
		{"254 octets", long(254), "254 octets"},
		{"254 octets in capitals", strings.ToUpper(long(254)), "254 octets"},
		{"a U-label that is too long as an A-label", strings.Repeat("ü", 60) + ".example", "octets"},
		{"an underscore", "acme_corp.example", "underscore"},
		{"a leading underscore", "_dmarc.acme.example", "underscore"},
		{"a port", "acme.example:443", "port"},
		{"a port on a U-label", "bücher.example:443", "port"},
		{"a colon", "acme.example:", "port"},
		{"an IPv4 address", "192.0.2.1", "IP address"},
		{"an IPv4 address with a trailing dot", "192.0.2.1.", "IP address"},
		{"an IPv4 address with a port", "192.0.2.1:80", "IP address"},
		{"an IPv4 address in full-width digits", "１９２.0.2.1", "IP address"},
		{"a shortened IPv4 address", "127.1", "IP address"},
		{"an IPv4 address as a number", "example.2130706433", "number"},
		{"an IPv4 address in octal", "0177.0.0.01", "number"},
		{"an IPv4 address that begins and ends in hexadecimal", "0x7f.0.0.0x1", "number"},
		{"an IPv4 address that ends in hexadecimal", "1.2.3.0x4", "number"},
		{"an IPv4 address in capital hexadecimal", "0X7F.0.0.0XA", "number"},
		{"an IPv4 address in full-width hexadecimal", "1.2.3.０ｘ４", "number"},
		{"a last label that is 0x, which is 0", "a.0x", "number"},
		{"a single hexadecimal number", "0x7f000001", "number"},
		{"an IPv6 address", "2001:db8::1", "IP address"},
		{"an IPv6 address in brackets", "[2001:db8::1]", "IP address"},
		{"an IPv6 address with a port", "[2001:db8::1]:443", "IP address"},
		{"an IPv6 address with a zone", "fe80::1%eth0", "IP address"},
		{"a mapped IPv4 address", "::ffff:192.0.2.1", "IP address"},
		{"a wildcard", "*.acme.example", "wildcard"},
		{"only a wildcard", "*", "wildcard"},
		{"a wildcard inside", "a*b.example", "hostname"},
		{"a bare top-level domain", "example", "single label"},
		{"a bare top-level domain with a dot", "example.", "single label"},
		{"a bare U-label", "中国", "single label"},
		{"a leading hyphen", "-acme.example", "hyphen"},
		{"a trailing hyphen", "acme-.example", "hyphen"},
		{"a trailing hyphen in the last label", "acme.example-", "hyphen"},
		{"a leading hyphen in capitals", "-ACME.example", "hyphen"},
		{"a URL", "https://acme.example/", "scheme"},
		{"a path", "acme.example/path", "scheme, path"},
		{"a user", "mara@acme.example", "user"},
		{"a query", "acme.example?a=b", "scheme"},
		{"a space", "acme corp.example", "space"},
		{"a space in front", " acme.example", "space"},
		{"a line end", "acme.example\n", "space"},
		{"a NUL", "acme\x00.example", "hostname"},
		{"a control character", "acme\x01.example", "hostname"},
		{"a percent escape", "acme%2eexample", "hostname"},
		{"a comma", "a.example,b.example", "hostname"},
		{"invalid UTF-8", "acme\xff.example", "UTF-8"},
		{"a no-break space", "acme\u00a0corp.example", "hostname"},
		{"a bidirectional mix", "אa.example", "hostname"},
		{"an unassigned code point", "\U000e0080.example", "hostname"},
		{"an emoji joiner at the start", "\u200da.example", "hostname"},
		{"punycode that does not decode", "xn--bcher-kv.example!", "hostname"},
		{"punycode of nothing", "xn--.example", "hostname"},
		{"punycode of plain ASCII", "xn--acme-.example", "hostname"},
		{"punycode that overflows", "xn--99999999999.example", "hostname"},
		{"punycode that does not round-trip", "xn--a-ecp.ru", "hostname"},
		{"punycode of what would be mapped", "xn--kcher-l4a.example", "hostname"},
		{"a fullwidth solidus", "a／b.example", "hostname"},
	} {
		h, err := events.ParseHostname(c.in)
		if err == nil || !h.IsZero() {
			t.Errorf("%s %q: got %q, %v, want it refused", c.name, c.in, h, err)
			continue
		}
		if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), ":") {
			t.Errorf("%s %q: got %q, want a sentence with %q that says what to do behind a colon", c.name, c.in, err, c.says)
		}
	}
}

func TestParseHostname_TwoSpellingsOfOneNameAreOneHostname(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := eventstest.Hostname().Draw(t, "hostname")
		spelling := []byte(want.String())
		for i := range spelling {
			if rapid.Bool().Draw(t, "capital") {
				spelling[i] = strings.ToUpper(string(spelling[i]))[0]
			}
		}
		s := string(spelling) + rapid.SampledFrom([]string{"", "."}).Draw(t, "trailing dot")
		if got, err := events.ParseHostname(s); err != nil || got != want {
			t.Fatalf("%q: got %q, %v, want %q", s, got, err, want)
		}
	})
}

// A hostname comes from whoever can send a request, so that the longest must not cost more than
// a look at its length. The first of these took 55 s when it was encoded first.
func TestParseHostname_RefusesAVeryLongOneUnread(t *testing.T) {
	var distinct strings.Builder
	for r := rune(0x4e00); r < 0x2a6d6; r++ {
		if unicode.Is(unicode.Han, r) {
			distinct.WriteRune(r)
		}
	}
	for _, s := range []string{
		distinct.String() + ".example",
		strings.Repeat("ü", 1<<19) + ".example",
		strings.Repeat("\U0001f600\u4e00", 1<<17),
		strings.Repeat("a.", 1<<19),
		strings.Repeat("A.", 1<<19) + "example",
		strings.Repeat("xn--a.", 1<<17),
	} {
		h, err := events.ParseHostname(s)
		if err == nil || !strings.Contains(err.Error(), "octets") || len(err.Error()) > 200 {
			t.Errorf("%.10q… of %d octets: got %q, %.300v, want it refused as too long, in a short sentence", s, len(s), h, err)
		}
	}
}

func TestParseHostname_OfANormalisedNameCostsNoAllocation(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, err := events.ParseHostname("www.acme-corp.example"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want none: each look-up comes through here", n)
	}
}

func TestHostname_InJSONIsNormalised_AndNoneIsEmpty(t *testing.T) {
	type box struct {
		H events.Hostname `json:"h,omitzero"`
	}
	var b box
	if err := json.Unmarshal([]byte(`{"h":"BÜCHER.example."}`), &b); err != nil || b.H.String() != "xn--bcher-kva.example" {
		t.Errorf("got %q, %v, want it normalised", b.H, err)
	}
	if out, err := json.Marshal(b); err != nil || string(out) != `{"h":"xn--bcher-kva.example"}` {
		t.Errorf("got %s, %v, want the normalised name", out, err)
	}
	if err := json.Unmarshal([]byte(`{"h":""}`), &b); err != nil || !b.H.IsZero() {
		t.Errorf("got %q, %v, want none", b.H, err)
	}
	if out, err := json.Marshal(b); err != nil || string(out) != `{}` {
		t.Errorf("got %s, %v, want {}", out, err)
	}
	for _, bad := range []string{`{"h":"a_b.example"}`, `{"h":7}`, `{"h":["a.example"]}`} {
		if err := json.Unmarshal([]byte(bad), new(box)); err == nil {
			t.Errorf("%s: got no error", bad)
		}
	}
}

func FuzzParseHostname(f *testing.F) {
	for _, s := range []string{
		"acme.example", "ACME.example.", "bücher.example", "xn--bcher-kva.example", "XN--A.example", "中国.example", "acme。example。",
		"a\u00ad.example", "１２７.0.0.1", "[::1]", "ﬁ.example", "İ.example", "ß.example", "ς.example", "א.example", "a\u200db.example", "xn--a-ecp.ru",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := events.ParseHostname(s)
		if err != nil {
			if !h.IsZero() || err.Error() == "" {
				t.Errorf("%q: got %q with %v, want no hostname and a reason", s, h, err)
			}
			return
		}
		name := h.String()
		if again, err := events.ParseHostname(name); err != nil || again != h {
			t.Errorf("%q: got %q, and of that %q, %v: not normalised", s, name, again, err)
		}
		if upper, err := events.ParseHostname(strings.ToUpper(name) + "."); err != nil || upper != h {
			t.Errorf("%q: got %q, and of its capitals %q, %v", s, name, upper, err)
		}
		labels := strings.Split(name, ".")
		if len(name) > 253 || len(labels) < 2 {
			t.Errorf("%q: got %q of %d octets and %d labels", s, name, len(name), len(labels))
		}
		for _, label := range labels {
			if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
				t.Errorf("%q: got %q, whose label %q is none", s, name, label)
			}
		}
	})
}
