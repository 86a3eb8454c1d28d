package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// members are those of a JSON object, to be taken out one by one; what a newer server has
// added remains, and is shown as well.
type members map[string]jsontext.Value

// take is a member as text, quotes and all where it is no word; "": there is none.
func (m members) take(name string) string {
	v, ok := m[name]
	delete(m, name)
	if !ok {
		return ""
	}
	return plain(v)
}

// object takes a member that is an object; nil: there is none.
func (m members) object(name string) (members, error) {
	v, ok := m[name]
	delete(m, name)
	if !ok || v.Kind() == 'n' {
		return nil, nil
	}
	out := members{}
	if err := json.Unmarshal(v, &out); err != nil {
		return nil, fmt.Errorf("read %q of the tenant context: %w", name, err)
	}
	return out, nil
}

// rest are the members that nobody has taken, each with its name.
func (m members) rest() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, name+" "+plain(m[name]))
	}
	return out
}

// plain is a JSON value as a person writes it: strings without quotes, lists with commas.
func plain(v jsontext.Value) string {
	switch v.Kind() {
	case '"':
		var s string
		if json.Unmarshal(v, &s) == nil {
			return s
		}
	case '[':
		var items []jsontext.Value
		if json.Unmarshal(v, &items) == nil {
			words := make([]string, len(items))
			for i, item := range items {
				words[i] = plain(item)
			}
			return strings.Join(words, ", ")
		}
	}
	return string(v)
}

// contextText is a tenant context for a person: all of it.
func contextText(raw jsontext.Value, header http.Header) (string, error) {
	c := members{}
	if err := json.Unmarshal(raw, &c); err != nil {
		return "", fmt.Errorf("read the tenant context: %w", err)
	}
	group, err1 := c.object("group")
	products, err2 := c.object("products")
	database, err3 := c.object("database")
	config, err4 := c.object("config")
	if err := cmp.Or(err1, err2, err3, err4); err != nil {
		return "", err
	}
	var b strings.Builder
	row := func(name string, facts ...string) {
		facts = slices.DeleteFunc(facts, func(s string) bool { return s == "" })
		if len(facts) > 0 {
			fmt.Fprintf(&b, "  %-10s %s\n", name, strings.Join(facts, ", "))
		}
	}
	fmt.Fprintln(&b, c.take("hostname"))
	row("tenant", c.take("tenant_id"), strconv.Quote(c.take("name")), c.take("status"), "version "+c.take("version"))
	row("hostnames", c.take("hostnames"))
	row("primary", c.take("primary_hostname"))
	row("home", c.take("home_region"))
	if group != nil {
		row("group", append([]string{group.take("id") + pending(group), labelled("ring", group.take("ring"))}, group.rest()...)...)
	}
	for _, name := range slices.Sorted(maps.Keys(products)) {
		p, err := products.object(name)
		if err != nil {
			return "", err
		}
		row("product", append([]string{
			name + ": " + cmp.Or(labelled("plan", p.take("plan")), "no plan"), seats(p.take("seats")),
			features(p.take("features")), labelled("trial until", p.take("trial_until")),
		}, p.rest()...)...)
	}
	if database != nil {
		id, waits := database.take("id"), pending(database)
		if waits != "" {
			row("database", append([]string{id + waits}, database.rest()...)...)
		} else {
			at := database.take("host") + ":" + database.take("port")
			row("database", append([]string{
				id + ": " + database.take("engine") + " at " + at, labelled("name", database.take("name")),
				labelled("secret", database.take("secret_ref")), labelled("epoch", database.take("epoch")),
			}, database.rest()...)...)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		row("config", key+" = "+string(config[key])) // as it is: "true" is not true
	}
	for _, more := range c.rest() {
		row("also", more)
	}
	row("answered", fmt.Sprintf("by %s at position %s, at most %s ms old", cmp.Or(header.Get("Tenantry-Region"), "?"),
		cmp.Or(header.Get("Tenantry-Position"), "?"), cmp.Or(header.Get("Tenantry-Staleness"), "?")))
	if header.Get("Tenantry-Quarantined") == "true" {
		row("warning", "a later event of this tenant cannot be read: this is its last good state")
	}
	return b.String(), nil
}

// pending takes a group's or database's mark that the region has not seen it yet.
func pending(m members) string {
	if m.take("pending") == "true" {
		return " (not known here yet)"
	}
	return ""
}

func labelled(label, value string) string {
	if value == "" {
		return ""
	}
	return label + " " + value
}

func features(names string) string {
	if names == "" {
		return ""
	}
	return "features (" + names + ")"
}

func seats(n string) string {
	switch n {
	case "":
		return ""
	case "1":
		return "1 seat"
	}
	return n + " seats"
}
