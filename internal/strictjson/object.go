package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/problem"
)

// maxFaults is how many faults of one body are reported; more would be no help.
const maxFaults = 50

// maxDetail is the most octets of one fault's sentence.
const maxDetail = 500

// FieldsError says that the body is JSON, but that some of its fields are wrong.
type FieldsError struct{ Fields []problem.Field }

func (e *FieldsError) Error() string {
	if len(e.Fields) == 1 {
		return e.Fields[0].Detail
	}
	return fmt.Sprintf("%d fields are wrong", len(e.Fields))
}

// Object is one JSON object of a body while it is read. Each member is to be asked for by
// name; what was not asked for is an unknown member.
type Object struct {
	pointer jsontext.Pointer
	members []member
	index   map[string]int // of members, by name, where they are many: a body may hold 100,000
	known   []string
	faults  *[]problem.Field // shared by all objects of a body
}

type member struct {
	name  string
	value jsontext.Value
	read  bool
}

// Parse reads a body that has to be one JSON object. The error is a *[SyntaxError], or a
// *[FieldsError] where the body is another JSON value. The object keeps parts of body.
func Parse(body []byte) (*Object, error) { return parse(input{text: body}) }

// ParseLine is Parse for one line of many, without its end.
func ParseLine(line []byte) (*Object, error) { return parse(input{text: line, line: true}) }

func parse(in input) (*Object, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	value := jsontext.Value(in.text)
	if kind := value.Kind(); kind != jsontext.KindBeginObject {
		detail := fmt.Sprintf("the %s is %s: %s a JSON object", in.what(), called(kind), in.send())
		return nil, &FieldsError{Fields: []problem.Field{{Detail: detail}}}
	}
	return newObject("", value, new([]problem.Field)), nil
}

// newObject splits a value, which is an object and was checked, into its members.
func newObject(pointer jsontext.Pointer, value jsontext.Value, faults *[]problem.Field) *Object {
	o := &Object{pointer: pointer, faults: faults}
	d := jsontext.NewDecoder(bytes.NewBuffer(value))
	_, _ = d.ReadToken() // the brace; no read fails, since check has read all of it before
	for d.PeekKind() == jsontext.KindString {
		name, _ := d.ReadToken()
		key := name.String()
		v, _ := d.ReadValue()
		o.members = append(o.members, member{name: key, value: slices.Clone(v)})
	}
	if len(o.members) > fewMembers {
		o.index = make(map[string]int, len(o.members))
		for i := range o.members {
			o.index[o.members[i].name] = i
		}
	}
	return o
}

// fewMembers are looked through faster than an index of them is made.
const fewMembers = 16

// find is where the member stands; -1: it is not there.
func (o *Object) find(name string) int {
	if o.index == nil {
		return slices.IndexFunc(o.members, func(m member) bool { return m.name == name })
	}
	if i, there := o.index[name]; there {
		return i
	}
	return -1
}

// Err reports all faults that were found so far, and every member of o that was not asked for.
// The error is a *[FieldsError].
func (o *Object) Err() error {
	o.Close()
	if len(*o.faults) == 0 {
		return nil
	}
	return &FieldsError{Fields: *o.faults}
}

// Close notes every member of o that was not asked for. Err does so for the outermost object.
func (o *Object) Close() {
	for i := range o.members {
		m := &o.members[i]
		switch {
		case m.read:
			continue
		case len(*o.faults) >= maxFaults:
			return
		case len(o.known) == 0:
			o.Fault(m.name, "there is no member %.40q here, nor any other: leave it out", m.name)
		default:
			o.Fault(m.name, "there is no member %.40q here, only %s: correct its name or leave it out", m.name, strings.Join(o.known, ", "))
		}
		m.read = true
	}
}

// Fault notes what is wrong with a member, in a sentence that says what to do.
func (o *Object) Fault(name, format string, args ...any) {
	fault(o.faults, o.pointer.AppendToken(name), format, args...)
}

func fault(faults *[]problem.Field, at jsontext.Pointer, format string, args ...any) {
	if len(*faults) >= maxFaults {
		return
	}
	detail := fmt.Sprintf(format, args...)
	if len(detail) > maxDetail { // an ID of many kilobytes is not sent back
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + "…"
	}
	*faults = append(*faults, problem.Field{Pointer: string(at), Detail: detail})
}

// Has tells whether the member is there, null or not. Asking makes it a known one.
func (o *Object) Has(name string) bool {
	return o.take(name) != nil
}

// Null tells whether the member is there and null.
func (o *Object) Null(name string) bool {
	v := o.take(name)
	return v != nil && v.Kind() == jsontext.KindNull
}

// Require notes each of these members that is absent.
func (o *Object) Require(names ...string) {
	for _, name := range names {
		if !o.Has(name) {
			o.Fault(name, "%q is missing: give it", name)
		}
	}
}

// Names are the members' names in the order in which they stand, for an object whose names are
// the caller's: ask for each of them.
func (o *Object) Names() []string {
	names := make([]string, len(o.members))
	for i, m := range o.members {
		names[i] = m.name
	}
	return names
}

func (o *Object) take(name string) jsontext.Value {
	i := o.find(name)
	if i < 0 {
		if !slices.Contains(o.known, name) {
			o.known = append(o.known, name)
		}
		return nil
	}
	m := &o.members[i]
	if !m.read {
		m.read = true
		o.known = append(o.known, name)
	}
	return m.value
}

// typed is the member if it is there and of this kind; another kind is a fault.
func (o *Object) typed(name string, kind jsontext.Kind) jsontext.Value {
	v := o.take(name)
	if v == nil {
		return nil
	}
	if got := v.Kind(); got != kind {
		o.Fault(name, "%q is %s and has to be %s: correct it or leave it out", name, called(got), called(kind))
		return nil
	}
	return v
}

// Value is the member as it was sent, whatever it is, null too; nil when it is absent.
func (o *Object) Value(name string) jsontext.Value { return o.take(name) }

// Kind is the kind of the member; the zero Kind when it is absent.
func (o *Object) Kind(name string) jsontext.Kind {
	if v := o.take(name); v != nil {
		return v.Kind()
	}
	return 0
}

// IsString tells whether the member is there and a string, without a fault where it is not.
func (o *Object) IsString(name string) bool { return o.Kind(name) == jsontext.KindString }

// String reads a string; false when it is absent or at fault.
func (o *Object) String(name string) (string, bool) {
	v := o.typed(name, jsontext.KindString)
	if v == nil {
		return "", false
	}
	return unquote(v), true
}

// Bool reads true or false; the second is false when it is absent or at fault.
func (o *Object) Bool(name string) (value, ok bool) {
	v := o.take(name)
	switch {
	case v == nil:
		return false, false
	case v.Kind() == jsontext.KindTrue:
		return true, true
	case v.Kind() == jsontext.KindFalse:
		return false, true
	}
	o.Fault(name, "%q is %s and has to be true or false: correct it or leave it out", name, called(v.Kind()))
	return false, false
}

// Int reads a whole number from least to most; false when it is absent or at fault.
func (o *Object) Int(name string, least, most int64) (int64, bool) {
	v := o.typed(name, jsontext.KindNumber)
	if v == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && (n < least || n > most):
		o.Fault(name, "%q is %.30s and has to be from %d to %d: give a number in that range", name, v, least, most)
		return 0, false
	case err != nil:
		o.Fault(name, "%q is %.30s and has to be a whole number: write it without fraction and exponent", name, v)
		return 0, false
	}
	return n, true
}

// Time reads an RFC 3339 time; false when it is absent or at fault.
func (o *Object) Time(name string) (time.Time, bool) {
	return Text(o, name, func(s string) (time.Time, error) {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return time.Time{}, fmt.Errorf("%.40q is not a time: write it as RFC 3339 does, such as 2027-01-31T12:00:00Z", s)
		}
		return t.UTC(), nil
	})
}

// Text reads a string into its type; parse's error is the sentence that is reported. It is
// false when the member is absent or at fault.
func Text[T any](o *Object, name string, parse func(string) (T, error)) (T, bool) {
	var zero T
	s, ok := o.String(name)
	if !ok {
		return zero, false
	}
	t, err := parse(s)
	if err != nil {
		o.Fault(name, "%s", err)
		return zero, false
	}
	return t, true
}

// Texts reads an array of strings, each into its type; it is false when the member is absent
// or anything in it is at fault.
func Texts[T any](o *Object, name string, parse func(string) (T, error)) ([]T, bool) {
	v := o.typed(name, jsontext.KindBeginArray)
	if v == nil {
		return nil, false
	}
	out, fine := []T{}, true
	at := o.pointer.AppendToken(name)
	d := jsontext.NewDecoder(bytes.NewBuffer(v))
	_, _ = d.ReadToken() // the bracket
	for i := 0; d.PeekKind() != jsontext.KindEndArray; i++ {
		element, _ := d.ReadValue()
		here := at.AppendToken(strconv.Itoa(i))
		if kind := element.Kind(); kind != jsontext.KindString {
			fault(o.faults, here, "this is %s and has to be a string: correct it or take it out", called(kind))
			fine = false
			continue
		}
		t, err := parse(unquote(element))
		if err != nil {
			fault(o.faults, here, "%s", err)
			fine = false
			continue
		}
		out = append(out, t)
	}
	return out, fine
}

// Object reads an object, whose members are to be asked for in turn and which is then to be
// closed; nil when it is absent or at fault.
func (o *Object) Object(name string) *Object {
	v := o.typed(name, jsontext.KindBeginObject)
	if v == nil {
		return nil
	}
	return newObject(o.pointer.AppendToken(name), v, o.faults)
}

func unquote(v jsontext.Value) string {
	b, _ := jsontext.AppendUnquote(nil, v) // checked before
	return string(b)
}

// called is the kind with its article, as a sentence needs it.
func called(k jsontext.Kind) string {
	switch k {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "a boolean"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	}
	return "not JSON"
}
