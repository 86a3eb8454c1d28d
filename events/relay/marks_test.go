package relay

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
)

// running starts a relay that the test's end stops.
func running(t *testing.T, c Config) *Relay {
	t.Helper()
	r, _ := runningUntil(t, c)
	return r
}

// runningUntil also gives what stops it.
func runningUntil(t *testing.T, c Config) (r *Relay, stop func()) {
	t.Helper()
	r = newRelay(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}

// written is a watermark and when it was stored.
type written struct {
	events.Record
	stored time.Time
}

func (m *memoryTopic) marks(t *testing.T, partition int) []written {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	records, err := parsed(m.partitions[partition])
	if err != nil {
		t.Fatal(err)
	}
	var out []written
	for i, r := range records {
		if r.IsWatermark() {
			out = append(out, written{r, m.times[partition][i]})
		}
	}
	return out
}

func TestRelay_NothingHappens_EachPartitionHasAWatermarkEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 3
		store, topic := newMemoryStore(), newMemoryTopic(partitions)
		end := store.append(streams(t, 10)...)
		running(t, Config{Store: store, Topic: topic, Partitions: partitions})
		time.Sleep(time.Minute + time.Millisecond) // of the bubble's clock
		synctest.Wait()
		for p := range partitions {
			marks := topic.marks(t, p)
			if len(marks) != 61 {
				t.Errorf("partition %d has %d watermarks after a minute, want 61", p, len(marks))
			}
			for i, m := range marks {
				if m.Event.Position != end {
					t.Errorf("partition %d, watermark %d is of position %d, want %d", p, i, m.Event.Position, end)
				}
				if i > 0 && m.Event.Time.Sub(marks[i-1].Event.Time) > time.Second {
					t.Errorf("partition %d, watermark %d is of %s, more than a second after %s", p, i, m.Event.Time, marks[i-1].Event.Time)
				}
				if m.Event.Time.After(m.stored) {
					t.Errorf("partition %d, watermark %d is of %s, and was stored before that, at %s", p, i, m.Event.Time, m.stored)
				}
			}
		}
		store.mu.Lock()
		defer store.mu.Unlock()
		if store.heads > 70 {
			t.Errorf("Head was read %d times in a minute in which nothing happened, want about one a second", store.heads)
		}
	})
}

func TestRelay_EmptyStore_SaysSoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, topic := newMemoryStore(), newMemoryTopic(2)
		running(t, Config{Store: store, Topic: topic, Partitions: 2})
		synctest.Wait() // no time passes
		for p := range 2 {
			if marks := topic.marks(t, p); len(marks) != 1 || marks[0].Event.Position != 0 || marks[0].Previous != 0 {
				t.Errorf("partition %d has watermarks %v, want one of position 0", p, marks)
			}
		}
	})
}

func TestRelay_OneEventAfterSilence_TheOtherPartitionsAreToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 4
		store, topic := newMemoryStore(), newMemoryTopic(partitions)
		store.append(streams(t, 10)...)
		running(t, Config{Store: store, Topic: topic, Partitions: partitions})
		time.Sleep(1500 * time.Millisecond)
		position := store.append(stream(t, 1))
		synctest.Wait() // no time passes
		own := events.Partition(stream(t, 1).String(), partitions)
		for p, records := range topic.records() {
			last, err := parse(records[len(records)-1])
			if err != nil {
				t.Fatal(err)
			}
			if last.Event.Position != position || last.IsWatermark() == (p == own) {
				t.Errorf("partition %d ends with %s of position %d, want position %d, and a watermark but in partition %d",
					p, last.Event.Type, last.Event.Position, position, own)
			}
		}
	})
}

func TestRelay_EventsFlow_WatermarksComeAtMostEveryHundredMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 4
		store, topic := newMemoryStore(), newMemoryTopic(partitions)
		running(t, Config{Store: store, Topic: topic, Partitions: partitions})
		quiet := slices.IndexFunc(streams(t, 50), func(s events.StreamID) bool { return events.Partition(s.String(), partitions) == 0 })
		busy := slices.DeleteFunc(streams(t, 50), func(s events.StreamID) bool { return events.Partition(s.String(), partitions) == 0 })
		store.append(stream(t, quiet))
		for i := range 3000 {
			store.append(busy[i%len(busy)])
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		for p := range partitions {
			marks := topic.marks(t, p)
			for i := 1; i < len(marks); i++ {
				if gap := marks[i].stored.Sub(marks[i-1].stored); gap < 100*time.Millisecond || gap > time.Second {
					t.Errorf("partition %d: %s between watermarks %d and %d, want 100 ms to 1 s", p, gap, i-1, i)
				}
			}
			if p == 0 && len(marks) < 29 {
				t.Errorf("the partition without events has %d watermarks in 3 s, want one each 100 ms", len(marks))
			}
		}
		if err := checkTopic(topic.records(), store.all(), store.id, true); err != nil {
			t.Error(err)
		}
	})
}

// The reader always finds another page, and the end moves on each time it is looked at.
func TestRelay_NeverAtTheEnd_StillSaysHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 2
		store, topic := newMemoryStore(), newMemoryTopic(partitions)
		all := streams(t, 20)
		store.append(all...)
		endless := &endlessStore{memoryStore: store, more: func() { store.append(all...) }}
		running(t, Config{Store: endless, Topic: topic, Partitions: partitions})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for p := range partitions {
			marks := topic.marks(t, p)
			if len(marks) < 5 {
				t.Errorf("partition %d has %d watermarks after 5 s, want at least 5", p, len(marks))
			}
			for i := 1; i < len(marks); i++ {
				if !marks[i].Event.Time.After(marks[i-1].Event.Time) || marks[i].Event.Position <= marks[i-1].Event.Position {
					t.Errorf("partition %d: watermark %d (%s, %d) says no more than the one before (%s, %d)", p, i,
						marks[i].Event.Time, marks[i].Event.Position, marks[i-1].Event.Time, marks[i-1].Event.Position)
				}
			}
		}
	})
}

// endlessStore has more events after each page that was read, and takes 10 ms for a page.
type endlessStore struct {
	*memoryStore
	more func()
}

func (s *endlessStore) After(ctx context.Context, position uint64, limit int) ([]events.Event, error) {
	time.Sleep(10 * time.Millisecond)
	page, err := s.memoryStore.After(ctx, position, limit)
	s.more()
	return page, err
}

// slowStore takes 150 ms for a page, longer than from watermark to watermark.
type slowStore struct{ *memoryStore }

func (s slowStore) After(ctx context.Context, position uint64, limit int) ([]events.Event, error) {
	time.Sleep(150 * time.Millisecond)
	return s.memoryStore.After(ctx, position, limit)
}

func TestRelay_CaughtUpAfterALongStart_SaysSoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 3
		store, topic := newMemoryStore(), newMemoryTopic(partitions)
		all := streams(t, 100)
		for range 4 * pageEvents / len(all) {
			store.append(all...)
		}
		running(t, Config{Store: slowStore{store}, Topic: topic, Partitions: partitions})
		time.Sleep(4*150*time.Millisecond + time.Millisecond) // the last page has just been read
		synctest.Wait()
		for p, records := range topic.records() {
			last, err := parse(records[len(records)-1])
			if err != nil {
				t.Fatal(err)
			}
			if !last.IsWatermark() || last.Event.Position != 4*pageEvents {
				t.Errorf("partition %d ends with %s of position %d, want a watermark of %d", p, last.Event.Type, last.Event.Position, 4*pageEvents)
			}
			if n := len(topic.marks(t, p)); n != 1 {
				t.Errorf("partition %d has %d watermarks, want 1: before the relay had caught up, none would have been true", p, n)
			}
		}
	})
}

// A relay that starts far behind tells a partition without events how far it is, with what
// was known before: the time of the newest watermark in the topic.
func TestRelay_CatchingUp_PartitionsWithoutEventsLearnHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 2
		store, topic := newMemoryStore(), newMemoryTopic(partitions)
		store.append(streams(t, 10)...)
		if err := newRelay(t, Config{Store: store, Topic: topic, Partitions: partitions}).RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		known := topic.marks(t, 0)[0].Event.Time
		time.Sleep(time.Hour)
		busy := slices.DeleteFunc(streams(t, 100), func(s events.StreamID) bool { return events.Partition(s.String(), partitions) == 0 })
		for range 4 * pageEvents / len(busy) {
			store.append(busy...)
		}
		running(t, Config{Store: slowStore{store}, Topic: topic, Partitions: partitions})
		time.Sleep(3*150*time.Millisecond + time.Millisecond) // the event at the last position is read, and two of four pages
		synctest.Wait()
		marks := topic.marks(t, 0)
		if last := marks[len(marks)-1].Event; last.Position != 10+2*pageEvents || !last.Time.Equal(known) {
			t.Errorf("the last watermark is of position %d at %s, want %d at %s", last.Position, last.Time, 10+2*pageEvents, known)
		}
	})
}

// What a watermark says must be true however slowly the relay reads: at its time the log
// ended at its position or before.
func TestRelay_FourWritersAppend_EveryWatermarkIsTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions, writers = 5, 4
		store, topic := newMemoryStore(), newMemoryTopic(partitions)
		topic.judge = func(call, _ int, _ []kafka.Record) fate {
			time.Sleep(time.Duration(call%13) * time.Millisecond)
			return fine
		}
		running(t, Config{Store: &hesitantStore{store}, Topic: topic, Partitions: partitions})

		appended := make([]time.Time, 4*1000) // by position - 1: no later than when it was durable
		var group sync.WaitGroup
		for w := range writers {
			group.Go(func() {
				for i := range len(appended) / writers {
					position := store.append(stream(t, (i*writers+w)%40))
					appended[position-1] = time.Now()
					time.Sleep(time.Duration((i*7+w*3)%11) * time.Millisecond)
				}
			})
		}
		group.Wait()
		time.Sleep(3 * time.Second)
		synctest.Wait()

		if err := checkTopic(topic.records(), store.all(), store.id, true); err != nil {
			t.Fatal(err)
		}
		for p := range partitions {
			marks := topic.marks(t, p)
			if len(marks) < 10 {
				t.Errorf("partition %d has %d watermarks, want more", p, len(marks))
			}
			for _, m := range marks {
				for i, at := range appended {
					// The header keeps microseconds, cut downwards.
					if position := uint64(i) + 1; position > m.Event.Position && at.Before(m.Event.Time) {
						t.Fatalf("partition %d: a watermark says that the log ended at %d at %s, and position %d was there at %s",
							p, m.Event.Position, m.Event.Time, position, at)
					}
				}
			}
		}
	})
}

// hesitantStore takes its time before it reads and after it has read.
type hesitantStore struct{ *memoryStore }

func (s *hesitantStore) After(ctx context.Context, position uint64, limit int) ([]events.Event, error) {
	time.Sleep(time.Duration(position%3) * time.Millisecond)
	defer time.Sleep(time.Duration(position%5) * time.Millisecond)
	return s.memoryStore.After(ctx, position, limit)
}

func (s *hesitantStore) Head(ctx context.Context) (events.Head, error) {
	time.Sleep(2 * time.Millisecond)
	defer time.Sleep(3 * time.Millisecond)
	return s.memoryStore.Head(ctx)
}

// A watermark that was asked for while its partition was busy is written behind events that
// are beyond it. It is the last record then, and must not say less than they do.
func TestRelay_WatermarkBehindLaterEvents_SaysWhatTheySay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, topic := newMemoryStore(), newMemoryTopic(1)
		topic.judge = func(int, int, []kafka.Record) fate {
			time.Sleep(130 * time.Millisecond) // longer than from watermark to watermark
			return fine
		}
		running(t, Config{Store: store, Topic: topic, Partitions: 1})
		for range 500 {
			store.append(stream(t, 1))
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		for _, m := range topic.marks(t, 0) {
			if m.Event.Position < m.Previous {
				t.Errorf("a watermark of position %d stands behind the event of position %d", m.Event.Position, m.Previous)
			}
		}
	})
}
