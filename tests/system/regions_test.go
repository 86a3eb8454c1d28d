package system

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/events"
)

// askedAtOnce is how many hostnames a batch may have.
const askedAtOnce = 1000

// checkRegions waits until all regions of a dev hold what its log holds, and compares every
// hostname that anybody ever had, and every tenant by its ID, with the fold of the log.
func checkRegions(t *testing.T, c *client, d *dev) *truth {
	t.Helper()
	w := readTruth(t, c, d.Admin)
	checkHostnames(t, c, d, w)
	for name, url := range d.Regions {
		f := &findings{}
		eachAtOnce(maps.Values(w.tenants), func(tenant events.Tenant) { w.checkTenant(c, f, url, tenant) })
		f.report(t, name)
	}
	return w
}

// checkHostnames is the part of checkRegions that takes few requests: what is asked for by
// hostname.
func checkHostnames(t *testing.T, c *client, d *dev, w *truth) {
	t.Helper()
	if len(d.Regions) != len(both) {
		t.Errorf("got regions %v, want %v", d.Regions, both)
	}
	for name, url := range d.Regions {
		awaitPosition(t, c, url, w.head())
		checkStatus(t, c, name, url, w)
		f := &findings{}
		eachAtOnce(slices.Chunk(w.hostnames(), askedAtOnce), func(chunk []string) { w.checkBatch(c, f, url, chunk) })
		f.report(t, name)
	}
}

// checkStatus expects a region to say of itself that all is well and how far it has come.
func checkStatus(t *testing.T, c *client, name, url string, w *truth) {
	t.Helper()
	var s struct {
		Region      string           `json:"region"`
		Ready       bool             `json:"ready"`
		StoreID     string           `json:"store_id"`
		Position    uint64           `json:"position"`
		Quarantined []jsontext.Value `json:"quarantined"`
	}
	c.must("GET", url+"/v1/status", "").as(t, &s)
	if s.Region != name || !s.Ready || s.StoreID != w.storeID || s.Position < w.head() || len(s.Quarantined) > 0 {
		t.Errorf("status of %s: got %+v, want it ready at position %d of store %s with nothing in quarantine", name, s, w.head(), w.storeID)
	}
}

// hostnames are all that the log knows of, and one that it does not.
func (w *truth) hostnames() []string {
	out := []string{"never-anybodys.example"}
	for h := range w.holders {
		out = append(out, h.String())
	}
	slices.Sort(out)
	return out
}

// holder is who has a hostname.
func (w *truth) holder(name string) (events.Tenant, bool) {
	h, err := events.ParseHostname(name)
	if err != nil {
		return events.Tenant{}, false
	}
	t, ok := w.tenants[w.holders[h]]
	return t, ok
}

// findings collects from several goroutines what differs.
type findings struct {
	mu   sync.Mutex
	list []string
}

func (f *findings) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

func (f *findings) report(t *testing.T, region string) {
	t.Helper()
	if n := len(f.list); n > 0 {
		t.Errorf("region %s differs from the log in %d places:\n%s", region, n, strings.Join(f.list[:min(n, 5)], "\n"))
	}
}

// eachAtOnce calls do for every item, several at a time.
func eachAtOnce[T any](items iter.Seq[T], do func(T)) {
	var workers sync.WaitGroup
	work := make(chan T)
	for range 4 {
		workers.Go(func() {
			for item := range work {
				do(item)
			}
		})
	}
	for item := range items {
		work <- item
	}
	close(work)
	workers.Wait()
}

// checkDocument adds a finding where a tenant's context is not what the log says. asked is the
// hostname that was asked for, "" where the tenant was asked for by its ID.
func (w *truth) checkDocument(f *findings, tenant events.Tenant, asked string, got jsontext.Value) {
	what := cmp.Or(asked, tenant.ID.String())
	w.mu.Lock()
	known := bytes.Equal(w.right[what], got)
	w.mu.Unlock()
	if known {
		return
	}
	g, err := canonical(got)
	if err != nil {
		f.add("%s: %v: %s", what, err, got)
		return
	}
	wanted, err := canonical(w.context(tenant, asked))
	if err != nil {
		f.add("%s: %v", what, err)
		return
	}
	if g != wanted {
		var a, b map[string]any
		_, _ = json.Unmarshal([]byte(wanted), &a), json.Unmarshal([]byte(g), &b) // both are canonical JSON
		f.add("%s (-log +region):\n%s", what, gocmp.Diff(a, b))
		return
	}
	w.mu.Lock()
	w.right[what] = bytes.Clone(got)
	w.mu.Unlock()
}

func (w *truth) checkBatch(c *client, f *findings, url string, names []string) {
	body, err := json.Marshal(map[string]any{"hostnames": names})
	if err != nil {
		f.add("%v", err)
		return
	}
	r, err := c.try("POST", url+"/v1/lookup", string(body))
	if err != nil || r.status != http.StatusOK {
		f.add("batch look-up: %d %v %.300s", r.status, err, r.body)
		return
	}
	var items []struct {
		Hostname string         `json:"hostname"`
		Context  jsontext.Value `json:"context"`
		Error    *problem       `json:"error"`
	}
	if err := json.Unmarshal(r.body, &items); err != nil || len(items) != len(names) {
		f.add("batch look-up: %d answers to %d hostnames: %v", len(items), len(names), err)
		return
	}
	for i, name := range names {
		tenant, held := w.holder(name)
		item := items[i]
		switch {
		case item.Hostname != name:
			f.add("answer %d is about %s, want %s", i, item.Hostname, name)
		case held && item.Error != nil:
			f.add("%s of %s: got %+v", name, tenant.ID, *item.Error)
		case held:
			w.checkDocument(f, tenant, name, item.Context)
		case item.Error == nil || item.Error.kind() != "unknown-hostname":
			f.add("%s is nobody's: got %s", name, item.Context)
		}
	}
}

func (w *truth) checkTenant(c *client, f *findings, url string, tenant events.Tenant) {
	r, err := c.try("GET", url+"/v1/tenants/"+tenant.ID.String(), "")
	switch {
	case err != nil:
		f.add("%s: %v", tenant.ID, err)
	case tenant.Status == events.StatusPurged:
		if r.status != http.StatusNotFound {
			f.add("%s is purged: got %d %s", tenant.ID, r.status, r.body)
		}
	case r.status != http.StatusOK:
		f.add("%s: got %d %s", tenant.ID, r.status, r.body)
	default:
		w.checkDocument(f, tenant, "", r.body)
		if got, want := r.header.Get("Tenantry-Version"), fmt.Sprint(tenant.Version); got != want {
			f.add("%s: got Tenantry-Version %s, want %s", tenant.ID, got, want)
		}
	}
}
