//go:build unix

package faults

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// readEvery is the time between two look-ups of a reader.
const readEvery = 10 * time.Millisecond

// watch is what readers have seen.
type watch struct {
	mu       sync.Mutex
	versions map[string]uint64 // the newest that a node has shown of a tenant, by both names
	lookups  int
	findings []string
	back     int // how often an older version was shown than before
	refused  int // how often a node that was ready failed a look-up
}

// read looks tenants up at a node, by their IDs and hostnames, until the load is stopped. What it
// says must not become older, and a node that was ready in this life must answer.
func (l *load) read(n *server, r *rand.Rand, stopped <-chan struct{}) {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	readyLife := 0 // in which life the node has been ready
	for {
		select {
		case <-stopped:
			return
		case <-tick.C:
		}
		before, running := n.up()
		if !running {
			continue
		}
		tenant := fmt.Sprintf("t%d", r.IntN(sharedTenants))
		path := "/v1/tenants/ten_" + tenant
		if r.IntN(2) == 0 {
			path = "/v1/lookup/own-" + tenant + ".example"
		}
		status, body, err := n.look(path)
		after, running := n.up()
		same := running && before == after // it was there all the while
		switch {
		case err == nil && status == http.StatusOK:
			readyLife = after
			var doc struct {
				ID      string `json:"tenant_id"`
				Version uint64 `json:"version"`
			}
			if err := json.Unmarshal(body, &doc); err != nil || doc.ID != "ten_"+tenant {
				l.watch.find("%s answers %s: %v: %s", n.name, path, err, body)
				continue
			}
			l.watch.saw(n.name, doc.ID, doc.Version)
		case same && readyLife == before:
			l.watch.mu.Lock()
			l.watch.refused++
			l.watch.mu.Unlock()
			l.watch.find("%s was ready, and answers %s: %d %v %s", n.name, path, status, err, body)
		case err == nil && status != http.StatusServiceUnavailable:
			l.watch.find("%s answers %s: %d %s", n.name, path, status, body)
		}
	}
}

func (s *server) look(path string) (status int, body []byte, err error) {
	resp, err := s.http.Get(s.url + path)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// saw is told of a version that a node has shown.
func (w *watch) saw(node, tenant string, version uint64) {
	w.mu.Lock()
	w.lookups++
	key := node + " " + tenant
	before := w.versions[key]
	w.versions[key] = max(before, version)
	if version < before {
		w.back++
	}
	w.mu.Unlock()
	if version < before {
		w.find("%s shows version %d of %s, and has shown %d before", node, version, tenant, before)
	}
}

func (w *watch) find(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.findings) < 100 {
		w.findings = append(w.findings, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

// metric is the value of a server's metric that has no labels.
func (s *server) metric(name string) (string, error) {
	status, body, err := s.look("/metrics")
	if err != nil || status != http.StatusOK {
		return "", fmt.Errorf("metrics of %s: %d %w", s.name, status, err)
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s has no metric %s", s.name, name)
}
