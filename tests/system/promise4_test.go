package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/internal/broker"
	"github.com/tenantry/tenantry/internal/daemon"
	"github.com/tenantry/tenantry/internal/telemetry"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/tests/truth"
)

func TestPromise4_WhenStoreAndKafkaAreGone_ARegionAnswersFromItsCopy_AlsoAfterARestart_AndSaysHowOldItMayBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := newClient(t)
	up := openUpstream(t, dir)
	region := openRegionAlone(t, dir, up.cluster, up.store)
	for i := range 50 {
		c.must("POST", up.catalogue.URL()+"/v1/tenants", fmt.Sprintf(`{"id":"ten_t%d","name":"T","hostnames":["t%d.example"],"home_region":"eu-west"}`, i, i))
	}
	w := readTruth(t, c, up.catalogue.URL())
	await(t, func() bool { return c.get(region.URL()+"/readyz").status == http.StatusOK })
	awaitPosition(t, c, region.URL(), w.Head())

	// Everything upstream goes, while the region runs.
	up.close()
	gone := time.Now() // what the copy knows is from before
	last := completeAt(t, c, region.URL())
	if last.After(gone) {
		t.Errorf("the copy says that it was complete at %s, and everything was gone at %s", last, gone)
	}
	checkAlone(t, c, region.URL(), w, last)
	// A caller who wants to see more than there is gets told, and is not kept.
	if r := c.get(fmt.Sprintf("%s/v1/lookup/t1.example?min_position=%d&wait=10ms", region.URL(), w.Head()+1)); r.status != http.StatusGatewayTimeout {
		t.Errorf("a position that cannot come: got %d %s, want 504", r.status, r.body)
	}
	if err := region.Close(); err != nil {
		t.Fatal(err)
	}

	// The node starts again, and there is still nobody to ask.
	nowhere, err := kafka.New(kafka.Config{Brokers: []string{up.address}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer nowhere.Close()
	region = openRegionAlone(t, dir, nowhere, goneSource{})
	// It waits for them first: a look-up meanwhile is refused, not answered with who knows what.
	if r := c.get(region.URL() + "/v1/lookup/t1.example"); r.status != http.StatusServiceUnavailable && r.status != http.StatusOK {
		t.Errorf("while it starts: got %d %s, want 503 or an answer", r.status, r.body)
	}
	await(t, func() bool { return c.get(region.URL()+"/readyz").status == http.StatusOK })
	checkAlone(t, c, region.URL(), w, last)
	if err := region.Close(); err != nil {
		t.Fatal(err)
	}

	// All is back: the region goes on where it was.
	up = openUpstream(t, dir)
	region = openRegionAlone(t, dir, up.cluster, up.store)
	await(t, func() bool { return c.get(region.URL()+"/readyz").status == http.StatusOK })
	c.must("POST", up.catalogue.URL()+"/v1/tenants", `{"id":"ten_later","name":"L","hostnames":["later.example"],"home_region":"eu-west"}`)
	later := readTruth(t, c, up.catalogue.URL())
	awaitPosition(t, c, region.URL(), later.Head())
	if r := c.get(region.URL() + "/v1/lookup/later.example"); r.status != http.StatusOK {
		t.Errorf("after all is back: got %d %s", r.status, r.body)
	}
	await(t, func() bool { return completeAt(t, c, region.URL()).After(gone) })
	if err := region.Close(); err != nil {
		t.Fatal(err)
	}
	up.close()
}

// checkAlone expects a region without anybody upstream to answer every hostname rightly, and to say
// truly that it was complete at a time: that of the last watermark that it has kept.
func checkAlone(t *testing.T, c *client, url string, w *truth.Log, last time.Time) {
	t.Helper()
	report(t, url, w.CheckHostnames(t.Context(), c.node(url)))
	if r := c.get(url + "/v1/lookup/t1.example"); r.status != http.StatusOK {
		t.Errorf("got %d %s", r.status, r.body)
	}
	// Answers are cut to milliseconds, and the copy's last commits need not be on the disk.
	if got := completeAt(t, c, url); got.After(last.Add(5*time.Millisecond)) || got.Before(last.Add(-10*time.Second)) {
		t.Errorf("the copy says that it was complete at %s, which was %s", got, last)
	}
}

// completeAt is when a region knew last that it had everything, by what it says of its staleness.
func completeAt(t *testing.T, c *client, url string) time.Time {
	t.Helper()
	asked := time.Now()
	return asked.Add(-staleness(t, c.get(url+"/v1/lookup/t1.example")))
}

var quiet = slog.New(slog.DiscardHandler)

// upstream is all that a region depends on.
type upstream struct {
	store     *embedded.Store
	broker    *broker.Broker
	cluster   *kafka.Cluster
	catalogue *daemon.Catalogue
	address   string
	close     func()
}

func openUpstream(t *testing.T, dir string) *upstream {
	t.Helper()
	ctx := t.Context()
	var u upstream
	var err error
	if u.store, err = embedded.Open(ctx, embedded.Config{Dir: filepath.Join(dir, "store"), Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	if u.broker, err = broker.Open(ctx, broker.Config{DataDir: filepath.Join(dir, "kafka"), Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	u.address = u.broker.Addr()
	if u.cluster, err = kafka.New(kafka.Config{Brokers: []string{u.address}, Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	if err := u.cluster.EnsureTopic(ctx, kafka.Topic{Name: topic, Partitions: 4}); err != nil {
		t.Fatal(err)
	}
	u.catalogue, err = daemon.OpenCatalogue(daemon.CatalogueConfig{
		Listener: listen(t), Store: u.store, Cluster: u.cluster, Topic: topic, Partitions: 4, HomeRegions: both, Telemetry: quietly(),
	})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	u.close = func() {
		if closed {
			return
		}
		closed = true
		if err := errors.Join(u.catalogue.Close(), u.cluster.Close(), u.broker.Close(), u.store.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(u.close)
	return &u
}

func openRegionAlone(t *testing.T, dir string, cluster *kafka.Cluster, source projections.Source) *daemon.Region {
	t.Helper()
	r := daemon.OpenRegion(daemon.RegionConfig{
		Name: "eu-west", Dir: filepath.Join(dir, "regions", "eu-west"), Listener: listen(t),
		Cluster: cluster, Topic: topic, Source: source, Telemetry: quietly(),
	})
	t.Cleanup(func() { _ = r.Close() }) // a second time, where the test has gone well
	return r
}

func quietly() daemon.Telemetry {
	return daemon.Telemetry{Log: quiet, Registry: telemetry.Registry()}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// goneSource is a source of truth that is away.
type goneSource struct{}

var errGone = errors.New("the source of truth is gone")

func (goneSource) Head(context.Context) (events.Head, error) { return events.Head{}, errGone }
func (goneSource) After(context.Context, uint64, int) ([]events.Event, error) {
	return nil, errGone
}
func (goneSource) Whole(context.Context) (events.Whole, error) { return nil, errGone }
func (goneSource) Load(context.Context, events.StreamID, uint64) ([]events.Event, error) {
	return nil, errGone
}
