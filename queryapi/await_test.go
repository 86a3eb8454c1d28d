package queryapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/queryapi"
)

// asking is a request under way.
type asking struct {
	done chan answer
	errs chan error
}

func (n *node) ask(path string) asking {
	a := asking{done: make(chan answer, 1), errs: make(chan error, 1)}
	go func() {
		got, err := n.try(http.MethodGet, path, "")
		if err != nil {
			a.errs <- err
			return
		}
		a.done <- got
	}()
	return a
}

func (a asking) answer(t testing.TB) answer {
	t.Helper()
	select {
	case got := <-a.done:
		return got
	case err := <-a.errs:
		t.Fatal(err)
	}
	return answer{}
}

func TestAwait_OfAToken_AnswersOnceThatPartitionHasTheWrite(t *testing.T) {
	n := newNode(t)
	n.commit(4, tenant(t, "ten_acme", 4, "acme.example"))
	waiting := n.ask("/v1/lookup/acme.example?wait=30s&at_least=" + token(storeID, 6, 2))

	// Position 5 everywhere, then 6 in the token's partition alone.
	n.commit(5, tenant(t, "ten_acme", 5, "acme.example"))
	if err := n.live.Model().Update(func(tx *readmodel.Tx) error {
		tx.Progress().Partitions[2].Position = 6
		return tx.PutTenant(tenant(t, "ten_acme", 6, "acme.example"))
	}); err != nil {
		t.Fatal(err)
	}
	a := waiting.answer(t)
	if got := a.context(t)["version"]; got != 6.0 {
		t.Errorf("version is %v, want 6", got)
	}
	if p := a.header.Get("Tenantry-Position"); p != "5" {
		t.Errorf("Tenantry-Position is %s, want 5: the other partitions are not further", p)
	}
	if got := n.get("/v1/lookup/acme.example?wait=0&at_least=" + token(storeID, 6, 2)).context(t)["version"]; got != 6.0 {
		t.Errorf("what is there is not answered at once: %v", got)
	}
}

func TestAwait_OfATokenForAnUnknownHostname_WaitsForTheTokenAlone(t *testing.T) {
	n := newNode(t)
	waiting := n.ask("/v1/lookup/nobody.example?wait=30s&at_least=" + token(storeID, 3, 0))
	n.commit(3)
	waiting.answer(t).isProblem(t, http.StatusNotFound, "unknown-hostname", "-")
}

func TestAwait_OfAVersion_WaitsWhileTheTenantIsUnknownToo(t *testing.T) {
	n := newNode(t)
	byName := n.ask("/v1/lookup/acme.example?wait=30s&min_version=3")
	byID := n.ask("/v1/tenants/ten_acme?wait=30s&min_version=3")
	for position := uint64(1); position <= 3; position++ {
		n.commit(position, tenant(t, "ten_acme", position, "acme.example"))
	}
	for _, waiting := range []asking{byName, byID} {
		if got := waiting.answer(t).context(t)["version"]; got != 3.0 {
			t.Errorf("version is %v, want 3", got)
		}
	}
	n.get("/v1/lookup/nobody.example?min_version=1&wait=1ms").isProblem(t, http.StatusGatewayTimeout, "not-yet-visible", "-")
	n.get("/v1/lookup/nobody.example?min_version=0").isProblem(t, http.StatusNotFound, "unknown-hostname", "-")
}

func TestAwait_OfAPosition_WaitsForEveryPartition(t *testing.T) {
	n := newNode(t)
	waiting := n.ask("/v1/lookup/acme.example?wait=30s&min_position=7")
	for i := range partitions {
		if err := n.live.Model().Update(func(tx *readmodel.Tx) error {
			tx.Progress().Partitions[i].Position = 7 + uint64(i)
			return tx.PutTenant(tenant(t, "ten_acme", uint64(i+1), "acme.example"))
		}); err != nil {
			t.Fatal(err)
		}
	}
	a := waiting.answer(t)
	if got := a.context(t)["version"]; got != float64(partitions) {
		t.Errorf("version is %v, want that of the last commit, %d", got, partitions)
	}
	if p := a.header.Get("Tenantry-Position"); p != "7" {
		t.Errorf("Tenantry-Position is %s, want 7", p)
	}
}

func TestAwait_OfAllAtOnce_WaitsForTheLast(t *testing.T) {
	n := newNode(t)
	waiting := n.ask("/v1/lookup/acme.example?wait=30s&min_position=2&min_version=3&at_least=" + token(storeID, 1, 0))
	for position := uint64(1); position <= 3; position++ {
		n.commit(position, tenant(t, "ten_acme", position, "acme.example"))
	}
	if got := waiting.answer(t).context(t)["version"]; got != 3.0 {
		t.Errorf("version is %v, want 3", got)
	}
}

func TestAwait_OfAnotherStoresToken_IsRefusedAtOnce(t *testing.T) {
	n := newNode(t)
	n.commit(9, tenant(t, "ten_acme", 9, "acme.example"))
	for _, tok := range []string{token(uuid.New(), 1, 0), token(uuid.New(), 100, 0), token(storeID, 1, partitions), token(storeID, 100, 1<<20)} {
		a := n.get("/v1/lookup/acme.example?wait=30s&at_least=" + tok)
		a.isProblem(t, http.StatusConflict, "token-of-another-store", "-")
		if a.header.Get("Tenantry-Position") != "9" {
			t.Errorf("headers are %v", a.header)
		}
	}
}

func TestAwait_OfAParameterThatMakesNoSense_IsRefused(t *testing.T) {
	n := newNode(t)
	n.commit(1, tenant(t, "ten_acme", 1, "acme.example"))
	good := token(storeID, 1, 0)
	for _, query := range []string{
		"at_least=", "at_least=x", "at_least=" + good + "A", "at_least=" + good[:len(good)-1], "at_least=" + good + "&at_least=" + good,
		"min_version=", "min_version=-1", "min_version=1.5", "min_version=x", "min_version=18446744073709551616", "min_version=1&min_version=1",
		"min_position=+1", "min_position=%20", "min_position=0x1",
		"wait=", "wait=2", "wait=-1s", "wait=31s", "wait=30s1ns", "wait=1h", "wait=NaN", "wait=9999999999999h", "min_version=1&wait=soon",
		"wait=1s&wait=1s", "at_least=%zz", "a;b",
	} {
		n.get("/v1/lookup/acme.example?"+query).isProblem(t, http.StatusBadRequest, "bad-request", "-")
	}
	// A misspelled one must not pass for one that was not given.
	for _, query := range []string{"at_lesat=" + good, "At_least=" + good, "other", "other=1&min_version=1", "=1"} {
		for _, path := range []string{"/v1/lookup/acme.example?", "/v1/tenants/ten_acme?"} {
			a := n.get(path + query)
			a.isProblem(t, http.StatusBadRequest, "bad-request", "-")
			name, _, _ := strings.Cut(query, "=")
			if !strings.Contains(a.body, `\"`+name+`\"`) || !strings.Contains(a.body, "at_least, min_position, min_version, wait") {
				t.Errorf("%s does not name the parameter and those that there are: %s", query, a.body)
			}
		}
		n.post("/v1/lookup?"+query, hostnames("acme.example")).isProblem(t, http.StatusBadRequest, "bad-request", "-")
		n.get("/v1/status?"+query).isProblem(t, http.StatusBadRequest, "bad-request", "-")
		n.get("/readyz?"+query).is(t, http.StatusOK) // a probe may add what it likes
	}
	for _, query := range []string{"wait=0", "wait=0s", "wait=30s", "wait=1500ms", "min_version=1", "min_version=0", "min_position=1", "at_least=" + good} {
		n.get("/v1/lookup/acme.example?"+query).is(t, http.StatusOK)
	}
}

// A hundred clients each wait for another version, as fast as it commits: whoever looks just
// before a commit must be woken by it, or waits for half a minute.
func TestAwait_WhileCommitsGoOn_MissesNone(t *testing.T) {
	n := newNode(t)
	const clients, commits = 100, 200
	var asked, ended sync.WaitGroup
	for i := range clients {
		asked.Add(1)
		ended.Go(func() {
			want := uint64(i*(commits/clients) + 1)
			asked.Done()
			for ; want <= commits; want += 20 {
				query := []string{
					fmt.Sprintf("min_version=%d", want),
					fmt.Sprintf("min_position=%d", want),
					"at_least=" + token(storeID, want, i%partitions),
				}[i%3]
				a, err := n.try(http.MethodGet, "/v1/lookup/acme.example?wait=30s&"+query, "")
				if err != nil {
					t.Error(err)
					return
				}
				version, _ := strconv.ParseUint(a.header.Get("Tenantry-Version"), 10, 64)
				if a.status != http.StatusOK || version < want {
					t.Errorf("asked for %s: answered %d with version %d: %s", query, a.status, version, a.body)
					return
				}
			}
		})
	}
	asked.Wait()
	for position := uint64(1); position <= commits; position++ {
		n.commit(position, tenant(t, "ten_acme", position, "acme.example"))
	}
	ended.Wait()
}

func TestAwait_WhileTheModelIsSwapped_GoesOnWithTheNext(t *testing.T) {
	n := newNode(t)
	waiting := n.ask("/v1/lookup/acme.example?wait=30s&min_version=2")
	next := openModel(t)
	if err := fill(next, 2, tenant(t, "ten_acme", 2, "acme.example")); err != nil {
		t.Fatal(err)
	}
	if err := n.live.Swap(next).Close(); err != nil {
		t.Fatal(err)
	}
	if got := waiting.answer(t).context(t)["version"]; got != 2.0 {
		t.Errorf("version is %v, want 2", got)
	}
}

// The model that was closes only when its last look-up has ended, and whoever waits must not wait for that.
func TestAwait_WhileTheModelIsSwappedAndTheOldOneStaysOpen_AnswersFromTheNext(t *testing.T) {
	n := newNode(t)
	waiting := n.ask("/v1/lookup/acme.example?wait=30s&min_position=2")
	later := n.ask("/v1/lookup/acme.example?wait=30s&min_position=3")
	next := openModel(t)
	if err := fill(next, 2, tenant(t, "ten_acme", 2, "acme.example")); err != nil {
		t.Fatal(err)
	}
	n.live.Swap(next)
	if got := waiting.answer(t).context(t)["version"]; got != 2.0 {
		t.Errorf("version is %v, want 2", got)
	}
	n.commit(3, tenant(t, "ten_acme", 3, "acme.example"))
	if got := later.answer(t).context(t)["version"]; got != 3.0 {
		t.Errorf("version is %v, want 3", got)
	}
}

func TestAwait_WhenTheModelIsClosedForGood_EndsAndDoesNotSpin(t *testing.T) {
	n := newNode(t)
	waiting := n.ask("/v1/lookup/acme.example?wait=30s&min_version=2")
	if err := n.live.Model().Close(); err != nil {
		t.Fatal(err)
	}
	waiting.answer(t).isProblem(t, http.StatusServiceUnavailable, "not-ready", "-")
}

// copyInMemory is a copy of one tenant that a test changes by hand, for what a bubble of
// synctest needs: Badger has goroutines that it would wait for.
type copyInMemory struct {
	mu       sync.Mutex
	progress *readmodel.Progress
	doc      *readmodel.Document
	changed  chan struct{}
}

func newCopyInMemory() *copyInMemory {
	c := &copyInMemory{changed: make(chan struct{})}
	c.progress = &readmodel.Progress{StoreID: storeID, Complete: true, Partitions: make([]readmodel.Partition, partitions)}
	return c
}

func (c *copyInMemory) commit(position uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := *c.progress
	p.Partitions = make([]readmodel.Partition, partitions)
	for i := range p.Partitions {
		p.Partitions[i] = readmodel.Partition{Position: position, Watermark: time.Now()}
	}
	c.progress = &p
	c.doc = &readmodel.Document{Body: []byte(`{}`), ETag: `"1"`, Version: position, VersionText: strconv.FormatUint(position, 10)}
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *copyInMemory) Lookup(events.Hostname) (*readmodel.Document, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.doc == nil {
		return nil, readmodel.ErrUnknown
	}
	return c.doc, nil
}

func (c *copyInMemory) Tenant(events.TenantID) (*readmodel.Document, error) {
	return c.Lookup(events.Hostname{})
}

func (c *copyInMemory) Progress() *readmodel.Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.progress
}

func (c *copyInMemory) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *copyInMemory) Quarantined(context.Context) ([]readmodel.Quarantine, error) { return nil, nil }

// serve answers one request without a connection.
func serve(ctx context.Context, h http.Handler, path string) answer {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	return answer{status: rec.Code, header: rec.Header(), body: rec.Body.String()}
}

func TestAwait_OfWhatDoesNotCome_AnswersWhenItsTimeIsOver(t *testing.T) {
	for query, want := range map[string]time.Duration{
		"min_version=9": 2 * time.Second, "min_version=9&wait=0": 0, "min_version=9&wait=30s": 30 * time.Second,
		"min_position=9&wait=1500ms": 1500 * time.Millisecond, "at_least=" + token(storeID, 9, 1) + "&wait=5s": 5 * time.Second,
	} {
		t.Run(query, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reader := newCopyInMemory()
				h := queryapi.New(queryapi.Config{Reader: reader, Region: "eu-west"})
				stop := make(chan struct{})
				go func() { // commits that bring something else must not extend the wait
					for position := uint64(1); position < 9; position++ {
						select {
						case <-stop:
							return
						case <-time.After(100 * time.Millisecond):
							reader.commit(position)
						}
					}
				}()
				began := time.Now()
				a := serve(t.Context(), h, "/v1/lookup/acme.example?"+query)
				close(stop)
				a.isProblem(t, http.StatusGatewayTimeout, "not-yet-visible", "-")
				if took := time.Since(began); took != want {
					t.Errorf("answered after %s, want %s", took, want)
				}
				synctest.Wait()
			})
		})
	}
}

func TestAwait_OfWhatComes_AnswersAtTheCommitAndByItsHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := newCopyInMemory()
		h := queryapi.New(queryapi.Config{Reader: reader, Region: "eu-west"})
		began := time.Now()
		time.AfterFunc(70*time.Millisecond, func() { reader.commit(3) })
		a := serve(t.Context(), h, "/v1/lookup/acme.example?min_version=3").is(t, http.StatusOK)
		if took := time.Since(began); took != 70*time.Millisecond {
			t.Errorf("answered after %s, want 70ms", took)
		}
		if a.header.Get("Tenantry-Position") != "3" || a.header.Get("Tenantry-Staleness") != "0" {
			t.Errorf("the headers are of before the wait: %v", a.header)
		}
	})
}

func TestAwait_WhenTheRequestIsBrokenOff_EndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := queryapi.New(queryapi.Config{Reader: newCopyInMemory(), Region: "eu-west"})
		ctx, cancel := context.WithCancelCause(t.Context())
		began := time.Now()
		time.AfterFunc(10*time.Millisecond, func() { cancel(errors.New("stopping")) })
		a := serve(ctx, h, "/v1/lookup/acme.example?min_version=3&wait=30s")
		if took := time.Since(began); took != 10*time.Millisecond {
			t.Errorf("ended after %s, want 10ms", took)
		}
		// Where it is the server that is stopping, there is still someone to read this.
		a.isProblem(t, http.StatusServiceUnavailable, "unavailable", "-")
		if a.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	})
}

func TestAwait_OfMoreThanMayWait_RefusesOneAndForgetsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := newCopyInMemory()
		h := queryapi.New(queryapi.Config{Reader: reader, Region: "eu-west", MaxWaiting: 2})
		for range 3 { // a place that is not given back would show in the second round
			answers := make(chan answer, 2)
			for range 2 {
				go func() { answers <- serve(t.Context(), h, "/v1/lookup/acme.example?min_version=99") }()
			}
			synctest.Wait()
			a := serve(t.Context(), h, "/v1/lookup/acme.example?min_version=99")
			a.isProblem(t, http.StatusServiceUnavailable, "too-many-waiting", "-")
			if a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			serve(t.Context(), h, "/v1/lookup/acme.example?min_version=0").isProblem(t, http.StatusNotFound, "unknown-hostname", "-")
			for range 2 {
				a := <-answers
				a.isProblem(t, http.StatusGatewayTimeout, "not-yet-visible", "-")
				if !strings.Contains(a.body, "version 99") {
					t.Errorf("it does not say what is missing: %s", a.body)
				}
			}
		}
	})
}
