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

// input is what is read: a request's body, or one line of many, of which a sentence has to speak
// in other words.
type input struct {
	text []byte
	line bool
}

// what is the input's name, and send what one does to give another.
func (in input) what() string { return in.word("body", "line") }
func (in input) send() string { return in.word("send", "write") }

func (in input) word(ofBody, ofLine string) string {
	if in.line {
		return ofLine
	}
	return ofBody
}

// check reads the whole input once, and is nil if it is a single JSON value without anything
// that the package refuses.
func (in input) check() error {
	trimmed := bytes.TrimLeft(in.text, " \t\r\n")
	switch {
	case len(trimmed) == 0:
		return &SyntaxError{Detail: fmt.Sprintf("the %s is empty: %s a JSON object", in.what(), in.send())}
	case bytes.HasPrefix(in.text, []byte("\xef\xbb\xbf")):
		return &SyntaxError{Detail: fmt.Sprintf("the %s begins with a byte order mark: save it as UTF-8 without one", in.what())}
	case bytes.HasPrefix(in.text, []byte{0xff, 0xfe}), bytes.HasPrefix(in.text, []byte{0xfe, 0xff}):
		return &SyntaxError{Detail: fmt.Sprintf("the %s is UTF-16: %s it as UTF-8", in.what(), in.word("send", "save"))}
	}
	// An escaped NUL is rare, so that most inputs need no look into their strings.
	maybeNUL := bytes.Contains(in.text, []byte(`\u0000`))
	d := jsontext.NewDecoder(bytes.NewBuffer(in.text))
	for first := true; ; first = false {
		if d.StackDepth() == 0 && !first {
			return in.checkEnd(d.InputOffset())
		}
		token, err := d.ReadToken()
		if err != nil {
			return in.syntaxError(err)
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
func (in input) checkEnd(offset int64) error {
	if len(bytes.TrimLeft(in.text[offset:], " \t\r\n")) == 0 {
		return nil
	}
	return &SyntaxError{Detail: fmt.Sprintf("something follows the JSON object: %s exactly one object a %s, and nothing behind it", in.send(), in.word("request", "line"))}
}

// syntaxError puts the decoder's finding into a sentence.
func (in input) syntaxError(err error) error {
	again := in.word("correct it and send it again", "correct the line")
	var syntactic *jsontext.SyntacticError
	if !errors.As(err, &syntactic) {
		return &SyntaxError{Detail: fmt.Sprintf("the JSON cannot be read (%s): %s", err, again)}
	}
	out := &SyntaxError{Pointer: string(syntactic.JSONPointer)}
	place := in.place(syntactic.ByteOffset)
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		out.Detail = fmt.Sprintf("the member %q is given twice (%s): give it once", syntactic.JSONPointer.LastToken(), place)
	case errors.Is(err, io.ErrUnexpectedEOF):
		out.Detail = fmt.Sprintf("the JSON ends too early (%s): close what is still open", place)
	default:
		reason := strings.ToValidUTF8(syntactic.Err.Error(), "\uFFFD")
		out.Detail = fmt.Sprintf("this is not JSON: %s (%s): %s", reason, place, again)
	}
	return out
}

// place turns an offset into a line and a column in bytes, both from 1. Which line of many it is,
// who has them all knows better.
func (in input) place(offset int64) string {
	before := in.text[:min(offset, int64(len(in.text)))]
	column := len(before) - bytes.LastIndexByte(before, '\n')
	if in.line {
		return fmt.Sprintf("column %d", column)
	}
	return fmt.Sprintf("line %d, column %d", bytes.Count(before, []byte("\n"))+1, column)
}
