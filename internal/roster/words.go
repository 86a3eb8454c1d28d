package main

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A language makes the names of some tenants: each is one of its trades and one of its
// proper names. Words are chosen so that any two of them go together without declension.
type language struct {
	locale   string // BCP 47
	timezone string
	region   string // the home region that is nearest
	tenants  int    // how many of the names are used
	form     string // of the name: %[1]s is the trade, %[2]s the proper name
	trades   []word
	propers  []word
}

// word is a word in its own script, and what stands for it in an ID and a DNS name.
type word struct{ native, slug string }

// words reads "Фарос=faros, …"; what stands for a Latin word is that word without its marks.
func words(list string) []word {
	var out []word
	for item := range strings.SplitSeq(list, ",") {
		native, slug, given := strings.Cut(strings.TrimSpace(item), "=")
		if !given {
			slug = romanise(native)
		}
		out = append(out, word{native: native, slug: slug})
	}
	return out
}

// letters are the Latin ones that are more than a letter and its marks.
var letters = strings.NewReplacer("ß", "ss", "æ", "ae", "ø", "o", "ł", "l", "đ", "d", "ı", "i", "œ", "oe", " ", "-")

// romanise makes a slug of a name in Latin letters: lower case, a to z and hyphens.
func romanise(name string) string {
	lower := letters.Replace(strings.ToLower(norm.NFC.String(name)))
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(lower))
}
