package postgres_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events/postgres"
)

// leadUntilLost is the other process: it says when it leads, and when it does no more.
func leadUntilLost(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	s, err := postgres.Open(ctx, patient(url))
	if err != nil {
		return err
	}
	leading, release, err := s.Lead(ctx)
	if err != nil {
		return err
	}
	defer release()
	fmt.Println("leads")
	<-leading.Done()
	fmt.Println("lost:", context.Cause(leading))
	return s.Close()
}

// leader starts the other process, and returns when it leads. Its further lines are in the channel.
func leader(t *testing.T, url string) (*os.Process, <-chan string) {
	t.Helper()
	cmd := osexec.CommandContext(t.Context(), os.Args[0], "-test.run", "^$")
	cmd.Env = append(os.Environ(), leaderURL+"="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); err != nil || line != "leads\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	more, read := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(read)
		text, err := io.ReadAll(lines)
		if err != nil {
			text = append(text, err.Error()...)
		}
		more <- string(text)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-read
		_ = cmd.Wait()
	})
	return cmd.Process, more
}

func TestLead_ProcessIsKilled_AnotherLeads(t *testing.T) {
	url := database(t)
	process, _ := leader(t, url)
	won := candidate(t, open(t, patient(url)))
	began := time.Now()
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-won; err != nil {
		t.Fatal(err)
	}
	t.Logf("another led %v after the kill", time.Since(began).Round(time.Millisecond))
}

func TestLead_ProcessIsPaused_AnotherLeadsAndThePausedOneGivesUpWhenItGoesOn(t *testing.T) {
	url := database(t)
	process, more := leader(t, url)
	won := candidate(t, open(t, patient(url)))
	began := time.Now()
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := <-won; err != nil {
		t.Fatal(err)
	}
	t.Logf("another led %v after the pause", time.Since(began).Round(time.Millisecond))
	if err := process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-more:
		if !strings.HasPrefix(text, "lost: leadership is lost") {
			t.Errorf("the paused process says %q", text)
		}
	case <-time.After(soon):
		t.Fatal("the paused process leads on")
	}
}
