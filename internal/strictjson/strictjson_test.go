package strictjson_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/strictjson"
)

func TestParse_WhatIsNotOneObject_SaysWhereAndWhatToDo(t *testing.T) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	for _, row := range []struct{ body, pointer, says string }{
		{``, "", "empty"},
		{" \r\n\t", "", "empty"},
		{`{`, "", "line 1, column 2"},
		{"{\n  \"a\": tru }", "/a", "line 2, column 11"},
		{`{"a":1,"b":{"c":1,"c":2}}`, "/b/c", "given twice"},
		{`{"a":1} {"b":2}`, "", "exactly one"},
		{`{"a":1}}`, "", "exactly one"},
		{`{"a":1},`, "", "exactly one"},
		{`{"a":1} x`, "", "exactly one"},
		{"{\"a\":1}\x00", "", "exactly one"},
		{"\xef\xbb\xbf{}", "", "byte order mark"},
		{"\xff\xfe{\x00}\x00", "", "UTF-16"},
		{"\xfe\xff\x00{\x00}", "", "UTF-16"},
		{"{\"a\":\"\xc3\x28\"}", "/a", "UTF-8"},
		{"{\"\xff\":1}", "", "UTF-8"},
		{`{"a":"\udc00"}`, "/a", "surrogate"},
		{`{"a":["\u0000"]}`, "/a/0", "NUL"},
		{`{"a\u0000":1}`, "/a\x00", "NUL"},
		{`{"a":01}`, "", "line 1"},
		{`{"a":NaN}`, "/a", "line 1"},
		{`{"a":1,}`, "", "line 1"},
		{`{/* no */}`, "", "line 1"},
		{deep(strictjson.MaxDepth + 1), "*", "flatter"},
		{strings.Repeat(`[`, 1<<20), "*", "flatter"},
		{strings.Repeat(`{"a":`, 1<<17), "*", "flatter"},
	} {
		o, err := strictjson.Parse([]byte(row.body))
		var syntax *strictjson.SyntaxError
		if !errors.As(err, &syntax) || o != nil {
			t.Errorf("%.60q: got %v, want a syntax error", row.body, err)
			continue
		}
		if syntax.Pointer != row.pointer && row.pointer != "*" || !strings.Contains(syntax.Detail, row.says) {
			t.Errorf("%.60q: got %q at %q, want %q at %q", row.body, syntax.Detail, syntax.Pointer, row.says, row.pointer)
		}
		if !utf8.ValidString(syntax.Detail) || len(syntax.Detail) > 500 {
			t.Errorf("%.60q: the detail cannot be sent: %q", row.body, syntax.Detail)
		}
	}
	if _, err := strictjson.Parse([]byte(deep(strictjson.MaxDepth))); err != nil {
		t.Errorf("a depth of %d was refused: %v", strictjson.MaxDepth, err)
	}
	for _, body := range []string{`[]`, `null`, `true`, `7`, `"a"`} {
		_, err := strictjson.Parse([]byte(body))
		var fields *strictjson.FieldsError
		if !errors.As(err, &fields) || len(fields.Fields) != 1 || fields.Fields[0].Pointer != "" {
			t.Errorf("%s: got %v, want a fault of the whole body", body, err)
		}
	}
}

func TestParseLine_SpeaksOfTheLine(t *testing.T) {
	for line, says := range map[string]string{
		"  ":                 "the line is empty: write a JSON object",
		`{"a":tru}`:          "(column 9): correct the line",
		`{"a":1,"a":2}`:      "(column 8): give it once",
		`{"a":`:              "(column 6): close what is still open",
		`{} {}`:              "write exactly one object a line",
		"\xef\xbb\xbf{}":     "the line begins with a byte order mark",
		"\xff\xfe{\x00}\x00": "the line is UTF-16: save it as UTF-8",
		`[1]`:                "the line is an array: write a JSON object",
	} {
		if _, err := strictjson.ParseLine([]byte(line)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want it to say %q", line, err, says)
		}
	}
	if o, err := strictjson.ParseLine([]byte(`{"a":1}`)); err != nil || o == nil {
		t.Errorf("a good line: got %v, %v", o, err)
	}
}

func mustParse(t testing.TB, body string) *strictjson.Object {
	t.Helper()
	o, err := strictjson.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// pointers are those of all faults.
func pointers(err error) string {
	var fields *strictjson.FieldsError
	if !errors.As(err, &fields) {
		return fmt.Sprint(err)
	}
	var out []string
	for _, f := range fields.Fields {
		out = append(out, f.Pointer)
	}
	return strings.Join(out, " ")
}

func TestObject_ReadsEachType(t *testing.T) {
	o := mustParse(t, `{"s":"ä\n\u00e9😀","i":-9223372036854775808,"b":false,"o":{"x":[" "]},"l":["a","b"],"e":[],"t":"2027-01-31T12:00:00.5+02:00","n":null,"raw": {"k" : 1e400}}`)
	if s, ok := o.String("s"); s != "ä\né😀" || !ok {
		t.Errorf("got %q, %t", s, ok)
	}
	if i, ok := o.Int("i", -1<<63, 1<<63-1); i != -1<<63 || !ok {
		t.Errorf("got %d, %t", i, ok)
	}
	if b, ok := o.Bool("b"); b || !ok {
		t.Errorf("got %t, %t", b, ok)
	}
	plain := func(s string) (string, error) { return s, nil }
	x := o.Object("o")
	if l, ok := strictjson.Texts(x, "x", plain); !slices.Equal(l, []string{" "}) || !ok {
		t.Errorf("got %q, %t", l, ok)
	}
	x.Close()
	if l, ok := strictjson.Texts(o, "l", plain); !slices.Equal(l, []string{"a", "b"}) || !ok {
		t.Errorf("got %q, %t", l, ok)
	}
	if l, ok := strictjson.Texts(o, "e", plain); l == nil || len(l) != 0 || !ok {
		t.Errorf("got %q, %t", l, ok)
	}
	if at, ok := o.Time("t"); at.Format("15:04:05.0 MST") != "10:00:00.5 UTC" || !ok {
		t.Errorf("got %s, %t", at, ok)
	}
	if !o.Null("n") || o.Null("absent") || !o.Has("n") || o.Has("absent") {
		t.Error("null is not told from absent")
	}
	if v := o.Value("raw"); string(v) != `{"k" : 1e400}` {
		t.Errorf("got %s", v)
	}
	if o.Kind("raw") != jsontext.KindBeginObject || !o.IsString("s") || o.IsString("n") || o.IsString("absent") {
		t.Error("a kind is wrong")
	}
	if got := o.Names(); !slices.Equal(got, []string{"s", "i", "b", "o", "l", "e", "t", "n", "raw"}) {
		t.Errorf("got %q", got)
	}
	if err := o.Err(); err != nil {
		t.Error(err)
	}
}

func TestObject_WhatIsAbsent_IsNoFault(t *testing.T) {
	o := mustParse(t, `{}`)
	_, s := o.String("s")
	_, i := o.Int("i", 0, 1)
	_, b := o.Bool("b")
	_, l := strictjson.Texts(o, "l", func(s string) (string, error) { return s, nil })
	if s || i || b || l || o.Object("o") != nil || o.Value("v") != nil || o.Err() != nil {
		t.Errorf("something is there: %v", o.Err())
	}
}

func TestObject_AllFaults_AreReportedTogether(t *testing.T) {
	o := mustParse(t, `{"s":7,"i":1.5,"big":99999999999999999999,"low":-1,"b":"true","l":["a",2,"c"],"o":[],"in":{"x/y~z":{"n":"7","?":1}},"t":"noon","extra":1}`)
	o.Require("s", "gone")
	o.String("s")
	o.Int("i", 0, 9)
	o.Int("big", 0, 9)
	o.Int("low", 0, 9)
	o.Bool("b")
	strictjson.Texts(o, "l", func(s string) (string, error) {
		if s == "c" {
			return "", errors.New("no c")
		}
		return s, nil
	})
	o.Object("o")
	in := o.Object("in")
	one := in.Object("x/y~z")
	one.Int("n", 0, 9)
	one.Close()
	in.Close()
	o.Time("t")
	want := "/gone /s /i /big /low /b /l/1 /l/2 /o /in/x~1y~0z/n /in/x~1y~0z/? /t /extra"
	if got := pointers(o.Err()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestObject_ALongValue_IsNotSentBackWhole(t *testing.T) {
	o := mustParse(t, `{"id":"`+strings.Repeat("ä", 100_000)+`"}`)
	strictjson.Text(o, "id", func(s string) (string, error) { return "", fmt.Errorf("%q is no ID", s) })
	if err := o.Err(); len(err.Error()) > 600 || !utf8.ValidString(err.Error()) {
		t.Errorf("got %d octets", len(err.Error()))
	}
}

func TestObject_UnknownMembers_NameTheKnownOnes(t *testing.T) {
	o := mustParse(t, `{"title":"x"}`)
	o.String("name")
	o.String("ring")
	err := o.Err()
	if !strings.Contains(err.Error(), "only name, ring") {
		t.Errorf("got %v", err)
	}
	o = mustParse(t, `{"x":1}`)
	if err := o.Err(); pointers(err) != "/x" {
		t.Errorf("got %v", err)
	}
}

func TestObject_ALargeBody_IsReadInLinearTime(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"":0`)
	const many = 150_000
	for i := range many {
		fmt.Fprintf(&b, `,"%d":0`, i)
	}
	b.WriteString(`}`)
	o := mustParse(t, b.String())
	for _, name := range o.Names() {
		o.Int(name, 0, 0)
	}
	if err := o.Err(); err != nil {
		t.Fatal(err)
	}
	// As unknown members, only so many of them are reported.
	var fields *strictjson.FieldsError
	if err := mustParse(t, b.String()).Err(); !errors.As(err, &fields) || len(fields.Fields) > 100 {
		t.Errorf("got %d faults", len(fields.Fields))
	}
}

// FuzzParse holds the package to what it promises: what it takes, a plain decoder takes too and
// reads as the same value; and no input makes it panic.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":{"b":[1,"x",null,true]}}`, `{"a":"\u0000"}`, `{"a":1,"a":2}`, "{\"\xff\":1}", `{"a":1}{}`, `[[[[`, `{"a":"\ud83d\ude00"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := strictjson.Parse(body)
		if err != nil {
			if !utf8.ValidString(err.Error()) || err.Error() == "" {
				t.Fatalf("the error cannot be sent: %q", err)
			}
			return
		}
		var plain map[string]jsontext.Value
		if err := json.Unmarshal(body, &plain); err != nil {
			t.Fatalf("a plain decoder refuses what was taken: %v", err)
		}
		names := o.Names()
		if len(names) != len(plain) {
			t.Fatalf("got members %q, want %d", names, len(plain))
		}
		for _, name := range names {
			if got, want := o.Value(name), plain[name]; string(got) != string(want) {
				t.Fatalf("%q: got %s, want %s", name, got, want)
			}
		}
	})
}
