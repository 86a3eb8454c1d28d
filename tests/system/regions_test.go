package system

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/tests/truth"
)

// checkRegions waits until all regions of a dev hold what its log holds, and compares every
// hostname that anybody ever had, and every tenant by its ID, with the fold of the log.
func checkRegions(t *testing.T, c *client, d *dev) *truth.Log {
	t.Helper()
	w := readTruth(t, c, d.Admin)
	checkHostnames(t, c, d, w)
	for name, url := range d.Regions {
		report(t, name, w.CheckTenants(t.Context(), c.node(url)))
	}
	return w
}

// checkHostnames is the part of checkRegions that takes few requests: what is asked for by
// hostname.
func checkHostnames(t *testing.T, c *client, d *dev, w *truth.Log) {
	t.Helper()
	if len(d.Regions) != len(both) {
		t.Errorf("got regions %v, want %v", d.Regions, both)
	}
	for name, url := range d.Regions {
		awaitPosition(t, c, url, w.Head())
		checkStatus(t, c, name, url, w)
		report(t, name, w.CheckHostnames(t.Context(), c.node(url)))
	}
}

// checkStatus expects a region to say of itself that all is well and how far it has come.
func checkStatus(t *testing.T, c *client, name, url string, w *truth.Log) {
	t.Helper()
	var s struct {
		Region      string           `json:"region"`
		Ready       bool             `json:"ready"`
		StoreID     string           `json:"store_id"`
		Position    uint64           `json:"position"`
		Quarantined []jsontext.Value `json:"quarantined"`
	}
	c.must("GET", url+"/v1/status", "").as(t, &s)
	if s.Region != name || !s.Ready || s.StoreID != w.StoreID || s.Position < w.Head() || len(s.Quarantined) > 0 {
		t.Errorf("status of %s: got %+v, want it ready at position %d of store %s with nothing in quarantine", name, s, w.Head(), w.StoreID)
	}
}
