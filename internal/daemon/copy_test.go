package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/replay"
)

// logged is a log that may be read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// says waits until something stands in the log.
func (l *logged) says(t *testing.T, text string) {
	t.Helper()
	late := time.After(time.Minute)
	for !strings.Contains(l.String(), text) {
		select {
		case <-late:
			t.Fatalf("the log does not say %q:\n%s", text, l)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// node is a node of its own beside a dev, on the dev's broker and store.
func node(t *testing.T, d *Dev, change func(*RegionServerConfig)) (*RegionServer, *logged) {
	t.Helper()
	log := new(logged)
	cfg := RegionServerConfig{
		Region: "eu-west", DataDir: t.TempDir(), Listen: "127.0.0.1:0",
		Kafka:    Kafka{Brokers: d.Addresses().Kafka, Topic: d.cfg.Kafka.Topic, Partitions: d.cfg.Kafka.Partitions},
		Source:   Source{URL: d.Addresses().Admin},
		Observed: Observed{Logger: slog.New(slog.NewTextHandler(log, nil))},
	}
	change(&cfg)
	r, err := OpenRegionServer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, log
}

func TestRegion_WithoutACopy_BeginsWithThatOfANeighbour_AndProvesIt(t *testing.T) {
	d := open(t, config(t.TempDir()))
	for i := range 10 {
		register(t, d, fmt.Sprintf("t%d", i))
	}
	neighbour, log := node(t, d, func(c *RegionServerConfig) { c.ServeSnapshots = true })
	log.says(t, "caught up: ready")
	dir := t.TempDir()
	begun, log := node(t, d, func(c *RegionServerConfig) { c.BootstrapFrom, c.DataDir, c.Region = neighbour.URL(), dir, "ap-south" })
	log.says(t, "began with the copy of a neighbour")
	log.says(t, "this copy is what the source of truth says")
	if strings.Contains(log.String(), "no read model yet") {
		t.Errorf("it built a read model all the same:\n%s", log)
	}
	register(t, d, "later")
	for _, name := range []string{"t0", "t9", "later"} {
		answers(t, begun, name+".example", "ten_"+name)
	}

	// With a copy of its own it asks nobody.
	if err := begun.Close(); err != nil {
		t.Fatal(err)
	}
	again, log := node(t, d, func(c *RegionServerConfig) {
		c.BootstrapFrom, c.DataDir, c.Region = "http://127.0.0.1:1", dir, "ap-south"
	})
	answers(t, again, "later.example", "ten_later")
	if strings.Contains(log.String(), "neighbour") {
		t.Errorf("a node with a copy has to do with its neighbour:\n%s", log)
	}
}

func TestRegion_WhoseNeighbourIsOfNoUse_BuildsItsCopyFromTheSource(t *testing.T) {
	d := open(t, config(t.TempDir()))
	register(t, d, "t0")
	serving, log := node(t, d, func(c *RegionServerConfig) { c.ServeSnapshots = true })
	log.says(t, "caught up: ready")
	_, whole, err := send(t.Context(), "GET", serving.URL()+"/v1/snapshot", "")
	if err != nil {
		t.Fatal(err)
	}
	other := open(t, config(t.TempDir())) // another store
	strange, log := node(t, other, func(c *RegionServerConfig) { c.ServeSnapshots = true })
	log.says(t, "caught up: ready")
	answering := func(body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	for what, c := range map[string]struct{ from, says string }{
		"not there":              {"http://127.0.0.1:1", "connection refused"},
		"that gives no copies":   {d.Addresses().Regions["us-east"], "403"},
		"that is something else": {answering("<html>"), "not a whole copy"},
		"that dies half way":     {answering(whole[:len(whole)/2]), "not a whole copy"},
		"of another store":       {strange.URL(), "another store"},
	} {
		t.Run(what, func(t *testing.T) {
			begun, log := node(t, d, func(c2 *RegionServerConfig) { c2.BootstrapFrom = c.from })
			answers(t, begun, "t0.example", "ten_t0")
			if got := log.String(); !strings.Contains(got, "no copy is to be had from the neighbour") || !strings.Contains(got, c.says) {
				t.Errorf("the log does not say %q:\n%s", c.says, got)
			}
		})
	}
}

// The node has its control socket before it has the directory, for which it waits.
func TestReplay_ThatFailsOnADirectoryThatItHasMade_LeavesItToANodeThatStarts(t *testing.T) {
	dir := readmodel.Dir(filepath.Join(t.TempDir(), "regions", "eu-west"))
	failed := errors.New("the source has no events")
	for _, starts := range []bool{true, false} {
		var control *replay.Control
		if _, err := orUnmade(dir, func() (*struct{}, error) {
			unlock, err := dir.Lock(readmodel.ByReplay)
			if err != nil {
				t.Fatal(err)
			}
			if starts {
				node := &replay.Node{Region: "eu-west", Projector: projections.New(projections.Config{Region: "eu-west", Dir: dir})}
				if control, err = replay.Serve(dir, node, silent); err != nil {
					t.Fatal(err)
				}
			}
			return nil, errors.Join(failed, unlock())
		}); !errors.Is(err, failed) {
			t.Errorf("got %v", err)
		}
		if !starts {
			if _, err := os.Stat(string(dir)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what it has made for nothing is there: %v", err)
			}
			continue
		}
		c, err := replay.Dial(t.Context(), dir)
		if err != nil {
			t.Fatalf("no replay reaches the node any more: %v", err)
		}
		if err := errors.Join(c.Close(), control.Close(), os.RemoveAll(string(dir))); err != nil {
			t.Fatal(err)
		}
	}
}
