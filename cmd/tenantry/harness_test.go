package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/tenantry/tenantry/internal/daemon"
)

func TestMain(m *testing.M) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "TENANTRY_") {
			_ = os.Unsetenv(name) // a developer's own settings are none of these tests'
		}
	}
	goleak.VerifyTestMain(m)
}

// ran is what became of one command line.
type ran struct {
	t              *testing.T
	args           []string
	code           int
	stdout, stderr string
}

// tenantry runs a command line in this process, as main does.
func tenantry(t *testing.T, args ...string) ran {
	t.Helper()
	return tenantryWith(t.Context(), t, "", args...)
}

func tenantryWith(ctx context.Context, t *testing.T, stdin string, args ...string) ran {
	t.Helper()
	t.Cleanup(httpClient.CloseIdleConnections)
	var stdout, stderr output
	code := run(ctx, args, strings.NewReader(stdin), &stdout, &stderr)
	return ran{t, args, code, stdout.String(), stderr.String()}
}

// output may be written by several goroutines, as a file may: dev logs while it reports.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// toldOfProgress is what an import says on a slow machine, and a test must not mind.
var toldOfProgress = regexp.MustCompile(`(?m)^import: \d+ lines?, \d+ a second.*\n`)

// exits expects an exit code, and phrases on standard error; none: that nothing is there.
func (r ran) exits(code int, phrases ...string) ran {
	r.t.Helper()
	if r.code != code {
		r.t.Errorf("tenantry %s: exit code %d, want %d\nstdout: %s\nstderr: %s", strings.Join(r.args, " "), r.code, code, r.stdout, r.stderr)
	}
	if len(phrases) == 0 && toldOfProgress.ReplaceAllString(r.stderr, "") != "" {
		r.t.Errorf("tenantry %s: got on stderr %q, want nothing", strings.Join(r.args, " "), r.stderr)
	}
	for _, p := range phrases {
		if !strings.Contains(r.stderr, p) {
			r.t.Errorf("tenantry %s: got on stderr\n%s\nwant %q in it", strings.Join(r.args, " "), r.stderr, p)
		}
	}
	return r
}

// prints expects phrases on standard output.
func (r ran) prints(phrases ...string) ran {
	r.t.Helper()
	for _, p := range phrases {
		if !strings.Contains(r.stdout, p) {
			r.t.Errorf("tenantry %s: got\n%s\nwant %q in it", strings.Join(r.args, " "), r.stdout, p)
		}
	}
	return r
}

// hides fails the test where a secret is in what was printed.
func (r ran) hides(secret string) {
	r.t.Helper()
	if strings.Contains(r.stdout+r.stderr, secret) {
		r.t.Errorf("tenantry %s: a secret is shown:\n%s\n%s", strings.Join(r.args, " "), r.stdout, r.stderr)
	}
}

// openDev is a running dev, to be found by its data directory.
func openDev(t *testing.T) (*daemon.Dev, string) {
	t.Helper()
	dir := t.TempDir()
	d, _ := openDevOn(t, dir)
	return d, dir
}

// openDevOn is a running dev on a data directory, and the URL of its admin API.
func openDevOn(t *testing.T, dir string) (*daemon.Dev, string) {
	t.Helper()
	d, err := daemon.OpenDev(t.Context(), daemon.DevConfig{
		DataDir: dir, Listen: "127.0.0.1:0", KafkaListen: "127.0.0.1:0", Kafka: daemon.Kafka{Topic: "tenantry.events.v1", Partitions: 3},
		Regions:  []daemon.RegionAddress{{Name: "eu-west", Listen: "127.0.0.1:0"}, {Name: "us-east", Listen: "127.0.0.1:0"}},
		Observed: daemon.Observed{Logger: slog.New(slog.DiscardHandler)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		httpClient.CloseIdleConnections()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	ready(t, d)
	if err := d.Announce(); err != nil {
		t.Fatal(err)
	}
	return d, d.Addresses().Admin
}

// ready waits until all regions hold what the store holds.
func ready(t *testing.T, d *daemon.Dev) {
	t.Helper()
	if err := d.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// file writes a file and is its path.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// answering is a handler that answers the same to everything.
func answering(status int, contentType, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
