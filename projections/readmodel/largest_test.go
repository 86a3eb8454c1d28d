package readmodel_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// What one event changes cannot be cut, so a transaction must hold the most that one can be.
func TestModel_UpdateOfTheLargestTenant_FitsATransaction(t *testing.T) {
	m := begun(t, 128)
	// The limits of package commands, all reached: 500 hostnames, and 128 KiB of text each in
	// configuration and products; those with the most keys and names.
	var names []string
	for i := range 500 {
		name := fmt.Sprintf("%s.%s.%s.%03d.example", strings.Repeat("a", 63), strings.Repeat("b", 63), strings.Repeat("c", 63), i)
		names = append(names, strings.Repeat("d", 253-len(name)-1)+"."+name)
	}
	largest := acme(t, 1, names...)
	largest.ID = tenantID(t, "ten_"+strings.Repeat("t", 63))
	largest.Config, largest.Products = map[string]jsontext.Value{}, map[string]events.Product{}
	for i := range 200 {
		value := strings.Repeat("v", 128<<10/200-128-2)
		largest.Config[fmt.Sprintf("%0128d", i)] = jsontext.Value(`"` + value + `"`)
	}
	for i := range 100 {
		features := make([]string, 100)
		for j := range features {
			features[j] = strings.Repeat("f", (128<<10/100-64-63)/100)
		}
		largest.Products[fmt.Sprintf("%063d", i)] = events.Product{Plan: strings.Repeat("p", 64), Features: features}
	}
	update(t, m, func(tx *readmodel.Tx) error { return tx.PutTenant(largest) })
	doc, err := m.Lookup(host(t, names[499]))
	if err != nil || len(doc.Body) < 384<<10 {
		t.Fatalf("look-up: got %d octets, %v, want all of it", len(doc.Body), err)
	}

	// Each hostname is released, and remembered as that.
	purged := largest
	purged.Version, purged.Position, purged.Status = 2, 2, events.StatusPurged
	purged.Hostnames, purged.Primary, purged.Config, purged.Products = nil, events.Hostname{}, nil, nil
	update(t, m, func(tx *readmodel.Tx) error { return tx.PutTenant(purged) })
	if swept, err := m.Sweep(1000); err != nil || swept != 0 {
		t.Errorf("sweep: got %d, %v, want none: no partition is past them", swept, err)
	}
}
