package events

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// A rebuild decodes millions of payloads, nearly all of them as [Encode] wrote them: compact, with
// their members in order, and hardly a character that is escaped. Those are read here, several times as fast
// as by the JSON decoder. Whatever is in any way different is left to that one, so that it alone decides
// what is valid and what it means; a test holds the two together.

// plainDecoders read the plain form of the payloads that tenants have many of. False: it is not
// plain.
var plainDecoders = map[Type]func(*plain) Payload{
	TypeTenantRegistered: func(s *plain) Payload {
		p := TenantRegistered{Name: s.text(`{"name":`), HomeRegion: s.text(`,"home_region":`)}
		if s.has(`,"group":`) {
			p.Group = idOf(ParseGroupID)(s)
		}
		return p
	},
	TypeTenantActivated:   func(*plain) Payload { return TenantActivated{} },
	TypeTenantSuspended:   func(*plain) Payload { return TenantSuspended{} },
	TypeTenantResumed:     func(*plain) Payload { return TenantResumed{} },
	TypeTenantDeactivated: func(*plain) Payload { return TenantDeactivated{} },
	TypeTenantRestored:    func(*plain) Payload { return TenantRestored{} },
	TypeTenantPurged:      func(*plain) Payload { return TenantPurged{} },

	TypeTenantRenamed:          func(s *plain) Payload { return TenantRenamed{Name: s.text(`{"name":`)} },
	TypeHostnameAttached:       func(s *plain) Payload { return HostnameAttached{Hostname: s.hostname()} },
	TypeHostnameDetached:       func(s *plain) Payload { return HostnameDetached{Hostname: s.hostname()} },
	TypePrimaryHostnameChanged: func(s *plain) Payload { return PrimaryHostnameChanged{Hostname: s.hostname()} },
	TypeProductActivated: func(s *plain) Payload {
		return ProductActivated{Name: s.text(`{"product":`), Product: s.product()}
	},
	TypeProductChanged: func(s *plain) Payload {
		return ProductChanged{Name: s.text(`{"product":`), Product: s.product()}
	},
	TypeProductDeactivated: func(s *plain) Payload { return ProductDeactivated{Name: s.text(`{"product":`)} },
	TypeDatabaseAssigned: func(s *plain) Payload {
		s.need(`{"database":`)
		return DatabaseAssigned{Database: idOf(ParseDatabaseID)(s), Name: s.text(`,"name":`)}
	},
	TypeHomeRegionChanged: func(s *plain) Payload { return HomeRegionChanged{HomeRegion: s.text(`{"home_region":`)} },
	TypeTenantGroupChanged: func(s *plain) Payload {
		s.need(`{"group":`)
		return TenantGroupChanged{Group: idOf(ParseGroupID)(s)}
	},
	TypeConfigSet:   func(s *plain) Payload { return ConfigSet{Key: s.text(`{"key":`), Value: s.value(`,"value":`)} },
	TypeConfigUnset: func(s *plain) Payload { return ConfigUnset{Key: s.text(`{"key":`)} },
}

// decodePlain reads a payload in its plain form; false: it is in another one, or not valid.
func decodePlain(t Type, data jsontext.Value) (Payload, bool) {
	decode, ok := plainDecoders[t]
	if !ok {
		return nil, false
	}
	s := plain{rest: data}
	p := decode(&s)
	if len(s.rest) == len(data) {
		s.need("{") // a payload without members
	}
	s.need("}")
	return p, !s.other && len(s.rest) == 0
}

// plain reads a payload from the front. Where that is not in the plain form, other is set for good,
// and what it returns means nothing.
type plain struct {
	rest  []byte
	other bool
}

// has takes what is there next, if it is this.
func (s *plain) has(text string) bool {
	if len(s.rest) < len(text) || string(s.rest[:len(text)]) != text {
		return false
	}
	s.rest = s.rest[len(text):]
	return true
}

func (s *plain) need(text string) {
	if !s.has(text) {
		s.other = true
	}
}

// text is the string behind a member's name.
func (s *plain) text(member string) string {
	s.need(member)
	return string(s.quoted())
}

// quoted is what stands between quotes, where that has nothing escaped in it.
func (s *plain) quoted() []byte {
	if s.other || !s.has(`"`) {
		s.other = true
		return nil
	}
	ascii := true
	for i, c := range s.rest {
		switch {
		case c == '"':
			text := s.rest[:i]
			s.rest = s.rest[i+1:]
			s.other = !ascii && !utf8.Valid(text)
			return text
		case c == '\\' || c < ' ':
			s.other = true
			return nil
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	s.other = true
	return nil
}

// idOf reads an ID, which "" is not here.
func idOf[T any](parse func(string) (T, error)) func(*plain) T {
	return func(s *plain) T {
		id, err := parse(string(s.quoted()))
		if err != nil {
			s.other = true
		}
		return id
	}
}

func (s *plain) hostname() Hostname {
	h, err := ParseHostname(s.text(`{"hostname":`))
	if err != nil {
		s.other = true
	}
	return h
}

func (s *plain) product() Product {
	p := Product{Plan: s.text(`,"plan":`)}
	if s.has(`,"seats":`) {
		n := s.number()
		p.Seats = &n
	}
	if s.has(`,"features":[`) {
		for more := true; more && !s.other; more = s.has(",") {
			p.Features = append(p.Features, string(s.quoted()))
		}
		s.need("]")
	}
	return p
}

// number is an integer without a sign and of few enough digits that nothing overflows.
func (s *plain) number() (n int64) {
	digits := s.digits()
	if digits == 0 || digits > 18 {
		s.other = true
		return 0
	}
	for _, c := range s.rest[:digits] {
		n = 10*n + int64(c-'0')
	}
	s.rest = s.rest[digits:]
	return n
}

// digits is how many there are next; none where a zero leads others.
func (s *plain) digits() int {
	n := 0
	for n < len(s.rest) && s.rest[n] >= '0' && s.rest[n] <= '9' {
		n++
	}
	if n > 1 && s.rest[0] == '0' {
		return 0
	}
	return n
}

// value is any JSON up to the brace that ends the payload, as it was written.
func (s *plain) value(member string) jsontext.Value {
	s.need(member)
	end := len(s.rest) - 1
	if s.other || end < 1 {
		s.other = true
		return nil
	}
	value := jsontext.Value(bytes.Clone(s.rest[:end]))
	switch first, last := value[0], value[end-1]; {
	case first == '"' || first >= '0' && first <= '9' || first == 't' || first == 'f':
		scalar := plain{rest: value}
		scalar.scalar(first)
		s.other = scalar.other || len(scalar.rest) > 0
	case first == '{' && last == '}', first == '[' && last == ']':
		s.other = !value.IsValid()
	default: // null and negative numbers are rare, and space is not plain
		s.other = true
	}
	s.rest = s.rest[end:]
	return value
}

// scalar takes a string, an integer, true or false.
func (s *plain) scalar(first byte) {
	switch first {
	case '"':
		s.quoted()
	case 't':
		s.need("true")
	case 'f':
		s.need("false")
	default:
		s.number()
	}
}
