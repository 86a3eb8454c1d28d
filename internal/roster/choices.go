package main

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
)

// dice fall for one tenant always alike: they are seeded by its name alone, so that a word
// added to a list changes the lines of no other tenant.
type dice struct{ source *rand.PCG }

func newDice(slug string) dice { return dice{rand.NewPCG(2026, hash(slug))} }

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	// FNV alone leaves names that differ in their last letter next to one another.
	return rand.NewPCG(h.Sum64(), 0).Uint64()
}

// n is 0 to n-1. It takes the generator's raw numbers, which are specified, and not
// rand.Rand's way to a range, which is not.
func (d dice) n(n int) int { return int(d.source.Uint64() % uint64(n)) }

func (d dice) between(low, high int) int { return low + d.n(high-low+1) }

func (d dice) chance(percent int) bool { return d.n(100) < percent }

type weighted[T any] struct {
	percent int
	value   T
}

// pick takes one by its weight; the weights add up to 100.
func pick[T any](d dice, from []weighted[T]) T {
	at := d.n(100)
	for _, w := range from {
		if at -= w.percent; at < 0 {
			return w.value
		}
	}
	return from[len(from)-1].value
}

// size is how large a customer is, and so what it pays for.
type size struct {
	plan       string
	low, high  int // seats
	attachment int // MB
}

var sizes = []weighted[size]{
	{28, size{"free", 3, 10, 10}},
	{40, size{"standard", 5, 80, 100}},
	{24, size{"premium", 40, 900, 250}},
	{8, size{"enterprise", 400, 6000, 1000}},
}

func groupFor(d dice, s size) string {
	if s.plan == "enterprise" {
		return pick(d, []weighted[string]{{40, "grp_careful"}, {35, "grp_general"}, {25, "grp_regulated"}})
	}
	return pick(d, []weighted[string]{{3, "grp_canary"}, {12, "grp_early"}, {70, "grp_general"}, {5, "grp_careful"}, {10, ""}})
}

// catalogue is what Larkspur sells, and how many in a hundred tenants have it.
var catalogue = []struct {
	name     string
	percent  int
	perSeat  int // one seat of this product a so many seats of the tenant
	features []string
}{
	{"boards", 85, 1, []string{"automation", "roadmaps", "sandbox"}},
	{"wiki", 60, 1, []string{"whiteboards", "analytics", "page-approval"}},
	{"desk", 35, 8, []string{"assets", "on-call", "customer-portal"}},
	{"forms", 15, 4, []string{"e-signature", "offline"}},
}

func productsFor(d dice, s size, trial bool) map[string]product {
	seats := d.between(s.low, s.high)
	products := map[string]product{}
	for i, c := range catalogue {
		if !d.chance(c.percent) && (i < len(catalogue)-1 || len(products) > 0) {
			continue
		}
		p := product{Plan: s.plan, Seats: max(1, seats/c.perSeat)}
		switch {
		case trial || (c.name == "forms" && d.chance(30)):
			p.Plan = "premium"
			p.TrialUntil = []string{"2027-01-31T00:00:00Z", "2027-02-28T00:00:00Z", "2027-03-31T00:00:00Z"}[d.n(3)]
		case s.plan == "premium":
			p.Features = slices.Clone(c.features[:d.n(len(c.features))])
		case s.plan == "enterprise":
			p.Features = slices.Clone(c.features)
		}
		products[c.name] = p
	}
	return products
}

func configFor(d dice, l language, s size, t tenantLine) map[string]any {
	config := map[string]any{"locale": l.locale, "timezone": l.timezone}
	if d.chance(60) {
		config["limits.attachment-mb"] = s.attachment
	}
	if t.Group == "grp_canary" || t.Group == "grp_early" || d.chance(10) {
		config["flags.new-editor"] = true
	}
	if t.Group == "grp_regulated" {
		config["flags.guest-access"] = false
		config["audit.keep-days"] = 3650
	}
	if s.plan == "premium" && d.chance(30) {
		config["limits.automations-per-day"] = 1000 * d.between(1, 20)
	}
	if s.plan == "enterprise" {
		config["session.idle-minutes"] = []int{15, 30, 60}[d.n(3)]
		if d.chance(50) {
			config["allowed-networks"] = []string{"192.0.2.0/24", "2001:db8:4000::/36"}
		}
	}
	if d.chance(20) {
		config["branding"] = map[string]any{"accent": []string{"#3a6ea5", "#7a4988", "#2f7d4f", "#b5532a"}[d.n(4)], "dark": d.chance(40)}
	}
	return config
}
