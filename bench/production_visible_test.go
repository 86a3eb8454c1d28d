package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/daemon"
)

// From a command's answer until look-ups with its token have been answered, with what it changed, in
// both of two regions, at a rate that does not wait for the answers. With two catalogues every other
// command goes to the one whose relay does not lead.
func BenchmarkProduction_Visible(b *testing.B) {
	for _, n := range []int{1, 2} {
		b.Run(fmt.Sprintf("catalogues=%d", n), func(b *testing.B) {
			p := newProduction(b)
			v := visible{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}}}
			defer v.client.CloseIdleConnections()
			for range n {
				v.catalogues = append(v.catalogues, p.catalogue(b))
			}
			v.tenants = min(tenants(), 5000)
			importLines(b, v.catalogues[0].URL(), roster(v.tenants))
			for _, name := range []string{"eu-west", "us-east"} {
				v.regions = append(v.regions, p.region(b, name))
			}
			for _, rate := range []int{100, 1000} {
				b.Run(fmt.Sprintf("rate=%d", rate), func(b *testing.B) { v.measure(b, rate) })
			}
		})
	}
}

func (v *visible) measure(b *testing.B, rate int) {
	b.Helper()
	length := 10 * time.Second
	if testing.Short() {
		rate, length = 100, time.Second
	}
	v.run(b, rate, length/5) // warm up
	v.answered, v.seen = nil, nil
	v.refused.Store(0)
	began, used := time.Now(), processorTime()
	v.run(b, rate, length)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(quantile(v.answered, 0.5), "answered-p50-ms")
	b.ReportMetric(quantile(v.answered, 0.99), "answered-p99-ms")
	b.ReportMetric(quantile(v.seen, 0.5), "visible-p50-ms")
	b.ReportMetric(quantile(v.seen, 0.99), "visible-p99-ms")
	b.ReportMetric(float64(v.refused.Load()), "refused")
	b.ReportMetric(100*(processorTime()-used).Seconds()/time.Since(began).Seconds(), "%core")
}

func quantile(of []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[int(q*float64(len(sorted)-1))]
}

var errBusy = errors.New("503")

type visible struct {
	client     *http.Client
	catalogues []*daemon.CatalogueServer
	regions    []*daemon.RegionServer
	tenants    int
	sent       int

	refused atomic.Int64 // with 503, and sent again

	mu             sync.Mutex
	answered, seen []float64 // ms
}

// run sends commands when they are due, whether those before are done or not.
func (v *visible) run(b *testing.B, rate int, length time.Duration) {
	b.Helper()
	group, ctx := errgroup.WithContext(b.Context())
	every := time.Second / time.Duration(rate)
	began := time.Now()
	for i := range int(length / every) {
		time.Sleep(time.Until(began.Add(time.Duration(i) * every)))
		v.sent++
		n := v.sent
		group.Go(func() error { return v.rename(ctx, n) })
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

// rename changes a tenant's name, and looks it up in all regions with the command's token.
func (v *visible) rename(ctx context.Context, n int) error {
	tenant := n * 7919 % v.tenants // two at once are not of one tenant
	name := fmt.Sprintf("Renamed %d", n)
	began := time.Now()
	path := fmt.Sprintf("%s/v1/tenants/ten_bench-%d", v.catalogues[n%len(v.catalogues)].URL(), tenant)
	body := fmt.Appendf(nil, `{"name":%q}`, name)
	header, _, err := v.send(ctx, http.MethodPatch, path, body)
	for errors.Is(err, errBusy) { // the machine is too slow for the rate, which the latency tells
		v.refused.Add(1)
		header, _, err = v.send(ctx, http.MethodPatch, path, body)
	}
	if err != nil {
		return err
	}
	answered := time.Now()
	if header.Get("Tenantry-Token") == "" { // the database was too busy to say whose it is
		v.refused.Add(1)
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, r := range v.regions {
		group.Go(func() error {
			path := fmt.Sprintf("%s/v1/lookup/bench-%d.example?wait=30s&at_least=%s", r.URL(), tenant, url.QueryEscape(header.Get("Tenantry-Token")))
			_, body, err := v.send(ctx, http.MethodGet, path, nil)
			if err == nil && !bytes.Contains(body, []byte(name)) {
				err = fmt.Errorf("%s says that it has %q, and answers %s", r.URL(), name, body)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	seen := time.Since(answered)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answered = append(v.answered, answered.Sub(began).Seconds()*1000)
	v.seen = append(v.seen, seen.Seconds()*1000)
	return nil
}

func (v *visible) send(ctx context.Context, method, url string, body []byte) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusServiceUnavailable {
		return nil, nil, errBusy
	}
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, answer)
	}
	return resp.Header, answer, err
}
