//go:build unix

package projections

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/crashpoint"
	"github.com/tenantry/tenantry/projections/readmodel"
)

const dirOfChild = "TENANTRY_TEST_ADOPT_DIR"

// truth is what the process that dies had for its source.
type truth struct {
	ID  uuid.UUID
	Log []events.Event
}

// This is the process that dies in the next test, and nothing where nobody has started it for that.
func TestAdopt_InAProcessThatIsToDie(t *testing.T) {
	dir := os.Getenv(dirOfChild)
	if dir == "" {
		return
	}
	log := roster(t, 30)
	source := &memorySource{id: uuid.New(), log: log[:60]}
	b, err := json.Marshal(truth{source.id, log})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "truth"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStageIn(t, dir, source)
	s.publish(60)
	p, _ := s.start(Config{})
	s.awaitPosition(p, 60)
	name := s.build(40)
	s.extend(log)
	s.publish(len(log))
	s.awaitPosition(p, len(log))
	t.Fatalf("it lives, after %v", p.Adopt(t.Context(), name))
}

func TestAdopt_KilledAtAnyPoint_LeavesAGenerationThatIsWholeAndNothingElse(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "crashpoints", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for point, want := range map[crashpoint.Point]string{
		crashpoint.AdoptOpened:        "gen-0001",
		crashpoint.AdoptBeforeCurrent: "gen-0001",
		crashpoint.AdoptAfterCurrent:  "gen-0002",
		crashpoint.AdoptAfterClose:    "gen-0002",
	} {
		t.Run(string(point), func(t *testing.T) {
			dir := t.TempDir()
			child := exec.CommandContext(t.Context(), program, "-test.run", "^TestAdopt_InAProcessThatIsToDie$")
			child.Env = append(child.Environ(), dirOfChild+"="+dir, fmt.Sprintf("TENANTRY_CRASHPOINT=%s:1", point))
			out, err := child.CombinedOutput()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("it was to die: %v\n%s", err, out)
			}
			var was truth
			b, err := os.ReadFile(filepath.Join(dir, "truth"))
			if err == nil {
				err = json.Unmarshal(b, &was)
			}
			if err != nil {
				t.Fatal(err)
			}
			if now, err := readmodel.Dir(filepath.Join(dir, "eu-west")).Current(); err != nil || now != want {
				t.Errorf("the pointer says %s, %v; want %s", now, err, want)
			}
			s := newStageIn(t, dir, &memorySource{id: was.ID, log: was.Log})
			p, _ := s.start(Config{})
			s.awaitPosition(p, len(was.Log))
			if got := p.Generation(); got != want || p.Notice() != "" {
				t.Errorf("serves %s and says %q, want %s", got, p.Notice(), want)
			}
			checkEquals(t, p.Live(), was.Log)
			left, err := filepath.Glob(filepath.Join(dir, "eu-west", "gen-*"))
			if err != nil {
				t.Fatal(err)
			}
			most := 2 // the live one, and the one before
			if want == "gen-0001" {
				most = 1
			}
			if len(left) > most {
				t.Errorf("left on disk: %v", left)
			}
		})
	}
}
