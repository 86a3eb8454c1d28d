package daemon

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/broker"
)

// Promise 4, with brokers of its own: the whole is started while Kafka is away, and serves.
func TestPromise4_StartedWhileKafkaIsAway_TakesCommandsAndServesItsCopy(t *testing.T) {
	if testing.Short() {
		t.Skip("waits out the patience of a start, some 15 s")
	}
	b, err := broker.Open(t.Context(), broker.Config{DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(t.TempDir())
	cfg.Kafka.Brokers = []string{b.Addr()}
	d, err := OpenDev(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	register(t, d, "before")
	if err := d.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	d = open(t, cfg)
	register(t, d, "while-away")
	for region, url := range d.Addresses().Regions {
		status, body, err := send(t.Context(), "GET", url+"/v1/lookup/before.example", "")
		if err != nil || status != http.StatusOK {
			t.Errorf("%s: got %d %v %s, want the copy it has", region, status, err, body)
		}
	}
	becomes(t, d.Addresses().Admin+"/readyz?verbose", http.StatusOK, "[!]relay publishes nothing now: ")
}

func TestOpenDev_WithoutItsStoreButWithWhatWasMadeFromIt_IsRefusedAndChangesNothing(t *testing.T) {
	cfg := config(t.TempDir())
	d := open(t, cfg)
	register(t, d, "one")
	if err := d.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	store, away := filepath.Join(cfg.DataDir, "store"), filepath.Join(t.TempDir(), "store")
	if err := os.Rename(store, away); err != nil {
		t.Fatal(err)
	}
	_, err := OpenDev(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "put the store back") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line that says what to do", err)
	}
	if _, err := os.Stat(store); err == nil {
		t.Error("an empty store was made")
	}
	if err := os.Rename(away, store); err != nil {
		t.Fatal(err)
	}
	d = open(t, cfg)
	for _, url := range d.Addresses().Regions {
		if status, body, err := send(t.Context(), "GET", url+"/v1/lookup/one.example", ""); err != nil || status != http.StatusOK {
			t.Errorf("got %d %v %s", status, err, body)
		}
	}
}
