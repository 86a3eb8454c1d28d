package system

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/tests/truth"
)

// readTruth reads the whole log of a catalogue. One that has a hole or a double fails the test.
func readTruth(t *testing.T, c *client, admin string) *truth.Log {
	t.Helper()
	w, err := truth.Read(t.Context(), c.http, admin)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// node is a node of a region to compare with the log.
func (c *client) node(url string) truth.Node { return truth.Node{Client: c.http, URL: url} }

// findings collects from several goroutines what is wrong.
type findings struct {
	mu   sync.Mutex
	list []string
}

func (f *findings) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

func (f *findings) report(t *testing.T, region string) {
	t.Helper()
	report(t, region, f.list)
}

// report fails the test where a region has findings.
func report(t *testing.T, region string, findings []string) {
	t.Helper()
	if n := len(findings); n > 0 {
		t.Errorf("region %s differs from the log in %d places:\n%s", region, n, strings.Join(findings[:min(n, 5)], "\n"))
	}
}

// awaitPosition returns when a region answers from everything up to a position.
func awaitPosition(t *testing.T, c *client, region string, position uint64) {
	t.Helper()
	for late := time.Now().Add(patience); ; {
		r := c.get(fmt.Sprintf("%s/v1/lookup/nobody.example?min_position=%d&wait=10s", region, position))
		switch {
		case r.status == http.StatusNotFound || r.status == http.StatusOK:
			return
		case r.status == http.StatusGatewayTimeout && time.Now().Before(late):
		default:
			t.Fatalf("%s does not reach position %d: %d %s", region, position, r.status, r.body)
		}
	}
}
