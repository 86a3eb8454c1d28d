package commands

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
)

// A body of the API has at most 1 MiB. This is about as much as can be said in one.
func TestHandler_ARegistrationOfAMebibyte_IsAppendedWholeAndReleasedWhole(t *testing.T) {
	s := newSystem(t)
	c := register(acme)
	size := 0
	for i := range maxHostnames {
		h := fmt.Sprintf("h%03d.%sexample", i, strings.Repeat(strings.Repeat("x", 63)+".", 3))
		c.Hostnames = append(c.Hostnames, host(h))
		size += len(h)
	}
	c.Config = map[string]jsontext.Value{}
	for i := range 8 {
		c.Config[fmt.Sprintf("k%03d", i)] = raw(sized(16<<10 - 4))
		size += 16 << 10
	}
	c.Products = map[string]events.Product{}
	for i := 0; size < 1<<20; i++ {
		p := events.Product{Plan: "p"}
		for range maxFeatures {
			p.Features = append(p.Features, strings.Repeat("🦉", maxFeature))
			size += 4 * maxFeature
		}
		c.Products[fmt.Sprintf("p%03d", i)] = p
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
