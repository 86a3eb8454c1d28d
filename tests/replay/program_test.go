//go:build unix

package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/daemon"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/tests/truth"
)

const (
	// patience is for what takes milliseconds; that it runs out means that something hangs.
	patience = 2 * time.Minute
	// stopTime is what the contract of the command line gives a server to stop in.
	stopTime = 10 * time.Second
)

// regions are what the dev of these tests has.
var regions = []string{"eu-west", "us-east"}

// built is the program with crash points, made once in a run.
var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "tenantry")
	out, err := exec.Command("go", "build", "-tags", "crashpoints", "-o", path, "github.com/tenantry/tenantry/cmd/tenantry").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// program is the program with arguments, which dies at a crash point ("": at none). A process that outlives
// its test is killed, and one that outlives the tests as well.
func program(t *testing.T, point string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TENANTRY_") })
	if point != "" {
		cmd.Env = append(cmd.Env, "TENANTRY_CRASHPOINT="+point)
	}
	dieWithTests(cmd)
	return cmd
}

// process is one that runs, or has run.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr buffer
	ended          chan struct{}
}

func begin(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // the exit code says it
	}()
	t.Cleanup(p.kill)
	return p
}

// kill kills the process where it stands, and returns when it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended
	<-p.ended
}

// code is the exit code; -1 of one that was killed.
func (p *process) code() int {
	<-p.ended
	return p.cmd.ProcessState.ExitCode()
}

// killed tells that the process was.
func (p *process) killed() bool {
	<-p.ended
	s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && s.Signaled()
}

// awaitEnd waits for the process to end by itself.
func (p *process) awaitEnd(t *testing.T, limit time.Duration) {
	t.Helper()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		t.Fatalf("%v runs on after %s:\n%s", p.cmd.Args, limit, p.stderr.String())
	}
}

// buffer may be read while a process writes it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// dev is a `tenantry dev` that runs.
type dev struct {
	*process
	daemon.Addresses
}

// devArgs are of a dev with two regions on the ports that they had before, or free ones.
func devArgs(dir string, before daemon.Addresses) []string {
	at := func(url string) string {
		if url == "" {
			return "127.0.0.1:0"
		}
		return strings.TrimPrefix(url, "http://")
	}
	args := []string{"dev", "--data-dir", dir, "--listen", at(before.Admin)}
	for _, r := range regions {
		args = append(args, "--region", r+"="+at(before.Regions[r]))
	}
	return args
}

// startDev starts dev on a data directory.
func startDev(t *testing.T, dir, point string, before daemon.Addresses) *process {
	t.Helper()
	return begin(t, program(t, point, devArgs(dir, before)...))
}

// awaitReady returns when dev has written where it answers. A file of a process that was killed before
// it is not its own. It is nil where dev died before.
func awaitReady(t *testing.T, dir string, p *process) *dev {
	t.Helper()
	soon := time.NewTicker(5 * time.Millisecond)
	defer soon.Stop()
	late := time.After(patience)
	for {
		a, err := daemon.ReadAddresses(dir)
		if err == nil && a.PID == p.cmd.Process.Pid {
			return &dev{process: p, Addresses: a}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		select {
		case <-p.ended:
			return nil
		case <-late:
			t.Fatalf("dev is not ready after %s:\n%s", patience, p.stderr.String())
		case <-soon.C:
		}
	}
}

// mustReady is awaitReady of a dev that nothing kills.
func mustReady(t *testing.T, dir string, p *process) *dev {
	t.Helper()
	d := awaitReady(t, dir, p)
	if d == nil {
		t.Fatalf("dev ended with exit code %d before it was ready:\n%s", p.code(), p.stderr.String())
	}
	return d
}

// stop asks dev to stop, and expects it to do so in time.
func (d *dev) stop(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.awaitEnd(t, stopTime)
	if code := d.code(); code != 0 {
		t.Errorf("dev ended with exit code %d after SIGTERM:\n%s", code, d.stderr.String())
	}
}

// replays runs `tenantry replay` of a region to its end.
func replays(t *testing.T, dir, region string, args ...string) *process {
	t.Helper()
	p := begin(t, program(t, "", append([]string{"replay", "--region", region, "--data-dir", dir}, args...)...))
	p.awaitEnd(t, patience)
	return p
}

// mustReplay expects it to be done.
func mustReplay(t *testing.T, dir, region string, args ...string) *process {
	t.Helper()
	p := replays(t, dir, region, args...)
	if code := p.code(); code != 0 {
		t.Fatalf("replay of %s %v: exit code %d\n%s%s", region, args, code, p.stdout.String(), p.stderr.String())
	}
	return p
}

// leftOver is what a region's directory has besides the live generation and the one before.
func leftOver(dir, region string) (live string, more []string, err error) {
	d := readmodel.Dir(filepath.Join(dir, "regions", region))
	if live, err = d.Current(); err != nil {
		return "", nil, err
	}
	before, err := d.Previous()
	if err != nil && !errors.Is(err, readmodel.ErrNoGeneration) {
		return "", nil, err
	}
	entries, err := os.ReadDir(string(d))
	for _, e := range entries {
		if e.IsDir() && e.Name() != live && e.Name() != before {
			more = append(more, e.Name())
		}
	}
	return live, more, err
}

// checkTruth waits until the regions hold what the log holds, and compares all that they answer.
func checkTruth(t *testing.T, client *http.Client, d *dev) {
	t.Helper()
	l, err := truth.Read(t.Context(), client, d.Admin)
	if err != nil {
		t.Fatal(err)
	}
	for name, url := range d.Regions {
		for late := time.Now().Add(patience); ; {
			status, _, body, err := get(client, fmt.Sprintf("%s/v1/lookup/nobody.example?min_position=%d&wait=10s", url, l.Head()))
			if err == nil && status == http.StatusNotFound {
				break
			}
			if !time.Now().Before(late) {
				t.Fatalf("%s does not come to position %d: %d %v %s", name, l.Head(), status, err, body)
			}
		}
		if wrong := l.CheckRegion(t.Context(), truth.Node{Client: client, URL: url}); len(wrong) > 0 {
			t.Errorf("%s differs from the log in %d places:\n%s", name, len(wrong), strings.Join(wrong[:min(len(wrong), 5)], "\n"))
		}
	}
}
