//go:build unix

package crashpoint_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tenantry/tenantry/internal/crashpoint"
)

func TestHit_KillsAtTheArmedPointAndTime_AndOnlyInTheTestBuild(t *testing.T) {
	shipped, armed := build(t), build(t, "-tags", "crashpoints")
	all := len(crashpoint.All())
	for _, test := range []struct {
		name, program, value string
		lines                int
		killed               bool
	}{
		{"shipped", shipped, "fold-before-commit:2", 3 * all, false},
		{"not armed", armed, "", 3 * all, false},
		{"the second time", armed, "fold-before-commit:2", all + 1 + slices.Index(crashpoint.All(), crashpoint.FoldBeforeCommit), true},
		{"never that often", armed, "fold-before-commit:4", 3 * all, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), test.program)
			cmd.Env = append(cmd.Environ(), "TENANTRY_CRASHPOINT="+test.value)
			out, err := cmd.Output()
			killed := false
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				killed = exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
			}
			if lines := strings.Count(string(out), "\n"); lines != test.lines || killed != test.killed || (err != nil) != test.killed {
				t.Errorf("came to %d points, killed %v (%v); want %d, %v", lines, killed, err, test.lines, test.killed)
			}
		})
	}
	cmd := exec.CommandContext(t.Context(), armed)
	cmd.Env = append(cmd.Environ(), "TENANTRY_CRASHPOINT=no-such-point:1")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "fold-before-commit") {
		t.Errorf("a point that does not exist is taken: %v %s", err, out)
	}
}

func build(t *testing.T, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "program")
	args := append([]string{"build", "-o", out}, flags...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, "./testdata/program")...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	return out
}
