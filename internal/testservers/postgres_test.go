//go:build unix

package testservers_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/testservers"
)

func startPostgres(t *testing.T, cfg testservers.PostgresConfig) *testservers.PostgresServer {
	t.Helper()
	s, err := testservers.StartPostgres(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func answers(port int) bool {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return c.Close() == nil
}

func TestPostgres_KilledAndRestarted_AnswersAtTheSameAddressAndLeavesNothing(t *testing.T) {
	s := startPostgres(t, testservers.PostgresConfig{Durable: true})
	url, port, dir := s.URL(), s.Port(), s.Dir()
	for _, end := range []func() error{s.Kill, func() error { return nil }} {
		if !answers(port) {
			t.Fatalf("nobody answers at %s", url)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.URL() != url {
			t.Errorf("URL: got %s, want %s", s.URL(), url)
		}
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if answers(port) {
		t.Error("somebody still answers")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}

const leaveServer = "TENANTRY_TEST_LEAVE_SERVER"

// TestPostgres_ProcessThatStartedItIsKilled_ServerAndDataGoToo runs this test in a process of
// its own, which starts a server and is killed.
func TestPostgres_ProcessThatStartedItIsKilled_ServerAndDataGoToo(t *testing.T) {
	if os.Getenv(leaveServer) != "" {
		s := startPostgres(t, testservers.PostgresConfig{})
		fmt.Printf("\nstarted %d %s\n", s.Port(), s.Dir())
		select {}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), leaveServer+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var port int
	var dir string
	var text strings.Builder
	for buf := make([]byte, 1024); dir == ""; {
		n, err := out.Read(buf)
		text.Write(buf[:n])
		if _, after, ok := strings.Cut(text.String(), "\nstarted "); ok && strings.Contains(after, "\n") {
			if _, err := fmt.Sscanf(after, "%d %s", &port, &dir); err != nil {
				t.Fatal(err)
			}
		} else if err != nil {
			t.Fatalf("%v: %s", err, text.String())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process that was killed says that it ended well")
	}
	deadline := time.Now().Add(time.Minute)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		_, err := os.Stat(dir)
		if os.IsNotExist(err) && !answers(port) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a minute the server answers: %v; its data: %v", answers(port), err)
		}
		<-again.C
	}
}
