package commands

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// The limits of what a stream may hold. They keep a tenant's document small enough to be
// folded, sent and cached whole, and are far from what a real tenant has.
const (
	maxName        = 200 // characters, of tenants and groups
	maxNote        = 500 // characters, of actor and reason
	maxHostnames   = 500
	maxProducts    = 100
	maxProductName = 63
	maxPlan        = 64
	maxFeatures    = 100
	maxFeature     = 64 // characters
	maxKeys        = 200
	maxKey         = 128
	maxValue       = 16 << 10  // octets of one configuration value, compact
	maxConfig      = 128 << 10 // octets of all keys and values of a tenant
	maxProductText = 128 << 10 // octets of all names, plans and features of a tenant's products
	maxValueDepth  = 64        // what common JSON readers take by default
	maxSlug        = 63
	maxDatabase    = 128 // characters, of a database's or schema's name on its server
	maxSecretRef   = 512
	maxRing        = 1000

	maxIdempotencyKey = 255 // characters
)

// maxFaults is how many faults of one command are reported; more would help no one.
const maxFaults = 50

// faults collects what is wrong with a command, so that all of it is said at once.
type faults struct {
	fields []FieldError
	more   int // not kept
}

// add notes a fault. The pointer is "" for what is no field of the request's body.
func (f *faults) add(pointer jsontext.Pointer, format string, args ...any) {
	if len(f.fields) == maxFaults {
		f.more++
		return
	}
	f.fields = append(f.fields, FieldError{Pointer: string(pointer), Detail: fmt.Sprintf(format, args...)})
}

// refusal is nil where there are no faults.
func (f *faults) refusal() error {
	if len(f.fields) == 0 {
		return nil
	}
	r := &Refusal{Code: Invalid, Detail: f.fields[0].Detail}
	if n := len(f.fields) + f.more; n > 1 {
		r.Detail = fmt.Sprintf("%d things are wrong", n)
	}
	for _, field := range f.fields {
		switch {
		case field.Pointer != "":
			r.Fields = append(r.Fields, field)
		case len(f.fields) > 1:
			r.Detail += "; " + field.Detail
		}
	}
	return r
}

// text checks what people write to be read by people: names, notes.
func (f *faults) text(pointer jsontext.Pointer, what, s string, limit int) {
	if fault := textFault(s, limit); fault != "" {
		f.add(pointer, "the %s %s", what, fault)
		return
	}
	f.noSecret(pointer, what, s)
}

// textFault says what is wrong with s as a text of 1 to limit characters; "": nothing.
func textFault(s string, limit int) string {
	if !utf8.ValidString(s) {
		return "is not valid UTF-8: send it in UTF-8"
	}
	if n := utf8.RuneCountInString(s); n > limit {
		return fmt.Sprintf("has %d characters: give at most %d", n, limit)
	}
	visible := false
	for _, r := range s {
		if isControl(r) {
			return fmt.Sprintf("has the control character U+%04X in it: take it out", r)
		}
		visible = visible || !unicode.IsSpace(r) && !unicode.Is(unicode.Cf, r)
	}
	if !visible {
		return fmt.Sprintf("is empty or only white space: give 1 to %d characters", limit)
	}
	return ""
}

// isControl reports whether r breaks lines, begins a terminal's control sequence, or turns around
// how the text beside it is read, in logs and tables.
func isControl(r rune) bool {
	switch {
	case r == '\u0085', r == '\u0090', r == '\u0098', r >= '\u009b' && r <= '\u009f':
		return true // NEL, and what begins and ends control strings
	case r >= '\u0080' && r <= '\u009f':
		// Terminals pass over the other C1 controls. They stand in real names, where curly quotes
		// and dashes of Windows-1252 were once taken for Latin-1.
		return false
	case unicode.IsControl(r), r == '\u2028', r == '\u2029':
		return true
	case r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
		return true
	}
	return false
}

// word checks that s is 1 to limit of the characters in more, a-z and 0-9 (A-Z too where upper
// is set), and begins with a letter or digit.
func isWord(s, more string, upper bool, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', upper && c >= 'A' && c <= 'Z':
		case i > 0 && strings.IndexByte(more, c) >= 0:
		default:
			return false
		}
	}
	return true
}

// slug checks a name such as a region or an engine has.
func (f *faults) slug(pointer jsontext.Pointer, what, s string) {
	if !isWord(s, "-", false, maxSlug) {
		f.add(pointer, "the %s is 1 to %d of a-z, 0-9 and -, not beginning with -: %s is not", what, maxSlug, quote(s))
	}
}

// quote is s as a message shows it: short, and with nothing in it that could harm a terminal.
func quote(s string) string {
	const longest = 64
	if len(s) <= longest {
		return fmt.Sprintf("%q", s)
	}
	cut := longest
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%q…", s[:cut])
}

// sortedKeys are the keys of m in order: what is made from a map must not depend on its order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
