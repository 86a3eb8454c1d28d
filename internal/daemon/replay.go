package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/replay"
)

// ReplayConfig says which region to replay, and from what.
type ReplayConfig struct {
	Region  string
	DataDir string // that of the region's node, or of a dev
	// Source is where the truth is read. Without a URL it is that of the dev whose data directory this
	// is: the one that runs on it, or its store.
	Source Source
	// Partitions is of the topic, for a region of which nothing is left that says it.
	Partitions int
	// New makes a region that never ran on the data directory.
	New bool
	// MakeDir makes the data directory, where it is not there, once there is something to put into it.
	MakeDir bool
	// NoSource: none is needed for what is to be done.
	NoSource bool
	Logger   *slog.Logger
}

// Replay is a region's copy and its source of truth, to be held against each other.
type Replay struct {
	process
	cfg    ReplayConfig
	dir    readmodel.Dir
	source replay.Source
	known  knownRegion
	sorted uint64 // octets that the source needs beside the region for each event, while it is read whole
}

// sortedOctets is that of a source that is sorted here: measured 190.
const sortedOctets = 200

// ErrNoSource says that none was named, and none is to be found.
var ErrNoSource = errors.New("where is the source of truth?")

// OpenReplay finds the region and the source. It changes nothing, and asks the source nothing yet.
func OpenReplay(ctx context.Context, cfg ReplayConfig) (_ *Replay, err error) {
	r := &Replay{cfg: cfg, dir: readmodel.Dir(regionDir(cfg.DataDir, cfg.Region))}
	r.telemetry.Log = cfg.Logger
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	running, err := ReadAddresses(cfg.DataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil && !announced(cfg.DataDir) {
		// Its port may be another dev's by now, with another store.
		cfg.Logger.Warn("the dev that left its addresses has ended: not asking who answers there now", "file", filepath.Join(cfg.DataDir, AddressFile), "pid", running.PID)
		running = Addresses{}
	}
	if r.known, _ = recall(cfg.DataDir, cfg.Region); r.known.Partitions > 0 {
		r.cfg.Partitions = r.known.Partitions
	}
	if _, known := running.Regions[cfg.Region]; !known {
		if err := checkRegion(cfg); err != nil {
			return nil, err
		}
	}
	if !cfg.NoSource {
		if err := r.openReplaySource(ctx, running.Admin); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// checkRegion refuses a region that the data directory knows nothing of, saying what may be meant.
func checkRegion(cfg ReplayConfig) error {
	dir := regionDir(cfg.DataDir, cfg.Region)
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() {
		return nil
	}
	if err == nil {
		return fmt.Errorf("%s is no directory", dir)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(cfg.DataDir); err != nil && !(cfg.MakeDir && errors.Is(err, fs.ErrNotExist)) {
		return fmt.Errorf("no data directory %s: name that of the region's node, or of a dev, with --data-dir", cfg.DataDir)
	}
	if _, err := readmodel.Dir(cfg.DataDir).Current(); err == nil {
		return fmt.Errorf("%s is the directory of one region: give --data-dir the directory that has regions/%s in it", cfg.DataDir, filepath.Base(cfg.DataDir))
	}
	known, err := knownRegions(cfg.DataDir)
	switch {
	case err != nil:
		return err
	case cfg.New || slices.Contains(known, cfg.Region):
		return nil // it was lost
	case len(known) > 0:
		return fmt.Errorf("no region %s in %s: it has %s; name one of them with --region", cfg.Region, cfg.DataDir, strings.Join(known, ", "))
	case cfg.Source.URL == "":
		return fmt.Errorf("no region has ever run on %s: is it the right --data-dir? If its disk was lost, name the source with --source, and %s is built here", cfg.DataDir, cfg.Region)
	}
	return nil // its disk was lost
}

// openReplaySource opens the source that was named, or finds one.
func (r *Replay) openReplaySource(ctx context.Context, admin string) error {
	named := r.cfg.Source
	if named.URL == "" && admin != "" && reachable(ctx, admin) {
		named.URL = admin
	}
	if named.URL != "" {
		named.TempDir = r.cfg.DataDir // where there is room for a region, and nothing is in memory
		source, err := r.openSource(named)
		if err != nil {
			return err
		}
		r.source, r.sorted = source, sortedOctets
		return nil
	}
	store := filepath.Join(r.cfg.DataDir, "store")
	if _, err := os.Stat(store); err != nil {
		return fmt.Errorf("%w No dev runs on %s, and there is no store in it: name one with --source, such as http://catalogue.example:8080", ErrNoSource, r.cfg.DataDir)
	}
	s, err := embedded.Open(ctx, embedded.Config{Dir: store, Logger: r.cfg.Logger})
	if errors.Is(err, embedded.ErrInUse) {
		return fmt.Errorf("a dev is starting or stopping on %s, or another replay reads its store: wait until dev says that it is ready, or has stopped, and try again", r.cfg.DataDir)
	}
	if err != nil {
		return fmt.Errorf("read the store of the dev that is stopped: %w", err)
	}
	r.onClose(s.Close)
	r.source = s
	return nil
}

// region finds the copy: that of the node that runs, or the stopped directory's.
func (r *Replay) region(ctx context.Context) (replay.Region, error) {
	return replay.Open(ctx, r.dir, r.cfg.Region, r.source, r.cfg.Logger)
}

// Verify compares, as [replay.Verify] does; what cfg has no need to say is known here.
func (r *Replay) Verify(ctx context.Context, cfg replay.VerifyConfig) (*replay.Report, error) {
	again := untold(&cfg)
	return withRegion(ctx, r, again, func(region replay.Region) (*replay.Report, error) {
		if err := intact(ctx, region); err != nil {
			return nil, err
		}
		cfg.Region, cfg.Source, cfg.Dir, cfg.Logger = region, r.source, string(r.dir), r.cfg.Logger
		return replay.Verify(ctx, cfg)
	})
}

// intact refuses a node that answers from files which are gone: what it has may be equal, and ends with the process.
func intact(ctx context.Context, region replay.Region) error {
	info, err := region.Info(ctx)
	if err == nil && info.Lost != "" {
		err = fmt.Errorf("%s: the node (pid %d) answers from what it has open, and cannot be started on it again: rebuild the region now, while it serves", info.Lost, info.PID)
	}
	return err
}

// untold tells whether a comparison has told of nothing yet, so that it can begin anew, and nothing was mended.
func untold(cfg *replay.VerifyConfig) func() bool {
	told, tell := false, cfg.Each
	cfg.Each = func(d replay.Difference) error {
		told = true
		if tell == nil {
			return nil
		}
		return tell(d)
	}
	return func() bool { return !told }
}

// Repair mends what differs, as [replay.Repair] does.
func (r *Replay) Repair(ctx context.Context, cfg replay.VerifyConfig) (*replay.RepairReport, error) {
	again := untold(&cfg)
	return withRegion(ctx, r, again, func(region replay.Region) (*replay.RepairReport, error) {
		if err := intact(ctx, region); err != nil {
			return nil, err
		}
		cfg.Region, cfg.Source, cfg.Dir, cfg.Logger = region, r.source, string(r.dir), r.cfg.Logger
		return replay.Repair(ctx, cfg)
	})
}

// Rebuild builds the region anew, as [replay.Rebuild] does.
func (r *Replay) Rebuild(ctx context.Context, cfg replay.RebuildConfig) (*replay.Rebuilt, error) {
	cfg.Dir, cfg.Open, cfg.Source, cfg.Partitions, cfg.Logger = r.dir, r.region, r.source, r.cfg.Partitions, r.cfg.Logger
	cfg.Store, cfg.SourceOctets = r.known.Store, r.sorted
	return orUnmade(r.dir, func() (*replay.Rebuilt, error) { return replay.Rebuild(ctx, cfg) })
}

// Rollback goes back to the generation before, as [replay.Rollback] does.
func (r *Replay) Rollback(ctx context.Context) (*replay.RolledBack, error) {
	return replay.Rollback(ctx, r.dir, r.region)
}

// withRegion does something with the region's copy. Where a node has started on it meanwhile, it is done anew with
// the node, if it can be.
func withRegion[R any](ctx context.Context, r *Replay, again func() bool, do func(replay.Region) (*R, error)) (*R, error) {
	for {
		region, err := r.region(ctx)
		if err != nil {
			return nil, err
		}
		out, err := do(region)
		gone := replay.Stays(region)
		switch err := errors.Join(err, region.Close()); {
		case err == nil:
			return out, nil
		case gone == nil || ctx.Err() != nil:
			return nil, err
		case !again():
			return nil, fmt.Errorf("%w: the same again goes on with the node", gone)
		}
		r.cfg.Logger.Warn("beginning anew with the node", "reason", gone)
	}
}

// AskTenant says what the source has of a tenant.
func (r *Replay) AskTenant(ctx context.Context, id events.TenantID) (replay.TenantState, error) {
	return replay.AskTenant(ctx, r.source, id)
}

// reachable tells whether anybody takes connections at a URL: a dev that was killed leaves its addresses.
func reachable(ctx context.Context, at string) bool {
	u, err := url.Parse(at)
	if err != nil {
		return false
	}
	conn, err := (&net.Dialer{Timeout: askTime}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

const askTime = 3 * time.Second // for a dev of this machine to take a connection
