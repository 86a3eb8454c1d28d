package daemon

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/internal/testservers"
)

// production is a database with the schema, and a topic of its own, on real servers.
type production struct {
	database Database
	kafka    Kafka
}

func newProduction(t *testing.T) production {
	t.Helper()
	p := production{
		database: Database{URL: testservers.Database(t)},
		kafka:    Kafka{Brokers: []string{testservers.Kafka(t)}, Topic: "t" + uuid.NewString(), Partitions: 3},
	}
	if _, err := Migrate(t.Context(), MigrateConfig{Database: p.database, Logger: silent}); err != nil {
		t.Fatal(err)
	}
	return p
}

var silent = slog.New(slog.DiscardHandler)

func (p production) catalogue(t *testing.T) *CatalogueServer {
	t.Helper()
	c, err := OpenCatalogueServer(t.Context(), CatalogueServerConfig{
		Listen: "127.0.0.1:0", Database: p.database, Kafka: p.kafka, HomeRegions: []string{"eu-west"}, Observed: Observed{Logger: silent},
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

func (p production) region(t *testing.T, source string) *RegionServer {
	t.Helper()
	r, err := OpenRegionServer(t.Context(), RegionServerConfig{
		Region: "eu-west", DataDir: t.TempDir(), Listen: "127.0.0.1:0", Kafka: p.kafka, Source: Source{URL: source}, Observed: Observed{Logger: silent},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// answers waits until a look-up in a region is answered with a text in it.
func answers(t *testing.T, r *RegionServer, hostname, text string) {
	t.Helper()
	late := time.After(time.Minute)
	var status int
	var body string
	for {
		var err error
		if status, body, err = send(t.Context(), "GET", r.URL()+"/v1/lookup/"+hostname, ""); err != nil {
			t.Fatal(err)
		}
		if status == http.StatusOK && strings.Contains(body, text) {
			return
		}
		select {
		case <-late:
			t.Fatalf("%s is still %d %s, and not %s", hostname, status, body, text)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestServers_ATenantRegisteredAtAnyCatalogue_IsLookedUpAtEveryNode(t *testing.T) {
	p := newProduction(t)
	catalogues := []*CatalogueServer{p.catalogue(t), p.catalogue(t)}
	for i, c := range catalogues {
		body := fmt.Sprintf(`{"id":"ten_t%d","name":"N","hostnames":["t%d.example"],"home_region":"eu-west"}`, i, i)
		if status, answer, err := send(t.Context(), "POST", c.URL()+"/v1/tenants", body); err != nil || status != http.StatusCreated {
			t.Fatalf("%d %v %s", status, err, answer)
		}
	}
	nodes := []*RegionServer{p.region(t, p.database.URL), p.region(t, catalogues[0].URL())}
	for _, n := range nodes {
		answers(t, n, "t0.example", `"ten_t0"`)
		answers(t, n, "t1.example", `"ten_t1"`)
	}
	// What comes when the nodes are there comes by Kafka.
	status, answer, err := send(t.Context(), "PATCH", catalogues[1].URL()+"/v1/tenants/ten_t0", `{"name":"New"}`)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d %v %s", status, err, answer)
	}
	for _, n := range nodes {
		answers(t, n, "t0.example", `"New"`)
	}
}

func TestOpenCatalogueServer_OnADatabaseWithoutTheSchema_SaysWhatToDo(t *testing.T) {
	_, err := OpenCatalogueServer(t.Context(), CatalogueServerConfig{
		Listen: "127.0.0.1:0", Database: Database{URL: testservers.Database(t)}, Kafka: Kafka{Brokers: []string{"127.0.0.1:1"}, Topic: "t", Partitions: 1},
		Observed: Observed{Logger: silent},
	})
	if err == nil || !strings.Contains(err.Error(), "tenantry migrate") {
		t.Errorf("got %v, want an error that names the command to run", err)
	}
}

func TestDev_OnARealDatabaseAndRealBrokers_KeepsNothingOfItsOwn(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.Database.URL = testservers.Database(t)
	cfg.Kafka = Kafka{Brokers: []string{testservers.Kafka(t)}, Topic: "t" + uuid.NewString(), Partitions: 3}
	for i := range 2 { // the second finds what the first has stored
		d := open(t, cfg)
		register(t, d, fmt.Sprintf("t%d", i))
		if err := d.AwaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, url := range d.Addresses().Regions {
			for j := range i + 1 {
				if status, body, err := send(t.Context(), "GET", fmt.Sprintf("%s/v1/lookup/t%d.example", url, j), ""); err != nil || status != http.StatusOK {
					t.Errorf("t%d.example: %d %v %s", j, status, err, body)
				}
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
