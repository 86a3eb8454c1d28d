package testservers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// process is a server that a test started and may kill.
type process struct {
	pid   int
	ended chan struct{} // closed when it has ended
}

// start starts a command that writes to a log file. The kernel kills it when we end.
func start(logFile string, argv ...string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own: Ctrl-C is for the test, which stops its servers in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithUs(cmd.SysProcAttr)
	p := &process{ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread ends that started the process, so that has to
		// live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // How it ended is what the test did to it, or stands in its log.
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(argv[0]), err)
	}
	return p, nil
}

// signal sends a signal, unless the process has ended.
func (p *process) signal(s syscall.Signal) error {
	select {
	case <-p.ended:
		return os.ErrProcessDone
	default:
		return syscall.Kill(p.pid, s)
	}
}

// end sends a signal and waits until the process has ended.
func (p *process) end(s syscall.Signal) error {
	if err := p.signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	return nil
}

// guarded is a server that is watched by a shell, which kills it and removes its directory when our
// end of a pipe closes. The kernel closes it at the latest when we end, however that is. No
// goroutine stays, which a test that looks for leaks would find.
type guarded struct {
	shell *exec.Cmd
	ours  *os.File
}

// guarding is what the shell runs: the server, until the shell's own input ends.
const guarding = `dir=$1; log=$2; shift 2
trap '' INT TERM HUP
"$@" </dev/null >>"$log" 2>&1 &
read -r _
kill -9 $!
wait
rm -rf "$dir"`

func guard(dir, logFile string, argv ...string) (*guarded, error) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	shell := exec.Command("/bin/sh", append([]string{"-c", guarding, "guard", dir, logFile}, argv...)...)
	shell.Stdin = theirs
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := shell.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", filepath.Base(argv[0]), err), ours.Close())
	}
	return &guarded{shell: shell, ours: ours}, nil
}

// end kills the server, and returns when it and its directory are gone.
func (g *guarded) end() error {
	err := g.ours.Close()
	return errors.Join(err, g.shell.Wait())
}
