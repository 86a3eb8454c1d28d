//go:build unix

package faults

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestRestore_CommandsSentAgain is about clients who, after a restore, send again what they were
// answered before, with the same keys: then the store comes to the end of the lost future with the
// same command last, and what came before it is another.
func TestRestore_CommandsSentAgainWithTheirKeys_IsNoticedAllTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := draw(t)
	s := open(t, options{postgres: true})
	l := startLoad(t, s, r)
	l.check()
	backup := filepath.Join(t.TempDir(), "backup")
	if err := s.copyPostgres(s.postgres.Dir(), backup); err != nil {
		t.Fatal(err)
	}
	before := l.readLog()
	set := func(tenant int, value, key string) {
		t.Helper()
		stream := fmt.Sprintf("ten_t%d", tenant)
		c := command{method: "PUT", path: "/v1/tenants/" + stream + "/config/restored", body: fmt.Sprintf(`{"value":%q}`, value), stream: stream}
		if _, err := l.carryOut(c, key, r); err != nil {
			t.Fatal(err)
		}
	}
	set(1, "lost", "key-1")
	set(2, "sent again", "key-2")
	// Now every partition ends with a watermark that names the last event.
	for _, n := range s.nodes {
		if err := await(patience, n.name+" has all", func() bool {
			return n.ask(fmt.Sprintf("/v1/tenants/ten_t2?min_position=%d&wait=5s", before.Head()+2)) == ""
		}); err != nil {
			t.Fatal(err)
		}
	}
	l.check()
	for _, c := range s.catalogues {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	}
	if err := s.restorePostgres(backup); err != nil {
		t.Fatal(err)
	}
	l.history.checked = before.Head()
	// Twice, since the first start still finds records beyond the head.
	for _, c := range s.catalogues {
		if err := c.start(); err != nil {
			t.Fatal(err)
		}
	}
	set(1, "true", "key-3")
	set(2, "sent again", "key-2")
	for _, c := range s.catalogues {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	}
	for _, c := range s.catalogues {
		if err := c.start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := await(patience, "a catalogue says that the store was restored", func() bool {
		for _, c := range s.catalogues {
			status, body, err := c.look("/readyz?verbose")
			if err == nil && status == http.StatusServiceUnavailable && strings.Contains(string(body), "--accept-restore") {
				return true
			}
		}
		return false
	}); err != nil {
		t.Error(err)
	}
	for _, c := range s.catalogues {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
		c.args = append(c.args, "--accept-restore")
		if err := c.start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.otherStoreThan(before.StoreID); err != nil {
		t.Error(err)
	}
	l.watch.forget()
	l.check()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
