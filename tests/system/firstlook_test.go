package system

import (
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// roster is the example roster, which `make run` imports.
const roster = "../../examples/roster.ndjson"

func TestDev_WithTheExampleRoster_AnswersTheFirstLookUpInBothRegions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := start(t, dir, "--import", roster)
	c := newClient(t)

	for _, url := range d.Regions {
		for _, hostname := range []string{"acme.example", "ACME.example.", "www.acme.example", "acme.larkspur.example"} {
			r := c.must("GET", url+"/v1/lookup/"+hostname, "")
			var doc struct {
				ID       string `json:"tenant_id"`
				Status   string `json:"status"`
				Hostname string `json:"hostname"`
				Database struct {
					SecretRef string `json:"secret_ref"`
				} `json:"database"`
			}
			r.as(t, &doc)
			asked := strings.TrimSuffix(strings.ToLower(hostname), ".")
			if doc.ID != "ten_acme" || doc.Status != "active" || doc.Hostname != asked || doc.Database.SecretRef == "" {
				t.Errorf("%s in %s: got %s", hostname, url, r.body)
			}
		}
		if r := c.get(url + "/v1/lookup/unknown.example"); r.status != http.StatusNotFound {
			t.Errorf("unknown.example: got %d, want 404", r.status)
		}
		if r := c.get(url + "/readyz"); r.status != http.StatusOK {
			t.Errorf("/readyz: got %d %s", r.status, r.body)
		}
	}
	w := checkRegions(t, c, d)
	checkTopic(t, d.Kafka, w)
	in := readRoster(t, roster)
	for _, line := range in {
		line.checkHolds(t, w)
	}
	if got := len(w.Tenants) + len(w.Databases) + len(w.Groups); got != len(in) {
		t.Errorf("got %d streams from %d lines", got, len(in))
	}
	if out := d.stdout.String(); !strings.Contains(out, d.Admin) || !strings.Contains(out, d.Regions["eu-west"]) ||
		!strings.Contains(out, d.Regions["us-east"]) || !strings.Contains(out, d.Kafka[0]) {
		t.Errorf("what dev printed lacks an address of %+v:\n%s", d.Addresses, out)
	}
	d.stop()

	// `make run` again: the import changes nothing.
	d = start(t, dir, "--import", roster)
	if again := checkRegions(t, c, d); again.Head() != w.Head() {
		t.Errorf("the second start ends at position %d, want %d as before", again.Head(), w.Head())
	}
	d.stop()
}

func TestDev_ToldToStop_InTheMiddleOfAnything_StopsInTimeWithExitCode0(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			// Before it is ready: while it imports.
			dir := t.TempDir()
			d := launch(t, dir, "--import", roster)
			d.awaitLog("event store opened")
			d.signal(sig)
			if code := d.awaitEnd(stopTime); code != 0 {
				t.Errorf("while it starts: exit code %d:\n%s", code, d.stderr.String())
			}
			// While a request waits for what will never come, and a client holds its import open.
			d = start(t, dir)
			c := newClient(t)
			waiting := make(chan struct{})
			go func() {
				defer close(waiting)
				_, _ = c.try("GET", d.Regions["eu-west"]+"/v1/lookup/acme.example?min_position=999999999&wait=30s", "")
			}()
			open, err := openImport(c, d.Admin)
			if err != nil {
				t.Fatal(err)
			}
			defer open.close()
			if status := open.line(t, `{"id":"ten_open","name":"Open","hostnames":["open.example"],"home_region":"eu-west"}`); status != "created" {
				t.Errorf("a line of an import that goes on: got %s", status)
			}
			d.signal(sig)
			if code := d.awaitEnd(stopTime); code != 0 {
				t.Errorf("with requests under way: exit code %d:\n%s", code, d.stderr.String())
			}
			<-waiting // answered or cut off, but not left alone

			d = start(t, dir)
			if w := checkRegions(t, c, d); !has(w, "ten_open") {
				t.Error("ten_open was answered and is not there after the stop")
			}
			d.stop()
		})
	}
}
