package system

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/tests/truth"
)

// universities is real input: 10,251 organisations with 10,575 domains. What must become of them
// is in the README beside the file.
const universities = "../../../shared/data/universities.ndjson"

// needUniversities skips a test where the file is not: it is no part of the project.
func needUniversities(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(universities); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not here: it stands beside the project where the project is made, and is not copied into it", universities)
	}
}

// refusedUniversities are the lines whose hostname another organisation has.
var refusedUniversities = map[int]struct{ id, hostname, holder string }{
	6503: {"ten_khio-no-2", "khio.no", "ten_khio-no"},
	7545: {"ten_jazanu-edu-sa-2", "jazanu.edu.sa", "ten_jazanu-edu-sa"},
	8215: {"ten_mu-edu-tr", "marun.edu.tr", "ten_marmara-edu-tr"},
}

const (
	universityLines     = 10_251
	universitiesCreated = 10_248
	universityHostnames = 10_571
)

func TestImport_OfRealInput_GivesItsNumbersAndEveryHostnameInBothRegions_AndASecondChangesNothing(t *testing.T) {
	needUniversities(t)
	t.Parallel()
	dir := t.TempDir()
	d := start(t, dir)
	c := newClient(t)

	first := run(t, "import", universities, "--data-dir", dir, "--output", "json")
	checkUniversityAnswers(t, first, "created")
	w := checkRegions(t, c, d)
	checkUniversities(t, c, d, w)
	checkTopic(t, d.Kafka, w)
	t.Logf("the first import: %s; resident memory of dev %s", strings.TrimSpace(first.stderr), residentMemory(d))

	second := run(t, "import", universities, "--data-dir", dir, "--output", "json")
	checkUniversityAnswers(t, second, "unchanged")
	t.Logf("the second import: %s", strings.TrimSpace(second.stderr))
	if again := readTruth(t, c, d.Admin); again.Head() != w.Head() {
		t.Errorf("the second import moved the log from position %d to %d", w.Head(), again.Head())
	}

	// As a person reads it.
	text := run(t, "import", universities, "--data-dir", dir)
	if text.code != 4 || !strings.Contains(text.stdout, "10251 lines: 0 created, 10248 unchanged, 3 conflict, 0 invalid") {
		t.Errorf("the third import: exit code %d:\n%s", text.code, text.stdout)
	}
	for number, refused := range refusedUniversities {
		want := fmt.Sprintf("line %d: conflict: %s: ", number, refused.id)
		if i := strings.Index(text.stdout, want); i < 0 || !strings.Contains(strings.SplitN(text.stdout[i:], "\n", 2)[0], refused.hostname+" is held by "+refused.holder) {
			t.Errorf("no line that begins with %q and names hostname and holder:\n%s", want, text.stdout)
		}
	}
	d.stop()

	d = start(t, dir)
	again := checkRegions(t, c, d)
	if again.Head() != w.Head() || again.StoreID != w.StoreID {
		t.Errorf("after a restart: position %d of store %s, want %d of %s", again.Head(), again.StoreID, w.Head(), w.StoreID)
	}
	checkUniversities(t, c, d, again)
	t.Logf("resident memory of dev after the restart %s", residentMemory(d))
	d.stop()
}

// checkUniversityAnswers expects an import to say what the input's README says.
func checkUniversityAnswers(t *testing.T, r ran, status string) {
	t.Helper()
	if r.code != 4 {
		t.Errorf("exit code %d, want 4 since lines were refused:\n%s", r.code, r.stderr)
	}
	answers := readAnswers(t, r.stdout)
	counts := tally(answers)
	if len(answers) != universityLines || counts[status] != universitiesCreated || counts["conflict"] != len(refusedUniversities) || len(counts) != 2 {
		t.Errorf("got %v, want %d %s and %d conflict", counts, universitiesCreated, status, len(refusedUniversities))
	}
	for i, a := range answers {
		if a.Line != i+1 {
			t.Fatalf("answer %d is about line %d", i+1, a.Line)
		}
		refused, isRefused := refusedUniversities[a.Line]
		switch {
		case a.done() && !isRefused:
		case a.done() || !isRefused:
			t.Errorf("line %d: got %s %+v", a.Line, a.Status, a.Error)
		case a.ID != refused.id || a.Error == nil || !strings.Contains(a.Error.Detail, refused.hostname+" is held by "+refused.holder):
			t.Errorf("line %d: got %s %+v, want %s held by %s", a.Line, a.ID, a.Error, refused.hostname, refused.holder)
		}
	}
}

// checkUniversities expects the catalogue and both regions to hold what the file says.
func checkUniversities(t *testing.T, c *client, d *dev, w *truth.Log) {
	t.Helper()
	if n := len(w.Tenants); n != universitiesCreated {
		t.Errorf("got %d tenants, want %d", n, universitiesCreated)
	}
	if n := len(w.Holders); n != universityHostnames {
		t.Errorf("got %d hostnames, want %d", n, universityHostnames)
	}
	exported := export(t, c, d.Admin)
	for _, line := range readRoster(t, universities) {
		if refused, ok := refusedUniversities[line.number]; ok {
			if has(w, refused.id) {
				t.Errorf("line %d was refused, and %s is there", line.number, refused.id)
			}
			if holder, _ := w.Holder(refused.hostname); holder.ID.String() != refused.holder {
				t.Errorf("%s is held by %q, want %s", refused.hostname, holder.ID, refused.holder)
			}
			continue
		}
		line.checkHolds(t, w) // checkRegions has held both regions against w
		if got := exported[line.ID]; got != line.canonical {
			t.Errorf("line %d:\n%s\nis exported as\n%s", line.number, line.canonical, got)
		}
	}
	for _, url := range d.Regions {
		if r := c.get(url + "/v1/lookup/mu.edu.tr"); r.status != http.StatusNotFound {
			t.Errorf("mu.edu.tr: got %d %s, want 404: its line was refused", r.status, r.body)
		}
		for number, refused := range refusedUniversities {
			var doc struct {
				ID string `json:"tenant_id"`
			}
			c.must("GET", url+"/v1/lookup/"+refused.hostname, "").as(t, &doc)
			if doc.ID != refused.holder {
				t.Errorf("line %d: %s leads to %s, want %s", number, refused.hostname, doc.ID, refused.holder)
			}
		}
	}
}

// residentMemory is what the kernel says that a dev takes, for a person to read.
func residentMemory(d *dev) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if size, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(size)
		}
	}
	return "unknown"
}
