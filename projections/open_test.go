package projections

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/projections/readmodel"
)

func TestRollback_GoesBackToTheGenerationBefore_AndForthAgain(t *testing.T) {
	log := roster(t, 20)
	s := newStage(t, log)
	s.publish(len(log))
	p, _ := s.start(Config{})
	s.awaitPosition(p, len(log))
	if _, err := p.Rollback(t.Context()); !errors.Is(err, readmodel.ErrNoGeneration) {
		t.Errorf("with none before: got %v, want ErrNoGeneration", err)
	}
	next := s.build(10)
	if err := p.Adopt(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"gen-0001", next, "gen-0001"} {
		s.publish(len(log)) // watermarks, which the one before has not seen
		name, err := p.Rollback(t.Context())
		if err != nil || name != want || p.Generation() != want {
			t.Fatalf("went back to %s, %v, and serves %s; want %s", name, err, p.Generation(), want)
		}
		checkEquals(t, p.Live(), log)
	}
}

// A generation that was live keeps what is needed to go back to it, and those before it are removed.
func TestAdopt_ManyInARow_LeaveTwoGenerations(t *testing.T) {
	log := roster(t, 5)
	s := newStage(t, log)
	s.publish(len(log))
	p, _ := s.start(Config{})
	s.awaitPosition(p, len(log))
	for range 4 {
		if err := p.Adopt(t.Context(), s.build(5)); err != nil {
			t.Fatal(err)
		}
	}
	s.await("two are left", func() bool {
		all, err := filepath.Glob(filepath.Join(s.dir, "gen-*"))
		return err == nil && len(all) == 2
	})
	previous, err := readmodel.Dir(s.dir).Previous()
	if err != nil || previous != "gen-0004" || p.Generation() != "gen-0005" {
		t.Errorf("serves %s, and before it %s, %v; want gen-0005 and gen-0004", p.Generation(), previous, err)
	}
}

func (s *stage) spoil(generation string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, generation, "MANIFEST"), []byte("rubbish"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func TestProjector_LiveGenerationDamagedAtTheStart_ServesTheOneBefore(t *testing.T) {
	log := roster(t, 20)
	s := newStage(t, log)
	s.publish(len(log))
	p, stop := s.start(Config{})
	s.awaitPosition(p, len(log))
	if err := p.Adopt(t.Context(), s.build(10)); err != nil {
		t.Fatal(err)
	}
	stop()
	s.spoil("gen-0002")
	s.source.away = true // so that nothing can be built
	p, stop = s.start(Config{Patience: 50 * time.Millisecond})
	s.await("ready", func() bool { return p.Ready() == nil })
	if got := p.Generation(); got != "gen-0001" || !strings.Contains(p.Notice(), "gen-0002") {
		t.Errorf("serves %s and says %q; want gen-0001, and why", got, p.Notice())
	}
	checkEquals(t, p.Live(), log)
	stop()
	if now, err := readmodel.Dir(s.dir).Current(); err != nil || now != "gen-0001" {
		t.Errorf("the pointer says %s, %v", now, err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "gen-0002")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the damaged one is still there: %v", err)
	}
}

// The pointer to it is lost, or one of its bits is.
func TestProjector_LiveGenerationNotKnown_ServesTheNewestThatIsWhole_AndSaysSo(t *testing.T) {
	log := roster(t, 20)
	for name, test := range map[string]struct {
		spoil func(s *stage) error
		want  string
	}{
		"garbage": {func(s *stage) error { return os.WriteFile(filepath.Join(s.dir, "current"), []byte("garbage"), 0o600) }, "gen-0002"},
		"another generation's name": {func(s *stage) error {
			b, err := os.ReadFile(filepath.Join(s.dir, "current"))
			return errors.Join(err, os.WriteFile(filepath.Join(s.dir, "current"), []byte(strings.Replace(string(b), "2", "1", 1)), 0o600))
		}, "gen-0002"},
		"gone": {func(s *stage) error { return os.Remove(filepath.Join(s.dir, "current")) }, "gen-0002"},
		"gone, and the newest is damaged": {func(s *stage) error {
			s.spoil("gen-0002")
			return os.Remove(filepath.Join(s.dir, "current"))
		}, "gen-0001"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, log)
			s.publish(len(log))
			p, stop := s.start(Config{})
			s.awaitPosition(p, len(log))
			if err := p.Adopt(t.Context(), s.build(10)); err != nil {
				t.Fatal(err)
			}
			stop()
			s.release()
			if err := test.spoil(s); err != nil {
				t.Fatal(err)
			}
			s.source.away = true // so that nothing can be built
			p, _ = s.start(Config{Patience: time.Millisecond})
			s.await("ready", func() bool { return p.Ready() == nil })
			if got := p.Generation(); got != test.want || p.Notice() == "" {
				t.Errorf("serves %s and says %q; want %s, and why", got, p.Notice(), test.want)
			}
			checkEquals(t, p.Live(), log)
			if now, err := readmodel.Dir(s.dir).Current(); err != nil || now != test.want {
				t.Errorf("the pointer says %s, %v", now, err)
			}
		})
	}
}

// The node builds because the store was replaced, and a replay is faster.
func TestAdopt_WhileTheNodeBuildsBesideTheLiveOne_ComesInPlaceOfThat(t *testing.T) {
	log := roster(t, 20)
	s := newStage(t, log)
	s.publish(len(log))
	p, _ := s.start(Config{})
	s.awaitPosition(p, len(log))
	s.source.mu.Lock()
	s.source.held, s.source.id = make(chan struct{}), uuid.New()
	s.source.mu.Unlock()
	s.previous, s.sent = [partitions]uint64{}, 0
	s.await("it builds", func() bool {
		s.publish(len(log))
		_, err := os.Stat(filepath.Join(s.dir, "gen-0002.building"))
		return err == nil
	})
	// Another one has built beside it: that is promoted, and waits for nothing.
	name := "gen-0003"
	if _, err := Build(t.Context(), BuildConfig{Source: (&memorySource{id: s.source.id, log: log}).Whole, Dir: filepath.Join(s.dir, name), Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	if err := p.Adopt(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	s.awaitPosition(p, len(log))
	if got := p.Generation(); got != name || p.Live().Progress().StoreID != s.source.id {
		t.Errorf("serves %s of %s, want %s of %s", got, p.Live().Progress().StoreID, name, s.source.id)
	}
	checkEquals(t, p.Live(), log)
	s.await("following", func() bool { return p.Following() == nil })
}

// crash is a start that ends before the node has settled.
func (s *stage) crash() {
	s.t.Helper()
	if _, err := readmodel.Dir(s.dir).Started(generationOf(s)); err != nil {
		s.t.Fatal(err)
	}
}

func generationOf(s *stage) string {
	s.t.Helper()
	name, err := readmodel.Dir(s.dir).Current()
	if err != nil {
		s.t.Fatal(err)
	}
	return name
}

func TestProjector_ThreeStartsThatDidNotSettle_GoBackToTheGenerationBeforeOrBuildAnew(t *testing.T) {
	log := roster(t, 10)
	for name, test := range map[string]struct {
		before bool
		want   string
	}{
		"with one before": {true, "gen-0001"},
		"with none":       {false, "gen-0002"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, log)
			s.publish(len(log))
			p, stop := s.start(Config{})
			s.awaitPosition(p, len(log))
			if test.before {
				if err := p.Adopt(t.Context(), s.build(5)); err != nil {
					t.Fatal(err)
				}
				s.release()
			}
			live := p.Generation()
			stop()
			s.crash()
			s.crash()
			p, stop = s.start(Config{}) // the third
			s.awaitPosition(p, len(log))
			if got := p.Generation(); got != live || p.Notice() != "" {
				t.Errorf("after two: serves %s and says %q, want %s as before", got, p.Notice(), live)
			}
			stop() // in good order, so that the next is the first again
			for range 3 {
				s.crash()
			}
			p, _ = s.start(Config{})
			s.awaitPosition(p, len(log))
			if got := p.Generation(); got != test.want || !strings.Contains(p.Notice(), "3 times in a row") {
				t.Errorf("after three: serves %s and says %q, want %s, and why", got, p.Notice(), test.want)
			}
			checkEquals(t, p.Live(), log)
		})
	}
}

func TestProjector_ReadyForAWhile_HasSettled(t *testing.T) {
	log := roster(t, 5)
	s := newStage(t, log)
	s.publish(len(log))
	p, stop := s.start(Config{})
	s.awaitPosition(p, len(log))
	stop()
	s.crash()
	s.crash()
	_, stop = s.start(Config{Settle: time.Millisecond})
	s.await("settled", func() bool {
		b, err := os.ReadFile(filepath.Join(s.dir, "starts"))
		return err == nil && string(b) == "gen-0001 0\n"
	})
	stop()
}

// Whoever kills a node that is well must not make it give up its generation: neither as soon as it is
// ready, nor while it catches up.
func TestProjector_ThatHasStoredSomethingSinceItWasReady_OrHasComeFurther_HasSettled(t *testing.T) {
	log := roster(t, 5)
	starts := func(s *stage) string {
		b, err := os.ReadFile(filepath.Join(s.dir, "starts"))
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	for name, known := range map[string]int{"ready": 10, "catching up for longer": len(log)} { // known to the source when it starts
		t.Run(name, func(t *testing.T) {
			s := newStage(t, log[:10])
			s.publish(10)
			p, stop := s.start(Config{})
			s.awaitPosition(p, 10)
			stop()
			s.source.mu.Lock()
			s.source.log = log[:known] // of which the topic may lack some
			s.source.mu.Unlock()
			s.crash()
			s.crash()
			p, stop = s.start(Config{Settle: time.Hour, Patience: time.Hour})
			s.await("serving", func() bool { return p.Generation() != "" })
			if got := starts(s); got != "gen-0001 3\n" && known > 10 {
				t.Errorf("before anything has come: got %q, want the third start in a row", got)
			}
			if known == 10 {
				s.await("ready", func() bool { return p.Ready() == nil })
			}
			s.source.mu.Lock()
			s.source.log = log
			s.source.mu.Unlock()
			s.publish(11)
			s.await("settled", func() bool { return starts(s) == "gen-0001 0\n" })
			if known > 10 && p.Ready() == nil {
				t.Error("it is ready: this tests nothing")
			}
			stop()
		})
	}
}

// A replay that compares the copy of a stopped node gives way to the node, which need not be started twice.
func TestProjector_WhoseDirectoryAReplayHas_WaitsForItToGiveWay(t *testing.T) {
	log := roster(t, 5)
	s := newStage(t, log)
	s.publish(len(log))
	unlock, err := readmodel.Dir(s.dir).Lock(readmodel.ByReplay)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := s.start(Config{})
	s.await("what it waits for", func() bool {
		err := p.Ready()
		return err != nil && strings.Contains(err.Error(), "a replay has it: process ")
	})
	if p.Opened() {
		t.Error("it says that it has looked into its directory")
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	s.awaitPosition(p, len(log))
	if !p.Opened() {
		t.Error("it does not say that it has looked into its directory")
	}
}

// While the region has a generation that can be served, building another one takes nothing from it.
func TestProjector_BuildsBesideTheLiveOne_AndSaysHowFarItHasCome(t *testing.T) {
	log := roster(t, 20)
	s := newStage(t, log)
	s.publish(len(log))
	p, _ := s.start(Config{})
	s.awaitPosition(p, len(log))
	s.source.mu.Lock()
	s.source.held, s.source.id = make(chan struct{}), uuid.New()
	held := s.source.held
	s.source.mu.Unlock()
	s.previous, s.sent = [partitions]uint64{}, 0
	s.publish(len(log))
	s.await("it builds", func() bool {
		s.publish(len(log))
		_, err := os.Stat(filepath.Join(s.dir, "gen-0002.building"))
		return err == nil
	})
	if err := p.Ready(); err != nil {
		t.Errorf("ready: %v", err)
	}
	checkEquals(t, p.Live(), log)
	if err := p.Following(); err == nil || !strings.Contains(err.Error(), "another identity") {
		t.Errorf("following: got %v, want why not", err)
	}
	close(held)
	s.await("the new generation", func() bool { return p.Generation() == "gen-0002" })
	s.await("following", func() bool { return p.Following() == nil })
	checkEquals(t, p.Live(), log)
}
