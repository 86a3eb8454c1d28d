package commands

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// Each limit is tested at its edge and one beyond: at holds whether the first is taken.
func TestLimits_AtTheEdgeAreTaken_OneBeyondIsRefusedWithAPointer(t *testing.T) {
	register := func(change func(*RegisterTenant)) Command {
		c := RegisterTenant{ID: acme, Name: "Acme", HomeRegion: "eu-west"}
		change(&c)
		return c
	}
	named := func(name string) Command { return register(func(c *RegisterTenant) { c.Name = name }) }
	product := func(name string, p events.Product) Command {
		return register(func(c *RegisterTenant) { c.Products = map[string]events.Product{name: p} })
	}
	config := func(key string, v jsontext.Value) Command {
		return register(func(c *RegisterTenant) { c.Config = map[string]jsontext.Value{key: v} })
	}
	database := func(change func(*RegisterDatabase)) Command {
		c := RegisterDatabase{ID: db("one"), Engine: "postgres", Region: "eu-west-1", Endpoint: endpoint}
		change(&c)
		return c
	}
	year := func(y int, offset int) *time.Time {
		return new(time.Date(y, 12, 31, 23, 59, 59, 0, zone(offset)))
	}
	for _, tt := range []struct {
		name string
		c    Command
		at   jsontext.Pointer // of the fault; "": taken
	}{
		{"a name of 1 character", named("x"), ""},
		{"a name of 200 characters of 4 octets", named(strings.Repeat("🦉", 200)), ""},
		{"a name of 201 characters", named(strings.Repeat("x", 201)), "/name"},
		{"a name of 0 characters", named(""), "/name"},
		{"a name of white space", named(" \u3000\u00a0"), "/name"},
		{"a name of nothing visible", named("\u200b\u2060"), "/name"},
		{"a name in Arabic with a mark for its direction", named("شركة\u200f Acme"), ""},
		{"a name with an emoji of several characters", named("Family 👨‍👩‍👧"), ""},
		{"a name with NUL", named("a\x00b"), "/name"},
		{"a name with a line break", named("a\nb"), "/name"},
		{"a name with DEL", named("a\x7fb"), "/name"},
		{"a name with NEL", named("a\u0085b"), "/name"},
		{"a name with the beginning of a terminal's control sequence", named("a\u009bb"), "/name"},
		{"a name with the end of a terminal's control string", named("a\u009cb"), "/name"},
		{"a name with a quote of Windows-1252 that was taken for Latin-1", named("L\u0092Aquila"), ""},
		{"a name with a line separator", named("a\u2028b"), "/name"},
		{"a name with a paragraph separator", named("a\u2029b"), "/name"},
		{"a name that turns its direction around", named("a\u202eb"), "/name"},
		{"a name that isolates a direction", named("a\u2066b"), "/name"},
		{"a name that is not UTF-8", named("a\xffb"), "/name"},

		{"a home region of 63 characters", register(func(c *RegisterTenant) { c.HomeRegion = strings.Repeat("r", 63) }), ""},
		{"a home region of 64 characters", register(func(c *RegisterTenant) { c.HomeRegion = strings.Repeat("r", 64) }), "/home_region"},
		{"no home region", register(func(c *RegisterTenant) { c.HomeRegion = "" }), "/home_region"},
		{"a database's name of 128 characters", register(func(c *RegisterTenant) { c.Database, c.DatabaseName = db("one"), strings.Repeat("n", 128) }), ""},
		{"a database's name of 129 characters", register(func(c *RegisterTenant) { c.Database, c.DatabaseName = db("one"), strings.Repeat("n", 129) }), "/database/name"},

		{"500 hostnames", register(func(c *RegisterTenant) { c.Hostnames = many(500) }), ""},
		{"501 hostnames", register(func(c *RegisterTenant) { c.Hostnames = many(501) }), "/hostnames"},

		{"100 products", register(func(c *RegisterTenant) { c.Products = manyKeys(100, events.Product{Plan: "p"}) }), ""},
		{"101 products", register(func(c *RegisterTenant) { c.Products = manyKeys(101, events.Product{Plan: "p"}) }), "/products"},
		{"a product's name of 63 characters", product(strings.Repeat("p", 63), events.Product{Plan: "p"}), ""},
		{"a product's name of 64 characters", product(strings.Repeat("p", 64), events.Product{Plan: "p"}), jsontext.Pointer("/products/" + strings.Repeat("p", 64))},
		{"a product's name with all that it may have", product("0a._-", events.Product{Plan: "p"}), ""},
		{"a product's name in upper case", product("Jira", events.Product{Plan: "p"}), "/products/Jira"},
		{"a product's name that begins with a dot", product(".jira", events.Product{Plan: "p"}), "/products/.jira"},
		{"a product's name that a pointer has to escape", product("a/b~c", events.Product{Plan: "p"}), "/products/a~1b~0c"},
		{"a plan of 64 characters", product("jira", events.Product{Plan: strings.Repeat("P", 64)}), ""},
		{"a plan of 65 characters", product("jira", events.Product{Plan: strings.Repeat("P", 65)}), "/products/jira/plan"},
		{"no plan", product("jira", events.Product{}), "/products/jira/plan"},
		{"a plan that begins with a hyphen", product("jira", events.Product{Plan: "-p"}), "/products/jira/plan"},
		{"a plan with a space", product("jira", events.Product{Plan: "a b"}), "/products/jira/plan"},
		{"0 seats", product("jira", events.Product{Plan: "p", Seats: new(int64(0))}), ""},
		{"as many seats as there are", product("jira", events.Product{Plan: "p", Seats: new(int64(math.MaxInt64))}), ""},
		{"-1 seats", product("jira", events.Product{Plan: "p", Seats: new(int64(-1))}), "/products/jira/seats"},
		{"100 features", product("jira", events.Product{Plan: "p", Features: slices.Repeat([]string{"f"}, 100)}), ""},
		{"101 features", product("jira", events.Product{Plan: "p", Features: slices.Repeat([]string{"f"}, 101)}), "/products/jira/features"},
		{"a feature of 64 characters", product("jira", events.Product{Plan: "p", Features: []string{strings.Repeat("ä", 64)}}), ""},
		{"a feature of 65 characters", product("jira", events.Product{Plan: "p", Features: []string{"f", strings.Repeat("ä", 65)}}), "/products/jira/features/1"},
		{"an empty feature", product("jira", events.Product{Plan: "p", Features: []string{""}}), "/products/jira/features/0"},
		{"a trial to the end of the year 9999", product("jira", events.Product{Plan: "p", TrialUntil: year(9999, 0)}), ""},
		{"a trial that ends in the year 10000 UTC", product("jira", events.Product{Plan: "p", TrialUntil: year(9999, -3600)}), "/products/jira/trial_until"},

		{"200 configuration keys", register(func(c *RegisterTenant) { c.Config = manyKeys(200, raw("1")) }), ""},
		{"201 configuration keys", register(func(c *RegisterTenant) { c.Config = manyKeys(201, raw("1")) }), "/config"},
		{"a key of 128 characters", config(strings.Repeat("k", 128), raw("1")), ""},
		{"a key of 129 characters", config(strings.Repeat("k", 129), raw("1")), jsontext.Pointer("/config/" + strings.Repeat("k", 129))},
		{"an empty key", config("", raw("1")), "/config/"},
		{"a key that begins with an underscore", config("_k", raw("1")), "/config/_k"},
		{"a value of 16 KiB, white space aside", config("k", raw("   "+sized(16<<10))), ""},
		{"a value of 16 KiB and 1", config("k", raw(sized(16<<10+1))), "/config/k"},
		{"a value nested 64 deep", config("k", raw(strings.Repeat("[", 64)+strings.Repeat("]", 64))), ""},
		{"a value nested 65 deep", config("k", raw(strings.Repeat("[", 65)+strings.Repeat("]", 65))), "/config/k"},
		{"the largest number of 64-bit floating point", config("k", raw("-1.7976931348623157e308")), ""},
		{"a number nearer to 0 than any other", config("k", raw("1e-999")), ""},
		{"an integer of more digits than floating point keeps", config("k", raw("12345678901234567890")), ""},
		{"a number beyond floating point", config("k", raw("1e999")), "/config/k"},
		{"a negative number beyond floating point", config("k", raw("-1e309")), "/config/k"},
		{"an integer beyond floating point", config("k", raw("1"+strings.Repeat("0", 309))), "/config/k"},
		{"a number beyond floating point inside a value", config("k", raw(`{"a":[1,{"b":1e999}]}`)), "/config/k"},
		{"a number beyond floating point, set alone", SetConfig{acme, "k", raw("1e999")}, "/value"},
		{"a configuration of 128 KiB", register(func(c *RegisterTenant) { c.Config = manyKeys(8, raw(sized(16<<10-4))) }), ""},
		{"a configuration of more than 128 KiB", register(func(c *RegisterTenant) {
			c.Config = manyKeys(8, raw(sized(16<<10-4)))
			c.Config["more"] = raw("1")
		}), "/config"},

		{"a group's name of 200 characters", CreateGroup{ID: grp("g"), Name: strings.Repeat("ж", 200)}, ""},
		{"a group's name of 201 characters", CreateGroup{ID: grp("g"), Name: strings.Repeat("ж", 201)}, "/name"},
		{"ring 1000", CreateGroup{ID: grp("g"), Name: "g", Ring: new(1000)}, ""},
		{"ring 1001", CreateGroup{ID: grp("g"), Name: "g", Ring: new(1001)}, "/ring"},
		{"port 1", database(func(c *RegisterDatabase) { c.Endpoint.Port = 1 }), ""},
		{"port 65535", database(func(c *RegisterDatabase) { c.Endpoint.Port = 65535 }), ""},
		{"port 65536", database(func(c *RegisterDatabase) { c.Endpoint.Port = 65536 }), "/port"},
		{"an engine of 64 characters", database(func(c *RegisterDatabase) { c.Engine = strings.Repeat("e", 64) }), "/engine"},
		{"a secret_ref of 512 octets", database(func(c *RegisterDatabase) { c.Endpoint.SecretRef = "file:///" + strings.Repeat("s", 504) }), ""},
		{"a secret_ref of 513 octets", database(func(c *RegisterDatabase) { c.Endpoint.SecretRef = "file:///" + strings.Repeat("s", 505) }), "/secret_ref"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(tt.c)
			if tt.at == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var r *Refusal
			if !errors.As(err, &r) || r.Code != Invalid {
				t.Fatalf("got %v, want it refused as invalid", err)
			}
			if len(r.Fields) != 1 || r.Fields[0].Pointer != string(tt.at) {
				t.Errorf("the fault is at %v, want %s alone", r.Fields, tt.at)
			}
			checkAdvice(t, r)
		})
	}
}

// The same limits where they build up command by command.
func TestLimits_OfWhatATenantHasAlready_RefuseTheNextOne(t *testing.T) {
	hostnames, products, keys := given(registered), given(registered), given(registered)
	for i, h := range many(500) {
		hostnames = append(hostnames, events.HostnameAttached{Hostname: h})
		if i < 100 {
			products = append(products, events.ProductActivated{Name: fmt.Sprintf("p%d", i), Product: events.Product{Plan: "p"}})
		}
		if i < 200 {
			keys = append(keys, events.ConfigSet{Key: fmt.Sprintf("k%d", i), Value: raw("1")})
		}
	}
	big := given(registered)
	for i := range 8 {
		big = append(big, events.ConfigSet{Key: fmt.Sprintf("k%03d", i), Value: raw(sized(16<<10 - 8))})
	}
	// 8 keys of 4 and values of 16 KiB - 8 leave 32.
	runScenarios(t, []scenario{
		{name: "the 500th hostname", given: hostnames[:500], when: AttachHostname{ID: acme, Hostname: host("last.example")}, then: attached("last.example")},
		{name: "the 501st hostname", given: hostnames, when: AttachHostname{ID: acme, Hostname: host("last.example")}, refused: Invalid, says: "500 hostnames"},
		{name: "another primary among 500", given: hostnames, when: AttachHostname{acme, host("h1.example"), true}, then: given(events.PrimaryHostnameChanged{Hostname: host("h1.example")})},
		{name: "the 101st product", given: products, when: SetProduct{acme, "one-more", events.Product{Plan: "p"}}, refused: Invalid, says: "100 products"},
		{name: "a change of one of 100 products", given: products, when: SetProduct{acme, "p1", events.Product{Plan: "q"}}, then: given(events.ProductChanged{Name: "p1", Product: events.Product{Plan: "q"}})},
		{name: "the 201st key", given: keys, when: SetConfig{acme, "one-more", raw("1")}, refused: Invalid, says: "200 configuration keys"},
		{name: "a change of one of 200 keys", given: keys, when: SetConfig{acme, "k1", raw("2")}, then: given(events.ConfigSet{Key: "k1", Value: raw("2")})},
		{name: "the last octet of 128 KiB", given: big, when: SetConfig{acme, "last", raw(sized(28))}, then: given(events.ConfigSet{Key: "last", Value: raw(sized(28))})},
		{name: "an octet more than 128 KiB", given: big, when: SetConfig{acme, "last", raw(sized(29))}, refused: Invalid, at: "/value", says: "131073 octets"},
		{name: "another value as large in place of a large one", given: big, when: SetConfig{acme, "k001", raw(strings.ToUpper(sized(16<<10 - 8)))}, then: given(events.ConfigSet{Key: "k001", Value: raw(strings.ToUpper(sized(16<<10 - 8)))})},
		{name: "a smaller value in place of a large one", given: big, when: SetConfig{acme, "k001", raw(`1`)}, then: given(events.ConfigSet{Key: "k001", Value: raw(`1`)})},
	})
}

func TestRefusal_OfThousandFaults_SaysHowManyAndNamesFifty(t *testing.T) {
	c := RegisterTenant{ID: acme, Name: "Acme", HomeRegion: "eu-west", Hostnames: make([]events.Hostname, 500)}
	var r *Refusal
	if err := Check(c); !errors.As(err, &r) {
		t.Fatalf("got %v, want a refusal", err)
	}
	if len(r.Fields) != 50 || !strings.Contains(r.Detail, "500") {
		t.Errorf("got %d fields and %q, want 50 of 500", len(r.Fields), r.Detail)
	}
}

func many(n int) []events.Hostname {
	out := make([]events.Hostname, n)
	for i := range out {
		out[i] = host(fmt.Sprintf("h%d.example", i))
	}
	return out
}

func manyKeys[V any](n int, v V) map[string]V {
	out := make(map[string]V, n)
	for i := range n {
		out[fmt.Sprintf("k%03d", i)] = v
	}
	return out
}

// sized is a JSON string of n octets, quotes included.
func sized(n int) string { return `"` + strings.Repeat("v", n-2) + `"` }
