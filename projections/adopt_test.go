package projections

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// build makes a generation beside the live one, of what the source held when it had so many events.
// As a replay does it holds its lock until that is adopted, which here is the next build or the test's end.
func (s *stage) build(upTo int) string {
	s.t.Helper()
	return s.buildFrom(&memorySource{id: s.source.id, log: s.source.log[:upTo]})
}

func (s *stage) buildFrom(source *memorySource) string {
	s.t.Helper()
	dir := readmodel.Dir(s.dir)
	s.release()
	s.await("nobody else builds", func() (free bool) {
		unlock, err := dir.ReplayLock()
		s.unlock = unlock
		return err == nil
	})
	building, err := dir.Building()
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := Build(s.t.Context(), BuildConfig{Source: source.Whole, Dir: dir.Path(building), Partitions: partitions}); err != nil {
		s.t.Fatal(err)
	}
	name, err := dir.Promote(building)
	if err != nil {
		s.t.Fatal(err)
	}
	return name
}

// release lets others build.
func (s *stage) release() {
	if s.unlock != nil {
		if err := s.unlock(); err != nil {
			s.t.Error(err)
		}
		s.unlock = nil
	}
}

// extend lets the source have more of a log.
func (s *stage) extend(log []events.Event) {
	s.source.mu.Lock()
	defer s.source.mu.Unlock()
	s.source.log = log
}

func TestAdopt_GenerationThatIsBehind_CatchesUpFromTheTopicAndTakesThePlace(t *testing.T) {
	log := roster(t, 60)
	s := newStage(t, log[:40])
	s.publish(40)
	p, stop := s.start(Config{})
	s.awaitPosition(p, 40)
	name := s.build(20)
	s.extend(log)
	s.publish(len(log))
	s.awaitPosition(p, len(log))
	before := p.Live().Progress()
	s.source.mu.Lock()
	s.source.away = true // what it lacks is in the topic
	s.source.mu.Unlock()
	if err := p.Adopt(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if got := p.Generation(); got != name {
		t.Errorf("generation: got %s, want %s", got, name)
	}
	after := p.Live().Progress()
	if after.Position() < before.Position() || after.CompleteAt().Before(before.CompleteAt()) {
		t.Errorf("went back: from position %d, complete at %s, to %d, %s", before.Position(), before.CompleteAt(), after.Position(), after.CompleteAt())
	}
	checkEquals(t, p.Live(), log)
	s.source.mu.Lock()
	s.source.away = false
	s.source.mu.Unlock()
	stop()

	again, _ := s.start(Config{})
	s.awaitPosition(again, len(log))
	if got := again.Generation(); got != name {
		t.Errorf("after a restart: got %s, want %s", got, name)
	}
	checkEquals(t, again.Live(), log)
}

// What is folded while generations change, again and again, is seen by everybody, and nobody sees
// anything go back.
func TestAdopt_UnderLoad_FailsNoLookUpAndLetsNothingGoBack(t *testing.T) {
	const tenants, rounds = 40, 12
	h := newHistory(t)
	for i := range tenants {
		id := fmt.Sprintf("ten_t%d", i)
		h.add(id, events.TenantRegistered{Name: id, HomeRegion: "eu-west"})
		h.add(id, events.HostnameAttached{Hostname: hostname(t, fmt.Sprintf("t%d.example", i))})
	}
	s := newStage(t, h.log)
	s.publish(len(h.log))
	p, _ := s.start(Config{})
	s.awaitPosition(p, len(h.log))

	over := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { // commands
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
			}
			for range 10 {
				h.add(fmt.Sprintf("ten_t%d", i%tenants), events.TenantRenamed{Name: fmt.Sprint("Name ", i)})
			}
			s.extend(h.log)
			s.publish(len(h.log))
		}
	})
	var versions [tenants]atomic.Uint64 // the highest that anybody has seen
	var position, complete, lookups atomic.Int64
	raise := func(seen *atomic.Int64, to int64) {
		for {
			if was := seen.Load(); to <= was || seen.CompareAndSwap(was, to) {
				return
			}
		}
	}
	for reader := range 4 {
		running.Go(func() {
			for i := reader; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				least, leastPosition, leastComplete := versions[i%tenants].Load(), position.Load(), complete.Load()
				progress := p.Live().Progress()
				doc, err := p.Live().Lookup(hostname(t, fmt.Sprintf("t%d.example", i%tenants)))
				switch {
				case err != nil:
					t.Errorf("look-up: %v", err)
					return
				case doc.Version < least:
					t.Errorf("tenant %d is at version %d, and was seen at %d", i%tenants, doc.Version, least)
					return
				case int64(progress.Position()) < leastPosition:
					t.Errorf("at position %d, and was seen at %d", progress.Position(), leastPosition)
					return
				case progress.CompleteAt().UnixMicro() < leastComplete:
					t.Errorf("complete at %s, and was seen so at %s", progress.CompleteAt(), time.UnixMicro(leastComplete))
					return
				}
				raise(&position, int64(progress.Position()))
				raise(&complete, progress.CompleteAt().UnixMicro())
				for {
					if was := versions[i%tenants].Load(); doc.Version <= was || versions[i%tenants].CompareAndSwap(was, doc.Version) {
						break
					}
				}
				lookups.Add(1)
			}
		})
	}
	for round := range rounds {
		s.source.mu.Lock()
		log := s.source.log
		s.source.mu.Unlock()
		// From the very beginning, from what is nearly new, and between.
		name := s.buildFrom(&memorySource{id: s.source.id, log: log[:2*tenants+(len(log)-2*tenants)*(round%4)/3]})
		if err := p.Adopt(t.Context(), name); err != nil {
			t.Errorf("round %d: %v", round, err)
			break
		}
		if got := p.Generation(); got != name {
			t.Errorf("round %d: generation %s, want %s", round, got, name)
		}
	}
	close(over)
	running.Wait()
	s.publish(len(h.log))
	s.awaitPosition(p, len(h.log))
	checkEquals(t, p.Live(), h.log)
	if lookups.Load() < rounds {
		t.Errorf("only %d look-ups", lookups.Load())
	}
}

func TestAdopt_WhatCannotTakeThePlace_LeavesTheLiveOneAndIsRemoved(t *testing.T) {
	log := roster(t, 20)
	for name, test := range map[string]struct {
		make func(s *stage) string
		want string
	}{
		"of another store": {func(s *stage) string {
			return s.buildFrom(&memorySource{id: uuid.New(), log: log})
		}, "another identity"},
		"not complete": {func(s *stage) string {
			dir := readmodel.Dir(s.dir)
			name, err := dir.Next()
			if err != nil {
				t.Fatal(err)
			}
			m, err := readmodel.Open(readmodel.Config{Dir: dir.Path(name)})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(m.Begin(s.source.id, partitions), m.Close()); err != nil {
				t.Fatal(err)
			}
			return name
		}, "not complete"},
		"damaged": {func(s *stage) string {
			name := s.build(len(log))
			if err := os.WriteFile(readmodel.Dir(s.dir).Path(name)+"/MANIFEST", []byte("rubbish"), 0o600); err != nil {
				t.Fatal(err)
			}
			return name
		}, "cannot be used"},
		"not there":     {func(*stage) string { return "gen-0077" }, "no such generation"},
		"no generation": {func(*stage) string { return "../eu-west" }, "no name of a generation"},
		"live already":  {func(*stage) string { return "gen-0001" }, "live generation already"},
		"another history": {func(s *stage) string {
			other := newHistory(t)
			for i := range log {
				other.add(fmt.Sprintf("ten_x%d", i), events.TenantRegistered{Name: "X", HomeRegion: "eu-west"})
			}
			return s.buildFrom(&memorySource{id: s.source.id, log: other.log})
		}, "same history"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, log)
			s.publish(len(log))
			p, _ := s.start(Config{})
			s.awaitPosition(p, len(log))
			name := test.make(s)
			err := p.Adopt(t.Context(), name)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
			if got := p.Generation(); got != "gen-0001" {
				t.Errorf("generation: got %s, want gen-0001", got)
			}
			if now, err := readmodel.Dir(s.dir).Current(); err != nil || now != "gen-0001" {
				t.Errorf("the pointer says %s, %v", now, err)
			}
			checkEquals(t, p.Live(), log)
			if _, err := os.Stat(s.dir + "/gen-0002"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the generation is still there: %v", err)
			}
		})
	}
}

func TestAdopt_KafkaAwayAndSomethingMissing_FailsWithOneMessageAndLeavesTheLiveOne(t *testing.T) {
	log := roster(t, 20)
	s := newStage(t, log)
	s.publish(len(log))
	p, _ := s.start(Config{})
	s.awaitPosition(p, len(log))
	name := s.build(30)
	if err := s.brokers.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := p.Adopt(ctx, name)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "it lacks some of what the live generation has") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line that says what it lacks", err)
	}
	if got := p.Generation(); got != "gen-0001" {
		t.Errorf("generation: got %s, want gen-0001", got)
	}
	checkEquals(t, p.Live(), log)
	if _, err := os.Stat(readmodel.Dir(s.dir).Path(name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the generation is still there: %v", err)
	}
}

// Kafka and its log are lost, and somebody has built a generation from the truth.
func TestAdopt_KafkaAwayAndNothingMissing_TakesThePlace(t *testing.T) {
	log := roster(t, 20)
	s := newStage(t, log[:30])
	s.publish(30)
	p, _ := s.start(Config{})
	s.awaitPosition(p, 30)
	s.extend(log)
	name := s.build(len(log))
	if err := s.brokers.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Adopt(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	checkEquals(t, p.Live(), log)
}

func TestAdopt_WhileAnotherIsUnderWay_IsRefusedAtOnce(t *testing.T) {
	log := roster(t, 10)
	s := newStage(t, log)
	s.publish(len(log))
	p, _ := s.start(Config{})
	s.awaitPosition(p, len(log))
	first, second := s.build(5), s.build(5)
	if err := s.brokers.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Adopt(ctx, first) }()
	s.await("the first is under way", func() bool {
		p.turns.mu.Lock()
		defer p.turns.mu.Unlock()
		return p.turns.what != ""
	})
	if err := p.Adopt(t.Context(), second); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), first) {
		t.Errorf("got %v, want ErrBusy naming %s", err, first)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: got %v, want that it was cancelled", err)
	}
}

// The node waits for a source that is away, and a neighbour's copy is handed over.
func TestAdopt_NodeWithoutACopy_TakesItInPlaceOfItsOwnBuild(t *testing.T) {
	log := roster(t, 10)
	s := newStage(t, log)
	s.publish(len(log))
	s.source.away = true
	p, _ := s.start(Config{Patience: 20 * time.Millisecond})
	s.await("a build has begun", func() bool { return strings.Contains(fmt.Sprint(p.Ready()), "being built") })
	name := s.buildFrom(&memorySource{id: s.source.id, log: log[:15]})
	if err := p.Adopt(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	s.await("ready", func() bool { return p.Ready() == nil })
	s.await("the rest, from the topic", func() bool { return p.Live().Progress().Position() == uint64(len(log)) })
	checkEquals(t, p.Live(), log)
	if got := p.Generation(); got != name {
		t.Errorf("generation: got %s, want %s", got, name)
	}
}

func TestAdopt_NodeThatDoesNotRun_IsRefused(t *testing.T) {
	s := newStage(t, roster(t, 1))
	p, stop := s.start(Config{})
	s.await("ready", func() bool { return p.Ready() == nil })
	stop()
	if err := p.Adopt(t.Context(), "gen-0002"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v, want ErrNotRunning", err)
	}
	if err := New(Config{Dir: readmodel.Dir(t.TempDir())}).Adopt(t.Context(), "gen-0002"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("before it runs: got %v, want ErrNotRunning", err)
	}
}
