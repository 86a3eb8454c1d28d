package system

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/daemon"
)

const (
	// patience is for what takes milliseconds; that it runs out means that something hangs.
	patience = time.Minute
	// stopTime is what the contract of the command line gives a server to stop in.
	stopTime = 10 * time.Second
)

// both are the regions that dev has in these tests.
var both = []string{"eu-west", "us-east"}

// dev is a running `tenantry dev`, on ports that were free.
type dev struct {
	daemon.Addresses
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	stdout buffer
	stderr buffer
	ended  chan struct{}
}

// devArgs are the arguments of a dev with two regions on free ports. What is given comes later,
// so that it takes the place of the same flag here.
func devArgs(dir string, more ...string) []string {
	return append([]string{
		"dev", "--data-dir", dir, "--listen", "127.0.0.1:0",
		"--region", both[0] + "=127.0.0.1:0", "--region", both[1] + "=127.0.0.1:0",
	}, more...)
}

// start starts dev on a data directory and returns when it is ready.
func start(t *testing.T, dir string, more ...string) *dev {
	t.Helper()
	d := launch(t, dir, more...)
	d.awaitReady()
	return d
}

// launch starts dev, and does not wait for it.
func launch(t *testing.T, dir string, more ...string) *dev {
	t.Helper()
	d := &dev{t: t, dir: dir, cmd: command(t, devArgs(dir, more...)...), ended: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = &d.stdout, &d.stderr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.ended)
		_ = d.cmd.Wait() // the exit code says it
	}()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("the end of what dev %d logged:\n%s", d.cmd.Process.Pid, tail(d.stderr.String(), 40))
		}
	})
	return d
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// awaitReady returns when dev has written where it answers. A file of a process that was
// killed before it is not its own.
func (d *dev) awaitReady() {
	d.t.Helper()
	soon := time.NewTicker(5 * time.Millisecond)
	defer soon.Stop()
	late := time.After(patience)
	for {
		a, err := daemon.ReadAddresses(d.dir)
		if err == nil && a.PID == d.cmd.Process.Pid {
			d.Addresses = a
			return
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.t.Fatal(err)
		}
		select {
		case <-d.ended:
			d.t.Fatalf("dev ended with exit code %d before it was ready:\n%s", d.cmd.ProcessState.ExitCode(), d.stderr.String())
		case <-late:
			d.t.Fatalf("dev is not ready after %s:\n%s", patience, d.stderr.String())
		case <-soon.C:
		}
	}
}

// kill kills dev where it stands, and returns when it is gone.
func (d *dev) kill() {
	_ = d.cmd.Process.Kill() // an error means that it has ended
	<-d.ended
}

// stop asks dev to stop, and expects it to do so in time, with exit code 0, and to take its
// address file with it.
func (d *dev) stop() {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	if code := d.awaitEnd(stopTime); code != 0 {
		d.t.Errorf("dev ended with exit code %d after SIGTERM, want 0:\n%s", code, d.stderr.String())
	}
	if _, err := os.Stat(filepath.Join(d.dir, daemon.AddressFile)); !errors.Is(err, fs.ErrNotExist) {
		d.t.Errorf("%s after the stop: got %v, want it gone", daemon.AddressFile, err)
	}
}

func (d *dev) signal(s os.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

// awaitEnd waits for dev to end by itself, and is its exit code.
func (d *dev) awaitEnd(limit time.Duration) int {
	d.t.Helper()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-d.ended:
	case <-late.C:
		d.t.Fatalf("dev runs on after %s:\n%s", limit, d.stderr.String())
	}
	return d.cmd.ProcessState.ExitCode()
}

// awaitLog returns once dev has logged a text.
func (d *dev) awaitLog(text string) {
	d.t.Helper()
	soon := time.NewTicker(time.Millisecond)
	defer soon.Stop()
	late := time.After(patience)
	for !strings.Contains(d.stderr.String(), text) {
		select {
		case <-d.ended:
			d.t.Fatalf("dev ended and has not logged %q:\n%s", text, d.stderr.String())
		case <-late:
			d.t.Fatalf("dev has not logged %q after %s:\n%s", text, patience, d.stderr.String())
		case <-soon.C:
		}
	}
}

// notLogged are the lines on standard error that are not of the log.
func notLogged(stderr string) []string {
	var out []string
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "time=") {
			out = append(out, strings.TrimRight(line, "\n"))
		}
	}
	return out
}
