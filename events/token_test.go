package events_test

import (
	"encoding/base64"
	"errors"
	"math"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/eventstest"
)

func TestToken_ReadsWhatItWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := events.Token{
			StoreID:   eventstest.UUID().Draw(t, "store ID"),
			Position:  rapid.OneOf(rapid.Uint64(), rapid.Just[uint64](math.MaxUint64)).Draw(t, "position"),
			Partition: rapid.IntRange(0, 1<<20).Draw(t, "partition"),
		}
		s := want.String()
		if got, err := events.ParseToken(s); err != nil || got != want {
			t.Fatalf("%s: got %+v, %v, want %+v", s, got, err, want)
		}
		if s != url.QueryEscape(s) || len(s) < 26 || len(s) > 40 {
			t.Fatalf("got %q of %d characters, want 26 to 40 that need no escape in a URL", s, len(s))
		}
	})
}

func TestParseToken_RefusesWhatNoCommandAnswered(t *testing.T) {
	good := events.Token{StoreID: uuid.New(), Position: 300, Partition: 7}.String()
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(parts ...[]byte) string {
		var b []byte
		for _, p := range parts {
			b = append(b, p...)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	endless := []byte(strings.Repeat("\xff", 11))
	for name, s := range map[string]string{
		"nothing":                         "",
		"not base64":                      "%%%%",
		"padded":                          good + "=",
		"standard base64":                 strings.Repeat("+", 26),
		"space in front":                  " " + good,
		"a line end in it":                good[:8] + "\n" + good[8:],
		"cut":                             good[:len(good)-2],
		"one octet more":                  encode(raw, []byte{0}),
		"another version":                 encode([]byte{2}, raw[1:]),
		"only a store":                    encode(raw[:17]),
		"no partition":                    encode(raw[:19]),
		"a position without end":          encode(raw[:17], endless, []byte{0}),
		"a partition without end":         encode(raw[:17], []byte{1}, endless),
		"more partitions than can be":     encode(raw[:17], []byte{1}, []byte{0x81, 0x80, 0x40}),
		"a partition beyond an int":       encode(raw[:17], []byte{1}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}),
		"bits behind the last octet":      nonZeroTail(good),
		"very long":                       strings.Repeat("A", 1<<20),
		"a hostname":                      "acme.example",
		"a tenant":                        "ten_acme",
		"a position as people write them": "123",
	} {
		if got, err := events.ParseToken(s); !errors.Is(err, events.ErrBadToken) || got != (events.Token{}) {
			t.Errorf("%s: got %+v, %v, want ErrBadToken", name, got, err)
		}
	}
}

// nonZeroTail sets bits of a token's last character that stand for no octet.
func nonZeroTail(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

func FuzzParseToken(f *testing.F) {
	f.Add("")
	f.Add("AQ")
	f.Add(events.Token{Position: 1}.String())
	f.Add(events.Token{StoreID: uuid.Max, Position: math.MaxUint64, Partition: 1 << 20}.String())
	f.Fuzz(func(t *testing.T, s string) {
		token, err := events.ParseToken(s)
		if err != nil {
			if !errors.Is(err, events.ErrBadToken) || token != (events.Token{}) {
				t.Errorf("%q: got %+v, %v, want ErrBadToken alone", s, token, err)
			}
			return
		}
		if again, err := events.ParseToken(token.String()); err != nil || again != token {
			t.Errorf("%q: got %+v, and of what that writes %+v, %v", s, token, again, err)
		}
	})
}
