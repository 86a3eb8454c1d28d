package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program that runs until it is stopped.
type process struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // valid once ended is closed
}

// startProcess starts a program, which gets SIGTERM when ctx ends or stop is called, and is
// killed where that does not help, or where we are.
func startProcess(ctx context.Context, cmd func(context.Context) *exec.Cmd) (*process, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &process{cmd: cmd(ctx), cancel: cancel, ended: make(chan struct{})}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 15 * time.Second
	dieWithUs(p.cmd)
	if err := p.cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) stop() {
	p.cancel()
	<-p.ended
}

// awaitLine reads what a program prints until a line begins with prefix, and goes on reading
// behind the caller's back, so that it never waits for us.
func (p *process) awaitLine(ctx context.Context, out io.Reader, prefix string) error {
	found := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for told := false; lines.Scan(); {
			if !told && strings.HasPrefix(lines.Text(), prefix) {
				told = true
				found <- nil
			}
		}
		found <- errors.New("it ended") // unless the channel is full, and nobody asks any more
	}()
	select {
	case err := <-found:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// memory is what the kernel says of a process's memory, in MB of 10^6 octets: VmRSS is what is
// resident now, VmHWM what was at most.
func (p *process) memory(field string) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("/proc tells no %s", field)
}

// cpu is the processor time that a process and its children have used.
func (p *process) cpu() (time.Duration, error) {
	pid := p.cmd.Process.Pid
	all, err := cpuOf(pid)
	if err != nil {
		return 0, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	for child := range strings.FieldsSeq(string(children)) {
		id, err := strconv.Atoi(child)
		if err != nil {
			return 0, err
		}
		of, err := cpuOf(id)
		if err != nil {
			return 0, err
		}
		all += of
	}
	return all, nil
}

func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// Behind the name, which may hold blanks: fields 14 and 15 of proc(5), in 1/100 s.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("/proc tells no times")
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// pause waits, or returns why it must not.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
