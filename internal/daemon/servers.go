package daemon

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events/postgres"
)

// Database says where the store on PostgreSQL is; see [postgres.Config].
type Database struct {
	URL          string
	PasswordFile string
	LeadURL      string // for the lock of the relay that leads, where URL is a pooler's
	MaxConns     int
}

func (d Database) config(observed Telemetry) postgres.Config {
	return postgres.Config{
		URL: d.URL, PasswordFile: d.PasswordFile, LeadURL: d.LeadURL, MaxConns: d.MaxConns, Logger: observed.Log,
	}
}

// MigrateConfig says which database to bring to this program's schema; see [postgres.MigrateConfig].
type MigrateConfig struct {
	Database
	Writer, Reader string // roles to grant; "": none
	DryRun         bool
	Logger         *slog.Logger
}

// Migrate brings a database to this program's schema, and says what it did, or would do.
func Migrate(ctx context.Context, cfg MigrateConfig) ([]postgres.Step, error) {
	return postgres.Migrate(ctx, postgres.MigrateConfig{
		Config: cfg.config(Telemetry{Log: cfg.Logger}), Writer: cfg.Writer, Reader: cfg.Reader, DryRun: cfg.DryRun,
	})
}

// CatalogueServerConfig says how to run a write side.
type CatalogueServerConfig struct {
	Listen      string // of the admin API
	Database    Database
	Kafka       Kafka
	HomeRegions []string // that a tenant's home may be in; none: any
	// AcceptRestore goes on by itself when the database turns out to be restored to an earlier past,
	// with a new identity.
	AcceptRestore bool
	Observed
}

// CatalogueServer is a write side on PostgreSQL and Kafka. Any number may run on one database;
// the relay of one of them leads.
type CatalogueServer struct{ process }

// OpenCatalogueServer starts a write side. When it fails, nothing of it runs.
func OpenCatalogueServer(ctx context.Context, cfg CatalogueServerConfig) (_ *CatalogueServer, err error) {
	s := new(CatalogueServer)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.observe(ctx, cfg.Observed); err != nil {
		return nil, err
	}
	ln, err := s.listen(ctx, cfg.Listen, "--listen")
	if err != nil {
		return nil, err
	}
	store, err := s.openDatabase(ctx, cfg.Database)
	if err != nil {
		return nil, err
	}
	cluster, err := s.openKafka(ctx, cfg.Kafka)
	if err != nil {
		return nil, err
	}
	var renew func(context.Context, uuid.UUID) error
	if cfg.AcceptRestore {
		renew = func(ctx context.Context, lost uuid.UUID) error {
			head, err := store.Head(ctx)
			if err == nil {
				_, err = store.MintStoreID(ctx, head.StoreID, lost)
			}
			return err
		}
	}
	err = s.openCatalogue(CatalogueConfig{
		Listener: ln, Store: store, Cluster: cluster, Topic: cfg.Kafka.Topic, Partitions: cfg.Kafka.Partitions,
		HomeRegions: cfg.HomeRegions, Lead: store.Lead, MakeTopic: s.makeTopic, Was: store.WasStoreID, Renew: renew,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// URL is where the admin API answers.
func (s *CatalogueServer) URL() string { return s.catalogue.URL() }

// openDatabase opens the store for a write side.
func (p *process) openDatabase(ctx context.Context, d Database) (*postgres.Store, error) {
	cfg := d.config(p.telemetry)
	cfg.Committed = newAppendMetrics(p.telemetry.Registry).observe
	store, err := postgres.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p.onClose(store.Close)
	return store, nil
}

// RegionServerConfig says how to run a node of a region.
type RegionServerConfig struct {
	Region  string
	DataDir string
	Listen  string // of the query API
	Kafka   Kafka
	Source  Source
	// These are as in [RegionConfig].
	BootstrapFrom  string
	ServeSnapshots bool
	VerifyEvery    time.Duration
	Heal           bool
	Observed
}

// RegionServer is a node of a region.
type RegionServer struct{ process }

// OpenRegionServer starts a node. When it fails, nothing of it runs. It needs neither Kafka nor
// the source to be there: it serves the copy that it has until they are.
func OpenRegionServer(ctx context.Context, cfg RegionServerConfig) (_ *RegionServer, err error) {
	s := new(RegionServer)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.observe(ctx, cfg.Observed); err != nil {
		return nil, err
	}
	ln, err := s.listen(ctx, cfg.Listen, "--listen")
	if err != nil {
		return nil, err
	}
	if cfg.Source.TempDir == "" {
		cfg.Source.TempDir = cfg.DataDir // where there is room for a region, and nothing is in memory or read-only
	}
	source, err := s.openSource(cfg.Source)
	if err != nil {
		return nil, err
	}
	cluster, err := s.openCluster(cfg.Kafka)
	if err != nil {
		return nil, err
	}
	s.openRegion(RegionConfig{
		Name: cfg.Region, Dir: regionDir(cfg.DataDir, cfg.Region), Listener: ln,
		Cluster: cluster, Topic: cfg.Kafka.Topic, Source: source,
		BootstrapFrom: cfg.BootstrapFrom, ServeSnapshots: cfg.ServeSnapshots,
		VerifyEvery: cfg.VerifyEvery, Heal: cfg.Heal,
	})
	return s, nil
}

// URL is where the query API answers.
func (s *RegionServer) URL() string { return s.regions[0].URL() }
