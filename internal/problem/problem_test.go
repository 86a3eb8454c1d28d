package problem_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/problem"
)

func TestProblem_IsSentAsRFC9457(t *testing.T) {
	version := uint64(0)
	p := problem.New(412, "version-mismatch", "The stream has moved on", "read it again")
	p.Errors = []problem.Field{{Pointer: "", Detail: "all of it"}}
	p.CurrentVersion = &version
	w := httptest.NewRecorder()
	if err := p.Write(w); err != nil {
		t.Fatal(err)
	}
	want := `{"type":"https://tenantry.dev/problems/version-mismatch","title":"The stream has moved on","status":412,"detail":"read it again",` +
		`"errors":[{"pointer":"","detail":"all of it"}],"current_version":0}` + "\n"
	if got := w.Body.String(); got != want || w.Code != 412 {
		t.Errorf("got %d %s\nwant %s", w.Code, got, want)
	}
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("got Content-Type %q", got)
	}
}

func TestProblem_OfOneLine_HasNoStatus(t *testing.T) {
	p := problem.New(422, "invalid", "No", "never")
	p.Status = 0
	if got := string(p.JSON()); strings.Contains(got, "status") {
		t.Errorf("got %s", got)
	}
}

func TestProblem_WithTextThatIsNotUTF8_IsStillAProblem(t *testing.T) {
	p := problem.New(422, "invalid", "No", "\xff")
	if got := string(p.JSON()); !strings.Contains(got, `/problems/invalid"`) || !strings.Contains(got, `"status":422`) {
		t.Errorf("got %s", got)
	}
}
