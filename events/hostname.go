package events

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Hostname is a DNS name in the one form in which it is stored, compared and looked up:
// lower case, IDNA A-labels, without a trailing dot, two labels or more, at most 253 octets.
// The zero Hostname is none.
type Hostname struct{ name string }

// The limits of DNS (RFC 1035, 2.3.4), in octets and without the trailing dot.
const (
	maxHostname = 253
	maxLabel    = 63
)

// maxSpelling is the most octets of a spelling that is worth mapping to at most maxHostname: a
// letter in pieces (a Hangul syllable of three, say) takes several times what its A-label does.
// Punycode takes the square of the length, and hostnames come from anyone.
const maxSpelling = 2048

// idnaProfile maps as a browser does before it looks a name up (UTS 46, non-transitional).
// Hyphens are checked by our own code: UTS 46 refuses "--" in third place, but such
// names are in use ("r3---sn-h5q7dn7r.googlevideo.com").
var idnaProfile = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.BidiRule(),
	idna.StrictDomainName(true),
	idna.CheckHyphens(false),
)

// ParseHostname normalises what a person or a Host header says. The error says in a
// sentence what is wrong with it and what to do.
func ParseHostname(s string) (Hostname, error) {
	if plainASCII(s) {
		// The common case costs no allocation: a look-up comes through here.
		if err := checkLabels(s); err != nil {
			return Hostname{}, err
		}
		return Hostname{name: s}, nil
	}
	return parseAnyHostname(s)
}

// plainASCII reports whether s needs no mapping: only a-z, 0-9, '-' and '.', and no A-label
// that would have to be decoded to be believed.
func plainASCII(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.':
		default:
			return false
		}
	}
	return s != "" && s[len(s)-1] != '.' && !strings.Contains(s, "xn--")
}

func parseAnyHostname(s string) (Hostname, error) {
	switch {
	case s == "":
		return Hostname{}, errors.New("the hostname is empty: give a DNS name such as app.example.com")
	case len(s) > maxSpelling:
		return Hostname{}, tooLong(len(s))
	case !utf8.ValidString(s):
		return Hostname{}, errors.New("the hostname is not UTF-8: give it in UTF-8 or as A-labels (xn--…)")
	case strings.ContainsAny(s, "/@?# \t\r\n\x00"):
		return Hostname{}, errors.New("a hostname has no scheme, path, user or space in it: give the DNS name alone, such as app.example.com")
	case strings.HasPrefix(s, "*"):
		return Hostname{}, errors.New("a wildcard is not a hostname: attach each hostname by its full name")
	case isAddress(s):
		return Hostname{}, errors.New("an IP address is not a hostname: give a DNS name that points to it")
	case strings.Contains(s, ":"):
		return Hostname{}, errors.New("a hostname has no port in it: leave out the colon and what follows")
	case strings.Contains(s, "_"):
		return Hostname{}, errors.New("a hostname has no underscore in it: use letters, digits and hyphens")
	}
	name, err := idnaProfile.ToASCII(strings.TrimSuffix(s, "."))
	if err != nil {
		return Hostname{}, fmt.Errorf("this is no valid internationalised hostname (%w): check its spelling", err)
	}
	if err := checkLabels(name); err != nil {
		return Hostname{}, err
	}
	if strings.Contains(name, "xn--") {
		// An A-label that decodes to something which encodes otherwise could be a second
		// spelling of another tenant's hostname.
		unicode, err := idnaProfile.ToUnicode(name)
		if err != nil {
			return Hostname{}, fmt.Errorf("this punycode does not decode (%w): give the name in its own script instead", err)
		}
		if back, err := idnaProfile.ToASCII(unicode); err != nil || back != name {
			return Hostname{}, errors.New("this punycode is not the canonical form of its name: give the name in its own script instead")
		}
	}
	return Hostname{name: name}, nil
}

// isAddress reports whether s is an IP address, in brackets or with a port or not.
func isAddress(s string) bool {
	if _, err := netip.ParseAddrPort(s); err == nil {
		return true
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return err == nil
}

// checkLabels checks lengths and hyphens of a name that is already lower-case ASCII.
func checkLabels(s string) error {
	if len(s) > maxHostname {
		return tooLong(len(s))
	}
	labels, number, start := 0, true, 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			continue
		}
		label := s[start:i]
		switch {
		case label == "":
			return errors.New("the hostname has an empty label: take out the doubled or leading dot")
		case len(label) > maxLabel:
			return fmt.Errorf("the label %.16s… has %d octets: DNS allows at most %d", label, len(label), maxLabel)
		case label[0] == '-' || label[len(label)-1] == '-':
			return fmt.Errorf("the label %q begins or ends with a hyphen: DNS does not allow that", label)
		}
		number = isNumber(label)
		labels++
		start = i + 1
	}
	if number {
		return errors.New("an IP address, or a name whose last label is a number, decimal or hexadecimal, is not a hostname: give a DNS name")
	}
	if labels < 2 {
		return fmt.Errorf("%q is a single label: give the full name, such as %s.example.com", s, s)
	}
	return nil
}

// isNumber reports whether a browser takes a host that ends in this label for an IPv4 address:
// its parts may be hexadecimal, and 0x alone is 0.
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func tooLong(octets int) error {
	return fmt.Errorf("the hostname has %d octets: DNS allows at most %d", octets, maxHostname)
}

// String is the name as it is stored.
func (h Hostname) String() string { return h.name }

// IsZero tells whether there is no hostname; encoding/json's omitzero asks it.
func (h Hostname) IsZero() bool { return h.name == "" }

// MarshalText writes the name as it is stored.
func (h Hostname) MarshalText() ([]byte, error) { return []byte(h.name), nil }

// UnmarshalText normalises as [ParseHostname] does; "" is the zero Hostname.
func (h *Hostname) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*h = Hostname{}
		return nil
	}
	parsed, err := ParseHostname(string(b))
	if err != nil {
		return err
	}
	*h = parsed
	return nil
}
