package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// ErrGaveWay says that a node has started on the directory of a stopped region, and was let have it. Begin again,
// with the node.
var ErrGaveWay = errors.New("a node has started on the region's directory, and was let have it")

// Stopped is a region's directory while no node has it. Until Close, none can start on it, unless it
// gives way: see [Open].
type Stopped struct {
	dir    readmodel.Dir
	region string
	source Source
	log    *slog.Logger
	unlock func() error

	watching sync.WaitGroup // for a node that starts
	stop     context.CancelFunc

	mu    sync.Mutex
	model *readmodel.Model // nil: not opened yet, or there is none
	why   error            // why there is none
	gone  bool             // it has given way
}

// OpenStopped takes the directory of a region of which no node runs; else it is a
// [readmodel.ErrInUse]. The source is what a repair reads.
func OpenStopped(dir readmodel.Dir, region string, source Source, log *slog.Logger) (*Stopped, error) {
	unlock, err := dir.Lock(readmodel.ByReplay)
	if err != nil {
		return nil, err
	}
	return &Stopped{dir: dir, region: region, source: source, log: log, unlock: unlock, stop: func() {}}, nil
}

// Close lets a node have the directory.
func (s *Stopped) Close() error {
	s.stop()
	s.watching.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil
	}
	return errors.Join(s.closeModel(), s.unlock())
}

// lookEvery is how soon a node that starts gets the directory.
const lookEvery = 100 * time.Millisecond

// giveWay lets a node have the directory that starts on it: what is under way here ends, and can begin anew with
// the node, which must not wait for it.
func (s *Stopped) giveWay() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.watching.Go(func() {
		look := time.NewTicker(lookEvery)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			node, err := Dial(ctx, s.dir)
			if err != nil {
				continue // there is none
			}
			_ = node.Close() // it never fails
			s.leave()
			return
		}
	})
}

func (s *Stopped) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone, s.why = true, ErrGaveWay
	if err := errors.Join(s.closeModel(), s.unlock()); err != nil {
		s.log.Warn("give way to a node that starts", "err", err)
	}
}

// Stays tells that a region is as it was when it was opened, whatever came of what was done with it: ErrGaveWay
// where it has given way to a node, which is why that failed, if it did.
func Stays(region Region) error {
	s, ok := region.(*Stopped)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return ErrGaveWay
	}
	return nil
}

// closeModel is called with mu held.
func (s *Stopped) closeModel() error {
	if s.model == nil {
		return nil
	}
	err := s.model.Close()
	s.model = nil
	return err
}

// stoppedCache is of the documents of a model that answers no look-ups.
const stoppedCache = 1 << 20

// open opens the live generation, where there is one that can be used.
func (s *Stopped) open() (*readmodel.Model, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.openLive()
}

// openLive is called with mu held.
func (s *Stopped) openLive() (*readmodel.Model, error) {
	if s.model != nil || s.why != nil {
		return s.model, s.why
	}
	name, err := s.dir.Current()
	if err != nil {
		s.why = err
		return nil, err
	}
	m, err := readmodel.Open(readmodel.Config{Dir: s.dir.Path(name), CacheBytes: stoppedCache, Logger: s.log})
	if err != nil {
		s.why = err
		return nil, err
	}
	if !m.Progress().Complete {
		s.why = errors.Join(fmt.Errorf("%w: %s was never complete", readmodel.ErrNoModel, name), m.Close())
		return nil, s.why
	}
	s.model = m
	return m, nil
}

// last is how far a generation has come that can be used where the live one cannot; nil: there is none.
func (s *Stopped) last() (*readmodel.Progress, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil, ErrGaveWay
	}
	names, err := s.dir.Candidates()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		m, err := readmodel.Open(readmodel.Config{Dir: s.dir.Path(name), CacheBytes: stoppedCache, Logger: s.log})
		if err != nil {
			continue // it is of no use, as the live one
		}
		p := m.Progress()
		if err := m.Close(); err != nil {
			return nil, err
		}
		if p.Complete {
			return p, nil
		}
	}
	return nil, nil
}

// Info is of the live generation. A generation that cannot be used is none: Complete is false then, and Fault says why.
func (s *Stopped) Info(context.Context) (Info, error) {
	info := Info{Region: s.region}
	name, err := s.dir.Current()
	if errors.Is(err, readmodel.ErrNoGeneration) {
		return info, nil
	}
	if err != nil {
		return info, err
	}
	info.Generation = name
	m, err := s.open()
	switch {
	case noCopy(err):
		info.Fault = err
		return info, nil
	case err != nil:
		return info, err
	}
	info.of(m.Progress())
	return info, nil
}

// noCopy tells that there is no copy that could be looked into, and that it takes a rebuild.
func noCopy(err error) bool {
	return errors.Is(err, readmodel.ErrNoGeneration) || errors.Is(err, readmodel.ErrUnusable) || errors.Is(err, readmodel.ErrNoModel)
}

// of fills in what a model's progress says.
func (i *Info) of(p *readmodel.Progress) {
	i.StoreID, i.Position, i.Partitions, i.Complete = p.StoreID, p.Position(), len(p.Partitions), p.Complete
}

// Inspect is the live generation's.
func (s *Stopped) Inspect(context.Context) (Inspection, error) {
	m, err := s.open()
	if err != nil {
		return nil, err
	}
	in, err := m.Inspect()
	if err != nil {
		return nil, err
	}
	return &local{snapshot: in}, nil
}

// Repair folds streams of the live generation anew.
func (s *Stopped) Repair(ctx context.Context, repairs []projections.Repair) (int, error) {
	m, err := s.open()
	if err != nil {
		return 0, err
	}
	n, err := projections.RepairModel(ctx, m, s.source, repairs, s.log)
	if syncErr := m.Sync(); syncErr != nil {
		return n, errors.Join(syncErr, err)
	}
	return n, err
}

// Recount counts the live generation anew.
func (s *Stopped) Recount(ctx context.Context) error {
	m, err := s.open()
	if err != nil {
		return err
	}
	return errors.Join(m.Recount(ctx), m.Sync())
}

// Adopt points the directory to another generation: the next node to start opens that one.
func (s *Stopped) Adopt(_ context.Context, generation string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.adopt(generation)
}

// adopt is called with mu held: a node that starts gets the one or the other, and not while the pointer is moved.
func (s *Stopped) adopt(generation string) error {
	if s.gone {
		return ErrGaveWay
	}
	// What cannot be opened is nothing to go back to.
	point := s.dir.SetCurrent
	if _, err := s.openLive(); noCopy(err) {
		point = s.dir.Replace
	}
	if err := s.closeModel(); err != nil {
		return err
	}
	s.why = nil
	if err := point(generation); err != nil {
		return err
	}
	if _, err := s.dir.Tidy(); err != nil {
		s.log.Warn("generations that nobody needs any more are left; the node's next start removes them", "err", err)
	}
	return nil
}

// opening is how long a node that is about to start, or to stop, is waited for.
const opening = 10 * time.Second

// Open finds a region's copy: that of the node that runs on its directory, or else the directory's
// own, which gives way to a node that starts: what is done with it fails then, and [Stays] says so.
func Open(ctx context.Context, dir readmodel.Dir, region string, source Source, log *slog.Logger) (Region, error) {
	deadline := time.Now().Add(opening)
	for {
		c, err := Dial(ctx, dir)
		if err == nil {
			return named(ctx, c, region)
		}
		if !errors.Is(err, ErrNoNode) {
			return nil, err
		}
		s, err := OpenStopped(dir, region, source, log)
		if err == nil {
			s.giveWay()
			return s, nil
		}
		if !errors.Is(err, readmodel.ErrInUse) {
			return nil, err
		}
		if !time.Now().Before(deadline) {
			return nil, fmt.Errorf("%w; it does not answer on %s: it may be another replay, or a node of an older version, which has to be stopped", err, dir.Path(socketFile))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ErrOtherRegion says that a directory belongs to another region than the one that was named.
var ErrOtherRegion = errors.New("the directory belongs to another region")

// starting is how long a node is waited for that has not looked into its directory yet. What it has cannot be told
// before, and must not be taken for nothing.
const starting = time.Minute

// named refuses a node of another region.
func named(ctx context.Context, c *Client, region string) (Region, error) {
	info, err := c.Info(ctx)
	for deadline := time.Now().Add(starting); err == nil && info.Starting; info, err = c.Info(ctx) {
		if !time.Now().Before(deadline) {
			return nil, errors.Join(fmt.Errorf("the node that runs on %s (pid %d) is starting: try again when its log says that it serves a generation", c.dir, info.PID), c.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), c.Close())
		case <-time.After(lookEvery):
		}
	}
	if err == nil && info.Region != region {
		err = fmt.Errorf("%w: the node that runs on %s (pid %d) serves %s, and not %s", ErrOtherRegion, c.dir, info.PID, info.Region, region)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Rollback points the directory to the generation before.
func (s *Stopped) Rollback(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return "", ErrGaveWay
	}
	name, err := s.dir.Previous()
	if err != nil {
		return "", err
	}
	// What cannot be opened is nothing to go back to.
	m, err := readmodel.Open(readmodel.Config{Dir: s.dir.Path(name), CacheBytes: stoppedCache, Logger: s.log})
	if err != nil {
		return "", fmt.Errorf("go back to %s: %w", name, err)
	}
	complete := m.Progress().Complete
	if err := m.Close(); err != nil {
		return "", err
	}
	if !complete {
		return "", fmt.Errorf("go back to %s: %w: it was never complete", name, readmodel.ErrUnusable)
	}
	return name, s.adopt(name)
}
