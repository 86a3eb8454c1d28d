package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/internal/diskspace"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// copier is an inspection that can write a copy of what it shows.
type copier interface {
	WriteCopy(ctx context.Context, w io.Writer, region string) (records uint64, err error)
}

// Copied says what a copy is of, or what was made of one.
type Copied struct {
	Region     string    `json:"region"`
	StoreID    uuid.UUID `json:"store_id"`
	Position   uint64    `json:"position"` // up to which everything is in it
	Records    uint64    `json:"records"`
	Octets     uint64    `json:"octets"`
	Generation string    `json:"generation,omitzero"` // that was made of it
	PID        int       `json:"pid,omitzero"`        // of the node that serves it; 0: none runs

	Took time.Duration `json:"-"`
}

// Snapshot writes a copy of a region's live generation, as [readmodel.Copy] reads it. The region goes
// on meanwhile; the copy is of one moment.
func Snapshot(ctx context.Context, region Region, w io.Writer) (*Copied, error) {
	began := time.Now()
	info, err := region.Info(ctx)
	if err != nil {
		return nil, err
	}
	in, err := region.Inspect(ctx)
	switch {
	case noCopy(err) && info.PID != 0:
		return nil, fmt.Errorf("the node of region %s has no complete copy yet: wait until it is ready (%w)", info.Region, err)
	case noCopy(err):
		return nil, fmt.Errorf("region %s has no copy that another could be made of: rebuild it with 'tenantry replay', or start its node, which does so (%w)", info.Region, err)
	case err != nil:
		return nil, err
	}
	p := in.Progress()
	out := &counted{w: w}
	c := &Copied{Region: info.Region, StoreID: p.StoreID, Position: p.Position()}
	if from, ok := in.(copier); ok {
		c.Records, err = from.WriteCopy(ctx, out, info.Region)
	} else {
		err = errors.New("this copy of a region cannot be copied")
	}
	if err := errors.Join(err, in.Close()); err != nil {
		return nil, fmt.Errorf("copy %s: %w", info.Region, err)
	}
	c.Octets, c.Took = out.n, time.Since(began)
	return c, nil
}

type counted struct {
	w io.Writer
	n uint64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += uint64(n)
	return n, err
}

// WriteCopy is the model's.
func (l *local) WriteCopy(ctx context.Context, w io.Writer, region string) (uint64, error) {
	from, ok := l.snapshot.(copier)
	if !ok {
		return 0, errors.New("it cannot be copied")
	}
	return from.WriteCopy(ctx, w, region)
}

// copyFailed is the trailer in which a node says why a copy is cut short; copyRecords, how many it has.
const (
	copyFailed  = "Tenantry-Copy-Error"
	copyRecords = "Tenantry-Copy-Records"
)

// copy answers a copy of a session's moment.
func (c *Control) copy(s *session, w http.ResponseWriter, r *http.Request) (any, error) {
	from, ok := s.Inspection.(copier)
	if !ok {
		return nil, errors.New("this node's copy cannot be copied")
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", copyFailed+", "+copyRecords) // said before, so that a short answer has them too
	records, err := from.WriteCopy(r.Context(), w, r.URL.Query().Get("region"))
	if err != nil {
		c.log.Warn("a copy of this node's read model was cut short", "err", err)
		b, jsonErr := json.Marshal(toWire(err))
		if jsonErr != nil {
			return nil, jsonErr
		}
		w.Header().Set(copyFailed, string(b))
	}
	w.Header().Set(copyRecords, fmt.Sprint(records))
	return nil, errAnswered
}

// WriteCopy has the node write it.
func (d *distant) WriteCopy(ctx context.Context, w io.Writer, region string) (records uint64, err error) {
	res, err := d.client.send(ctx, http.MethodPost, d.path+"/copy?region="+region, nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, &fromNode{res.Body, d.client, ctx}); err != nil {
		return 0, err
	}
	if text := res.Trailer.Get(copyFailed); text != "" {
		var why wireError
		if err := json.Unmarshal([]byte(text), &why); err != nil {
			return 0, fmt.Errorf("the node's copy failed, and its answer cannot be read: %w", err)
		}
		return 0, why.error()
	}
	if _, err := fmt.Sscan(res.Trailer.Get(copyRecords), &records); err != nil {
		return 0, errors.New("the node's copy ended without its end: start the node and try again")
	}
	return records, nil
}

// fromNode tells an answer that breaks off from a file that cannot be written.
type fromNode struct {
	io.Reader
	client *Client
	ctx    context.Context //nolint:containedctx // of one call
}

func (f *fromNode) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = f.client.gone(f.ctx, err)
	}
	return n, err
}

// RestoreConfig says what to make of a copy.
type RestoreConfig struct {
	Dir    readmodel.Dir
	Open   Opener
	Region string
	From   io.Reader
	// Octets is about how many there are to read; 0: nobody knows.
	Octets uint64
	// Force makes a region's copy of another region's, and takes the place of a copy that is there.
	Force bool
	// AnyRegion makes a region's copy of another region's.
	AnyRegion bool
	// Store is the one that the region is known to have served a copy of, where it has none now; zero: it is not known.
	Store uuid.UUID
	// Check may refuse a copy before anything is done; nil: none is.
	Check     func(*readmodel.CopyHeader) error
	Progress  func(records uint64) // nil: nobody is told
	FreeSpace func(dir string) (uint64, error)
	Logger    *slog.Logger
}

// Errors of Restore that say what was refused. Nothing was changed.
var (
	// ErrHasCopy: the region has a copy already.
	ErrHasCopy = errors.New("the region has a copy already")
	// ErrCopyOfOtherStore: the copy is of another store than the region, or than its source.
	ErrCopyOfOtherStore = errors.New("the copy is of another store")
)

// Restore makes a generation of a copy, and has it take the live one's place: the node that runs adopts it,
// or the next one opens it, and either follows the topic from where the copy is. Whatever fails leaves
// what there was before, and nothing of its own.
func Restore(ctx context.Context, cfg RestoreConfig) (*Copied, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.FreeSpace == nil {
		cfg.FreeSpace = diskspace.Free
	}
	began := time.Now()
	from := &reading{r: cfg.From}
	c, err := readmodel.OpenCopy(from)
	if err != nil {
		return nil, err
	}
	if c.Header.Region != cfg.Region && !cfg.Force && !cfg.AnyRegion {
		return nil, fmt.Errorf("%w: the copy is of %s, and not of %s: every region has all tenants, so that --force may make %s of it",
			ErrOtherRegion, c.Header.Region, cfg.Region, cfg.Region)
	}
	if cfg.Check != nil {
		if err := cfg.Check(&c.Header); err != nil {
			return nil, err
		}
	}
	unlock, err := cfg.Dir.ReplayLock()
	if err != nil {
		return nil, err
	}
	out, err := restore(ctx, cfg, c)
	if err := errors.Join(err, unlock()); err != nil {
		return nil, err
	}
	out.Octets, out.Took = from.n, time.Since(began)
	return out, nil
}

type reading struct {
	r io.Reader
	n uint64
}

func (r *reading) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.n += uint64(n)
	return n, err
}

func restore(ctx context.Context, cfg RestoreConfig, c *readmodel.Copy) (*Copied, error) {
	info, live, _, err := look(ctx, cfg.Open)
	if err != nil {
		return nil, err
	}
	info.warn(cfg.Logger)
	p := c.Header.Progress
	if live != nil {
		switch {
		case live.StoreID != p.StoreID && info.PID > 0:
			return nil, fmt.Errorf("%w: of %s, and the node that runs (pid %d) of %s: stop it first", ErrCopyOfOtherStore, p.StoreID, info.PID, live.StoreID)
		case cfg.Force:
		case live.StoreID != p.StoreID:
			return nil, fmt.Errorf("%w: of %s, and %s of %s: --force puts it in its place", ErrCopyOfOtherStore, p.StoreID, info.Generation, live.StoreID)
		default:
			return nil, fmt.Errorf("%w: %s, at position %d; the one to restore is at %d: --force puts it in its place", ErrHasCopy, info.Generation, live.Position(), p.Position())
		}
	}
	if live == nil && cfg.Store != uuid.Nil && cfg.Store != p.StoreID && !cfg.Force {
		return nil, fmt.Errorf("%w: of %s, and the region had one of %s: --force makes it one of the other", ErrCopyOfOtherStore, p.StoreID, cfg.Store)
	}
	building, err := beginBuilding(cfg.Dir, cfg.Logger)
	if err != nil {
		return nil, err
	}
	out := &Copied{Region: cfg.Region, StoreID: p.StoreID, Position: p.Position(), PID: info.PID}
	err = diskspace.Need(cfg.FreeSpace, string(cfg.Dir), cfg.Octets+cfg.Octets/8+diskspace.CompactionRoom)
	if err == nil {
		_, err = c.Restore(ctx, readmodel.Config{Dir: cfg.Dir.Path(building), Logger: cfg.Logger, FreeSpace: cfg.FreeSpace}, func(records uint64) {
			out.Records = records
			if cfg.Progress != nil {
				cfg.Progress(records)
			}
		})
	}
	if err == nil {
		out.Generation, err = cfg.Dir.Promote(building)
	}
	if err != nil {
		return nil, errors.Join(err, cfg.Dir.Remove(building))
	}
	// A node may have started or stopped since.
	made := &Rebuilt{Region: cfg.Region, Generation: out.Generation}
	quiet := func(string, uint64, uint64) {}
	if err := made.handOver(ctx, RebuildConfig{Dir: cfg.Dir, Open: cfg.Open, Progress: quiet, Logger: cfg.Logger}); err != nil {
		return nil, err
	}
	out.PID = made.PID
	return out, nil
}
