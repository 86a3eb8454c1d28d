package replay

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// diff are the fields in which two JSON objects differ, by path: "products.jira.seats".
func diff(here, source jsontext.Value) ([]FieldDifference, error) {
	a, b := make(map[string]jsontext.Value), make(map[string]jsontext.Value)
	if err := flatten(a, "", here); err != nil {
		return nil, err
	}
	if err := flatten(b, "", source); err != nil {
		return nil, err
	}
	all := maps.Clone(a)
	maps.Copy(all, b)
	var out []FieldDifference
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if !bytes.Equal(a[path], b[path]) {
			out = append(out, FieldDifference{Field: path, Here: a[path], Source: b[path]})
		}
	}
	return out, nil
}

// flatten puts each member of an object that is no object itself into a map, by its path. An empty
// object is a value.
func flatten(into map[string]jsontext.Value, path string, v jsontext.Value) error {
	if v.Kind() != '{' {
		v = v.Clone()
		if err := v.Canonicalize(); err != nil {
			return err
		}
		into[path] = v
		return nil
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(v, &members); err != nil {
		return err
	}
	if len(members) == 0 && path != "" {
		into[path] = jsontext.Value("{}")
	}
	for name, member := range members {
		if strings.ContainsAny(name, ". \"") { // a key of the configuration
			name = strconv.Quote(name)
		}
		if path != "" {
			name = path + "." + name
		}
		if err := flatten(into, name, member); err != nil {
			return err
		}
	}
	return nil
}

// purged tells whether a record, in words, is that of a purged tenant.
func purged(record jsontext.Value) bool {
	var r struct {
		Purged bool           `json:"purged"`
		Rest   jsontext.Value `json:",unknown"`
	}
	return json.Unmarshal(record, &r) == nil && r.Purged
}

func quoted(s string) jsontext.Value {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return jsontext.Value(`"?"`)
	}
	return b
}

// readableKey is a key as a person can read it, whatever octets it has.
func readableKey(key string) string {
	if utf8.ValidString(key) && strings.IndexFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return key
	}
	return strconv.QuoteToASCII(key)
}
