package commands

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// value checks one configuration value. The key says whether it is a secret's.
func (f *faults) value(pointer jsontext.Pointer, key string, v jsontext.Value) {
	compact, err := compactJSON(v)
	if err != nil {
		f.add(pointer, "the value of %s is not JSON: %v", quote(key), err)
		return
	}
	if len(compact) > maxValue {
		f.add(pointer, "the value of %s has %d octets: give at most %d, and keep what is larger elsewhere", quote(key), len(compact), maxValue)
		return
	}
	if err := f.walk(pointer, key, compact); err != nil {
		f.add(pointer, "the value of %s %v", quote(key), err)
	}
}

// holdsValue are the names by which an object holds what it itself is named for.
var holdsValue = map[string]bool{"value": true, "plain": true, "plaintext": true, "text": true, "data": true, "raw": true, "default": true}

// errTooDeep and the others are what walk finds besides faults of single strings.
var (
	errTooDeep = errors.New("is nested deeper than 64 levels: make it flatter")
	errNUL     = errors.New("has the character U+0000 in a string: take it out")
	// Common JSON readers refuse such a number, and with it the whole document of the tenant.
	errTooLarge = errors.New("has a number that is beyond the range of 64-bit floating point, about 1.8e308: give a smaller one, or a string")
)

// walk checks every string of a key's value.
func (f *faults) walk(pointer jsontext.Pointer, key string, v jsontext.Value) error {
	secret := isSecretName(key) // that what comes next is under a secret's name
	// within is, per open array or object, whether it is itself under a secret's name. Strings in
	// an array are, then; an object's are by their own names, unless they are "value" and the like.
	var within []bool
	d := jsontext.NewDecoder(bytes.NewReader(v))
	for {
		token, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("is not JSON that everyone reads alike: %w", err) // a name given twice, say
		}
		switch token.Kind() {
		case '{', '[':
			if d.StackDepth() > maxValueDepth {
				return errTooDeep
			}
			within = append(within, secret)
		case '}', ']':
			within = within[:len(within)-1]
		case '0':
			if _, err := strconv.ParseFloat(token.String(), 64); errors.Is(err, strconv.ErrRange) {
				return errTooLarge
			}
		case '"':
			s := token.String()
			if strings.IndexByte(s, 0) >= 0 {
				return errNUL
			}
			at := pointer + d.StackPointer()
			if kind, n := d.StackIndex(d.StackDepth()); kind == '{' && n%2 == 1 {
				f.noSecret(at, "name", s)
				// {"password": {"value": "…"}} is a password all the same.
				secret = isSecretName(s) || holdsValue[s] && len(within) > 0 && within[len(within)-1]
				continue
			}
			if secret && !isHarmless(s) {
				f.add(at, "%s is called like a secret, and what is recorded is kept for ever: %s", nameIn(key, d.StackPointer()), storeReference)
			} else {
				f.noSecret(at, "value of "+nameIn(key, d.StackPointer()), s)
			}
		}
		// What comes next is under the array's name, or gets a name of its own.
		secret = len(within) > 0 && within[len(within)-1]
	}
}

// nameIn is what a string in a key's value is called, at a pointer into that value: by the innermost
// member that it is in, or by the key itself where there is none.
func nameIn(key string, p jsontext.Pointer) string {
	tokens := slices.Collect(p.Tokens())
	for _, t := range slices.Backward(tokens) {
		if strings.Trim(t, "0123456789") != "" { // no array's index
			return quote(t) + " in " + quote(key)
		}
	}
	return quote(key)
}

// compactJSON is v without white space, or what is wrong with it. v stays as it is. Numbers
// keep their digits: a configuration is not ours to round.
func compactJSON(v jsontext.Value) (jsontext.Value, error) {
	if len(v) == 0 {
		return nil, errors.New("it is empty: send null to store a null")
	}
	out := v.Clone()
	if err := out.Compact(); err != nil {
		return nil, err
	}
	return out, nil
}

// sameJSON reports whether two values mean the same: white space, the order of members and
// the way that strings are escaped do not count; the digits of numbers do.
func sameJSON(a, b jsontext.Value) bool {
	if bytes.Equal(a, b) {
		return true
	}
	ca, errA := orderedJSON(a)
	cb, errB := orderedJSON(b)
	return errA == nil && errB == nil && bytes.Equal(ca, cb)
}

func orderedJSON(v jsontext.Value) (jsontext.Value, error) {
	out := v.Clone()
	err := out.Format(jsontext.ReorderRawObjects(true))
	return out, err
}
