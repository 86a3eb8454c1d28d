package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/testservers"
)

// at is a catalogue on a database, at an address that it keeps over restarts.
func (p production) at(t *testing.T, address, database string, acceptRestore bool) *CatalogueServer {
	t.Helper()
	c, err := OpenCatalogueServer(t.Context(), CatalogueServerConfig{
		Listen: address, Database: Database{URL: database}, Kafka: p.kafka, AcceptRestore: acceptRestore, Observed: Observed{Logger: silent},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (s *CatalogueServer) close(t *testing.T) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func registerAt(t *testing.T, url, id string) {
	t.Helper()
	body := fmt.Sprintf(`{"id":"ten_%s","name":"N","hostnames":["%s.example"],"home_region":"eu-west"}`, id, id)
	if status, answer, err := send(t.Context(), "POST", url+"/v1/tenants", body); err != nil || status != http.StatusCreated {
		t.Fatalf("register %s: %d %v %s", id, status, err, answer)
	}
}

// becomes waits until a request is answered with a status, and a text in it.
func becomes(t *testing.T, url string, status int, text string) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		got, body, err := send(t.Context(), "GET", url, "")
		if err == nil && got == status && strings.Contains(body, text) {
			return
		}
		select {
		case <-late:
			t.Fatalf("GET %s is still %d %v %s, and not %d with %q", url, got, err, body, status, text)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// withATenant registers the tenant ten_kept by a catalogue that it stops then, and starts a node that has it and
// that goes by a catalogue at the same address.
func (p production) withATenant(t *testing.T) (address string, node *RegionServer) {
	t.Helper()
	c := p.at(t, "127.0.0.1:0", p.database.URL, false)
	registerAt(t, c.URL(), "kept")
	node = p.region(t, c.URL())
	becomes(t, node.URL()+"/v1/lookup/kept.example", http.StatusOK, "ten_kept")
	c.close(t)
	return strings.TrimPrefix(c.URL(), "http://"), node
}

func TestCatalogueServer_OnADatabaseRestoredToAnEarlierPast_PublishesNothingUntilThatIsAccepted(t *testing.T) {
	p := newProduction(t)
	address, node := p.withATenant(t)
	backup := testservers.CopyDatabase(t, p.database.URL)

	second := p.at(t, address, p.database.URL, false)
	registerAt(t, second.URL(), "lost")
	becomes(t, node.URL()+"/v1/lookup/lost.example", http.StatusOK, "ten_lost")
	second.close(t)

	// The backup does not know that it is one. Kafka's records do.
	third := p.at(t, address, backup, false)
	becomes(t, third.URL()+"/readyz?verbose", http.StatusServiceUnavailable, "--accept-restore")
	registerAt(t, third.URL(), "other") // at the position that the lost one had
	third.close(t)

	fourth := p.at(t, address, backup, true)
	becomes(t, fourth.URL()+"/readyz?verbose", http.StatusOK, "ready")
	for _, node := range []*RegionServer{node, p.region(t, fourth.URL())} {
		becomes(t, node.URL()+"/v1/lookup/other.example", http.StatusOK, "ten_other")
		becomes(t, node.URL()+"/v1/lookup/kept.example", http.StatusOK, "ten_kept")
		becomes(t, node.URL()+"/v1/lookup/lost.example", http.StatusNotFound, "")
	}
	// From there on it is a store like any other, also for who did not accept anything.
	fourth.close(t)
	fifth := p.at(t, address, backup, false)
	registerAt(t, fifth.URL(), "next")
	becomes(t, node.URL()+"/v1/lookup/next.example", http.StatusOK, "ten_next")
}

// Whoever took the wrong backup, accepted it and restores the right one has the database forget that it had
// been given another identity. What was acknowledged before that is accepted is kept, and published then.
func TestCatalogueServer_RestoredAgainToBeforeAnAcceptedRestore_CanBeAcceptedAgain(t *testing.T) {
	p := newProduction(t)
	address, node := p.withATenant(t)
	backup, earlier := testservers.CopyDatabase(t, p.database.URL), testservers.CopyDatabase(t, p.database.URL)

	lost := p.at(t, address, p.database.URL, false)
	registerAt(t, lost.URL(), "lost")
	becomes(t, node.URL()+"/v1/lookup/lost.example", http.StatusOK, "ten_lost")
	lost.close(t)

	accepted := p.at(t, address, backup, true)
	registerAt(t, accepted.URL(), "wrong")
	becomes(t, node.URL()+"/v1/lookup/wrong.example", http.StatusOK, "ten_wrong")
	accepted.close(t)

	again := p.at(t, address, earlier, false)
	becomes(t, again.URL()+"/readyz?verbose", http.StatusServiceUnavailable, "--accept-restore")
	registerAt(t, again.URL(), "meanwhile")
	again.close(t)
	last := p.at(t, address, earlier, true)
	becomes(t, last.URL()+"/readyz?verbose", http.StatusOK, "ready")
	for _, node := range []*RegionServer{node, p.region(t, last.URL())} {
		becomes(t, node.URL()+"/v1/lookup/meanwhile.example", http.StatusOK, "ten_meanwhile")
		becomes(t, node.URL()+"/v1/lookup/kept.example", http.StatusOK, "ten_kept")
		becomes(t, node.URL()+"/v1/lookup/lost.example", http.StatusNotFound, "")
		becomes(t, node.URL()+"/v1/lookup/wrong.example", http.StatusNotFound, "")
	}
}

func TestDev_OnAStoreRestoredToAnEarlierPast_SaysWhatADevCanDo(t *testing.T) {
	cfg := config(t.TempDir())
	started := func() *Dev {
		d, err := OpenDev(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	stop := func(d *Dev) {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	store, backup := filepath.Join(cfg.DataDir, "store"), t.TempDir()
	d := started()
	registerAt(t, d.Addresses().Admin, "kept")
	stop(d)
	if err := os.CopyFS(backup, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	d = started()
	registerAt(t, d.Addresses().Admin, "lost")
	becomes(t, d.Addresses().Regions[cfg.Regions[0].Name]+"/v1/lookup/lost.example", http.StatusOK, "ten_lost")
	stop(d)
	if err := errors.Join(os.RemoveAll(store), os.CopyFS(store, os.DirFS(backup))); err != nil {
		t.Fatal(err)
	}
	d = started()
	becomes(t, d.Addresses().Admin+"/readyz?verbose", http.StatusServiceUnavailable, "delete kafka/ and regions/")
	if _, body, err := send(t.Context(), "GET", d.Addresses().Admin+"/readyz?verbose", ""); err != nil || strings.Contains(body, "--accept-restore") {
		t.Errorf("got %v %s, which speaks of a flag that a dev does not have", err, body)
	}
	stop(d)

	// It is what helps.
	if err := errors.Join(os.RemoveAll(filepath.Join(cfg.DataDir, "kafka")), os.RemoveAll(filepath.Join(cfg.DataDir, "regions"))); err != nil {
		t.Fatal(err)
	}
	d = started()
	becomes(t, d.Addresses().Admin+"/readyz?verbose", http.StatusOK, "ready")
	becomes(t, d.Addresses().Regions[cfg.Regions[0].Name]+"/v1/lookup/kept.example", http.StatusOK, "ten_kept")
	stop(d)
}
