package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/internal/broker"
	"github.com/tenantry/tenantry/projections/readmodel"
)

const (
	topic      = "tenantry.events.v1"
	partitions = 3
)

// stage is a broker with a topic, a source of truth, and what publishes one into the other.
type stage struct {
	t        *testing.T
	source   *memorySource
	dir      string // of the region
	brokers  *broker.Broker
	cluster  *kafka.Cluster
	producer *kafka.Producer
	previous [partitions]uint64
	sent     int
	unlock   func() error // of a generation that was built beside the live one; nil: none was
}

func newStage(t *testing.T, log []events.Event) *stage {
	t.Helper()
	return newStageIn(t, t.TempDir(), &memorySource{id: uuid.New(), log: log})
}

// newStageIn is a stage whose broker and region are in a directory.
func newStageIn(t *testing.T, dir string, source *memorySource) *stage {
	t.Helper()
	s := &stage{t: t, source: source, dir: filepath.Join(dir, "eu-west")}
	s.startBroker(filepath.Join(dir, "kafka"))
	t.Cleanup(s.release)
	return s
}

func (s *stage) startBroker(dataDir string) {
	s.t.Helper()
	b, err := broker.Open(s.t.Context(), broker.Config{DataDir: dataDir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := kafka.New(kafka.Config{Brokers: []string{b.Addr()}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.brokers, s.cluster = b, c
	s.t.Cleanup(func() {
		if err := errors.Join(c.Close(), b.Close()); err != nil {
			s.t.Error(err)
		}
	})
	if err := c.EnsureTopic(s.t.Context(), kafka.Topic{Name: topic, Partitions: partitions}); err != nil {
		s.t.Fatal(err)
	}
	if s.producer, err = c.NewProducer(s.t.Context(), topic); err != nil {
		s.t.Fatal(err)
	}
	s.previous, s.sent = [partitions]uint64{}, 0
}

// publish writes the log up to a position, but for the positions to lose, and a watermark
// to each partition.
func (s *stage) publish(upTo int, lose ...uint64) {
	s.t.Helper()
	lost := make(map[uint64]bool)
	for _, p := range lose {
		lost[p] = true
	}
	for _, e := range s.source.log[s.sent:upTo] {
		p := events.Partition(e.Stream.String(), partitions)
		if !lost[e.Position] {
			s.produce(p, events.Record{Event: e, Previous: s.previous[p], StoreID: s.source.id})
		}
		s.previous[p] = e.Position
	}
	s.sent = upTo
	var last events.Event
	if upTo > 0 {
		last = s.source.log[upTo-1]
	}
	for p := range partitions {
		s.produce(p, watermark(s.source.id, p, last, s.previous[p], time.Now()).Record)
	}
}

func (s *stage) produce(partition int, r events.Record) {
	s.t.Helper()
	out := kafka.Record{Value: r.Event.Data, Time: r.Event.Time}
	if !r.IsWatermark() {
		out.Key = []byte(r.Key())
	}
	r.Headers(func(name, value string) {
		out.Headers = append(out.Headers, kafka.Header{Key: name, Value: []byte(value)})
	})
	if _, err := s.producer.Produce(s.t.Context(), partition, []kafka.Record{out}); err != nil {
		s.t.Fatal(err)
	}
}

// start runs a node of the region; stop ends it as a process would be asked to.
func (s *stage) start(cfg Config) (p *Projector, stop func()) {
	s.t.Helper()
	cfg.Region, cfg.Dir, cfg.Cluster, cfg.Topic, cfg.Source = "eu-west", readmodel.Dir(s.dir), s.cluster, topic, s.source
	p = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			s.t.Errorf("run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	s.t.Cleanup(stop)
	return p, stop
}

// await waits until the condition holds, which a commit or readiness brings about.
func (s *stage) await(what string, holds func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (s *stage) awaitPosition(p *Projector, position int) {
	s.t.Helper()
	s.await(fmt.Sprintf("position %d", position), func() bool {
		return p.Ready() == nil && p.Live().Progress().Position() >= uint64(position)
	})
}

func TestProjector_NewNode_BuildsItsCopyFromTheSourceAndGoesOnWithTheTopic(t *testing.T) {
	log := roster(t, 50)
	s := newStage(t, log[:100])
	s.publish(60) // the relay is behind
	p, stop := s.start(Config{})
	s.await("ready", func() bool { return p.Ready() == nil })
	checkEquals(t, p.Live(), log[:100])
	if got := p.Generation(); got != "gen-0001" {
		t.Errorf("generation: got %q, want gen-0001", got)
	}
	s.publish(100)
	s.source.mu.Lock()
	s.source.log = log
	s.source.mu.Unlock()
	s.publish(150)
	s.awaitPosition(p, 150)
	checkEquals(t, p.Live(), log)
	if got := testutil.ToFloat64(p.metrics.gaps); got != 0 {
		t.Errorf("gaps: got %v, want none: nothing was lost", got)
	}
	stop()

	again, _ := s.start(Config{})
	s.awaitPosition(again, 150)
	checkEquals(t, again.Live(), log)
	if got := testutil.ToFloat64(again.metrics.rebuilds); got != 0 {
		t.Errorf("the second start built the copy anew")
	}
	if got := again.Live().Progress().Staleness(time.Now()); got < 0 || got > time.Minute {
		t.Errorf("staleness: got %s", got)
	}
}

func TestProjector_StoppedAnywhere_GoesOnWhereItWas(t *testing.T) {
	log := roster(t, 60)
	s := newStage(t, log)
	var p *Projector
	stop := func() {}
	for upTo := 0; upTo <= len(log); upTo += 12 {
		stop()
		s.publish(upTo)
		p, stop = s.start(Config{})
		if upTo%24 == 0 {
			s.awaitPosition(p, upTo) // else it is stopped wherever it is
		}
	}
	s.publish(len(log))
	s.awaitPosition(p, len(log))
	checkEquals(t, p.Live(), log)
}

// Promise 3: a region that has lost anything, or all, comes back equal to the store.
func TestProjector_WhateverARegionHasLost_ComesBackEqualToTheStore(t *testing.T) {
	log := roster(t, 40)
	for name, lose := range map[string]func(s *stage) error{
		"all":                func(s *stage) error { return os.RemoveAll(s.dir) },
		"the pointer":        func(s *stage) error { return os.Remove(filepath.Join(s.dir, "current")) },
		"the pointer's text": func(s *stage) error { return os.WriteFile(filepath.Join(s.dir, "current"), []byte("\x00\xff"), 0o600) },
		"the generation":     func(s *stage) error { return os.RemoveAll(filepath.Join(s.dir, "gen-0001")) },
		"the manifest": func(s *stage) error {
			return os.WriteFile(filepath.Join(s.dir, "gen-0001", "MANIFEST"), []byte("rubbish"), 0o600)
		},
		"all of Kafka": func(s *stage) error {
			if err := errors.Join(s.cluster.Close(), s.brokers.Close()); err != nil {
				return err
			}
			s.startBroker(s.t.TempDir())
			s.publish(len(log))
			return nil
		},
		"records in the topic": func(s *stage) error {
			if err := errors.Join(s.cluster.Close(), s.brokers.Close()); err != nil {
				return err
			}
			s.startBroker(s.t.TempDir())
			s.publish(len(log), 30, 31, 32, 33, 100, 101)
			return os.RemoveAll(s.dir)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, log)
			s.publish(len(log))
			p, stop := s.start(Config{})
			s.awaitPosition(p, len(log))
			stop()
			if err := lose(s); err != nil {
				t.Fatal(err)
			}
			p, stop = s.start(Config{})
			s.awaitPosition(p, len(log))
			checkEquals(t, p.Live(), log)
			stop()
			entries, err := os.ReadDir(s.dir)
			if err != nil {
				t.Fatal(err)
			}
			generations := 0
			for _, e := range entries {
				if e.IsDir() {
					generations++
				}
			}
			if generations != 1 {
				t.Errorf("the region's directory holds %v, want one generation", entries)
			}
		})
	}
}

func TestProjector_StoreOfAnotherIdentity_IsRebuiltWhileTheOldCopyServes(t *testing.T) {
	log := roster(t, 20)
	s := newStage(t, log)
	s.publish(len(log))
	p, _ := s.start(Config{})
	s.awaitPosition(p, len(log))

	// The store goes back to an earlier past, and takes another way from there.
	other := newHistory(t)
	other.log = append(other.log, log[:10]...)
	for _, e := range other.log {
		other.versions[e.Stream] = e.Version
	}
	other.add("ten_t0", events.TenantRenamed{Name: "Another past"})
	s.source.mu.Lock()
	s.source.id, s.source.log = uuid.New(), other.log
	s.source.mu.Unlock()

	done := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := p.Live().Lookup(hostname(t, "t0.example")); err != nil {
				t.Errorf("look-up during the rebuild: %v", err)
				return
			}
		}
	})
	s.previous, s.sent = [partitions]uint64{}, 0
	s.publish(len(other.log)) // behind the records of the store that was
	s.await("the other generation", func() bool {
		// The relay goes on with watermarks, so that a node which begins behind the records above
		// sees the other identity too.
		s.publish(len(other.log))
		return p.Generation() == "gen-0002"
	})
	close(done)
	reading.Wait()
	s.awaitPosition(p, len(other.log))
	checkEquals(t, p.Live(), other.log)
}

// A copy of the store's files was put back: same identity, an earlier past. The topic still
// has the future, or was deleted as the relay asks for.
func TestProjector_StoreRestoredUnderTheSameIdentity_IsNotTakenForTheOneBefore(t *testing.T) {
	log := roster(t, 20)
	for name, newTopic := range map[string]bool{"with the topic deleted": true, "with the old topic": false} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, log)
			s.publish(len(log))
			p, stop := s.start(Config{})
			s.awaitPosition(p, len(log))
			stop()
			past := newHistory(t)
			past.log = append(past.log, log[:10]...)
			for _, e := range past.log {
				past.versions[e.Stream] = e.Version
			}
			for i := range 30 {
				past.add("ten_t0", events.TenantRenamed{Name: fmt.Sprint("Another ", i)})
			}
			s.source.log = past.log
			if newTopic {
				if err := errors.Join(s.cluster.Close(), s.brokers.Close()); err != nil {
					t.Fatal(err)
				}
				s.startBroker(t.TempDir())
				s.publish(len(past.log))
			} else {
				s.source.log = past.log[:12]
			}
			p, _ = s.start(Config{Patience: 20 * time.Millisecond})
			s.await("the new generation", func() bool { return p.Generation() == "gen-0002" && p.Ready() == nil })
			if newTopic {
				s.awaitPosition(p, len(past.log))
			}
			checkEquals(t, p.Live(), s.source.log)
			if _, err := p.Live().Lookup(hostname(t, "t19.example")); !errors.Is(err, readmodel.ErrUnknown) {
				t.Errorf("the lost future is served: %v", err)
			}
			if got := testutil.ToFloat64(p.metrics.rebuilds); got != 1 {
				t.Errorf("rebuilt %v times, want once", got)
			}
		})
	}
}

// Promise 4: a look-up answers from local data when everything upstream is gone, and says how
// old it may be.
func TestProjector_StartedWithNothingUpstream_ServesItsCopyAndSaysHowOldItIs(t *testing.T) {
	log := roster(t, 10)
	s := newStage(t, log)
	s.publish(len(log))
	p, stop := s.start(Config{})
	s.awaitPosition(p, len(log))
	stop()
	complete := p.Live().Progress().CompleteAt()

	s.source.mu.Lock()
	s.source.away = true
	s.source.mu.Unlock()
	if err := errors.Join(s.cluster.Close(), s.brokers.Close()); err != nil {
		t.Fatal(err)
	}
	gone, err := kafka.New(kafka.Config{Brokers: []string{s.brokers.Addr()}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	s.cluster = gone
	p, stop = s.start(Config{Patience: 50 * time.Millisecond})
	s.await("ready", func() bool { return p.Ready() == nil })
	checkEquals(t, p.Live(), log)
	if got := p.Live().Progress().CompleteAt(); !got.Equal(complete) {
		t.Errorf("known complete at %s, want %s, as before the stop", got, complete)
	}
	stop()
}

// hangingSource takes every question and answers none.
type hangingSource struct{}

func (hangingSource) Head(ctx context.Context) (events.Head, error) {
	<-ctx.Done()
	return events.Head{}, ctx.Err()
}

func (hangingSource) Whole(ctx context.Context) (events.Whole, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hangingSource) After(ctx context.Context, _ uint64, _ int) ([]events.Event, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hangingSource) Load(ctx context.Context, _ events.StreamID, _ uint64) ([]events.Event, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// What is upstream is not refused but swallowed, as behind a firewall that drops packets.
func TestProjector_StartedWhileNothingUpstreamEverAnswers_ServesItsCopyAndStopsWhenAsked(t *testing.T) {
	log := roster(t, 10)
	s := newStage(t, log)
	s.publish(len(log))
	p, stop := s.start(Config{})
	s.awaitPosition(p, len(log))
	stop()
	complete := p.Live().Progress().CompleteAt()

	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	silent, err := kafka.New(kafka.Config{Brokers: []string{l.Addr().String()}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p = New(Config{
		Region: "eu-west", Dir: readmodel.Dir(s.dir), Cluster: silent, Topic: topic, Source: hangingSource{}, Patience: 50 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	s.await("ready", func() bool { return p.Ready() == nil })
	checkEquals(t, p.Live(), log)
	if got := p.Live().Progress().CompleteAt(); !got.Equal(complete) {
		t.Errorf("known complete at %s, want %s, as before the stop", got, complete)
	}
	cancel()
	running.Wait()
}

// Kafka answers and has more, but what comes next is missing there and the source is away.
func TestProjector_StartedBehindAGapWhileTheSourceIsAway_ServesTheCopyThatItHas(t *testing.T) {
	log := roster(t, 20)
	s := newStage(t, log)
	s.source.log = log[:30]
	s.publish(30)
	p, stop := s.start(Config{})
	s.awaitPosition(p, 30)
	s.await("an offset in each partition", func() bool {
		s.publish(30) // watermarks
		for _, part := range p.Live().Progress().Partitions {
			if part.Offset < 0 {
				return false
			}
		}
		return true
	})
	stop()
	s.source.log, s.source.away = log, true
	s.publish(len(log), 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
	p, _ = s.start(Config{Patience: 50 * time.Millisecond})
	s.await("ready", func() bool { return p.Ready() == nil })
	if got := p.Live().Progress().Position(); got >= 60 {
		t.Errorf("position: got %d, though events are missing", got)
	}
	if _, err := p.Live().Lookup(hostname(t, "t0.example")); err != nil {
		t.Errorf("its copy: %v", err)
	}
	s.source.mu.Lock()
	s.source.away = false
	s.source.mu.Unlock()
	s.awaitPosition(p, len(log))
	checkEquals(t, p.Live(), log)
}

func TestProjector_NotReadyBeforeItHasCaughtUp(t *testing.T) {
	log := roster(t, 20)
	s := newStage(t, log[:30])
	s.publish(30)
	p, stop := s.start(Config{})
	s.awaitPosition(p, 30)
	stop()
	s.source.mu.Lock()
	s.source.log = log
	s.source.mu.Unlock()
	p, _ = s.start(Config{Patience: time.Hour})
	s.await("the old copy is open", func() bool { return p.Live().Model() != nil })
	if p.Ready() == nil {
		t.Error("ready with 30 of 60 events")
	}
	if _, err := p.Live().Lookup(hostname(t, "t0.example")); err != nil {
		t.Errorf("its copy: %v", err)
	}
	s.publish(len(log))
	s.awaitPosition(p, len(log))
	checkEquals(t, p.Live(), log)
}

func TestProjector_NoCopyAndNoSource_SaysThatItIsBeingBuiltAndWhatThatWaitsFor(t *testing.T) {
	s := newStage(t, roster(t, 1))
	s.source.away = true
	p, _ := s.start(Config{Patience: time.Millisecond})
	s.await("a reason", func() bool {
		err := p.Ready()
		return err != nil && strings.Contains(err.Error(), "being built from the source of truth, which waits: ") && strings.Contains(err.Error(), errAway.Error())
	})
	if _, err := p.Live().Lookup(hostname(t, "t0.example")); !errors.Is(err, readmodel.ErrNoModel) {
		t.Errorf("got %v, want ErrNoModel", err)
	}
	s.source.mu.Lock()
	s.source.away = false
	s.source.mu.Unlock()
	s.await("ready", func() bool { return p.Ready() == nil })
}

func TestProjector_WhileItsSourceIsRead_SaysHowFarThatIs(t *testing.T) {
	s := newStage(t, roster(t, 1))
	s.source.held = make(chan struct{})
	p, _ := s.start(Config{})
	s.await("how far the reading is", func() bool {
		err := p.Ready()
		return err != nil && strings.Contains(err.Error(), "being built: 1 of 2 events read")
	})
	close(s.source.held)
	s.publish(len(s.source.log))
	s.await("ready", func() bool { return p.Ready() == nil })
}

// Two processes at the first build: neither has a generation that is complete, and the second must
// not take what the first is building for left-overs.
func TestProjector_DirectoryInUseWhileItsFirstCopyIsBuilt_IsLeftAlone(t *testing.T) {
	log := roster(t, 20)
	s := newStage(t, log)
	s.publish(len(log))
	s.source.held = make(chan struct{})
	p, _ := s.start(Config{})
	half := filepath.Join(s.dir, "gen-0001.building")
	s.await("a build has begun", func() bool {
		_, err := os.Stat(half)
		return err == nil
	})
	second := New(Config{Region: "eu-west", Dir: readmodel.Dir(s.dir), Cluster: s.cluster, Topic: topic, Source: s.source})
	if err := second.Run(t.Context()); !errors.Is(err, readmodel.ErrInUse) || !strings.Contains(err.Error(), s.dir) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line of ErrInUse that names %s", err, s.dir)
	}
	if _, err := os.Stat(half); err != nil {
		t.Errorf("what the other process is building: %v", err)
	}
	close(s.source.held)
	s.awaitPosition(p, len(log))
	checkEquals(t, p.Live(), log)
}

func TestProjector_DirectoryInUse_EndsTheNodeWithOneLine(t *testing.T) {
	s := newStage(t, roster(t, 1))
	p, _ := s.start(Config{})
	s.await("ready", func() bool { return p.Ready() == nil })
	second := New(Config{Region: "eu-west", Dir: readmodel.Dir(s.dir), Cluster: s.cluster, Topic: topic, Source: s.source})
	if err := second.Run(t.Context()); !errors.Is(err, readmodel.ErrInUse) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line of ErrInUse", err)
	}
}
