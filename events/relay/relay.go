package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/internal/crashpoint"
)

// ErrPartitions says that the topic has another number of partitions than the relay was made
// for. Retrying does not help: the number decides which partition a stream's events are in,
// and must never change.
var ErrPartitions = errors.New("the topic has another number of partitions")

// Store is what the relay needs of an [events.Store].
type Store interface {
	After(ctx context.Context, position uint64, limit int) ([]events.Event, error)
	Wait(ctx context.Context, position uint64) error
	Head(ctx context.Context) (events.Head, error)
}

// Topic is where the relay publishes to; [KafkaTopic] makes one.
type Topic interface {
	// Partitions is how many the topic has.
	Partitions(ctx context.Context) (int, error)
	// Last is the last record of a partition with an offset below before; false when there is none.
	Last(ctx context.Context, partition int, before int64) (kafka.Record, bool, error)
	// First is the oldest record that a partition still has; false when there is none.
	First(ctx context.Context, partition int) (kafka.Record, bool, error)
	// NewProducer is a producer with an identity that no other has.
	NewProducer(ctx context.Context) (Producer, error)
}

// Producer is what the relay needs of a [kafka.Producer], whose comment is its contract.
type Producer interface {
	Produce(ctx context.Context, partition int, records []kafka.Record) (int64, error)
}

// KafkaTopic is a topic of a Kafka cluster.
func KafkaTopic(cluster *kafka.Cluster, name string) Topic { return clusterTopic{cluster, name} }

type clusterTopic struct {
	cluster *kafka.Cluster
	name    string
}

// FencedKafkaTopic is KafkaTopic, for a relay that is one of several, of which one leads. Its
// producers shut out those of the leaders before.
func FencedKafkaTopic(cluster *kafka.Cluster, name string) Topic {
	return fencedTopic{clusterTopic{cluster, name}}
}

type fencedTopic struct{ clusterTopic }

func (t fencedTopic) NewProducer(ctx context.Context) (Producer, error) {
	return t.cluster.NewFencedProducer(ctx, t.name, "tenantry-relay-"+t.name)
}

func (t clusterTopic) Partitions(ctx context.Context) (int, error) {
	return t.cluster.Partitions(ctx, t.name)
}

func (t clusterTopic) Last(ctx context.Context, partition int, before int64) (kafka.Record, bool, error) {
	return t.cluster.LastBefore(ctx, t.name, partition, before)
}

func (t clusterTopic) First(ctx context.Context, partition int) (kafka.Record, bool, error) {
	all, err := t.cluster.Offsets(ctx, t.name)
	if err != nil {
		return kafka.Record{}, false, err
	}
	return t.cluster.LastBefore(ctx, t.name, partition, all[partition].First+1)
}

func (t clusterTopic) NewProducer(ctx context.Context) (Producer, error) {
	return t.cluster.NewProducer(ctx, t.name)
}

// Config is what a Relay is made of. Zero durations mean their defaults.
type Config struct {
	Store      Store
	Topic      Topic
	Partitions int // the topic must have so many

	// MakeTopic makes the topic when it is not there, also when it was deleted while the relay
	// runs. The whole log is published in it. Nil: the relay waits until somebody makes it.
	MakeTopic func(ctx context.Context) error

	// Was tells whether the store had that identity until it was given a new one, after it was
	// restored to an earlier past (ErrRestored), or lost it by that (LostStoreID). Records of such a past are left as they are, and
	// the whole log is published behind them. Nil: there is no such past.
	Was func(ctx context.Context, storeID uuid.UUID) (bool, error)

	// RestoredAdvice is what an ErrRestored tells its reader to do; "": to start with the flag
	// --accept-restore, which the program in whose name this is said may not have.
	RestoredAdvice string

	// Lead waits until this relay is the one that may publish, and returns a context that ends
	// when it no longer is. release gives the lead up; it is called once, when nothing is
	// written any more. An error is tried again, like one of the store. Nil: there is no other.
	Lead func(ctx context.Context) (lead context.Context, release func(), err error)

	MarkEvery time.Duration // least time between the watermarks of a partition while events flow; 100 ms
	IdleEvery time.Duration // time between watermarks while nothing happens; 1 s

	// SurveyTimeout bounds what is done before the first event is published: finding out what
	// the topic holds, and getting a producer. 10 s.
	SurveyTimeout time.Duration
	// RetryMin and RetryMax bound the time between tries while store or broker are away;
	// 100 ms and 5 s.
	RetryMin, RetryMax time.Duration

	Logger         *slog.Logger          // slog.Default() when nil
	Registerer     prometheus.Registerer // nil: none are registered
	TracerProvider trace.TracerProvider  // nil: no spans
}

// Relay publishes a store's events to a topic.
type Relay struct {
	config  Config
	log     *slog.Logger
	metrics *metrics
	tracing tracing

	running   sync.Mutex // one session at a time
	replaying sync.Mutex // one replay at a time

	mu     sync.Mutex
	status state
}

// New makes a relay. It does no I/O.
func New(config Config) (*Relay, error) {
	if config.Store == nil || config.Topic == nil || config.Partitions < 1 {
		return nil, errors.New("a relay needs a store, a topic, and how many partitions the topic has")
	}
	for _, d := range []struct {
		value   *time.Duration
		instead time.Duration
	}{
		{&config.MarkEvery, 100 * time.Millisecond},
		{&config.IdleEvery, time.Second},
		{&config.SurveyTimeout, 10 * time.Second},
		{&config.RetryMin, 100 * time.Millisecond},
		{&config.RetryMax, 5 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.instead
		}
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	r := &Relay{
		config:  config,
		log:     config.Logger.With("component", "relay"),
		tracing: newTracing(config.TracerProvider),
	}
	r.status = state{State: StateStopped, Since: time.Now()}
	r.metrics = newMetrics(r)
	if config.Registerer != nil {
		if err := config.Registerer.Register(r.metrics); err != nil {
			return nil, fmt.Errorf("register the relay's metrics: %w", err)
		}
	}
	return r, nil
}

// Run publishes, while it leads, until ctx ends, and then returns nil. It goes on after every
// error but those where going on would do harm: [ErrForeignRecords] and [ErrPartitions].
func (r *Relay) Run(ctx context.Context) error {
	r.running.Lock()
	defer r.running.Unlock()
	pause := r.config.RetryMin
	for {
		progress, err := r.lead(ctx)
		switch {
		case ctx.Err() != nil:
			r.stopped()
			return nil
		case refused(err):
			r.refusing(err)
			return err
		case err == nil: // The lead was lost.
			pause = r.config.RetryMin
			continue
		case errors.Is(err, kafka.ErrFenced):
			r.fenced(err)
		default:
			r.failing(err)
		}
		if progress {
			pause = r.config.RetryMin
		}
		if wait(ctx, pause) != nil {
			r.stopped()
			return nil
		}
		pause = min(2*pause, r.config.RetryMax)
	}
}

// lead waits for the lead, and publishes while it has it. It returns nil when the lead was lost,
// and else the first error that the lead has to be asked for again after; progress tells whether
// anything was stored.
func (r *Relay) lead(ctx context.Context) (progress bool, err error) {
	if r.config.Lead == nil {
		return r.session(ctx, false)
	}
	r.standby()
	lead, release, err := r.config.Lead(ctx)
	if err != nil {
		return false, failed(causeLead, fmt.Errorf("ask for the lead: %w", err))
	}
	defer release()
	defer r.follows()
	r.log.Info("this relay leads")
	pause := r.config.RetryMin
	for {
		stored, err := r.session(lead, false)
		progress = progress || stored
		switch {
		case ctx.Err() != nil:
			return progress, nil
		case lead.Err() != nil:
			r.log.Warn("this relay no longer leads", "err", context.Cause(lead))
			return progress, nil
		case refused(err), errors.Is(err, kafka.ErrFenced):
			// Who was fenced and began again would fence the other, for ever. It has to ask first.
			return progress, err
		}
		if stored {
			pause = r.config.RetryMin
		}
		r.failing(err)
		if wait(lead, pause) != nil {
			return progress, nil
		}
		pause = min(2*pause, r.config.RetryMax)
	}
}

// wait waits about so long, or returns the context's error.
func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause/2 + rand.N(pause/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// RunOnce publishes all that the store holds when it is called, and a watermark of it to
// each partition. It returns the first error; what was published until then is published.
func (r *Relay) RunOnce(ctx context.Context) error {
	r.running.Lock()
	defer r.running.Unlock()
	if r.config.Lead != nil {
		r.standby()
		lead, release, err := r.config.Lead(ctx)
		if err != nil {
			r.stopped()
			return failed(causeLead, fmt.Errorf("ask for the lead: %w", err))
		}
		defer release()
		ctx = lead
	}
	_, err := r.session(ctx, true)
	switch {
	case err == nil:
		r.stopped()
	case refused(err):
		r.refusing(err)
	default:
		r.failing(err)
	}
	return err
}

// session is one session from look to error, and tells whether anything was stored in it.
func (r *Relay) session(ctx context.Context, once bool) (bool, error) {
	if err := r.starting(ctx); err != nil {
		return false, err
	}
	crashpoint.Hit(crashpoint.RelayAfterLead)
	s, producer, err := r.open(ctx)
	if err != nil {
		return false, err
	}
	r.began(s)
	err = s.run(ctx, producer, once)
	return r.ended(s), err
}

// The causes of failures, as the metrics tell them apart.
const (
	causeStore     = "store"     // the store did not answer, or not as it promises
	causeKafka     = "kafka"     // the broker did not take a batch, or tell what it has
	causeDisturbed = "disturbed" // another writer's records were found
	causeLead      = "lead"      // who leads could not be found out, or another took over
	causeRefused   = "refused"   // going on would do harm
)

// failure is an error with its cause.
type failure struct {
	cause string
	error
}

func (f *failure) Unwrap() error { return f.error }

func failed(cause string, err error) error { return &failure{cause: cause, error: err} }

func causeOf(err error) string {
	if errors.Is(err, kafka.ErrFenced) {
		return causeLead
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.cause
	}
	return causeKafka
}

func refused(err error) bool { return err != nil && causeOf(err) == causeRefused }
