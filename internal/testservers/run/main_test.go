package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tenantry/tenantry/internal/testservers"
)

func TestRun_PassesAddressesToTheCommandAndItsExitCodeOn(t *testing.T) {
	t.Setenv(testservers.PostgresEnv, "postgres://given")
	t.Setenv(testservers.EnvKafka, "given:9092")
	out := filepath.Join(t.TempDir(), "out")
	code, err := run([]string{"sh", "-c", `echo "$` + testservers.PostgresEnv + ` $` + testservers.EnvKafka + `" >` + out + `; exit 7`})
	if code != 7 || err != nil {
		t.Errorf("run = %d, %v, want the command's exit code 7", code, err)
	}
	if text, err := os.ReadFile(out); err != nil || string(text) != "postgres://given given:9092\n" {
		t.Errorf("the command saw %q, %v, want what was given", text, err)
	}
}

func TestRun_Signal_IsForTheCommand(t *testing.T) {
	t.Setenv(testservers.PostgresEnv, "postgres://given")
	t.Setenv(testservers.EnvKafka, "given:9092")
	hangups := make(chan os.Signal, 8) // so that a late one does not end the test
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	// The command tells its parent, us, to hang up, and waits to be told the same.
	code, err := run([]string{"sh", "-c", `trap 'exit 9' HUP; kill -HUP $PPID; while :; do sleep 0.05; done`})
	if code != 9 || err != nil {
		t.Errorf("run = %d, %v, want 9 of the command, which got the signal", code, err)
	}
}

func TestRun_CommandKilledOrNotThere_SaysSo(t *testing.T) {
	t.Setenv(testservers.PostgresEnv, "postgres://given")
	t.Setenv(testservers.EnvKafka, "given:9092")
	if code, err := run([]string{"sh", "-c", "kill -9 $$"}); code != 128+9 || err != nil {
		t.Errorf("run = %d, %v, want 137", code, err)
	}
	if code, err := run([]string{"/nowhere/at/all"}); code != 127 || err == nil || !strings.Contains(err.Error(), "/nowhere/at/all") {
		t.Errorf("run = %d, %v, want 127 and the command's name", code, err)
	}
}
