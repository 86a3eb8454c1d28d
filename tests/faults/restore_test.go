//go:build unix

package faults

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tenantry/tenantry/internal/testservers"
)

func TestRestore_OfAnEarlierBackup_IsNoticed_AndRegionsComeToTheRestoredPast(t *testing.T) {
	for how, backUp := range map[string]func(s *system, to string) error{
		"the files of a stopped server": func(s *system, to string) error { return s.copyPostgres(s.postgres.Dir(), to) },
		"pg_basebackup":                 (*system).baseBackup,
	} {
		t.Run(how, func(t *testing.T) { restoreEarlier(t, backUp) })
	}
}

func restoreEarlier(t *testing.T, backUp func(s *system, to string) error) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := draw(t)
	s := open(t, options{postgres: true})
	l := startLoad(t, s, r)
	pause(t, time.Second)
	l.check()
	backup := filepath.Join(t.TempDir(), "backup")
	if err := backUp(s, backup); err != nil {
		t.Fatal(err)
	}
	before := l.readLog()

	// What happens now is lost.
	if _, err := l.probe(); err != nil {
		t.Fatal(err)
	}
	l.resume()
	pause(t, 2*time.Second)
	l.check()
	future := l.readLog()
	if future.Head() <= before.Head() {
		t.Fatalf("the log ends at %d, and ended at %d at the backup", future.Head(), before.Head())
	}
	if err := s.restorePostgres(backup); err != nil {
		t.Fatal(err)
	}

	// Without leave nothing is published, whoever leads, and an operator is told why.
	last := ""
	if err := await(patience, "a catalogue says that the store was restored", func() bool {
		for _, c := range s.catalogues {
			status, body, err := c.look("/readyz?verbose")
			last = fmt.Sprintf("%d %v %s", status, err, body)
			if err == nil && status == http.StatusServiceUnavailable && strings.Contains(string(body), "--accept-restore") {
				return true
			}
		}
		return false
	}); err != nil {
		t.Fatalf("%v: %s", err, last)
	}
	for _, n := range s.nodes {
		if status, body, err := n.look("/v1/lookup/own-t0.example"); err != nil || status != http.StatusOK {
			t.Errorf("%s meanwhile: %d %v %s", n.name, status, err, body)
		}
	}

	// It is a store like any other for who commands.
	l.history.checked = before.Head()
	l.resume()
	pause(t, time.Second)
	l.pause()

	// With it the store gets a new identity, and all regions come to what it has.
	restored := time.Now()
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
		t.Fatal(err)
	}
	t.Logf("all nodes are of another store than %s, %s after the leave", before.StoreID, time.Since(restored).Round(time.Millisecond))
	// What readers have seen of the future is over.
	l.watch.forget()
	if _, err := l.probe(); err != nil {
		t.Fatal(err)
	}
	l.resume()
	pause(t, 2*time.Second)
	l.check()
	if now := l.readLog(); now.StoreID == before.StoreID {
		t.Errorf("the store is still %s", now.StoreID)
	}

	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// otherStoreThan returns when every node is of another store.
func (s *system) otherStoreThan(id string) error {
	last := ""
	err := await(patience, "every node is of another store than "+id, func() bool {
		for _, n := range s.nodes {
			var status struct {
				StoreID string `json:"store_id"`
			}
			_, body, err := n.look("/v1/status")
			last = fmt.Sprintf("%s: %v %s", n.name, err, body)
			if err != nil || json.Unmarshal(body, &status) != nil || status.StoreID == id {
				return false
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, last)
	}
	return nil
}

// copyPostgres copies the files of the server, which does not run meanwhile.
func (s *system) copyPostgres(from, to string) error {
	if err := s.postgres.Kill(); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy the database: %w: %s", err, out)
	}
	return s.postgres.Restart(s.t.Context())
}

// baseBackup copies the server's data while it runs, as an operator would.
func (s *system) baseBackup(to string) error {
	program := s.postgres.Command(s.t.Context(), "pg_basebackup").Path
	if _, err := os.Stat(program); err != nil {
		testservers.Missing(s.t, "pg_basebackup", err) // skips or fails
	}
	// As ourselves, since the server's user may not enter our directories; then it is given to that user.
	out, err := exec.Command(program, "--dbname", s.postgres.URL(), "--pgdata", to, "--checkpoint", "fast", "--wal-method", "stream").CombinedOutput()
	if err == nil {
		out, err = exec.Command("chown", "-R", "--reference", s.postgres.Dir(), to).CombinedOutput()
	}
	if err != nil {
		return fmt.Errorf("back up with %s: %w: %s", program, err, out)
	}
	return nil
}

// restorePostgres puts a copy in the place of the server's files.
func (s *system) restorePostgres(backup string) error {
	dir := s.postgres.Dir()
	if err := s.postgres.Kill(); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return s.copyPostgres(backup, dir)
}

// forget begins anew, where what was seen is over.
func (w *watch) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.versions)
}

func TestRestore_WithTheTopicDeleted_RegionsComeToTheRestoredPast(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := draw(t)
	s := open(t, options{postgres: true})
	l := startLoad(t, s, r)
	pause(t, time.Second)
	l.check()
	backup := filepath.Join(t.TempDir(), "backup")
	if err := s.copyPostgres(s.postgres.Dir(), backup); err != nil {
		t.Fatal(err)
	}
	before := l.readLog()
	// One command, which is lost, and which its sender carries out anew, a bit differently.
	again := func(n int) {
		t.Helper()
		c := command{method: "PUT", path: "/v1/tenants/ten_t1/config/redone", body: fmt.Sprintf(`{"value":%d}`, n), stream: "ten_t1"}
		if _, err := l.carryOut(c, fmt.Sprintf("redone-%d", n), r); err != nil {
			t.Fatal(err)
		}
		// And one that it sends again as it was, which makes the same of it at the same position.
		same := command{method: "PUT", path: "/v1/tenants/ten_t1/config/same", body: `{"value":1}`, stream: "ten_t1"}
		o, err := l.carryOut(same, "same", r)
		if err != nil {
			t.Fatal(err)
		}
		for _, node := range s.nodes {
			if err := node.shows(o.answer.Version, o.stream); err != nil {
				t.Fatal(err)
			}
		}
	}
	again(1)
	l.check()

	// The other way that the relay's refusal names: stop, delete the topic, start again.
	for _, c := range s.catalogues {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	}
	if err := s.restorePostgres(backup); err != nil {
		t.Fatal(err)
	}
	if err := s.deleteTopic(); err != nil {
		t.Fatal(err)
	}
	for _, c := range s.catalogues {
		if err := c.start(); err != nil {
			t.Fatal(err)
		}
	}
	l.history.checked = before.Head()
	again(2)
	// Versions and positions are those that the nodes had before. That the past is another they see
	// by the next watermark, a second later at most.
	for _, node := range s.nodes {
		if err := await(patience, node.name+" has the restored past", func() bool {
			_, body, err := node.look("/v1/tenants/ten_t1")
			return err == nil && strings.Contains(string(body), `"redone":2`)
		}); err != nil {
			t.Error(err)
		}
	}
	l.check()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
