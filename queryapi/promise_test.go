package queryapi_test

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/queryapi"
)

// Promise 4 of the architecture, as far as this package can keep it: nobody is left but the
// directory on disk.
func TestPromise4_ALookupAnswersFromLocalDataWhenEverythingElseIsGone_AndSaysHowOldItMayBe(t *testing.T) {
	dir := t.TempDir()
	m, err := readmodel.Open(readmodel.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Begin(storeID, partitions); err != nil {
		t.Fatal(err)
	}
	if err := fill(m, 42, tenant(t, "ten_acme", 42, "acme.example")); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}

	// The process starts again, and nothing upstream of it ever answers.
	if m, err = readmodel.Open(readmodel.Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	now := new(atomic.Int64)
	n := newNode(t, func(cfg *queryapi.Config) {
		cfg.Ready = nil // as complete as the copy is
		cfg.Clock = func() time.Time { return noon.Add(time.Duration(now.Load())) }
	})
	if err := n.live.Swap(m).Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	for _, age := range []time.Duration{0, time.Second, time.Hour, 30 * 24 * time.Hour} {
		now.Store(int64(age))
		for _, path := range []string{"/v1/lookup/acme.example", "/v1/tenants/ten_acme", "/v1/lookup/acme.example?min_position=42"} {
			a := n.get(path)
			if got := a.context(t)["version"]; got != 42.0 {
				t.Errorf("%s after %s: version is %v, want 42", path, age, got)
			}
			if got, want := a.header.Get("Tenantry-Staleness"), strconv.FormatInt(age.Milliseconds(), 10); got != want {
				t.Errorf("%s after %s: Tenantry-Staleness is %s, want %s", path, age, got, want)
			}
			if got := a.header.Get("Tenantry-Position"); got != "42" {
				t.Errorf("%s after %s: Tenantry-Position is %s, want 42", path, age, got)
			}
		}
		batch := n.post("/v1/lookup", hostnames("acme.example"))
		if got := batch.items(t)[0].Context["version"]; got != 42.0 {
			t.Errorf("batch after %s: version is %v, want 42", age, got)
		}
		n.get("/readyz").is(t, http.StatusOK)
	}
	// What would need the others is refused, and soon.
	n.get("/v1/lookup/acme.example?wait=1ms&at_least="+token(storeID, 43, 0)).isProblem(t, http.StatusGatewayTimeout, "not-yet-visible", "-")
}

// Ten generations replace one another under load, each one position further.
func TestSwap_UnderLoad_FailsNoLookupAndTakesNothingBack(t *testing.T) {
	n := newNode(t)
	n.commit(1, tenant(t, "ten_acme", 1, "acme.example"))
	var stop atomic.Bool
	var began, ended sync.WaitGroup
	for i := range 8 {
		began.Add(1)
		ended.Go(func() {
			var seen uint64
			for first := true; !stop.Load(); first = false {
				path := "/v1/lookup/acme.example"
				if i%2 == 1 {
					path += "?wait=30s&min_version=" + strconv.FormatUint(seen, 10)
				}
				a, err := n.try(http.MethodGet, path, "")
				if first {
					began.Done()
				}
				if err != nil {
					t.Error(err)
					return
				}
				version, _ := strconv.ParseUint(a.header.Get("Tenantry-Version"), 10, 64)
				position, _ := strconv.ParseUint(a.header.Get("Tenantry-Position"), 10, 64)
				if a.status != http.StatusOK || version < seen || version < position {
					t.Errorf("answered %d with version %d at position %d, after version %d: %s", a.status, version, position, seen, a.body)
					return
				}
				seen = version
			}
		})
	}
	began.Wait()
	for version := uint64(2); version <= 11; version++ {
		next := openModel(t)
		if err := fill(next, version, tenant(t, "ten_acme", version, "acme.example")); err != nil {
			t.Fatal(err)
		}
		if err := n.live.Swap(next).Close(); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	ended.Wait()
}

var _ queryapi.Reader = (*readmodel.Live)(nil)
