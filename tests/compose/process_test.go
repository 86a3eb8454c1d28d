package compose

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take before a test says that it never comes.
const patience = 2 * time.Minute

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

// process is what a service is here.
type process struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	stdout buffer
	stderr buffer
	ended  chan struct{} // closed when it has ended
}

// launch starts a process that ends with the test at the latest.
func launch(t *testing.T, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	cmd.WaitDelay = stopTime // for a child that holds the pipe when its parent has been killed
	endWithTests(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		if err := killAll(cmd.Process); err != nil {
			t.Errorf("kill %s: %v", name, err)
		}
		<-p.ended
		if t.Failed() {
			t.Logf("%s (exit code %d) printed %s and logged\n%s", name, cmd.ProcessState.ExitCode(), p.stdout.String(), lastLines(p.stderr.String()))
		}
	})
	return p
}

func lastLines(log string) string { return log[max(0, len(log)-6000):] }

// killAll kills a process and its children, those of nginx for one.
func killAll(p *os.Process) error {
	if err := syscall.Kill(-p.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// stop sends a signal, and expects the process to end well within a time.
func (p *process) stop(signal syscall.Signal, within time.Duration) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Errorf("%s had ended before it was stopped: %v", p.name, err)
		return
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.ended:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			p.t.Errorf("%s: exit code %d after %v, want 0", p.name, code, signal)
		}
	case <-timer.C:
		p.t.Errorf("%s has not ended %v after %v", p.name, within, signal)
	}
}

// until asks again and again, until there is no error or it makes no sense to ask any more.
func until(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		if stop, ok := errors.AsType[*neverError](err); ok {
			t.Fatalf("%s: %v", what, stop.error)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// neverError says that asking again does not help.
type neverError struct{ error }
