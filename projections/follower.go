package projections

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// follower keeps one generation's model up to date from the topic: the live one's, or that of
// one which is to take its place and runs beside it until it has all that the live one has.
type follower struct {
	cfg     Config
	name    string // of the generation
	model   *readmodel.Model
	log     *slog.Logger
	metrics *metrics
	tracer  trace.Tracer // nil: no spans
	ready   func() bool  // whether what comes now is late by the system's fault, and not by a catch-up

	live    atomic.Bool            // look-ups are answered from this one, so that what it folds counts
	trouble atomic.Pointer[string] // why the model is not kept up to date now; nil: it is
	// uncounted tells that something stored was found that the sums have otherwise: see countAnew.
	uncounted atomic.Bool
	foreign   atomic.Pointer[string] // that the topic tells of another store now; nil: it does not
	marked    atomic.Bool            // a watermark of the model's own store has come

	// rest is held by each update. Who holds it besides has the model at rest.
	rest     sync.Mutex
	replaced bool // another has taken its place: nothing is committed any more

	course atomic.Pointer[course] // nil: it does not follow now

	// Only the goroutine that follows touches these.
	retried     bool      // the streams in quarantine were tried again
	toldForeign bool      // records of another store were logged
	toldBad     time.Time // when a record that was passed over was logged
	// unmended are streams that have lost something and could not be folded anew: that is not tried with each record.
	unmended map[events.StreamID]struct{}
}

// course is one time of following.
type course struct {
	stop  context.CancelFunc
	ended chan struct{}
	err   error // why it ended; read after ended
}

// errReplaced ends a follower whose place another has taken.
var errReplaced = errors.New("another generation has taken this one's place")

func (p *Projector) newFollower(name string, m *readmodel.Model) *follower {
	return &follower{
		cfg: p.cfg, name: name, model: m, log: p.log.With("generation", name), metrics: p.metrics, tracer: p.tracer, ready: p.ready.Load,
		unmended: make(map[events.StreamID]struct{}),
	}
}

// update changes the model, unless another has taken its place.
func (f *follower) update(fn func(*readmodel.Tx) error) error {
	f.rest.Lock()
	defer f.rest.Unlock()
	if f.replaced {
		return errReplaced
	}
	return f.model.Update(func(tx *readmodel.Tx) error {
		err := fn(tx)
		if tx.MetDamage() {
			f.uncounted.Store(true)
		}
		return err
	})
}

func (f *follower) sweep() error {
	f.rest.Lock()
	defer f.rest.Unlock()
	if f.replaced {
		return errReplaced
	}
	_, err := f.model.Sweep(batchRecords)
	return err
}

// countAnew puts the sums right after records were healed that damage had changed behind their back. It reads the
// whole copy, so it is done with the sweep, however many there were.
func (f *follower) countAnew(ctx context.Context) {
	if !f.uncounted.Swap(false) {
		return
	}
	if err := f.model.Recount(ctx); err != nil {
		f.uncounted.Store(true)
		if ctx.Err() == nil && !errors.Is(err, readmodel.ErrClosed) {
			f.log.Warn("records of this copy were healed, and its sums could not be counted anew yet", "err", err)
		}
	}
}

// start follows in the background until it is interrupted, or fails in a way that it cannot mend.
func (f *follower) start(ctx context.Context) *course {
	ctx, stop := context.WithCancel(ctx)
	c := &course{stop: stop, ended: make(chan struct{})}
	f.rest.Lock()
	defer f.rest.Unlock()
	if f.replaced {
		stop()
		c.err = errReplaced
		close(c.ended)
		return c
	}
	f.course.Store(c)
	go func() {
		defer close(c.ended)
		defer stop()
		c.err = f.run(ctx)
	}()
	return c
}

// interrupt lets following end, and does not wait for it.
func (f *follower) interrupt() {
	if c := f.course.Load(); c != nil {
		c.stop()
	}
}

// end stops following, and waits for it.
func (f *follower) end() {
	f.interrupt()
	if c := f.course.Load(); c != nil {
		<-c.ended
	}
}

// run follows until the context ends, or another generation has to take this one's place: then
// the error says why. All else is tried again.
func (f *follower) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { f.keepTime(ctx) })
	defer watching.Wait()
	defer stop()
	tries := troubles{log: f.log, why: &f.trouble}
	for {
		err := f.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errOtherStore), errors.Is(err, errDiverged), errors.Is(err, errReplaced):
			return err
		case err == nil:
			f.trouble.Store(nil)
		default:
			if err := tries.wait(ctx, err); err != nil {
				return err
			}
		}
	}
}
