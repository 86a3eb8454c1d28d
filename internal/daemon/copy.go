package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tenantry/tenantry/projections/readmodel"
	"github.com/tenantry/tenantry/queryapi"
	"github.com/tenantry/tenantry/replay"
)

// Snapshot writes a copy of the region, as [replay.Snapshot] does.
func (r *Replay) Snapshot(ctx context.Context, w io.Writer) (*replay.Copied, error) {
	never := func() bool { return false } // it has written something
	return withRegion(ctx, r, never, func(region replay.Region) (*replay.Copied, error) { return replay.Snapshot(ctx, region, w) })
}

// Restore makes the region of a copy, as [replay.Restore] does; what cfg has no need to say is known here.
func (r *Replay) Restore(ctx context.Context, cfg replay.RestoreConfig) (*replay.Copied, error) {
	cfg.Dir, cfg.Open, cfg.Region, cfg.Store, cfg.Logger = r.dir, r.region, r.cfg.Region, r.known.Store, r.cfg.Logger
	return orUnmade(r.dir, func() (*replay.Copied, error) { return replay.Restore(ctx, cfg) })
}

// orUnmade does something that makes a region's directory, and where that fails leaves none that was not there.
func orUnmade[R any](dir readmodel.Dir, do func() (*R, error)) (*R, error) {
	made := missing(string(dir))
	out, err := do()
	if err != nil && len(made) > 0 {
		err = errors.Join(err, unmake(dir, made))
	}
	return out, err
}

// missing are the directories of a path that are not there, the innermost first.
func missing(path string) (dirs []string) {
	for ; ; path = filepath.Dir(path) {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return dirs
		}
		dirs = append(dirs, path)
	}
}

// unmake removes a region's directory that was made for nothing, with those above it that were: else it would look as
// if the region had run there. Where somebody else has begun something with it, it stays.
func unmake(dir readmodel.Dir, made []string) (err error) {
	if _, err := os.Stat(string(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var unlocks []func() error
	defer func() {
		for _, unlock := range unlocks {
			err = errors.Join(err, unlock())
		}
	}()
	// A node that starts has the control socket, and waits for the directory; one that runs has both.
	for _, lock := range []func() (func() error, error){
		func() (func() error, error) { return dir.Lock(readmodel.ByReplay) }, dir.ReplayLock, dir.ControlLock,
	} {
		unlock, busy := lock()
		if errors.Is(busy, readmodel.ErrInUse) || errors.Is(busy, readmodel.ErrReplaying) {
			return nil
		}
		if busy != nil {
			return busy
		}
		unlocks = append(unlocks, unlock)
	}
	left, err := os.ReadDir(string(dir))
	if err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.IsDir() || e.Name() == "current" }) {
		return err
	}
	if err := os.RemoveAll(string(dir)); err != nil {
		return err
	}
	for _, above := range made[1:] {
		if os.Remove(above) != nil {
			break // there is something else in it by now
		}
	}
	return nil
}

// copies is the node's own, for whoever asks its query API.
func copies(node *replay.Node) queryapi.Snapshot {
	return func(ctx context.Context, w io.Writer) error {
		_, err := replay.Snapshot(ctx, node, w)
		return err
	}
}

const (
	neighbourTime  = 10 * time.Second // for a neighbour to begin its answer
	neighbourPause = 30 * time.Second // in the midst of it, before it is given up
)

// bootstrap is how a node without a copy begins: with that of a neighbour.
type bootstrap struct {
	cfg  RegionConfig
	from string // the neighbour's query API
	log  *slog.Logger
	what atomic.Pointer[string] // what the node is about, while it is about this
}

// doing is nil once the copy is there, or will not come.
func (b *bootstrap) doing() error {
	if what := b.what.Load(); what != nil {
		return errors.New(*what)
	}
	return nil
}

func (b *bootstrap) say(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	b.what.Store(&what)
}

// run takes the neighbour's copy, where the region has none, and tells whether it did. Where that fails
// nothing is left of it, and the node builds its copy from the source.
func (b *bootstrap) run(ctx context.Context) bool {
	defer b.what.Store(nil)
	dir := readmodel.Dir(b.cfg.Dir)
	if names, err := dir.Candidates(); err != nil || len(names) > 0 {
		b.log.Debug("the region has a copy: a neighbour's is not needed", "err", err)
		return false
	}
	b.say("the region's read model is being fetched from %s", b.from)
	got, err := b.fetch(ctx, dir)
	if err != nil {
		if ctx.Err() == nil {
			b.log.Warn("no copy is to be had from the neighbour: building the read model from the source of truth", "from", b.from, "err", err)
		}
		return false
	}
	b.log.Info("began with the copy of a neighbour", "from", b.from, "of", got.Region, "position", got.Position, "records", got.Records, "octets", got.Octets,
		"took", got.Took.Round(time.Millisecond))
	return true
}

func (b *bootstrap) fetch(ctx context.Context, dir readmodel.Dir) (*replay.Copied, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: neighbourTime,
		DialContext: (&net.Dialer{Timeout: neighbourTime}).DialContext, DisableKeepAlives: true,
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(b.from, "/")+"/v1/snapshot", nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 2000)) // what came is told, whole or not
		return nil, fmt.Errorf("it answered %s: %s", resp.Status, strings.TrimSpace(string(why)))
	}
	silence := time.AfterFunc(neighbourPause, func() { cancel(fmt.Errorf("it sent nothing for %s", neighbourPause)) })
	defer silence.Stop()
	got, err := replay.Restore(ctx, replay.RestoreConfig{
		Dir: dir, Region: b.cfg.Name, From: &lively{resp.Body, silence}, AnyRegion: true, Logger: b.log,
		Check: func(h *readmodel.CopyHeader) error { return b.ours(ctx, h) },
		Open:  func(context.Context) (replay.Region, error) { return replay.OpenStopped(dir, b.cfg.Name, nil, b.log) },
		Progress: func(records uint64) {
			b.say("the region's read model is being fetched from %s: %d records", b.from, records)
		},
	})
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	return got, err
}

// ours refuses the copy of another history than the source's. A source that is away proves nothing.
func (b *bootstrap) ours(ctx context.Context, h *readmodel.CopyHeader) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	head, err := b.cfg.Source.Head(ctx)
	if err == nil && head.StoreID != h.StoreID() {
		return fmt.Errorf("%w: the neighbour's is of %s, and the source is %s", replay.ErrCopyOfOtherStore, h.StoreID(), head.StoreID)
	}
	return nil
}

// lively puts the end of patience off with each part that comes.
type lively struct {
	io.Reader
	silence *time.Timer
}

func (l *lively) Read(b []byte) (int, error) {
	n, err := l.Reader.Read(b)
	l.silence.Reset(neighbourPause)
	return n, err
}
