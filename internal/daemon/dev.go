package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/internal/broker"
	"github.com/tenantry/tenantry/internal/telemetry"
)

// DevConfig says how to run everything in one process.
type DevConfig struct {
	DataDir      string
	Listen       string          // of the admin API
	Regions      []RegionAddress // at least one
	HomeRegions  []string        // besides the regions' names
	KafkaListen  string          // of the embedded broker
	KafkaBrokers []string        // real ones, in place of the embedded broker
	KafkaTopic   string
	Partitions   int
	TraceURL     string // of an OTLP collector; "": no tracing
	Version      string
	Logger       *slog.Logger
}

// RegionAddress is a region and where its node listens.
type RegionAddress struct {
	Name   string
	Listen string
}

// Addresses is what the file tenantry.json in the data directory says, while it runs.
type Addresses struct {
	PID     int               `json:"pid"`
	Admin   string            `json:"admin"`
	Regions map[string]string `json:"regions"`
	Kafka   []string          `json:"kafka"`
}

const (
	topicTime = 5 * time.Second  // for Kafka to answer at the start, before going on without it
	readyTime = 15 * time.Second // for the regions to come as far as the store
)

// AddressFile is the file in the data directory of a Dev that tells where it answers.
const AddressFile = "tenantry.json"

// Dev is everything in one process: the embedded store and broker, the write side and regions.
type Dev struct {
	cfg       DevConfig
	store     *embedded.Store
	brokers   []string
	catalogue *Catalogue
	regions   []*Region
	failed    chan error
	closers   []func() error
}

// OpenDev starts everything. When it fails, nothing of it runs.
func OpenDev(ctx context.Context, cfg DevConfig) (_ *Dev, err error) {
	d := &Dev{cfg: cfg, failed: make(chan error, len(cfg.Regions)+1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if err := os.MkdirAll(cfg.DataDir, 0o750); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	tel := Telemetry{Log: cfg.Logger, Registry: telemetry.Registry()}
	var stopTracing func(context.Context) error
	if tel.Tracer, stopTracing, err = telemetry.Tracing(ctx, cfg.TraceURL, cfg.Version, cfg.Logger); err != nil {
		return nil, err
	}
	d.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), cutTime)
		defer cancel()
		return stopTracing(ctx)
	})

	if err := storeNotLost(cfg.DataDir); err != nil {
		return nil, err
	}
	// The store first: it is what a second process on the same directory must not get.
	appends := newAppendMetrics(tel.Registry)
	d.store, err = embedded.Open(ctx, embedded.Config{
		Dir: filepath.Join(cfg.DataDir, "store"), Logger: cfg.Logger, Committed: appends.observe,
	})
	if err != nil {
		return nil, err
	}
	d.onClose(d.store.Close)

	admin, err := listen(ctx, cfg.Listen, "--listen")
	if err != nil {
		return nil, err
	}
	d.onClose(func() error { return notClosed(admin.Close()) })
	cluster, err := d.openKafka(ctx)
	if err != nil {
		return nil, err
	}
	d.catalogue, err = OpenCatalogue(CatalogueConfig{
		Listener: admin, Store: d.store, Cluster: cluster, Topic: cfg.KafkaTopic, Partitions: cfg.Partitions,
		HomeRegions: d.homeRegions(), Telemetry: tel,
	})
	if err != nil {
		return nil, err
	}
	d.onClose(d.catalogue.Close)
	if err := d.openRegions(ctx, cluster, tel); err != nil {
		return nil, err
	}
	return d, nil
}

// storeNotLost refuses a data directory that has everything but the truth, as when a volume is
// not mounted. A new store in its place would empty every region.
func storeNotLost(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "store")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, derived := range []string{"regions", "kafka"} {
		entries, err := os.ReadDir(filepath.Join(dir, derived))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(entries) > 0 {
			return fmt.Errorf("the event store %s is missing, and %s, which is made from it, is there: put the store back (is its disk mounted?), or delete kafka/ and regions/ as well to begin anew",
				filepath.Join(dir, "store"), filepath.Join(dir, derived))
		}
	}
	return nil
}

func (d *Dev) openKafka(ctx context.Context) (*kafka.Cluster, error) {
	d.brokers = d.cfg.KafkaBrokers
	if len(d.brokers) == 0 {
		b, err := broker.Open(ctx, broker.Config{
			DataDir: filepath.Join(d.cfg.DataDir, "kafka"), Listen: d.cfg.KafkaListen, Logger: d.cfg.Logger,
		})
		if err != nil {
			return nil, err
		}
		d.onClose(b.Close)
		d.brokers = []string{b.Addr()}
	}
	cluster, err := kafka.New(kafka.Config{Brokers: d.brokers, Logger: d.cfg.Logger})
	if err != nil {
		return nil, err
	}
	d.onClose(cluster.Close)
	topic := kafka.Topic{Name: d.cfg.KafkaTopic, Partitions: d.cfg.Partitions}
	if len(d.cfg.KafkaBrokers) == 0 {
		// Watermarks never end, so the log must: what a region finds gone, it reads from the store.
		// The broker keeps an index entry in memory for each, so a week would cost 100s of MB.
		topic.Retention = 6 * time.Hour
		topic.RetentionBytes = 32 << 20
	}
	return cluster, d.ensureTopic(ctx, cluster, topic)
}

// ensureTopic makes the topic where it is not there. Brokers that are away are waited for in the
// background: commands and look-ups do not depend on them.
func (d *Dev) ensureTopic(ctx context.Context, cluster *kafka.Cluster, topic kafka.Topic) error {
	soon, cancel := context.WithTimeout(ctx, topicTime)
	err := cluster.EnsureTopic(soon, topic)
	cancel()
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	d.cfg.Logger.Warn("Kafka does not answer: going on without it until it does", "brokers", d.brokers)
	ctx, cancel = context.WithCancel(context.Background())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if err := cluster.EnsureTopic(ctx, topic); err != nil && ctx.Err() == nil {
			d.failed <- err
		}
	})
	d.onClose(func() error {
		cancel()
		waiting.Wait()
		return nil
	})
	return nil
}

func (d *Dev) openRegions(ctx context.Context, cluster *kafka.Cluster, tel Telemetry) error {
	for _, r := range d.cfg.Regions {
		ln, err := listen(ctx, r.Listen, "--region "+r.Name+"=HOST:PORT")
		if err != nil {
			return err
		}
		region := OpenRegion(RegionConfig{
			Name: r.Name, Dir: filepath.Join(d.cfg.DataDir, "regions", r.Name), Listener: ln,
			Cluster: cluster, Topic: d.cfg.KafkaTopic, Source: d.store, Telemetry: tel,
		})
		d.onClose(region.Close)
		d.regions = append(d.regions, region)
		go func() {
			if err := region.Err(); err != nil {
				d.failed <- err
			}
		}()
	}
	return nil
}

// homeRegions are those that a tenant's home may be in.
func (d *Dev) homeRegions() []string {
	names := append([]string(nil), d.cfg.HomeRegions...)
	for _, r := range d.cfg.Regions {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Failed delivers why a part has stopped by itself; then everything should be closed.
func (d *Dev) Failed() <-chan error { return d.failed }

// Store is the store of truth.
func (d *Dev) Store() events.Store { return d.store }

// Addresses is where everything answers.
func (d *Dev) Addresses() Addresses {
	a := Addresses{PID: os.Getpid(), Admin: d.catalogue.URL(), Regions: make(map[string]string), Kafka: d.brokers}
	for _, r := range d.regions {
		a.Regions[r.Name()] = r.URL()
	}
	return a
}

// AwaitReady returns once every region is ready and holds everything that the store holds
// now, or when the context ends or a region has failed. A region that is ready and does not come
// that far for a while is left behind, with a warning: what is upstream of it does not work, and
// that must not keep the rest from being found.
func (d *Dev) AwaitReady(ctx context.Context) error {
	head, err := d.store.Head(ctx)
	if err != nil {
		return err
	}
	patience := time.Now().Add(readyTime)
	for _, r := range d.regions {
		for {
			changed := r.projector.Live().Changed()
			if r.projector.Ready() == nil && r.projector.Live().Progress().Position() >= head.Position {
				break
			}
			if r.projector.Ready() == nil && time.Now().After(patience) {
				d.cfg.Logger.Warn("a region is behind the store, and what it has is served", "region", r.Name(),
					"position", r.projector.Live().Progress().Position(), "store", head.Position)
				break
			}
			// Readiness itself tells nobody: look again soon even where nothing is committed.
			soon := time.NewTimer(20 * time.Millisecond)
			select {
			case <-ctx.Done():
				soon.Stop()
				return fmt.Errorf("wait for region %s: %w", r.Name(), ctx.Err())
			case <-r.Ended():
				soon.Stop()
				return r.Err()
			case <-changed:
			case <-soon.C:
			}
			soon.Stop()
		}
	}
	return nil
}

// Announce writes the address file; Close removes it.
func (d *Dev) Announce() error {
	b, err := json.Marshal(d.Addresses(), jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return err
	}
	path := filepath.Join(d.cfg.DataDir, AddressFile)
	// By renaming, so that nobody reads half of it.
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the address file: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the address file: %w", err)
	}
	d.onClose(func() error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	return nil
}

// ReadAddresses finds a running Dev by its data directory.
func ReadAddresses(dataDir string) (Addresses, error) {
	var a Addresses
	b, err := os.ReadFile(filepath.Join(dataDir, AddressFile))
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("read %s: %w", filepath.Join(dataDir, AddressFile), err)
	}
	return a, nil
}

func (d *Dev) onClose(f func() error) { d.closers = append(d.closers, f) }

// Close stops everything, in the reverse order. It may be called again.
func (d *Dev) Close() error {
	d.drain()
	var errs []error
	for len(d.closers) > 0 {
		last := d.closers[len(d.closers)-1]
		d.closers = d.closers[:len(d.closers)-1]
		errs = append(errs, last())
	}
	return errors.Join(errs...)
}

// drain stops all servers at once: one after the other, the time that each leaves to the requests
// under way would add up to more than a stop may take.
func (d *Dev) drain() {
	var draining sync.WaitGroup
	for _, r := range d.regions {
		draining.Go(func() { _ = r.server.close() }) // the region's Close returns the error
	}
	if d.catalogue != nil {
		draining.Go(func() { _ = d.catalogue.server.close() }) // the same
	}
	draining.Wait()
}
