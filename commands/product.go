package commands

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// SetProduct activates a product, or replaces the whole of an active one's settings.
type SetProduct struct {
	ID       events.TenantID
	Product  string // its name
	Settings events.Product
}

// DeactivateProduct takes a product from a tenant.
type DeactivateProduct struct {
	ID      events.TenantID
	Product string // its name
}

// Target is the tenant.
func (c SetProduct) Target() events.StreamID { return c.ID.Stream() }

// Target is the tenant.
func (c DeactivateProduct) Target() events.StreamID { return c.ID.Stream() }

func (SetProduct) name() string        { return "set-product" }
func (DeactivateProduct) name() string { return "deactivate-product" }

func (c SetProduct) check(f *faults) {
	f.productName("", c.Product)
	f.product("", c.Settings)
}

func (c DeactivateProduct) check(f *faults) { f.productName("", c.Product) }

func (c SetProduct) decide(t events.Tenant, _ facts) ([]events.Payload, error) {
	settings := plainProduct(c.Settings)
	was, active := t.Products[c.Product]
	total := productSize(c.Product, settings)
	for name, p := range t.Products {
		if name != c.Product {
			total += productSize(name, p)
		}
	}
	switch {
	case active && sameProduct(was, settings):
		return nil, nil
	case total > maxProductText:
		return nil, refuseField(Invalid, "/features", fmt.Sprintf(
			"the products of %s would have %d octets of text, and %d are allowed: name fewer features", t.ID, total, maxProductText))
	case active:
		return []events.Payload{events.ProductChanged{Name: c.Product, Product: settings}}, nil
	case len(t.Products) >= maxProducts:
		return nil, &Refusal{Code: Invalid, Detail: fmt.Sprintf("%s has %d products, and no more are allowed: deactivate one first", t.ID, len(t.Products))}
	}
	return []events.Payload{events.ProductActivated{Name: c.Product, Product: settings}}, nil
}

func (c DeactivateProduct) decide(t events.Tenant, _ facts) ([]events.Payload, error) {
	if _, active := t.Products[c.Product]; !active {
		return nil, &Refusal{Code: NotFound, Stream: t.ID.Stream(), Detail: fmt.Sprintf("%s does not have the product %s: check its name", t.ID, quote(c.Product))}
	}
	return []events.Payload{events.ProductDeactivated{Name: c.Product}}, nil
}

// productSize is the octets of a product's texts. All of a tenant together are bounded, so that
// its document stays below what a read model keeps in its tables.
func productSize(name string, p events.Product) int {
	size := len(name) + len(p.Plan)
	for _, feature := range p.Features {
		size += len(feature)
	}
	return size
}

// productName checks a product's name, which stands in the path or is a member's name.
func (f *faults) productName(pointer jsontext.Pointer, s string) {
	if !isWord(s, "._-", false, maxProductName) {
		f.add(pointer, "a product's name is 1 to %d of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit: %s is not", maxProductName, quote(s))
		return
	}
	f.noSecret(pointer, "product's name", s)
}

// product checks a product's settings, which are at pointer.
func (f *faults) product(pointer jsontext.Pointer, p events.Product) {
	if !isWord(p.Plan, "._-", true, maxPlan) {
		f.add(pointer+"/plan", "a plan is 1 to %d of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit: %s is not", maxPlan, quote(p.Plan))
	} else {
		f.noSecret(pointer+"/plan", "plan", p.Plan)
	}
	if p.Seats != nil && *p.Seats < 0 {
		f.add(pointer+"/seats", "%d seats are fewer than none: give 0 or more, or leave seats out where they are not counted", *p.Seats)
	}
	if len(p.Features) > maxFeatures {
		f.add(pointer+"/features", "these are %d features: give at most %d", len(p.Features), maxFeatures)
	} else {
		for i, feature := range p.Features {
			f.text((pointer + "/features").AppendToken(strconv.Itoa(i)), "feature", feature, maxFeature)
		}
	}
	if p.TrialUntil != nil {
		// RFC 3339 has four digits for the year, and an offset may lead out of them.
		if year := p.TrialUntil.UTC().Year(); year < 1 || year > 9999 {
			f.add(pointer+"/trial_until", "the year %d is out of range: give a time in the years 1 to 9999 UTC", year)
		}
	}
}

// plainProduct is p in the one form in which it is stored.
func plainProduct(p events.Product) events.Product {
	if p.TrialUntil != nil {
		utc := p.TrialUntil.UTC()
		p.TrialUntil = &utc
	}
	return p
}

func sameProduct(a, b events.Product) bool {
	return a.Plan == b.Plan && slices.Equal(a.Features, b.Features) &&
		(a.Seats == nil) == (b.Seats == nil) && (a.Seats == nil || *a.Seats == *b.Seats) &&
		sameTime(a.TrialUntil, b.TrialUntil)
}

func sameTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}
