package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// Source is where the truth is read when the topic does not have it: a store, or the log of
// a catalogue over HTTP.
type Source interface {
	Head(ctx context.Context) (events.Head, error)
	After(ctx context.Context, position uint64, limit int) ([]events.Event, error)
	Load(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error)
	Whole(ctx context.Context) (events.Whole, error)
}

// Config says which region a node serves, from what.
type Config struct {
	Region  string
	Dir     readmodel.Dir // the region's, with its generations
	Cluster *kafka.Cluster
	Topic   string
	Source  Source

	// Served is the store that this region is known to have served a copy of; zero: not known. NoteServed, where
	// not nil, is told of it, to be kept for the next start.
	Served     uuid.UUID
	NoteServed func(store uuid.UUID)

	CacheBytes int64         // of documents kept in memory; see readmodel.Config
	Patience   time.Duration // how long a node with a complete copy waits for what is upstream before it serves; 0: 10 s
	Settle     time.Duration // how long a node that is ready serves before it has settled on its generation, at most; 0: 1 s

	// Compare holds the copy against the source of truth, and reads about rate records of it a second; nil: nobody
	// does. A package above has it, which goes around this one's fold.
	Compare     func(ctx context.Context, in *readmodel.Inspection, rate int) (Comparison, error)
	VerifyEvery time.Duration // how often the node does it by itself; 0: only when asked
	Heal        bool          // mend what differs then; else it is only told

	Clock          func() time.Time      // nil: time.Now
	Logger         *slog.Logger          // nil: none
	Registerer     prometheus.Registerer // nil: none
	TracerProvider trace.TracerProvider  // nil: none
}

const (
	batchRecords = 1000      // at most, in one commit
	inFlight     = 256       // messages of a partition delivered and not yet committed; all partitions' fill some batches
	fetchBytes   = 128 << 10 // of a partition at a time, of which two are held, and several times their size when decoded
	readLimit    = 1000      // events read from the source at a time
	retryDelay   = 500 * time.Millisecond
	clockEvery   = 500 * time.Millisecond // looked whether a clock that was ahead was set right
	sourceTime   = 2 * time.Second        // for a question to the source that need not be answered
	streamTime   = 10 * time.Second       // for one stream that need not be read now
	sweepEvery   = time.Minute
)

// Why a node stops following the topic and builds a new generation.
var (
	errOtherStore = errors.New("the store has another identity: it was restored or replaced")
	errDiverged   = errors.New("the topic and this copy do not belong to the same history")
	// errTopicAhead is not mended by a new generation: the topic is what has to be replaced.
	errTopicAhead = errors.New("the store was restored to an earlier past, and the topic was not replaced: not following it until it is")
)

// Projector is one node of a region. Run folds; everything else may be called at any time.
type Projector struct {
	cfg     Config
	log     *slog.Logger
	live    readmodel.Live
	metrics *metrics
	tracer  trace.Tracer // nil: no spans

	current  atomic.Pointer[follower] // keeps the live model up to date; nil: there is none
	building atomic.Pointer[string]   // what Ready says while there is no model
	opened   atomic.Bool              // it has looked what there is
	ready    atomic.Bool
	notice   atomic.Pointer[string] // why another generation is served than the one that was; nil: it is that
	lost     atomic.Pointer[string] // which files of the live generation are gone; nil: none
	trouble  atomic.Pointer[string] // why no generation can be built or followed now; nil: one can

	verified  atomic.Pointer[Verified] // the last comparison; nil: none yet
	verifyNow chan struct{}

	turns turns

	built     chan struct{} // closed when there is a model for the first time
	buildOnce sync.Once
}

// New makes a node; it does no I/O yet.
func New(cfg Config) *Projector {
	if cfg.Patience == 0 {
		cfg.Patience = 10 * time.Second
	}
	if cfg.Settle == 0 {
		cfg.Settle = time.Second
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	p := &Projector{cfg: cfg, log: cfg.Logger.With("region", cfg.Region), built: make(chan struct{}), verifyNow: make(chan struct{}, 1)}
	if cfg.TracerProvider != nil {
		p.tracer = cfg.TracerProvider.Tracer("github.com/tenantry/tenantry/projections")
	}
	p.metrics = newMetrics(cfg.Registerer, p)
	return p
}

// Live is what look-ups go to.
func (p *Projector) Live() *readmodel.Live { return &p.live }

// Generation is the name of the generation in use, "" before there is one.
func (p *Projector) Generation() string {
	if f := p.current.Load(); f != nil {
		return f.name
	}
	return ""
}

// Opened tells whether the node has taken up what it found in its directory: before that nobody can say what it has.
func (p *Projector) Opened() bool { return p.opened.Load() }

// Ready is nil once the node has caught up, or has given up waiting for what is upstream and
// serves the complete copy it has. It never turns back: how old the copy is, each answer
// says for itself.
func (p *Projector) Ready() error {
	if p.ready.Load() {
		return nil
	}
	if what := p.building.Load(); what != nil {
		return errors.New(*what)
	}
	return errors.New("the region is catching up")
}

// Following is nil while the copy is kept up to date, and else why not: the disk is full, the topic
// cannot be read or is another store's, or files of the copy are gone. What is there is served all the same.
func (p *Projector) Following() error {
	why := p.lost.Load()
	if why == nil {
		why = p.trouble.Load()
	}
	if f := p.current.Load(); f != nil && why == nil {
		if why = f.trouble.Load(); why == nil {
			why = f.foreign.Load()
		}
	}
	if why != nil {
		return errors.New(*why)
	}
	return nil
}

// Notice says why the node has gone back to an earlier generation, or had to build a new one, when it
// started; "" where it has not.
func (p *Projector) Notice() string {
	if what := p.notice.Load(); what != nil {
		return *what
	}
	return ""
}

func (p *Projector) setBuilding(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	p.building.Store(&what)
}

// Run serves until the context ends, and then closes the model. It returns an error only
// where going on makes no sense: the directory is in use, or cannot be written; or
// [readmodel.ErrNotClosed] or [readmodel.ErrLost], where what is on the disk is not what was served.
func (p *Projector) Run(ctx context.Context) (err error) {
	unlock, err := p.lock(ctx)
	if ctx.Err() != nil && unlock == nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() {
		if err := unlock(); err != nil {
			p.log.Error("give up the region's directory", "err", err)
		}
	}()
	if err := p.open(); err != nil {
		return err
	}
	p.opened.Store(true)
	ctx, cancel := context.WithCancel(ctx)
	p.turns.open(ctx)
	var waiting sync.WaitGroup
	ready := make(chan struct{})
	waiting.Go(func() {
		p.awaitReady(ctx)
		close(ready)
		p.keepVerified(ctx)
	})
	waiting.Go(func() {
		if p.awaitSettled(ctx, ready) == nil {
			p.settled()
		}
	})
	waiting.Go(func() { p.watchFiles(ctx) })
	defer func() {
		cancel()
		p.turns.close()
		waiting.Wait()
		if closing := p.close(); errors.Is(closing, readmodel.ErrNotClosed) || errors.Is(closing, readmodel.ErrLost) {
			err = errors.Join(err, closing)
		}
	}()
	rebuilds, tries := pace{longest: time.Minute}, troubles{log: p.log, why: &p.trouble}
	for {
		f := p.current.Load()
		err := p.keep(ctx, f)
		if errors.Is(err, errOtherStore) || errors.Is(err, errDiverged) {
			p.log.Warn("building a new generation from the source of truth", "reason", err)
			why := err.Error()
			p.trouble.Store(&why)
			if rebuilds.wait(ctx) == nil {
				err = p.rebuild(ctx, f)
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			p.trouble.Store(nil)
		case tries.wait(ctx, err) != nil:
			return nil
		}
	}
}

// keep keeps the live model up to date, or builds one where there is none (nil), until something else
// has to be done: the error says what.
func (p *Projector) keep(ctx context.Context, f *follower) error {
	if f == nil {
		return p.rebuild(ctx, nil)
	}
	c := f.course.Load()
	if c == nil {
		c = f.start(ctx)
	}
	<-c.ended
	f.course.Store(nil) // it is started again where nothing takes its place
	if errors.Is(c.err, errReplaced) || f != p.current.Load() {
		return nil
	}
	return c.err
}

// close ends what runs on the live model, and closes it.
func (p *Projector) close() error {
	f := p.current.Load()
	if f == nil {
		return nil
	}
	f.end()
	err := f.model.Close()
	if err != nil {
		p.log.Error("close read model", "err", err)
	}
	p.settled() // it was stopped in good order
	return err
}

func (p *Projector) openModel(name string) (*readmodel.Model, error) {
	return readmodel.Open(readmodel.Config{Dir: p.cfg.Dir.Path(name), CacheBytes: p.cfg.CacheBytes, Logger: p.log})
}

// use turns look-ups to a follower's model, and returns the model that was.
func (p *Projector) use(f *follower) (old *readmodel.Model) {
	f.live.Store(true)
	p.current.Store(f)
	p.lost.Store(nil)
	old = p.live.Swap(f.model)
	p.buildOnce.Do(func() { close(p.built) })
	p.log.Info("serving a generation", "generation", f.name, "position", f.model.Progress().Position())
	return old
}
