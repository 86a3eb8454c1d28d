//go:build unix

package faults

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/crashpoint"
)

const (
	// patience is for what takes seconds; that it runs out means that something hangs.
	patience = 2 * time.Minute
	// stopTime is what the contract of the command line gives a server to stop in.
	stopTime = 10 * time.Second
)

// server is a catalogue or a node of a region: a process that is killed and started again, at one
// address. Its methods that start and end it are for one goroutine at a time.
type server struct {
	t    *testing.T
	name string
	url  string
	dir  string // of its data; "": it has none
	args []string
	log  string // file

	http *http.Client

	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{} // of cmd; closed
	life    int           // how many times it was started
	running bool          // was not told to end since, nor to die by itself
}

// launch starts the process, and does not wait for it.
func (s *server) launch(env ...string) error {
	path, err := program()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(path, s.args...)
	cmd.Env = environment(env...)
	cmd.Stdout, cmd.Stderr = log, log
	dieWithTests(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	s.mu.Lock()
	s.cmd, s.ended, s.running = cmd, ended, len(env) == 0
	s.life++
	s.mu.Unlock()
	go func() {
		defer close(ended)
		_ = cmd.Wait() // its state says it
		s.mu.Lock()
		s.running = false
		s.mu.Unlock()
	}()
	return nil
}

// start starts the process and returns when it answers.
func (s *server) start(env ...string) error {
	if err := s.launch(env...); err != nil {
		return err
	}
	return s.awaitAnswer("/livez")
}

// awaitAnswer returns when it answers 200 at a path.
func (s *server) awaitAnswer(path string) error {
	var last string
	err := await(patience, s.name+" answers 200 at "+path, func() bool {
		select {
		case <-s.ended:
			last = fmt.Sprintf("it ended: %s", s.cmd.ProcessState)
			return true
		default:
		}
		last = s.ask(path)
		return last == ""
	})
	if err == nil && last == "" {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", s.name, errors.Join(err, errors.New("it does not answer")), last)
}

// ask is "" when the answer is 200, and else what it is.
func (s *server) ask(path string) string {
	resp, err := s.http.Get(s.url + path)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b := make([]byte, 1000)
		n, _ := resp.Body.Read(b)
		return fmt.Sprintf("%d %s", resp.StatusCode, b[:n])
	}
	return ""
}

// up tells whether the process runs, and which of its lives this is.
func (s *server) up() (life int, running bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life, s.running
}

// kill kills the process as kill -9 does, and returns when it is gone.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	s.mu.Lock()
	s.running = false
	s.mu.Unlock()
	_ = s.cmd.Process.Kill() // an error means that it has ended
	<-s.ended
}

func (s *server) signal(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) }

// stop asks the process to stop, and expects it to do so in time, with exit code 0.
func (s *server) stop() error {
	s.mu.Lock()
	s.running = false
	s.mu.Unlock()
	if err := s.signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", s.name, err)
	}
	late := time.NewTimer(stopTime)
	defer late.Stop()
	select {
	case <-s.ended:
	case <-late.C:
		return fmt.Errorf("%s runs on %s after SIGTERM", s.name, stopTime)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with exit code %d after SIGTERM, want 0", s.name, code)
	}
	return nil
}

// dies kills the process, starts it anew so that it dies at a point when it is there for the nth
// time, and returns when that is so. do is called when the process runs.
func (s *server) dies(point crashpoint.Point, n int, do func() error) error {
	s.kill()
	if err := s.launch(fmt.Sprintf("TENANTRY_CRASHPOINT=%s:%d", point, n)); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-s.ended:
	case <-late.C:
		return fmt.Errorf("%s has not come to %s for the time number %d in %s", s.name, point, n, patience)
	}
	if status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("%s was to die at %s, and ended by itself: %s", s.name, point, s.cmd.ProcessState)
	}
	return nil
}

// logEnd is the last lines of all that it logged.
func (s *server) logEnd(lines int) string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// lose removes the node's whole copy.
func (s *server) lose() error { return os.RemoveAll(filepath.Join(s.dir, "regions")) }

// put sends a command once.
func (s *server) put(path, body string) (status int, header http.Header, answer string, err error) {
	req, err := http.NewRequest(http.MethodPut, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(text), err
}
