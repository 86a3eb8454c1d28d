package system

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
)

func TestPromise5_ManyClientsRaceForAHostname_ExactlyOneWinsAndBothRegionsSayWho(t *testing.T) {
	t.Parallel()
	const rounds, rivals = 25, 12
	d := start(t, t.TempDir())
	c := newClient(t)
	// Half of the rivals exist, and attach the hostname; half register with it.
	for i := range rivals {
		c.must("POST", d.Admin+"/v1/tenants", fmt.Sprintf(`{"id":"ten_r%d","name":"R","hostnames":["r%d.example"],"home_region":"eu-west"}`, i, i))
	}
	for round := range rounds {
		hostname := fmt.Sprintf("round-%d.example", round)
		asks := make([]rival, rivals)
		for i := range asks {
			id := fmt.Sprintf("ten_r%d", i)
			asks[i] = rival{id, step{"PUT", "/" + id + "/hostnames/" + strings.ToUpper(hostname), ""}}
			if i%2 == 0 {
				id = fmt.Sprintf("ten_new-%d-%d", round, i)
				asks[i] = rival{id, step{"POST", "", fmt.Sprintf(`{"id":%q,"name":"R","hostnames":[%q],"home_region":"us-east"}`, id, hostname)}}
			}
		}
		winner := race(t, c, d, hostname, asks)

		// It is let go, and all race for it again, some of them before it is free.
		var again []rival
		for i := range rivals {
			id := fmt.Sprintf("ten_r%d", i)
			if id != winner {
				again = append(again, rival{id, step{"PUT", "/" + id + "/hostnames/" + hostname, ""}})
			}
		}
		c.must("DELETE", d.Admin+"/v1/tenants/"+winner+"/hostnames/"+hostname, "")
		race(t, c, d, hostname, again)
	}
	w := checkRegions(t, c, d) // whose fold refuses a hostname with two holders at any position
	for round := range rounds {
		if holder, ok := w.Holder(fmt.Sprintf("round-%d.example", round)); !ok {
			t.Errorf("round %d: nobody holds it", round)
		} else if !strings.HasPrefix(holder.ID.String(), "ten_r") {
			t.Errorf("round %d: %s holds it, which did not take part in the last race", round, holder.ID)
		}
	}
	d.stop()
}

// rival is a tenant, and how it asks for a hostname.
type rival struct {
	id  string
	ask step
}

// race lets all rivals ask at the same time, and is who won. The others have to be told who.
func race(t *testing.T, c *client, d *dev, hostname string, rivals []rival) (winner string) {
	t.Helper()
	replies := make([]reply, len(rivals))
	errs := make([]error, len(rivals))
	ready := make(chan struct{})
	var asking sync.WaitGroup
	for i, r := range rivals {
		asking.Go(func() {
			<-ready
			replies[i], errs[i] = c.try(r.ask.method, d.Admin+"/v1/tenants"+r.ask.path, r.ask.body)
		})
	}
	close(ready)
	asking.Wait()
	token := ""
	for i, r := range replies {
		switch {
		case errs[i] != nil:
			t.Fatal(errs[i])
		case r.status == http.StatusOK || r.status == http.StatusCreated:
			if winner != "" {
				t.Errorf("%s: both %s and %s were told that they have it", hostname, winner, rivals[i].id)
			}
			winner, token = rivals[i].id, r.header.Get("Tenantry-Token")
		}
	}
	if winner == "" {
		t.Fatalf("%s: nobody won: %d %s", hostname, replies[0].status, replies[0].body)
	}
	for i, r := range replies {
		if rivals[i].id == winner {
			continue
		}
		var p problem
		if err := json.Unmarshal(r.body, &p); err != nil || r.status != http.StatusConflict || p.kind() != "hostname-taken" ||
			!strings.Contains(p.Detail, hostname) || !strings.Contains(p.Detail, winner) {
			t.Errorf("%s of %s: got %d %s, want 409 hostname-taken that names %s", hostname, rivals[i].id, r.status, r.body, winner)
		}
	}
	for name, url := range d.Regions {
		var doc struct {
			ID string `json:"tenant_id"`
		}
		c.must("GET", url+"/v1/lookup/"+hostname+"?wait=20s&at_least="+token, "").as(t, &doc)
		if doc.ID != winner {
			t.Errorf("%s leads to %s in %s, want %s", hostname, doc.ID, name, winner)
		}
	}
	return winner
}
