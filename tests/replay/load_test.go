//go:build unix

package replay

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// newClient keeps its connections for the length of a test.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func get(client *http.Client, url string) (status int, header http.Header, body []byte, err error) {
	return send(client, http.MethodGet, url, "")
}

func send(client *http.Client, method, url, body string) (status int, header http.Header, text []byte, err error) {
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, url, in)
	if err != nil {
		return 0, nil, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, text, err
}

// loadTenants is how many tenants the load is about.
const loadTenants = 300

// load is commands and look-ups, at a dev that may be killed or not.
type load struct {
	client   *http.Client
	dev      atomic.Pointer[dev]
	versions [loadTenants]atomic.Uint64 // that the catalogue has answered

	commands, lookups, failed, back atomic.Int64
	mu                              sync.Mutex
	findings                        []string

	stop    chan struct{}
	running sync.WaitGroup
}

func newLoad(client *http.Client, d *dev) *load {
	l := &load{client: client}
	l.dev.Store(d)
	return l
}

// found registers what all commands are about.
func (l *load) found(t *testing.T) {
	t.Helper()
	admin := l.dev.Load().Admin
	must := func(method, path, body string) {
		if status, _, text, err := send(l.client, method, admin+path, body); err != nil || status >= 300 {
			t.Fatalf("%s %s: %d %v %s", method, path, status, err, text)
		}
	}
	for i := range 4 {
		must("POST", "/v1/groups", fmt.Sprintf(`{"id":"grp_g%d","name":"G","ring":0}`, i))
		must("POST", "/v1/databases", fmt.Sprintf(`{"id":"db_d%d","engine":"postgres","region":"eu-west","host":"d%d.internal","port":5432,"secret_ref":"vault://d%d"}`, i, i, i))
	}
	var roster strings.Builder
	for i := range loadTenants {
		fmt.Fprintf(&roster, `{"id":"ten_t%d","name":"N","hostnames":["own-t%d.example","more-t%d.example"],"home_region":"eu-west","group":"grp_g%d"}`+"\n", i, i, i, i%4)
	}
	file := filepath.Join(t.TempDir(), "roster.ndjson")
	if err := os.WriteFile(file, []byte(roster.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := begin(t, program(t, "", "import", file, "--admin", admin))
	p.awaitEnd(t, patience)
	if code := p.code(); code != 0 {
		t.Fatalf("import: exit code %d: %s", code, p.stderr.String())
	}
}

// run begins so many writers, and so many readers a region.
func (l *load) run(writers, readers int, seed uint64) {
	l.stop = make(chan struct{})
	for i := range writers {
		l.running.Go(func() { l.write(rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for _, region := range regions {
		for i := range readers {
			l.running.Go(func() { l.read(region, rand.New(rand.NewPCG(seed, 1000+uint64(i)))) })
		}
	}
}

// halt ends them.
func (l *load) halt() {
	close(l.stop)
	l.running.Wait()
}

func (l *load) find(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.findings) < 50 {
		l.findings = append(l.findings, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

func (l *load) report(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.findings) > 0 {
		t.Errorf("%d look-ups failed, %d showed something older than before:\n%s", l.failed.Load(), l.back.Load(), strings.Join(l.findings, "\n"))
	}
}

// write sends commands, one after the other. While dev is away, or refuses for what another writer did, it
// goes on with the next.
func (l *load) write(r *rand.Rand) {
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		case <-pause.C:
		}
		i := r.IntN(loadTenants)
		method, path, body := "PATCH", fmt.Sprintf("/v1/tenants/ten_t%d", i), fmt.Sprintf(`{"name":"Name %d"}`, n)
		switch r.IntN(12) {
		case 0, 1, 2: // hostnames that all want
			method, path, body = "PUT", fmt.Sprintf("%s/hostnames/h%d.example", path, r.IntN(40)), ""
		case 3, 4:
			method, path, body = "DELETE", fmt.Sprintf("%s/hostnames/h%d.example", path, r.IntN(40)), ""
		case 5, 6:
			method, path, body = "PUT", path+"/config/k", fmt.Sprintf(`{"value":%d}`, n)
		case 7:
			method, path, body = "PUT", path+"/database", fmt.Sprintf(`{"database":"db_d%d","name":"n%d"}`, r.IntN(4), n)
		case 8:
			method, path, body, i = "PATCH", fmt.Sprintf("/v1/databases/db_d%d", r.IntN(4)), fmt.Sprintf(`{"host":"h%d.internal"}`, n), -1
		case 9:
			method, path, body, i = "PATCH", fmt.Sprintf("/v1/groups/grp_g%d", r.IntN(4)), fmt.Sprintf(`{"ring":%d}`, r.IntN(5)), -1
		}
		status, _, text, err := send(l.client, method, l.dev.Load().Admin+path, body)
		if err != nil || status != http.StatusOK {
			continue
		}
		l.commands.Add(1)
		var answer struct {
			Version uint64 `json:"version"`
		}
		if i < 0 || json.Unmarshal(text, &answer) != nil {
			continue
		}
		for {
			before := l.versions[i].Load()
			if answer.Version <= before || l.versions[i].CompareAndSwap(before, answer.Version) {
				break
			}
		}
	}
}

// read looks tenants up at one region. Each has to be there, at no older a version and no older a position than
// this reader has seen before; and now and then at the version that the catalogue has answered.
func (l *load) read(region string, r *rand.Rand) {
	var versions [loadTenants]uint64
	var position uint64
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		i := r.IntN(loadTenants)
		ask := fmt.Sprintf("/v1/lookup/own-t%d.example", i)
		if r.IntN(3) == 0 {
			ask = fmt.Sprintf("/v1/tenants/ten_t%d", i)
		}
		least := uint64(0)
		if r.IntN(10) == 0 {
			least = l.versions[i].Load()
			ask += fmt.Sprintf("?wait=30s&min_version=%d", least)
		}
		status, header, body, err := get(l.client, l.dev.Load().Regions[region]+ask)
		l.lookups.Add(1)
		if err != nil || status != http.StatusOK {
			l.failed.Add(1)
			l.find("%s %s: %d %v %.200s", region, ask, status, err, body)
			continue
		}
		var doc struct {
			ID      string `json:"tenant_id"`
			Version uint64 `json:"version"`
		}
		now, parseErr := strconv.ParseUint(header.Get("Tenantry-Position"), 10, 64)
		if err := json.Unmarshal(body, &doc); err != nil || parseErr != nil || doc.ID != fmt.Sprintf("ten_t%d", i) {
			l.failed.Add(1)
			l.find("%s %s: %v %v %s", region, ask, err, parseErr, body)
			continue
		}
		if doc.Version < versions[i] || doc.Version < least || now < position {
			l.back.Add(1)
			l.find("%s %s: version %d at position %d, after version %d (catalogue: %d) at position %d", region, ask, doc.Version, now, versions[i], least, position)
		}
		versions[i], position = max(versions[i], doc.Version), max(position, now)
	}
}
