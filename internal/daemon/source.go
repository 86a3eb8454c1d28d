package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/postgres"
	"github.com/tenantry/tenantry/events/remote"
	"github.com/tenantry/tenantry/replay"
)

// Source says where a region reads the truth, to bootstrap and to repair its copy.
type Source struct {
	// URL is postgres://…, of the store itself, or http(s)://…, of a catalogue.
	URL string
	// PasswordFile is of the database, where the URL is one's.
	PasswordFile string
	Trust
	// TempDir is where all of it is sorted when it is read whole; "": the system's directory for
	// temporary files.
	TempDir string
}

// sourceConns is how many connections a node takes at most: one for itself and one to repair.
const sourceConns = 2

// openSource makes a source without asking it anything: a node serves its copy while it is away.
func (p *process) openSource(s Source) (replay.Source, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, errors.New("--source is not a URL: say postgres://USER@HOST/DATABASE, or http://HOST:PORT of a catalogue")
	}
	switch u.Scheme {
	case "postgres", "postgresql":
		if err := s.Trust.fits(u.Scheme); err != nil {
			return nil, err
		}
		d := &databaseSource{cfg: Database{URL: s.URL, PasswordFile: s.PasswordFile, MaxConns: sourceConns}.config(p.telemetry)}
		d.cfg.TempDir, d.cfg.ReadOnly = s.TempDir, true
		p.onClose(d.close)
		return d, nil
	case "http", "https":
		cfg, err := s.overHTTP(u)
		if err != nil {
			return nil, err
		}
		log, err := remote.New(cfg)
		if err != nil {
			return nil, fmt.Errorf("--source: %w", err)
		}
		p.onClose(log.Close)
		return log, nil
	default:
		return nil, fmt.Errorf("--source is %s://…: say postgres://USER@HOST/DATABASE, or http://HOST:PORT of a catalogue", u.Scheme)
	}
}

// databaseSource is a store on PostgreSQL that is opened when it is first needed.
type databaseSource struct {
	cfg postgres.Config

	mu     sync.Mutex
	store  *postgres.Store
	closed bool
}

func (d *databaseSource) open(ctx context.Context) (*postgres.Store, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("%w: it is closed", events.ErrUnavailable)
	}
	if d.store == nil {
		store, err := postgres.Open(ctx, d.cfg)
		if err != nil {
			return nil, err
		}
		d.store = store
	}
	return d.store, nil
}

// Head is the store's.
func (d *databaseSource) Head(ctx context.Context) (events.Head, error) {
	s, err := d.open(ctx)
	if err != nil {
		return events.Head{}, err
	}
	return s.Head(ctx)
}

// After is the store's.
func (d *databaseSource) After(ctx context.Context, position uint64, limit int) ([]events.Event, error) {
	s, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	return s.After(ctx, position, limit)
}

// Load is the store's.
func (d *databaseSource) Load(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error) {
	s, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	return s.Load(ctx, id, after)
}

// Whole is the store's.
func (d *databaseSource) Whole(ctx context.Context) (events.Whole, error) {
	s, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	return s.Whole(ctx)
}

func (d *databaseSource) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.store == nil {
		return nil
	}
	return d.store.Close()
}
