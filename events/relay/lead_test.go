package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/internal/testservers"
)

// turns is a lead that one relay has at a time.
type turns struct {
	free chan struct{}

	mu   sync.Mutex
	lose context.CancelFunc // takes the lead from who has it
}

func newTurns() *turns {
	t := &turns{free: make(chan struct{}, 1)}
	t.free <- struct{}{}
	return t
}

func (t *turns) lead(ctx context.Context) (context.Context, func(), error) {
	select {
	case <-t.free:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	lead, cancel := context.WithCancel(ctx)
	t.mu.Lock()
	t.lose = cancel
	t.mu.Unlock()
	return lead, func() { cancel(); t.free <- struct{}{} }, nil
}

func (t *turns) takeAway() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lose()
}

func TestRelay_SeveralOfThem_OneLeadsAndTheNextTakesOver(t *testing.T) {
	const partitions = 2
	ctx := deadline(t)
	store, topic, lead := newMemoryStore(), newMemoryTopic(partitions), newTurns()
	store.append(streams(t, 20)...)
	config := Config{Store: store, Topic: topic, Partitions: partitions, Lead: lead.lead}
	first := running(t, config)
	awaitPublished(ctx, t, first, store)
	if s := first.Status(); !s.Leading || s.State != StatePublishing {
		t.Errorf("the first is %+v, want leading and publishing", s)
	}
	second := running(t, config)
	await(ctx, t, second, func(s Status) bool { return s.State == StateStandby })
	if s := second.Status(); s.Leading || s.Known {
		t.Errorf("the second is %+v, want neither leading nor known how far", s)
	}

	lead.takeAway()
	store.append(streams(t, 20)...)
	awaitPublished(ctx, t, second, store)
	await(ctx, t, first, func(s Status) bool { return s.State == StateStandby && !s.Leading && !s.Known })
	if err := checkTopic(topic.records(), store.all(), store.id, true); err != nil {
		t.Error(err)
	}
}

func TestRelay_LeadCannotBeAskedFor_SaysSoAndAsksAgain(t *testing.T) {
	ctx := deadline(t)
	store, topic, lead := newMemoryStore(), newMemoryTopic(1), newTurns()
	store.append(streams(t, 3)...)
	away := make(chan error, 2)
	away <- errors.New("the database is away")
	away <- errors.New("the database is away")
	shown := make(chan struct{})
	r := running(t, Config{Store: store, Topic: topic, Partitions: 1, RetryMin: time.Millisecond, RetryMax: time.Millisecond, Lead: func(ctx context.Context) (context.Context, func(), error) {
		select {
		case err := <-away:
			return nil, nil, err
		default:
			<-shown
			return lead.lead(ctx)
		}
	}})
	await(ctx, t, r, func(Status) bool { return len(away) == 0 })
	if s := r.Status(); s.Leading {
		t.Errorf("%+v, want not leading", s)
	}
	close(shown)
	awaitPublished(ctx, t, r, store)
	if n := countFailures(t, r, causeLead); n != 2 {
		t.Errorf("%d failures to ask for the lead were counted, want 2", n)
	}
}

// gatedTopic is a topic whose producers stop before each batch while the gate is shut, as a process
// does that is paused.
type gatedTopic struct {
	Topic
	arrived chan struct{}

	mu   sync.Mutex
	gate chan struct{} // closed: open
}

func newGatedTopic(to Topic) *gatedTopic {
	g := &gatedTopic{Topic: to, arrived: make(chan struct{}, 100), gate: make(chan struct{})}
	close(g.gate)
	return g
}

func (g *gatedTopic) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gate = make(chan struct{})
}

func (g *gatedTopic) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.gate)
}

func (g *gatedTopic) NewProducer(ctx context.Context) (Producer, error) {
	p, err := g.Topic.NewProducer(ctx)
	if err != nil {
		return nil, err
	}
	return gatedProducer{p.(*kafka.Producer), g}, nil
}

type gatedProducer struct {
	*kafka.Producer
	topic *gatedTopic
}

func (p gatedProducer) Produce(ctx context.Context, partition int, records []kafka.Record) (int64, error) {
	p.topic.mu.Lock()
	gate := p.topic.gate
	p.topic.mu.Unlock()
	select {
	case <-gate:
	default:
		p.topic.arrived <- struct{}{}
		<-gate
	}
	// A paused process sends what it was about to send, whatever happened meanwhile.
	return p.Producer.Produce(context.WithoutCancel(ctx), partition, records)
}

func TestRelay_OldLeaderPausedOverTheHandOver_KafkaShutsItOutAndNothingIsDoubled(t *testing.T) {
	const partitions = 3
	ctx := deadline(t)
	cluster, topic := onApacheKafka(t, partitions)
	store, lead := newMemoryStore(), newTurns()
	store.append(streams(t, 30)...)

	old := newGatedTopic(FencedKafkaTopic(cluster, topic))
	asked := 0
	first := running(t, Config{Store: store, Topic: old, Partitions: partitions, RetryMin: time.Millisecond, Lead: func(ctx context.Context) (context.Context, func(), error) {
		if asked++; asked == 1 {
			// It never learns that it has lost the lead, other than from Kafka.
			return ctx, func() {}, nil
		}
		return lead.lead(ctx)
	}})
	awaitPublished(ctx, t, first, store)

	// The old leader stops with a batch ready for each partition.
	old.shut()
	store.append(streams(t, 60)...)
	for range partitions {
		<-old.arrived
	}
	second := running(t, Config{Store: store, Topic: FencedKafkaTopic(cluster, topic), Partitions: partitions, Lead: lead.lead})
	awaitPublished(ctx, t, second, store)

	old.open()
	await(ctx, t, first, func(s Status) bool { return s.State == StateStandby })
	if n := countFailures(t, first, causeLead); n != 1 {
		t.Errorf("the old leader was shut out %d times, want once", n)
	}
	store.append(streams(t, 30)...)
	awaitPublished(ctx, t, second, store)
	if n := countFailures(t, second, causeDisturbed); n != 0 {
		t.Errorf("the new leader was disturbed %d times, want never", n)
	}
	if err := checkTopic(storedIn(t, cluster, topic, partitions), store.all(), store.id, true); err != nil {
		t.Error(err)
	}
}

func TestRelay_OldLeaderWritesBetweenLookAndFence_NothingIsDoubled(t *testing.T) {
	const partitions = 2
	ctx := deadline(t)
	cluster, topic := onApacheKafka(t, partitions)
	store := newMemoryStore()
	store.append(streams(t, 30)...)
	fenced := FencedKafkaTopic(cluster, topic)
	if err := newRelay(t, Config{Store: store, Topic: fenced, Partitions: partitions}).RunOnce(ctx); err != nil {
		t.Fatal(err)
	}
	// The new leader has looked, and is paused before its fences. The old one goes on.
	store.append(streams(t, 30)...)
	late := newGatedTopic(fenced)
	late.shut()
	second := running(t, Config{Store: store, Topic: late, Partitions: partitions, RetryMin: time.Millisecond})
	for range partitions {
		<-late.arrived
	}
	// As if it had written a moment earlier: this one's producer has a name of its own.
	if err := newRelay(t, Config{Store: store, Topic: KafkaTopic(cluster, topic), Partitions: partitions}).RunOnce(ctx); err != nil {
		t.Fatal(err)
	}
	late.open()
	awaitPublished(ctx, t, second, store)
	if n := countFailures(t, second, causeDisturbed); n != 1 {
		t.Errorf("the new leader noticed %d times that another wrote, want once", n)
	}
	if err := checkTopic(withoutFences(storedIn(t, cluster, topic, partitions)), store.all(), store.id, true); err != nil {
		t.Error(err)
	}
}

// onApacheKafka makes a topic of the test's own on a real Kafka.
func onApacheKafka(t *testing.T, partitions int) (*kafka.Cluster, string) {
	t.Helper()
	return connectTo(t, testservers.Kafka(t), kafka.Topic{Name: "relay-" + named(), Partitions: partitions})
}

// named is a part of a name that no other test has.
func named() string { return rand.Text()[:10] }
