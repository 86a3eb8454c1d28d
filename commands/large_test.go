package commands

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// This is as much as a tenant can have.
func TestHandler_ARegistrationOfAllThatIsAllowed_IsAppendedWholeAndReleasedWhole(t *testing.T) {
	s := newSystem(t)
	c := register(acme)
	for i := range maxHostnames {
		h := fmt.Sprintf("h%03d.%sexample", i, strings.Repeat(strings.Repeat("x", 63)+".", 3))
		c.Hostnames = append(c.Hostnames, host(h))
	}
	c.Config = map[string]jsontext.Value{}
	for i := range 8 {
		c.Config[fmt.Sprintf("k%03d", i)] = raw(sized(16<<10 - 4))
	}
	c.Products = map[string]events.Product{}
	feature := strings.Repeat("🦉", maxFeature)
	for size := 0; ; {
		name, p := fmt.Sprintf("p%03d", len(c.Products)), events.Product{Plan: "p"}
		for range maxFeatures {
			p.Features = append(p.Features, feature)
		}
		if size += productSize(name, p); size > maxProductText {
			break
		}
		c.Products[name] = p
	}
	s.do(c)
	if got := s.tenant(acme); len(got.Hostnames) != maxHostnames || len(got.Config) != 8 || len(got.Products) != len(c.Products) {
		t.Errorf("got %d hostnames, %d keys and %d products, want %d, 8 and %d", len(got.Hostnames), len(got.Config), len(got.Products), maxHostnames, len(c.Products))
	}
	if got := s.imported(c); got[0] != "unchanged" {
		t.Errorf("its line is %s, want it unchanged", got[0])
	}
	s.do(DeactivateTenant{acme}, PurgeTenant{acme}, register(ten("next"), c.Hostnames[0].String(), c.Hostnames[maxHostnames-1].String()))
}

func TestHandler_MoreProductTextThanIsAllowed_IsRefusedAtOnceAndBitByBit(t *testing.T) {
	s := newSystem(t)
	p := events.Product{Plan: "p"}
	for range maxFeatures {
		p.Features = append(p.Features, strings.Repeat("🦉", maxFeature))
	}
	fits := maxProductText / productSize("p000", p)
	c := register(acme)
	c.Products = map[string]events.Product{}
	for i := range fits + 1 {
		c.Products[fmt.Sprintf("p%03d", i)] = p
	}
	_, err := s.Do(t.Context(), Request{Command: c})
	if CodeOf(err) != Invalid || !strings.Contains(err.Error(), "/products") {
		t.Errorf("all at once: got %v, want it refused at /products", err)
	}
	delete(c.Products, "p000")
	s.do(c)
	_, err = s.Do(t.Context(), Request{Command: SetProduct{ID: acme, Product: "p000", Settings: p}})
	if CodeOf(err) != Invalid || !strings.Contains(err.Error(), "/features") {
		t.Errorf("one more: got %v, want it refused at /features", err)
	}
	s.do(SetProduct{ID: acme, Product: "p001", Settings: p})
}
