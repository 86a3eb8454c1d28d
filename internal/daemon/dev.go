package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/events/postgres"
	"github.com/tenantry/tenantry/internal/broker"
)

// DevConfig says how to run everything in one process.
type DevConfig struct {
	DataDir     string
	Listen      string          // of the admin API
	Regions     []RegionAddress // at least one
	HomeRegions []string        // besides the regions' names
	KafkaListen string          // of the embedded broker
	Database    Database        // with a URL, it takes the embedded store's place
	Kafka       Kafka           // with Brokers, these take the embedded broker's place
	VerifyEvery time.Duration   // how often each region compares its copy with the store; 0: it does not
	Heal        bool            // mend what differs then
	Observed
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

const readyTime = 15 * time.Second // for the regions to come as far as the store

// AddressFile is the file in the data directory of a Dev that tells where it answers.
const AddressFile = "tenantry.json"

// Dev is everything in one process: the embedded store and broker, the write side and regions.
type Dev struct {
	process
	cfg   DevConfig
	store devStore
	lead  func(context.Context) (context.Context, func(), error) // nil: nobody else has the store

	announced []byte // what the address file has; nil: there is none
}

// devStore is a store that regions can be built from.
type devStore interface {
	events.Store
	Whole(ctx context.Context) (events.Whole, error)
}

// OpenDev starts everything. When it fails, nothing of it runs.
func OpenDev(ctx context.Context, cfg DevConfig) (_ *Dev, err error) {
	d := &Dev{cfg: cfg}
	d.onClose(d.unannounce) // the last of all that is closed
	d.servers = 1 + len(cfg.Regions)
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if err := d.observe(ctx, cfg.Observed); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o750); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	// The store first: it is what a second process on the same directory must not get.
	if err := d.openStore(ctx); err != nil {
		return nil, err
	}
	admin, err := d.listen(ctx, cfg.Listen, "--listen")
	if err != nil {
		return nil, err
	}
	cluster, err := d.openKafka(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.openCatalogue(CatalogueConfig{
		Listener: admin, Store: d.store, Cluster: cluster, Topic: cfg.Kafka.Topic, Partitions: cfg.Kafka.Partitions,
		HomeRegions: d.homeRegions(), Lead: d.lead, MakeTopic: d.makeTopic,
		RestoredAdvice: d.restoredAdvice(),
	}); err != nil {
		return nil, err
	}
	for _, r := range cfg.Regions {
		ln, err := d.listen(ctx, r.Listen, "--region "+r.Name+"=HOST:PORT")
		if err != nil {
			return nil, err
		}
		d.openRegion(RegionConfig{
			Name: r.Name, Dir: regionDir(cfg.DataDir, r.Name), Listener: ln,
			Cluster: cluster, Topic: cfg.Kafka.Topic, Source: d.store, VerifyEvery: cfg.VerifyEvery, Heal: cfg.Heal,
		})
	}
	return d, nil
}

func (d *Dev) openStore(ctx context.Context) error {
	if d.cfg.Database.URL != "" {
		if _, err := postgres.Migrate(ctx, postgres.MigrateConfig{Config: d.cfg.Database.config(d.telemetry)}); err != nil {
			return err
		}
		store, err := d.openDatabase(ctx, d.cfg.Database)
		if err != nil {
			return err
		}
		d.store, d.lead = store, store.Lead
		return nil
	}
	if err := storeNotLost(d.cfg.DataDir); err != nil {
		return err
	}
	store, err := embedded.Open(ctx, embedded.Config{
		Dir: filepath.Join(d.cfg.DataDir, "store"), Logger: d.cfg.Logger, Committed: newAppendMetrics(d.telemetry.Registry).observe,
	})
	if err != nil {
		return err
	}
	d.onClose(store.Close)
	d.store = store
	// Nobody else has this directory, so whoever left the file there was killed.
	if err := os.Remove(filepath.Join(d.cfg.DataDir, AddressFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the address file of a dev that was killed: %w", err)
	}
	return nil
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

// openKafka starts the embedded broker, where no other is named.
func (d *Dev) openKafka(ctx context.Context) (*kafka.Cluster, error) {
	cfg := d.cfg.Kafka
	if len(cfg.Brokers) > 0 {
		return d.process.openKafka(ctx, cfg)
	}
	b, err := broker.Open(ctx, broker.Config{
		DataDir: filepath.Join(d.cfg.DataDir, "kafka"), Listen: d.cfg.KafkaListen, Logger: d.cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	d.onClose(b.Close)
	cfg.Brokers = []string{b.Addr()}
	// Watermarks never end, so the log must: what a region finds gone, it reads from the store.
	// The broker keeps an index entry in memory for each, so a week would cost 100s of MB.
	cfg.Retention, cfg.retentionBytes = 6*time.Hour, 32<<20
	return d.process.openKafka(ctx, cfg)
}

// restoredAdvice is what to do about a store that was restored to an earlier past. A dev has no
// flag to accept that with: all that is made from its store is its own.
func (d *Dev) restoredAdvice() string {
	topic := "kafka/ and"
	if len(d.cfg.Kafka.Brokers) > 0 {
		topic = "the topic, and"
	}
	return fmt.Sprintf("Stop, delete %s regions/ in the data directory %s, and start again: the store is published anew, and the regions build"+
		" themselves from it. (Or, if this is not the store that the topic belongs to: use another --kafka-topic.)", topic, d.cfg.DataDir)
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

// Announce writes the address file. Close removes it when all the rest is closed, so that whoever sees it gone can
// have the data directory.
func (d *Dev) Announce() error {
	b, err := json.Marshal(d.Addresses(), jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return err
	}
	b = append(b, '\n')
	path := filepath.Join(d.cfg.DataDir, AddressFile)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the address file: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		_, err = lockFile(f) // while it is held, what is in it is so
	}
	if err == nil {
		err = os.Rename(path+".new", path) // so that nobody reads half of it
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the address file: %w", err), f.Close())
	}
	d.onClose(f.Close)
	d.announced = b
	return nil
}

// announced tells that the dev that wrote the address file of a data directory runs. One that was killed leaves the file, and its
// process ID and port to others.
func announced(dataDir string) bool {
	f, err := os.Open(filepath.Join(dataDir, AddressFile))
	if err != nil {
		return false
	}
	defer f.Close()
	free, err := lockFile(f)
	return err == nil && !free
}

// unannounce removes the address file, unless it is that of the next dev by now, which had been waiting for the store.
func (d *Dev) unannounce() error {
	path := filepath.Join(d.cfg.DataDir, AddressFile)
	if now, err := os.ReadFile(path); d.announced == nil || err == nil && !bytes.Equal(now, d.announced) {
		return nil
	}
	d.announced = nil
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the address file: %w", err)
	}
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
