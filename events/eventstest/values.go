package eventstest

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/events"
)

// must is for values that are right by construction.
func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("eventstest made what events refuses: %v", err))
	}
	return v
}

const slug = `[a-z0-9][a-z0-9-]{0,62}`

// TenantID makes IDs of tenants.
func TenantID() *rapid.Generator[events.TenantID] {
	return rapid.Map(rapid.StringMatching(slug), func(s string) events.TenantID { return must(events.ParseTenantID("ten_" + s)) })
}

// DatabaseID makes IDs of databases.
func DatabaseID() *rapid.Generator[events.DatabaseID] {
	return rapid.Map(rapid.StringMatching(slug), func(s string) events.DatabaseID { return must(events.ParseDatabaseID("db_" + s)) })
}

// GroupID makes IDs of groups.
func GroupID() *rapid.Generator[events.GroupID] {
	return rapid.Map(rapid.StringMatching(slug), func(s string) events.GroupID { return must(events.ParseGroupID("grp_" + s)) })
}

// StreamID makes IDs of all kinds.
func StreamID() *rapid.Generator[events.StreamID] {
	return rapid.OneOf(
		rapid.Map(TenantID(), events.TenantID.Stream),
		rapid.Map(DatabaseID(), events.DatabaseID.Stream),
		rapid.Map(GroupID(), events.GroupID.Stream),
	)
}

// Hostname makes normalised hostnames, of which some are A-labels and some as long as may be.
func Hostname() *rapid.Generator[events.Hostname] {
	return rapid.Map(rapid.OneOf(
		rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,10}[a-z0-9])?){1,4}`).
			Filter(func(s string) bool { return !strings.Contains(s, "xn--") }),
		rapid.SampledFrom([]string{
			"xn--bcher-kva.example", "xn--fiqs8s.example", "shop.xn--mgbh0fb.xn--kgbechtv",
			strings.Repeat(strings.Repeat("a", 49)+".", 5) + "abc", // 253 octets
			strings.Repeat("b", 63) + ".example",
		}),
	), func(s string) events.Hostname { return must(events.ParseHostname(s)) })
}

// scripts are what names are written in.
var scripts = []*unicode.RangeTable{
	unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Arabic, unicode.Hebrew, unicode.Devanagari,
	unicode.Han, unicode.Hiragana, unicode.Hangul, unicode.Thai, unicode.Mn, unicode.Nd, unicode.So,
}

// text makes strings of at most n characters of any script, without control characters, which are
// not only white space.
func text(n int) *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(fmt.Sprintf(`[A-Za-z0-9][ -~]{0,%d}`, n-1)),
		rapid.StringOfN(rapid.RuneFrom(nil, scripts...), 1, n, -1).Filter(func(s string) bool { return strings.TrimSpace(s) != "" }),
	)
}

// Name makes the names of tenants and groups.
func Name() *rapid.Generator[string] { return text(200) }

// Region makes the names of regions.
func Region() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"eu-west", "us-east", "ap-south-1", "x"})
}

// Time makes times to the microsecond, in UTC.
func Time() *rapid.Generator[time.Time] {
	first := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	last := time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC).UnixMicro()
	return rapid.Map(rapid.Int64Range(first, last), func(us int64) time.Time { return time.UnixMicro(us).UTC() })
}

// Product makes what a tenant has of one product.
func Product() *rapid.Generator[events.Product] {
	return rapid.Custom(func(t *rapid.T) events.Product {
		p := events.Product{Plan: rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,63}`).Draw(t, "plan")}
		if rapid.Bool().Draw(t, "counted") {
			seats := rapid.Int64Min(0).Draw(t, "seats")
			p.Seats = &seats
		}
		if features := rapid.SliceOfN(text(64), 0, 4).Draw(t, "features"); len(features) > 0 {
			p.Features = features
		}
		if rapid.Bool().Draw(t, "trial") {
			until := Time().Draw(t, "trial until")
			p.TrialUntil = &until
		}
		return p
	})
}

// ProductName makes the names of products, few of them.
func ProductName() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"jira", "wiki", "crm.core", "0", "a_b-c"})
}

// ConfigKey makes the names of configuration values, few of them.
func ConfigKey() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"theme", "Limits.uploads", "a_b-c", "0"})
}

// Value makes JSON of any shape, as [events.Encode] writes it.
func Value() *rapid.Generator[jsontext.Value] {
	return rapid.Map(tree(3), func(v any) jsontext.Value {
		return jsontext.Value(must(json.Marshal(v, json.Deterministic(true))))
	})
}

func tree(depth int) *rapid.Generator[any] {
	leaf := rapid.OneOf(
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.Uint64().AsAny(),
		rapid.Float64().Filter(func(f float64) bool { return f-f == 0 }).AsAny(), // neither NaN nor infinite
		rapid.String().Filter(isUTF8).AsAny(), rapid.SampledFrom([]any{"", "<&>\u2028\x00\\\"", []any{}, map[string]any{}}),
	)
	if depth == 0 {
		return leaf
	}
	return rapid.OneOf(leaf,
		rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return tree(depth - 1) }), 0, 3).AsAny(),
		rapid.MapOfN(rapid.StringMatching(`[a-zA-Z ~/é]{0,6}`), rapid.Deferred(func() *rapid.Generator[any] { return tree(depth - 1) }), 0, 3).AsAny(),
	)
}

func isUTF8(s string) bool { return strings.ToValidUTF8(s, "") == s }

// Endpoint makes where databases are reached.
func Endpoint() *rapid.Generator[events.Endpoint] {
	return rapid.Custom(func(t *rapid.T) events.Endpoint {
		return events.Endpoint{
			Host:      rapid.SampledFrom([]string{"pg-1.internal", "db", "10.0.0.7", "2001:db8::7"}).Draw(t, "host"),
			Port:      rapid.IntRange(1, 65535).Draw(t, "port"),
			SecretRef: rapid.SampledFrom([]string{"vault://kv/tenantry/eu-1", "aws-sm://prod/db", "env://DB_SECRET", "file:///run/secrets/db"}).Draw(t, "secret_ref"),
		}
	})
}

// Ring makes the rings of groups.
func Ring() *rapid.Generator[int] { return rapid.IntRange(0, 1000) }
