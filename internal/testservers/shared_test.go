package testservers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// dieInTheMiddle makes this test binary a process that starts a Kafka, says where, and is killed.
const dieInTheMiddle = "TENANTRY_TEST_DIE_IN_THE_MIDDLE"

func TestMain(m *testing.M) {
	if os.Getenv(dieInTheMiddle) != "" {
		s, err := StartSharedKafka(context.Background())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.Address)
		_, _ = io.Copy(io.Discard, os.Stdin) // until we are killed
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestSharedKafka_ProcessKilled_LeavesNoServerAndNoData(t *testing.T) {
	KafkaTools(t) // skips where there is none
	temp := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), dieInTheMiddle+"=1", "TMPDIR="+temp)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(stdout).ReadString('\n')
	address = strings.TrimSpace(address)
	if err != nil || !listens(t, address) {
		t.Errorf("the server at %q does not listen (%v)", address, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as it was to be
	until := time.Now().Add(20 * time.Second)
	for {
		// Java's own, of each JVM, which no killed one removes.
		left, err := filepath.Glob(filepath.Join(temp, "tenantry-*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 && !listens(t, address) {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("after its process was killed, the server listens: %t, and these are left: %q", listens(t, address), left)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func listens(t *testing.T, address string) bool {
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func TestLocked_OneAtATime(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	inside := make(chan struct{}, 1)
	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			return locked(t.Context(), "test", func() error {
				select {
				case inside <- struct{}{}:
				default:
					return errors.New("two hold the lock")
				}
				<-inside
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	err := locked(t.Context(), "test", func() error {
		return locked(cancelled, "test", func() error { return errors.New("two hold the lock") })
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a lock that is held: %v, want the context's end", err)
	}
}

func TestFreeAddresses_AreDifferentAndNotOfOutgoingConnections(t *testing.T) {
	all, err := freeAddresses(t.Context(), 50)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range all {
		host, port, err := net.SplitHostPort(a)
		if err != nil || host != "127.0.0.1" || len(port) != 5 || port >= "32768" || seen[a] {
			t.Errorf("address %q, want another port of 127.0.0.1 below 32768", a)
		}
		seen[a] = true
	}
}

func TestCacheDir_IsTheRepositorys(t *testing.T) {
	dir, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "go.mod")); errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cache is %s, want .cache beside go.mod", dir)
	}
}
