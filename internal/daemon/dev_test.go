package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tenantry/tenantry/events/embedded"
)

// Whatever a Dev starts, its Close has to end: a goroutine that is left fails the package.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(dir string) DevConfig {
	return DevConfig{
		DataDir: dir, Listen: "127.0.0.1:0", KafkaListen: "127.0.0.1:0", Kafka: Kafka{Topic: "tenantry.events.v1", Partitions: 3},
		Regions:  []RegionAddress{{Name: "eu-west", Listen: "127.0.0.1:0"}, {Name: "us-east", Listen: "127.0.0.1:0"}},
		Observed: Observed{Logger: slog.New(slog.DiscardHandler)},
	}
}

// open opens a Dev and waits until it is ready.
func open(t *testing.T, cfg DevConfig) *Dev {
	t.Helper()
	d, err := OpenDev(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := d.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// send sends a request over a connection of its own, and is the status and the body.
func send(ctx context.Context, method, url, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true // so that no connection is left for goleak to find
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func register(t *testing.T, d *Dev, id string) {
	t.Helper()
	status, body, err := send(t.Context(), "POST", d.Addresses().Admin+"/v1/tenants",
		fmt.Sprintf(`{"id":"ten_%s","name":"N","hostnames":["%s.example"],"home_region":"eu-west"}`, id, id))
	if err != nil || status != http.StatusCreated {
		t.Fatalf("register %s: %d %v %s", id, status, err, body)
	}
}

func TestDev_OpenedAndClosed_LeavesNothingRunning_AndComesBackWithWhatWasAnswered(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		d, err := OpenDev(t.Context(), config(dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.AwaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := d.Announce(); err != nil {
			t.Fatal(err)
		}
		told, err := ReadAddresses(dir)
		if err != nil || told.Admin != d.Addresses().Admin || len(told.Regions) != 2 || len(told.Kafka) != 1 || told.PID != os.Getpid() {
			t.Errorf("the address file: got %+v, %v, want %+v", told, err, d.Addresses())
		}
		register(t, d, fmt.Sprintf("t%d", i))
		for j := range i + 1 {
			for name, url := range d.Addresses().Regions {
				status, body, err := send(t.Context(), "GET", fmt.Sprintf("%s/v1/lookup/t%d.example?min_position=%d", url, j, 2*(i+1)), "")
				if err != nil || status != http.StatusOK {
					t.Errorf("start %d: t%d.example in %s: %d %v %s", i+1, j, name, status, err, body)
				}
			}
		}
		for range 2 { // a second Close does nothing
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := ReadAddresses(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the address file after Close: got %v, want it gone", err)
		}
		if _, _, err := send(t.Context(), "GET", told.Admin+"/livez", ""); err == nil {
			t.Error("the admin API answers after Close")
		}
	}
}

func TestOpenDev_ThatFails_LeavesNothingRunning(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().String()
	dir := t.TempDir()
	for what, change := range map[string]func(*DevConfig){
		"the admin's port in use":    func(c *DevConfig) { c.Listen = taken },
		"a region's port in use":     func(c *DevConfig) { c.Regions[1].Listen = taken },
		"Kafka's port in use":        func(c *DevConfig) { c.KafkaListen = taken },
		"a port that is none":        func(c *DevConfig) { c.Listen = "127.0.0.1:x" },
		"a data directory in a file": func(c *DevConfig) { c.DataDir = filepath.Join(dir, "file", "data") },
		"a collector that is none":   func(c *DevConfig) { c.TraceURL = "http://[::1" },
	} {
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := config(dir)
		change(&cfg)
		d, err := OpenDev(t.Context(), cfg)
		if err == nil {
			_ = d.Close()
			t.Errorf("%s: it opened", what)
			continue
		}
		if text := err.Error(); strings.Contains(text, "\n") {
			t.Errorf("%s: more than one line: %q", what, text)
		}
	}
	open(t, config(dir)) // each has let the directory go
}

func TestOpenDev_OnADirectoryInUse_SaysSo(t *testing.T) {
	dir := t.TempDir()
	first := open(t, config(dir))
	if _, err := OpenDev(t.Context(), config(dir)); !errors.Is(err, embedded.ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	register(t, first, "still-there")
}

func TestDev_TopicWithAnotherNumberOfPartitions_IsRefused(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDev(t.Context(), config(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := config(dir)
	cfg.Kafka.Partitions = 5
	if _, err := OpenDev(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "--kafka-partitions 3") {
		t.Errorf("got %v, want an error that names the number to start with", err)
	}
}

func TestDev_ARegionThatCannotKeepItsCopy_FailsTheWhole(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDev(t.Context(), config(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	place := filepath.Join(dir, "regions", "us-east")
	if err := errors.Join(os.RemoveAll(place), os.WriteFile(place, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if d, err = OpenDev(t.Context(), config(dir)); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	select {
	case err := <-d.Failed():
		if err == nil || !strings.Contains(err.Error(), "us-east") {
			t.Errorf("got %v, want the region's error", err)
		}
	case <-time.After(time.Minute):
		t.Error("nobody is told that a region has failed")
	}
	if err := d.AwaitReady(t.Context()); err == nil {
		t.Error("it is ready with a region that has failed")
	}
}

func TestDev_Close_LetsARequestUnderWayEnd(t *testing.T) {
	d, err := OpenDev(t.Context(), config(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		status int
		err    error
	}
	answers := make(chan answer, 1)
	waiting := make(chan struct{})
	go func() {
		close(waiting)
		status, _, err := send(context.WithoutCancel(t.Context()), "GET", d.Addresses().Regions["eu-west"]+"/v1/lookup/a.example?min_position=99&wait=1s", "")
		answers <- answer{status, err}
	}()
	<-waiting
	awaitRequest(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-answers; got.err != nil || got.status != http.StatusGatewayTimeout {
		t.Errorf("a look-up that waited during Close: got %d, %v, want its own 504", got.status, got.err)
	}
}

// awaitRequest returns once the region serves a request: it is counted among those that wait.
func awaitRequest(t *testing.T, d *Dev) {
	t.Helper()
	late := time.Now().Add(time.Minute)
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		_, metrics, err := send(t.Context(), "GET", d.Addresses().Admin+"/metrics", "")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(metrics) {
			if strings.HasPrefix(line, `tenantry_lookups_waiting{region="eu-west"}`) && strings.HasSuffix(strings.TrimSpace(line), " 1") {
				tick.Stop()
				return
			}
		}
		if time.Now().After(late) {
			t.Fatal("no request waits")
		}
	}
}

func TestOpenDev_WhoseBrokersAreAway_EndsWithItsContext_AndLeavesNothingRunning(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := ln.Addr().String()
	_ = ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := config(t.TempDir())
	cfg.Kafka.Brokers = []string{away}
	cfg.Logger = slog.New(slog.NewTextHandler(writer(func(line string) {
		if strings.Contains(line, "level=WARN") { // it has tried, and goes on trying
			cancel()
		}
	}), nil))
	if _, err := OpenDev(ctx, cfg); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), cfg.Kafka.Topic) {
		t.Errorf("got %v, want that it was stopped while it looked for the topic", err)
	}
	cfg = config(cfg.DataDir)
	open(t, cfg)
}

// writer is a function that is told each line.
type writer func(line string)

func (w writer) Write(b []byte) (int, error) {
	w(string(b))
	return len(b), nil
}

func TestReadAddresses_OfAFileThatIsNone_IsAnError(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadAddresses(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %v, want fs.ErrNotExist", err)
	}
	if err := os.WriteFile(filepath.Join(dir, AddressFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAddresses(dir); err == nil || !strings.Contains(err.Error(), AddressFile) {
		t.Errorf("half a file: got %v, want an error that names it", err)
	}
}

// A dev was killed, and another, on another directory, has its port now.
func TestOpenReplay_DoesNotAskWhoeverAnswersWhereAKilledDevWas(t *testing.T) {
	other := open(t, config(t.TempDir()))
	if err := other.Announce(); err != nil {
		t.Fatal(err)
	}
	if !announced(other.cfg.DataDir) {
		t.Error("a dev that runs is taken for one that has ended")
	}
	b, err := os.ReadFile(filepath.Join(other.cfg.DataDir, AddressFile))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, AddressFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReplay(t.Context(), ReplayConfig{Region: "eu-west", DataDir: dir, New: true, Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, ErrNoSource) && (err == nil || !strings.Contains(err.Error(), "no region has ever run")) {
		t.Errorf("got %v, want that there is no source", err)
	}
	if err == nil {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenDev_RemovesTheAddressesOfOneThatWasKilled(t *testing.T) {
	cfg := config(t.TempDir())
	path := filepath.Join(cfg.DataDir, AddressFile)
	if err := os.WriteFile(path, []byte(`{"pid":1,"admin":"http://127.0.0.1:1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, cfg) // and does not announce itself
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want no file: it would lead to a server that is gone", err)
	}
}

// Scripts wait for the file to go before they take the directory, or start the next dev on it.
func TestDev_ItsAddressFileGoesLast_AndIsLeftWhereItIsThatOfTheNextOne(t *testing.T) {
	cfg := config(t.TempDir())
	path := filepath.Join(cfg.DataDir, AddressFile)
	started := func() *Dev {
		d, err := OpenDev(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Announce(); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := started()
	next := d
	d.closers = slices.Insert(d.closers, 1, func() error { // before what is closed last
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the file is gone before the rest is closed: %v", err)
		}
		next = started() // nothing is in its way
		return nil
	})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if a, err := ReadAddresses(cfg.DataDir); err != nil || a.Admin != next.Addresses().Admin {
		t.Errorf("got %v, %v, want the addresses of the one that runs", a, err)
	}
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the last one was closed: got %v, want no file", err)
	}
}
