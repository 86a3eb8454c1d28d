//go:build unix

package testservers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// guardian is a shell that is the server's parent, and stops it when our end of a pipe closes:
// that happens however this process ends, so no server is ever left behind, nor its data.
type guardian struct {
	cmd   *exec.Cmd
	alive io.WriteCloser // our end
	pid   int            // of the server
}

// The server is started in the background, where a shell ignores SIGINT and SIGQUIT; PostgreSQL
// sets its own handlers. $1 is what to remove at the end, or nothing; whoever writes "keep" into
// the pipe before it closes wants it kept.
const guardianScript = `
remove=$1; shift
exec 3<&0
"$@" </dev/null 3<&- >>"$log" 2>&1 &
pid=$!
echo $pid
exec >/dev/null
word=
read -r word <&3
if kill -QUIT $pid 2>/dev/null; then wait $pid; fi
if [ -n "$remove" ] && [ "$word" != keep ]; then rm -rf "$remove"; fi
`

func startGuarded(dir, logPath, remove string, args []string) (*guardian, error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", guardianScript, "guardian", remove}, args...)...)
	cmd.Env = append(os.Environ(), "log="+logPath)
	cmd.Dir = dir
	asServer(cmd)
	// An interrupt of the terminal is for the tests; they, or their end, stop the server.
	cmd.SysProcAttr.Setpgid = true
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		g := &guardian{cmd: cmd, alive: in}
		if g.pid, err = strconv.Atoi(strings.TrimSpace(line)); err == nil {
			return g, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("start %s: %w", args[0], err), in.Close(), cmd.Wait())
}

// end ends the server if it still runs, and the guardian, and leaves the data.
func (g *guardian) end() error {
	_, err := io.WriteString(g.alive, "keep\n")
	if err := errors.Join(err, g.alive.Close()); err != nil {
		return err
	}
	// Its exit code is that of what it did last, which nobody asks for.
	var exit *exec.ExitError
	if err := g.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// serverUser is whom PostgreSQL runs as when we are root, which it refuses to be.
func serverUser() (uid, gid int, needed bool) {
	if os.Geteuid() != 0 {
		return 0, 0, false
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr == nil && gidErr == nil {
			return uid, gid, true
		}
	}
	return 65534, 65534, true
}

func asServer(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if uid, gid, needed := serverUser(); needed {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
}

// giveAway makes a directory the server's.
func giveAway(dir string) error {
	uid, gid, needed := serverUser()
	if !needed {
		return nil
	}
	return os.Chown(dir, uid, gid)
}

// alive tells whether a process runs; one that has ended and was not waited for does not.
func alive(pid int) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		_, noProc := os.Stat("/proc/self/stat")
		return noProc != nil // without /proc a zombie counts as alive until its parent has waited
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

func interrupt(pid int) error { return signal(pid, syscall.SIGINT) }

func signal(pid int, s syscall.Signal) error {
	if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %d: %w", pid, err)
	}
	return nil
}

// killTree kills a process and its children at once. Each child of PostgreSQL has a session of
// its own, so there is no group to kill.
func killTree(pid int) error {
	// Stopped first, so that it neither starts others nor cleans up after those that have gone.
	errs := []error{signal(pid, syscall.SIGSTOP)}
	for _, child := range children(pid) {
		errs = append(errs, signal(child, syscall.SIGKILL))
	}
	return errors.Join(append(errs, signal(pid, syscall.SIGKILL))...)
}

// children are the processes whose parent is pid; none where there is no /proc.
func children(pid int) []int {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var out []int
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(after)
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			if child, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				out = append(out, child)
			}
		}
	}
	return out
}
