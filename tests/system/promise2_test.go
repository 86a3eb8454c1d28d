package system

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/tests/truth"
)

// step is one command of a tenant's life, on the tenant's own path.
type step struct{ method, path, body string }

// life is so many commands that each make one event.
func life(n int) []step {
	kinds := []func(i int) step{
		func(i int) step { return step{"PATCH", "", fmt.Sprintf(`{"name":"Name %d"}`, i)} },
		func(i int) step { return step{"PUT", "/config/key", fmt.Sprintf(`{"value":%d}`, i)} },
		func(i int) step { return step{"PUT", "/products/wiki", fmt.Sprintf(`{"plan":"p","seats":%d}`, i)} },
		func(int) step { return step{"POST", "/suspend", ""} },
		func(int) step { return step{"POST", "/resume", ""} },
		func(int) step { return step{"DELETE", "/config/key", ""} },
		func(int) step { return step{"DELETE", "/products/wiki", ""} },
	}
	steps := []step{{"POST", "/activate", ""}}
	for i := range n - 1 {
		steps = append(steps, kinds[i%len(kinds)](i))
	}
	return steps
}

func TestPromise2_EventsAreFoldedInOrderAndEachOnce_InEveryRegion(t *testing.T) {
	t.Parallel()
	d := start(t, t.TempDir())
	c := newClient(t)
	const tenants, commands = 8, 60
	f := &findings{}

	var writing, reading sync.WaitGroup
	over := make(chan struct{})
	seen := make([]map[uint64]jsontext.Value, 0, tenants*len(both))
	for i := range tenants {
		var readers []<-chan struct{}
		for name, url := range d.Regions {
			versions, fresh := make(map[uint64]jsontext.Value), make(chan struct{}, 1)
			seen, readers = append(seen, versions), append(readers, fresh)
			reading.Go(func() { watch(c, f, name, fmt.Sprintf("%s/v1/lookup/t%d.example", url, i), versions, fresh, over) })
		}
		id := fmt.Sprintf("ten_t%d", i)
		c.must("POST", d.Admin+"/v1/tenants", fmt.Sprintf(`{"id":%q,"name":"T","hostnames":["t%d.example"],"home_region":"eu-west"}`, id, i))
		writing.Go(func() {
			for n, s := range life(commands) {
				if n%10 == 9 { // so that the readers see some on the way
					for _, fresh := range readers {
						select {
						case <-fresh:
						case <-time.After(patience):
							f.add("a reader of %s sees no new version for %s", id, patience)
							return
						}
					}
				}
				if r, err := c.try(s.method, d.Admin+"/v1/tenants/"+id+s.path, s.body); err != nil || r.status != http.StatusOK {
					f.add("%s %s of %s: %d %v %s", s.method, s.path, id, r.status, err, r.body)
					return
				}
			}
		})
	}
	writing.Wait()
	w := checkRegions(t, c, d)
	close(over)
	reading.Wait()

	// Whatever a reader has seen at a version was the fold of the events up to it.
	prefixes := foldPrefixes(t, w)
	different := 0
	for _, versions := range seen {
		different += len(versions)
		for version, got := range versions {
			var id struct {
				ID string `json:"tenant_id"`
			}
			if err := json.Unmarshal(got, &id); err != nil {
				t.Fatal(err)
			}
			want, ok := prefixes[fmt.Sprintf("%s %d", id.ID, version)]
			if !ok {
				f.add("%s at version %d, which it never had", id.ID, version)
				continue
			}
			if g, err := truth.Canonical(got); err != nil || g != want {
				f.add("%s at version %d:\n%s\nthe log says\n%s", id.ID, version, g, want)
			}
		}
	}
	if different < 2*tenants*len(both) {
		t.Errorf("readers saw %d different versions in all, which proves nothing", different)
	}
	f.report(t, "one of them")

	// Counted just after it can be seen; one too many never goes away again.
	for _, region := range both {
		want := fmt.Sprintf(`tenantry_projection_events_total{outcome="folded",region=%q} %d`, region, w.Head())
		t.Logf("waiting for %s in /metrics: every event is folded, and once", want)
		await(t, func() bool {
			return strings.Contains(string(c.must("GET", d.Admin+"/metrics", "").body), want+"\n")
		})
	}
	d.stop()
}

// watch looks a hostname up until it is told to end, and keeps the first document of each version.
// A version that goes back, or that has two documents, is a finding. It tells on fresh of a version that
// was not seen before, and closes it at the end.
func watch(c *client, f *findings, region, url string, versions map[uint64]jsontext.Value, fresh chan<- struct{}, over <-chan struct{}) {
	defer close(fresh)
	last := uint64(0)
	for {
		select {
		case <-over:
			return
		default:
		}
		r, err := c.try("GET", url, "")
		if err != nil {
			f.add("%s: %v", url, err)
			return
		}
		if r.status == http.StatusNotFound && last == 0 {
			continue
		}
		var doc struct {
			Version uint64 `json:"version"`
		}
		if err := json.Unmarshal(r.body, &doc); err != nil || r.status != http.StatusOK {
			f.add("%s: %d %v %s", url, r.status, err, r.body)
			return
		}
		switch before, known := versions[doc.Version]; {
		case doc.Version < last:
			f.add("%s: version %d behind version %d in %s", url, doc.Version, last, region)
		case known && string(before) != string(r.body):
			f.add("%s: version %d is %s and %s in %s", url, doc.Version, before, r.body, region)
		case !known:
			versions[doc.Version] = r.body
			select {
			case fresh <- struct{}{}:
			default: // the one before was not waited for
			}
		}
		last = doc.Version
	}
}

// foldPrefixes are the contexts of all tenants at all versions, by "id version", asked for by the
// primary hostname.
func foldPrefixes(t *testing.T, w *truth.Log) map[string]string {
	t.Helper()
	out := make(map[string]string)
	tenants := make(map[events.StreamID]events.Tenant)
	for _, e := range w.Events {
		next, err := tenants[e.Stream].Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		tenants[e.Stream] = next
		if out[fmt.Sprintf("%s %d", next.ID, next.Version)], err = truth.Canonical(w.Context(next, "")); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
