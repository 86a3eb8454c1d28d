package system

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDev_OnAFullDisk_RefusesCommandsAndAnswersLookUps_AndGoesOnOnceThereIsRoom(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 384<<20)
	dir := filepath.Join(disk, "data")
	d := start(t, dir, "--import", roster)
	c := newClient(t)
	before := checkRegions(t, c, d)
	tenant := func(id string) string {
		return fmt.Sprintf(`{"id":"ten_%s","name":"N","hostnames":["%s.example"],"home_region":"eu-west"}`, id, id)
	}

	line := filepath.Join(t.TempDir(), "line.ndjson")
	if err := os.WriteFile(line, []byte(tenant("imported")), 0o600); err != nil {
		t.Fatal(err)
	}

	// Less room than Badger needs; then none at all, until every region has noticed.
	for _, left := range []int64{40 << 20, 0} {
		fill(t, disk, left)
		r := c.send("POST", d.Admin+"/v1/tenants", tenant("refused"))
		var p problem
		r.as(t, &p)
		if r.status != http.StatusServiceUnavailable || p.kind() != "unavailable" || p.Detail == "" {
			t.Errorf("with %d MiB left: got %d %s, want 503 unavailable", left>>20, r.status, r.body)
		}
		d.awaitLog("disk full") // the operator's to mend, so the log says it and not the answer
		imported := run(t, "import", line, "--data-dir", dir)
		if told := notLogged(imported.stderr); imported.code != 1 || len(told) != 1 || !strings.HasPrefix(told[0], "tenantry: ") {
			t.Errorf("with %d MiB left: an import: exit code %d, want 1 and one line: %s", left>>20, imported.code, imported.stderr)
		}
		for name, url := range d.Regions {
			await(t, func() bool { return staleness(t, c.must("GET", url+"/v1/lookup/acme.example", "")) > 3*time.Second })
			if r := c.get(url + "/v1/lookup/acme.example"); r.status != http.StatusOK {
				t.Errorf("with %d MiB left: a look-up in %s: %d %s", left>>20, name, r.status, r.body)
			}
			if r := c.get(url + "/readyz?verbose"); r.status != http.StatusOK || !strings.Contains(string(r.body), "[!]following stopped: ") || !strings.Contains(string(r.body), "disk full") {
				t.Errorf("with %d MiB left: /readyz in %s: %d %s, want ready, and why it does not follow", left>>20, name, r.status, r.body)
			}
		}
		if now := readTruth(t, c, d.Admin); now.Head() != before.Head() {
			t.Errorf("with %d MiB left the log went on to %d", left>>20, now.Head())
		}
	}
	empty(t, disk)
	c.must("POST", d.Admin+"/v1/tenants", tenant("after"))
	w := checkRegions(t, c, d)
	checkTopic(t, d.Kafka, w)
	for _, url := range d.Regions {
		await(t, func() bool { return !strings.Contains(string(c.get(url+"/readyz?verbose").body), "[!]") })
	}

	// Stopped while it is full, it ends as it should or says why not, and does not crash.
	fill(t, disk, 0)
	d.signal(syscall.SIGTERM)
	if code := d.awaitEnd(stopTime); code != 0 && code != 1 || strings.Contains(d.stderr.String(), "goroutine ") {
		t.Errorf("stopped on a full disk: exit code %d", code)
	}
	fill(t, disk, 0) // others take what was left of the room that was kept for closing
	refuses(t, devArgs(dir), "disk full", "make room")
	empty(t, disk)
	d = start(t, dir)
	if again := checkRegions(t, c, d); again.Head() != w.Head() {
		t.Errorf("got position %d, want %d", again.Head(), w.Head())
	}
	// Killed while it is full.
	c.must("POST", d.Admin+"/v1/tenants", tenant("last"))
	fill(t, disk, 0)
	d.kill()
	empty(t, disk)
	d = start(t, dir)
	again := checkRegions(t, c, d)
	checkTopic(t, d.Kafka, again)
	if again.Head() != w.Head()+2 {
		t.Errorf("got position %d, want %d", again.Head(), w.Head()+2)
	}
	d.stop()
}

// staleness is how old an answer may be, as it says.
func staleness(t *testing.T, r reply) time.Duration {
	t.Helper()
	ms, err := strconv.ParseInt(r.header.Get("Tenantry-Staleness"), 10, 64)
	if err != nil {
		t.Fatalf("Tenantry-Staleness: %v", err)
	}
	return time.Duration(ms) * time.Millisecond
}

// smallDisk is a file system of its own.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("a small file system cannot be mounted here (it takes root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves so many octets free.
func fill(t *testing.T, disk string, left int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(disk, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := []byte(strings.Repeat("x", 64<<10))
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(disk, &s); err != nil {
			t.Fatal(err)
		}
		more := int64(s.Bavail)*s.Bsize - left
		if more <= 0 {
			return
		}
		if _, err := f.Write(block[:min(more, int64(len(block)))]); err != nil {
			if left == 0 {
				return // somebody else took the last of it
			}
			t.Fatal(err)
		}
	}
}

func empty(t *testing.T, disk string) {
	t.Helper()
	if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
		t.Fatal(err)
	}
}
