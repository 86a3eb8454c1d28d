package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how deep arrays and objects may be nested.
const MaxDepth = 64

// SyntaxError says that the body is not one strict JSON object. Nothing of it was understood.
type SyntaxError struct {
	Pointer string // where it went wrong, as far as that is known
	Detail  string // a sentence that says what to do
}

func (e *SyntaxError) Error() string { return e.Detail }

// check reads the whole body once, and is nil if it is a single JSON value without anything
// that the package refuses.
func check(body []byte) error {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	switch {
	case len(trimmed) == 0:
		return &SyntaxError{Detail: "the body is empty: send a JSON object"}
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")):
		return &SyntaxError{Detail: "the body begins with a byte order mark: save it as UTF-8 without one"}
	case bytes.HasPrefix(body, []byte{0xff, 0xfe}), bytes.HasPrefix(body, []byte{0xfe, 0xff}):
		return &SyntaxError{Detail: "the body is UTF-16: send it as UTF-8"}
	}
	// An escaped NUL is rare, so that most bodies need no look into their strings.
	maybeNUL := bytes.Contains(body, []byte(`\u0000`))
	d := jsontext.NewDecoder(bytes.NewBuffer(body))
	for first := true; ; first = false {
		if d.StackDepth() == 0 && !first {
			return checkEnd(body[d.InputOffset():])
		}
		token, err := d.ReadToken()
		if err != nil {
			return syntaxError(body, err)
		}
		if d.StackDepth() > MaxDepth {
			return &SyntaxError{
				Pointer: string(d.StackPointer()),
				Detail:  fmt.Sprintf("the JSON is nested deeper than %d levels: make it flatter", MaxDepth),
			}
		}
		if maybeNUL && token.Kind() == jsontext.KindString && strings.Contains(token.String(), "\x00") {
			return &SyntaxError{Pointer: string(d.StackPointer()), Detail: `a string holds a NUL character (\u0000): take it out`}
		}
	}
}

// checkEnd refuses anything but space behind the value.
func checkEnd(rest []byte) error {
	if len(bytes.TrimLeft(rest, " \t\r\n")) == 0 {
		return nil
	}
	return &SyntaxError{Detail: "something follows the JSON object: send exactly one object a request, and nothing behind it"}
}

// syntaxError puts the decoder's finding into a sentence.
func syntaxError(body []byte, err error) error {
	var syntactic *jsontext.SyntacticError
	if !errors.As(err, &syntactic) {
		return &SyntaxError{Detail: fmt.Sprintf("the JSON cannot be read (%s): correct it and send it again", err)}
	}
	out := &SyntaxError{Pointer: string(syntactic.JSONPointer)}
	line, column := place(body, syntactic.ByteOffset)
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		out.Detail = fmt.Sprintf("the member %q is given twice (line %d, column %d): give it once", syntactic.JSONPointer.LastToken(), line, column)
	case errors.Is(err, io.ErrUnexpectedEOF):
		out.Detail = fmt.Sprintf("the JSON ends too early (line %d, column %d): close what is still open", line, column)
	default:
		reason := strings.ToValidUTF8(syntactic.Err.Error(), "\uFFFD")
		out.Detail = fmt.Sprintf("this is not JSON: %s (line %d, column %d): correct it and send it again", reason, line, column)
	}
	return out
}

// place turns an offset into a line and a column in bytes, both from 1.
func place(body []byte, offset int64) (line, column int) {
	before := body[:min(offset, int64(len(body)))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}
