package system

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPromise1_KilledAtAnyMomentOfAnImport_LosesNothingThatWasAnswered(t *testing.T) {
	t.Parallel()
	survive(t, roster, 4)
}

func TestPromise1_KilledAtAnyMomentOfAnImportOfRealInput_LosesNothingThatWasAnswered(t *testing.T) {
	needUniversities(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes long: the roster's import is killed as well, fewer times")
	}
	kills := 20
	if v := os.Getenv("TENANTRY_KILLS"); v != "" {
		var err error
		if kills, err = strconv.Atoi(v); err != nil || kills < 1 {
			t.Fatalf("TENANTRY_KILLS=%s is not how many times to kill", v)
		}
	}
	last := survive(t, universities, kills)
	counts := tally(last)
	if got := counts["created"] + counts["unchanged"]; got != universitiesCreated || counts["conflict"] != len(refusedUniversities) || len(last) != universityLines {
		t.Errorf("the last import: got %v, want %d created or unchanged and %d conflict", counts, universitiesCreated, len(refusedUniversities))
	}
}

// killing is an import that is begun again and again, since its dev is killed.
type killing struct {
	t    *testing.T
	c    *client
	rand *rand.Rand
	dir  string
	file string
	in   []rosterLine
	// answered is what was ever answered to a line, by its number: the first answer that says
	// that it is in the catalogue.
	answered map[int]importAnswer
}

// survive imports a file into a dev that is killed and started so many times, and then once to its
// end, whose answers it returns.
func survive(t *testing.T, file string, kills int) []importAnswer {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("TENANTRY_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("moments are drawn with TENANTRY_SEED=%d", seed)
	k := &killing{
		t: t, c: newClient(t), rand: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(),
		file: file, in: readRoster(t, file), answered: make(map[int]importAnswer),
	}
	for left := kills; left > 0; left-- {
		if k.rand.IntN(4) == 0 {
			k.killWhileStarting()
			continue
		}
		k.killWhileImporting(left)
	}

	d := start(t, k.dir)
	k.checkAnswered(d)
	answers, ended := k.importFrom(d, 0, nil)
	if ended.code != 0 && ended.code != 4 {
		t.Fatalf("the last import: exit code %d: %s", ended.code, ended.stderr)
	}
	k.checkAnswered(d)
	w := checkRegions(t, k.c, d)
	checkTopic(t, d.Kafka, w)
	d.stop()
	t.Logf("survived %d kills: %d of %d lines are in the catalogue, which ends at position %d", kills, len(k.answered), len(k.in), w.Head())
	return answers
}

// killWhileStarting kills dev somewhere between opening its store and being ready.
func (k *killing) killWhileStarting() {
	k.t.Helper()
	moments := []string{"event store opened", "relay publishes", "serving a generation", "caught up"}
	moment := moments[k.rand.IntN(len(moments))]
	after := time.Duration(k.rand.Int64N(int64(30 * time.Millisecond)))
	d := launch(k.t, k.dir)
	d.awaitLog(moment)
	<-time.After(after)
	d.kill()
	k.t.Logf("killed %s after it logged %q", after, moment)
}

// killWhileImporting kills dev somewhere in what is left of the import, leaving something for the
// kills that are left.
func (k *killing) killWhileImporting(left int) {
	k.t.Helper()
	d := start(k.t, k.dir)
	k.checkAnswered(d)
	missing := len(k.in) - len(k.answered)
	lines := 1 + k.rand.IntN(max(1, missing/(left+1)))
	if missing <= len(refusedUniversities) { // all is in: any line counts
		lines = -(1 + k.rand.IntN(len(k.in)))
	}
	after := time.Duration(k.rand.Int64N(int64(8 * time.Millisecond))) // in which 100 lines are imported
	answers, ended := k.importFrom(d, lines, func() {
		<-time.After(after)
		d.kill()
	})
	d.kill() // where the import has ended before
	if len(answers) < len(k.in) {
		if told := notLogged(ended.stderr); ended.code != 1 || len(told) != 1 || !strings.HasPrefix(told[0], "tenantry: ") {
			k.t.Errorf("an import whose dev was killed: exit code %d, want 1 and one line:\n%s", ended.code, ended.stderr)
		}
	}
	what := "new lines"
	if lines < 0 {
		lines, what = -lines, "lines again"
	}
	k.t.Logf("killed %s after %d %s; %d of %d lines are in by now", after, lines, what, len(k.answered), len(k.in))
}

// importFrom imports the file, and notes what is answered. After so many new lines, or after so
// many of any sort where the number is negative, it calls then, once and beside.
func (k *killing) importFrom(d *dev, lines int, then func()) ([]importAnswer, ran) {
	k.t.Helper()
	cmd := command(k.t, "import", k.file, "--admin", d.Admin, "--output", "json")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	var answers []importAnswer
	var beside sync.WaitGroup
	fresh := 0
	for out := bufio.NewReader(stdout); ; {
		text, err := out.ReadString('\n')
		if err != nil {
			break // the program has ended
		}
		a := readAnswers(k.t, text)[0]
		answers = append(answers, a)
		news := k.note(a)
		if news {
			fresh++
		}
		if then != nil && (news && fresh == lines || len(answers) == -lines) {
			beside.Go(then)
			then = nil
		}
	}
	_ = cmd.Wait() // the exit code says it
	beside.Wait()
	return answers, ran{code: cmd.ProcessState.ExitCode(), stderr: stderr.String()}
}

// note remembers an answer, and tells whether it is news. What was answered once must be so for
// ever.
func (k *killing) note(a importAnswer) (news bool) {
	k.t.Helper()
	before, known := k.answered[a.Line]
	if !a.done() {
		if known || a.Status == "failed" {
			k.t.Errorf("line %d was answered %q, and now %s: %+v", a.Line, before.Status, a.Status, a.Error)
		}
		return false
	}
	if known {
		if a.Status != "unchanged" || a.ID != before.ID {
			k.t.Errorf("line %d was answered %s as %s, and now %s as %s: it was lost", a.Line, before.Status, before.ID, a.Status, a.ID)
		}
		return false
	}
	k.answered[a.Line] = a
	return true
}

// checkAnswered expects every line that was ever answered to be in the catalogue as it was sent,
// and both regions to be equal to the log.
func (k *killing) checkAnswered(d *dev) {
	k.t.Helper()
	w := readTruth(k.t, k.c, d.Admin)
	checkHostnames(k.t, k.c, d, w)
	exported := export(k.t, k.c, d.Admin)
	for number := range k.answered {
		line := k.in[number-1]
		if got := exported[line.ID]; got != line.canonical {
			k.t.Errorf("line %d was answered:\n%s\nand is\n%s", number, line.canonical, got)
		}
	}
}
