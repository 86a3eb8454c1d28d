package system

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/tests/truth"
)

// rosterLine is one line of a file to import.
type rosterLine struct {
	number    int
	ID        string   `json:"id"`
	Hostnames []string `json:"hostnames"`
	canonical string
}

// readRoster reads a file of lines to import, hostnames in their normal form.
func readRoster(t *testing.T, path string) []rosterLine {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []rosterLine
	for i, text := range lines(b) {
		line := rosterLine{number: i + 1}
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatalf("%s, line %d: %v", path, i+1, err)
		}
		for j, h := range line.Hostnames {
			normal, err := events.ParseHostname(h)
			if err != nil {
				t.Fatalf("%s, line %d: %v", path, i+1, err)
			}
			line.Hostnames[j] = normal.String()
			if normal.String() != h {
				text = bytes.Replace(text, []byte(`"`+h+`"`), []byte(`"`+normal.String()+`"`), 1)
			}
		}
		if line.canonical, err = truth.Canonical(jsontext.Value(text)); err != nil {
			t.Fatalf("%s, line %d: %v", path, i+1, err)
		}
		out = append(out, line)
	}
	return out
}

// checkHolds expects the truth to have what a line of a file says of a tenant: that its hostnames
// lead to it.
func (l rosterLine) checkHolds(t *testing.T, w *truth.Log) {
	t.Helper()
	if !has(w, l.ID) {
		t.Errorf("line %d: %s is not there", l.number, l.ID)
	}
	for _, h := range l.Hostnames {
		if holder, _ := w.Holder(h); holder.ID.String() != l.ID {
			t.Errorf("line %d: %s leads to %q, want %s", l.number, h, holder.ID, l.ID)
		}
	}
}

// has tells whether there is a stream with that ID.
func has(w *truth.Log, id string) bool {
	s, err := events.ParseStreamID(id)
	if err != nil {
		return false
	}
	if id, ok := s.Tenant(); ok {
		return w.Tenants[id].Exists()
	}
	if id, ok := s.Database(); ok {
		return w.Databases[id].Exists()
	}
	id2, _ := s.Group()
	return w.Groups[id2].Exists()
}

// importAnswer is what the API answers to one line of an import.
type importAnswer struct {
	Line   int      `json:"line"`
	ID     string   `json:"id"`
	Status string   `json:"status"`
	Error  *problem `json:"error"`
}

// done tells whether the line is in the catalogue.
func (a importAnswer) done() bool { return a.Status == "created" || a.Status == "unchanged" }

// readAnswers reads whole lines of answers; the rest of one that was cut off is dropped.
func readAnswers(t *testing.T, text string) []importAnswer {
	t.Helper()
	var out []importAnswer
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		var a importAnswer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		out = append(out, a)
	}
	return out
}

// tally counts answers by their status.
func tally(answers []importAnswer) map[string]int {
	out := make(map[string]int)
	for _, a := range answers {
		out[a.Status]++
	}
	return out
}

// export is the catalogue as `GET /v1/export` has it: a canonical line an ID.
func export(t *testing.T, c *client, admin string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, line := range lines(c.must("GET", admin+"/v1/export", "").body) {
		var id struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(line, &id); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		var err error
		if out[id.ID], err = truth.Canonical(jsontext.Value(line)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// openedImport is an import that sends line by line.
type openedImport struct {
	lines   *io.PipeWriter
	answers *bufio.Reader
	close   func()
}

// openImport begins an import whose end is not known.
func openImport(c *client, admin string) (*openedImport, error) {
	ctx, cancel := context.WithCancel(c.t.Context())
	body, lines := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, admin+"/v1/import", body)
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	answered, answers := io.Pipe()
	var asking sync.WaitGroup
	asking.Go(func() { // the answer begins only once a line was sent
		resp, err := c.http.Do(req)
		if err == nil {
			_, err = io.Copy(answers, resp.Body)
			resp.Body.Close()
		}
		_ = answers.CloseWithError(err)
	})
	return &openedImport{lines: lines, answers: bufio.NewReader(answered), close: func() {
		cancel()
		_, _ = answered.Close(), lines.Close()
		asking.Wait()
	}}, nil
}

// line sends a line and waits for its answer.
func (i *openedImport) line(t *testing.T, text string) string {
	t.Helper()
	if _, err := fmt.Fprintln(i.lines, text); err != nil {
		t.Fatal(err)
	}
	answer, err := i.answers.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var a importAnswer
	if err := json.Unmarshal(answer, &a); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	return a.Status
}
