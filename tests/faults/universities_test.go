//go:build unix

package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/tenantry/tenantry/tests/truth"
)

// The universities are 10,251 organisations with 10,575 domains, of which three stand twice. The
// README beside the file says what becomes of them.
var universities = filepath.Join("..", "..", "..", "shared", "data", "universities.ndjson")

func TestImport_OfRealInputThroughTwoCataloguesAtOnce_GivesItsNumbers_AndAgainChangesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	input, err := os.ReadFile(universities)
	if os.IsNotExist(err) {
		t.Skipf("%s is not here: it stands beside the project where the project is made, and is not copied into it", universities)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	s := open(t, options{nodes: 1})
	half := len(input) / 2
	half += bytes.IndexByte(input[half:], '\n') + 1

	got := s.importAtOnce(t, input[:half], input[half:])
	if want := (tally{"created": 10_248, "conflict": 3}); !maps.Equal(got[0].sum(got[1]), want) {
		t.Errorf("the halves were answered %v and %v, want %v together", got[0], got[1], want)
	}
	head := s.checkUniversities(t)

	for i, g := range s.importAtOnce(t, input, input) {
		if want := (tally{"unchanged": 10_248, "conflict": 3}); !maps.Equal(g, want) {
			t.Errorf("the whole was answered %v by %s, want %v", g, s.catalogues[i].name, want)
		}
	}
	if again := s.checkUniversities(t); again != head {
		t.Errorf("the log moved from position %d to %d with nothing new", head, again)
	}
}

// tally is how many lines of an import were answered with each status.
type tally map[string]int

func (a tally) sum(b tally) tally {
	out := maps.Clone(a)
	for k, n := range b {
		out[k] += n
	}
	return out
}

// importAtOnce imports through each catalogue at the same time.
func (s *system) importAtOnce(t *testing.T, inputs ...[]byte) []tally {
	t.Helper()
	type result struct {
		catalogue int
		tally     tally
		err       error
	}
	results := make(chan result, len(inputs))
	for i, input := range inputs {
		go func() {
			lines, err := s.importAt(t, s.catalogues[i].url, input)
			results <- result{i, lines, err}
		}()
	}
	out := make([]tally, len(inputs))
	for range inputs {
		r := <-results
		if r.err != nil {
			t.Errorf("import through %s: %v", s.catalogues[r.catalogue].name, r.err)
		}
		out[r.catalogue] = r.tally
	}
	return out
}

func (s *system) importAt(t *testing.T, url string, input []byte) (tally, error) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/import", bytes.NewReader(input))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := s.long.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("got %s", resp.Status)
	}
	out := tally{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		var line struct {
			Status string `json:"status"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, err
		}
		out[line.Status]++
	}
	return out, lines.Err()
}

// checkUniversities expects all that must have come in, in the log and at each node, and returns
// the log's end.
func (s *system) checkUniversities(t *testing.T) uint64 {
	t.Helper()
	log, err := truth.Read(t.Context(), s.long, s.catalogues[0].url)
	if err != nil {
		t.Fatal(err)
	}
	hostnames := log.Hostnames()
	held := 0
	tenants := make(map[string]bool)
	for _, name := range hostnames {
		if tenant, ok := log.Holder(name); ok {
			held++
			tenants[tenant.ID.String()] = true
		}
	}
	if held != 10_571 || len(tenants) != 10_248 {
		t.Errorf("%d tenants have %d hostnames, want 10248 with 10571", len(tenants), held)
	}
	for name, holder := range map[string]string{"khio.no": "ten_khio-no", "jazanu.edu.sa": "ten_jazanu-edu-sa", "marun.edu.tr": "ten_marmara-edu-tr"} {
		if tenant, ok := log.Holder(name); !ok || tenant.ID.String() != holder {
			t.Errorf("%s is held by %s, want %s", name, tenant.ID, holder)
		}
	}
	if tenant, ok := log.Holder("mu.edu.tr"); ok {
		t.Errorf("mu.edu.tr is held by %s: its line was refused", tenant.ID)
	}
	for _, n := range s.nodes {
		if err := await(patience, n.name+" has all", func() bool {
			status, _, err := n.look(fmt.Sprintf("/v1/lookup/khio.no?min_position=%d&wait=5s", log.Head()))
			return err == nil && status == http.StatusOK
		}); err != nil {
			t.Fatal(err)
		}
		for _, finding := range log.CheckRegion(t.Context(), truth.Node{Client: s.http, URL: n.url}) {
			t.Errorf("%s differs from the log: %s", n.name, finding)
		}
	}
	return log.Head()
}
