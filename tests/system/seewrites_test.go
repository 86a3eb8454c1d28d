package system

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

func TestReadYourWrites_WithTheTokenOfACommand_EveryRegionAnswersIt(t *testing.T) {
	t.Parallel()
	const writers, each = 5, 100
	d := start(t, t.TempDir())
	c := newClient(t)
	f := &findings{}
	var mu sync.Mutex
	var took []time.Duration
	var writing sync.WaitGroup
	for i := range writers {
		id := fmt.Sprintf("ten_w%d", i)
		c.must("POST", d.Admin+"/v1/tenants", fmt.Sprintf(`{"id":%q,"name":"W","hostnames":["w%d.example"],"home_region":"eu-west"}`, id, i))
		writing.Go(func() {
			for n := range each {
				answer, err := c.try("PUT", d.Admin+"/v1/tenants/"+id+"/config/n", fmt.Sprintf(`{"value":%d}`, n))
				if err != nil || answer.status != http.StatusOK {
					f.add("command %d of %s: %d %v %s", n, id, answer.status, err, answer.body)
					return
				}
				began := time.Now()
				var looking sync.WaitGroup
				for name, url := range d.Regions {
					looking.Go(func() {
						ask := fmt.Sprintf("%s/v1/lookup/w%d.example?at_least=%s", url, i, answer.header.Get("Tenantry-Token"))
						if err := seesWrite(c, ask, answer, n); err != nil {
							f.add("%s, command %d in %s: %v", id, n, name, err)
						}
					})
				}
				looking.Wait()
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	writing.Wait()
	f.report(t, "one of them")
	slices.Sort(took)
	if len(took) == writers*each {
		t.Logf("from the command's answer to both regions' answers: half within %s, 99 of 100 within %s", took[len(took)/2], took[len(took)*99/100])
	}

	// min_version and min_position say the same without a token.
	last := c.must("PUT", d.Admin+"/v1/tenants/ten_w0/config/n", `{"value":-1}`)
	for name, url := range d.Regions {
		for _, ask := range []string{"min_version=" + strings.Trim(last.header.Get("ETag"), `"`), "min_position=" + last.header.Get("Tenantry-Position")} {
			if err := seesWrite(c, url+"/v1/lookup/w0.example?wait=10s&"+ask, last, -1); err != nil {
				t.Errorf("%s in %s: %v", ask, name, err)
			}
		}
		// What was not written is not there, and that is said.
		r := c.get(url + "/v1/lookup/w0.example?min_version=999999&wait=1ms")
		var p problem
		r.as(t, &p)
		if r.status != http.StatusGatewayTimeout || p.kind() != "not-yet-visible" {
			t.Errorf("a version that is not there: got %d %s, want 504 not-yet-visible", r.status, r.body)
		}
	}
	checkRegions(t, c, d)
	d.stop()
}

// seesWrite expects a look-up to show a command that set the key n.
func seesWrite(c *client, url string, command reply, n int) error {
	r, err := c.try("GET", url, "")
	if err != nil {
		return err
	}
	var doc struct {
		Version uint64         `json:"version"`
		Config  map[string]int `json:"config"`
	}
	var wrote struct {
		Version uint64 `json:"version"`
	}
	if r.status != http.StatusOK {
		return fmt.Errorf("%d %s", r.status, r.body)
	}
	if err := json.Unmarshal(command.body, &wrote); err != nil {
		return err
	}
	if err := json.Unmarshal(r.body, &doc); err != nil {
		return err
	}
	if doc.Version < wrote.Version || doc.Config["n"] != n {
		return fmt.Errorf("got version %d with n %d, want at least version %d with %d", doc.Version, doc.Config["n"], wrote.Version, n)
	}
	return nil
}
