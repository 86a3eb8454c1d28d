package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
)

// published is a store of 20 events and the topic that holds them, with a watermark at the
// end of each partition.
func published(t *testing.T, partitions int) (*memoryStore, *memoryTopic) {
	t.Helper()
	store, topic := newMemoryStore(), newMemoryTopic(partitions)
	store.append(streams(t, 20)...)
	if err := newRelay(t, Config{Store: store, Topic: topic, Partitions: partitions}).RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store, topic
}

// withoutMarks cuts the watermarks off the end of each partition, as a relay leaves it that
// was killed between the events and the watermarks.
func withoutMarks(t *testing.T, topic *memoryTopic) {
	t.Helper()
	for p, records := range topic.partitions {
		all, err := parsed(records)
		if err != nil {
			t.Fatal(err)
		}
		for len(all) > 0 && all[len(all)-1].IsWatermark() {
			all = all[:len(all)-1]
		}
		topic.partitions[p] = records[:len(all)]
	}
}

func TestRelay_TopicHoldsAnotherHistory_Refuses(t *testing.T) {
	const partitions = 3
	for _, c := range []struct {
		name   string
		change func(*testing.T, *memoryStore, *memoryTopic)
		says   string
		// The store's own records, which it does not have any more.
		restored bool
	}{
		{"records of another store", func(_ *testing.T, s *memoryStore, _ *memoryTopic) {
			s.id = uuid.New()
		}, "is of store", false},
		{"events of another store", func(t *testing.T, s *memoryStore, topic *memoryTopic) {
			withoutMarks(t, topic)
			s.id = uuid.New()
		}, "is of store", false},
		{"store restored to an earlier past", func(_ *testing.T, s *memoryStore, _ *memoryTopic) {
			s.restore(15)
		}, "is of position 20, and this store ends at 15", true},
		{"store restored to an earlier past, events last", func(t *testing.T, s *memoryStore, topic *memoryTopic) {
			withoutMarks(t, topic)
			s.restore(15)
		}, "and this store ends at 15", true},
		{"store restored to nothing", func(_ *testing.T, s *memoryStore, _ *memoryTopic) {
			s.restore(0)
		}, "and this store ends at 0", true},
		{"restored and grown again", func(t *testing.T, s *memoryStore, _ *memoryTopic) {
			s.restore(15)
			s.append(streams(t, 20)...)
		}, "another event at position 20", true},
		{"restored and grown again, events last", func(t *testing.T, s *memoryStore, topic *memoryTopic) {
			withoutMarks(t, topic)
			s.restore(15)
			s.append(streams(t, 20)...)
		}, "another event at position", true},
		{"somebody else's record", func(_ *testing.T, _ *memoryStore, topic *memoryTopic) {
			topic.put(1, kafka.Record{Key: []byte("k"), Value: []byte("v")})
		}, "cannot be read", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			store, topic := published(t, partitions)
			c.change(t, store, topic)
			before := topic.calls
			r := newRelay(t, Config{Store: store, Topic: topic, Partitions: partitions})
			err := r.Run(deadline(t)) // not RunOnce: it must not be tried again and again
			if !errors.Is(err, ErrForeignRecords) {
				t.Fatalf("Run = %v, want ErrForeignRecords", err)
			}
			if errors.Is(err, ErrRestored) != c.restored {
				t.Errorf("Run = %v, is ErrRestored: %t, want %t", err, !c.restored, c.restored)
			}
			if says := "--accept-restore"; strings.Contains(err.Error(), says) != c.restored {
				t.Errorf("Run = %v, says %q: %t, want %t", err, says, !c.restored, c.restored)
			}
			for _, says := range []string{c.says, "delete the topic", "--kafka-topic"} {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("Run = %v, which does not say %q", err, says)
				}
			}
			if topic.calls != before {
				t.Errorf("%d batches were produced to a topic of another history", topic.calls-before)
			}
			if s := r.Status(); s.State != StateRefused || s.Error != err.Error() || s.Leading {
				t.Errorf("Status = %+v, want refused, with the error", s)
			}
		})
	}
}

func TestRelay_UnreadableLastRecord_IsABadRecordToo(t *testing.T) {
	store, topic := published(t, 1)
	topic.put(0, kafka.Record{Value: []byte("v")})
	err := newRelay(t, Config{Store: store, Topic: topic, Partitions: 1}).RunOnce(t.Context())
	if !errors.Is(err, events.ErrBadRecord) || !errors.Is(err, ErrForeignRecords) {
		t.Errorf("RunOnce = %v, want ErrForeignRecords and events.ErrBadRecord", err)
	}
}

func TestRelay_OtherNumberOfPartitions_Refuses(t *testing.T) {
	store, topic := published(t, 3)
	before := topic.calls
	err := newRelay(t, Config{Store: store, Topic: topic, Partitions: 4}).Run(deadline(t))
	if !errors.Is(err, ErrPartitions) || topic.calls != before {
		t.Errorf("Run = %v after %d batches, want ErrPartitions and none", err, topic.calls-before)
	}
}

func TestRelay_TopicWasGivenMorePartitions_Refuses(t *testing.T) {
	for _, marked := range []bool{true, false} {
		store, topic := published(t, 3)
		if !marked {
			withoutMarks(t, topic)
		}
		topic.partitions, topic.times = append(topic.partitions, nil), append(topic.times, nil)
		before := topic.calls
		err := newRelay(t, Config{Store: store, Topic: topic, Partitions: 4}).Run(deadline(t))
		if !errors.Is(err, ErrPartitions) || topic.calls != before || !strings.Contains(err.Error(), "delete the topic") {
			t.Errorf("with watermarks at the end: %t: Run = %v after %d batches, want ErrPartitions that says what to do, and none", marked, err, topic.calls-before)
		}
	}
}

func TestRelay_StoreReplacedWhileItRuns_Refuses(t *testing.T) {
	store, topic := published(t, 3)
	r := newRelay(t, Config{Store: store, Topic: topic, Partitions: 3, IdleEvery: 2 * time.Millisecond, MarkEvery: time.Millisecond, RetryMin: time.Microsecond})
	done := make(chan error, 1)
	go func() { done <- r.Run(deadline(t)) }()
	awaitPublished(t.Context(), t, r, store)
	store.mu.Lock()
	store.id = uuid.New() // as a restored backup is given
	store.mu.Unlock()
	if err := <-done; !errors.Is(err, ErrForeignRecords) {
		t.Errorf("Run = %v, want ErrForeignRecords", err)
	}
	if err := checkTopic(topic.records(), store.all(), storeIDOf(t, topic), true); err != nil {
		t.Error(err) // with the old ID in all records
	}
}

func storeIDOf(t *testing.T, topic *memoryTopic) uuid.UUID {
	t.Helper()
	r, err := parse(topic.records()[0][0])
	if err != nil {
		t.Fatal(err)
	}
	return r.StoreID
}

func TestRelay_PartitionsEmptied_PublishesWhatTheyLackAndNoMore(t *testing.T) {
	for _, c := range []struct {
		name    string
		emptied []int
	}{{"one", []int{1}}, {"all", []int{0, 1, 2}}} {
		t.Run(c.name, func(t *testing.T) {
			store, topic := published(t, 3)
			for _, p := range c.emptied {
				topic.partitions[p] = nil
			}
			store.append(streams(t, 5)...)
			if err := newRelay(t, Config{Store: store, Topic: topic, Partitions: 3}).RunOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := checkTopic(topic.records(), store.all(), store.id, true); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRelay_StoreHasAHole_StopsBeforeIt(t *testing.T) {
	store, topic := newMemoryStore(), newMemoryTopic(2)
	store.append(streams(t, 10)...)
	store.log[6].Position = 8 // after 6: 7 is missing
	err := newRelay(t, Config{Store: store, Topic: topic, Partitions: 2}).RunOnce(t.Context())
	if !errors.Is(err, errHole) {
		t.Fatalf("RunOnce = %v, want errHole", err)
	}
	for p, records := range topic.records() {
		if len(records) > 0 {
			t.Errorf("partition %d has %d records of a page with a hole", p, len(records))
		}
	}
}

func TestRelay_RestoredStoreWithANewIdentity_IsPublishedWholeBehindTheOldRecords(t *testing.T) {
	const partitions = 3
	for _, marked := range []bool{true, false} {
		store, topic := published(t, partitions)
		if !marked {
			withoutMarks(t, topic)
		}
		old := topic.records()
		oldID := store.id
		store.restore(15)
		store.append(streams(t, 20)...)
		config := Config{Store: store, Topic: topic, Partitions: partitions, Was: func(_ context.Context, id uuid.UUID) (bool, error) {
			return id == oldID, nil
		}}
		// Only with a new identity: the regions could not tell the two pasts apart.
		if err := newRelay(t, config).RunOnce(t.Context()); !errors.Is(err, ErrRestored) {
			t.Fatalf("RunOnce with the old identity = %v, want ErrRestored", err)
		}
		store.id = uuid.New()
		for range 3 { // it goes on where it was, like any store
			store.append(streams(t, 2)...)
			if err := newRelay(t, config).RunOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		all := topic.records()
		for p := range all {
			if fmt.Sprint(all[p][:len(old[p])]) != fmt.Sprint(old[p]) {
				t.Errorf("the old records of partition %d were changed", p)
			}
			all[p] = all[p][len(old[p]):]
		}
		if err := checkTopic(all, store.all(), store.id, true); err != nil {
			t.Errorf("behind the old records: %v", err)
		}
		if err := newRelay(t, Config{Store: &memoryStore{id: uuid.New()}, Topic: topic, Partitions: partitions, Was: config.Was}).RunOnce(t.Context()); !errors.Is(err, ErrForeignRecords) {
			t.Errorf("RunOnce of a third store = %v, want ErrForeignRecords", err)
		}
	}
}

// The second restore takes back what the first acceptance wrote into the store: its new identity, and that
// it had another one before.
func TestRelay_RestoredToBeforeAnAcceptedRestore_IsRestoredAgainAndNamesTheLostIdentity(t *testing.T) {
	const partitions = 3
	setUp := func() (store *memoryStore, topic *memoryTopic, first, second uuid.UUID) {
		store, topic = published(t, partitions)
		first, second = store.id, uuid.New()
		store.restore(15)
		store.append(streams(t, 10)...)
		store.id = second
		accepted := Config{Store: store, Topic: topic, Partitions: partitions, Was: func(_ context.Context, id uuid.UUID) (bool, error) { return id == first, nil }}
		if err := newRelay(t, accepted).RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		store.restore(12)
		store.id = first
		return store, topic, first, second
	}

	store, topic, first, second := setUp()
	before := topic.records()
	never := func(context.Context, uuid.UUID) (bool, error) { return false, nil }
	err := newRelay(t, Config{Store: store, Topic: topic, Partitions: partitions, Was: never}).Run(deadline(t))
	if !errors.Is(err, ErrRestored) || LostStoreID(err) != second || !strings.Contains(err.Error(), "--accept-restore") {
		t.Fatalf("Run = %v with the lost identity %s, want ErrRestored with %s, and what to do", err, LostStoreID(err), second)
	}
	// Accepted, it is published whole behind both pasts.
	store.id = uuid.New()
	store.append(streams(t, 5)...)
	knows := func(_ context.Context, id uuid.UUID) (bool, error) { return id == first || id == second, nil }
	for range 2 {
		if err := newRelay(t, Config{Store: store, Topic: topic, Partitions: partitions, Was: knows}).RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	all := topic.records()
	for p := range all {
		all[p] = all[p][len(before[p]):]
	}
	if err := checkTopic(all, store.all(), store.id, true); err != nil {
		t.Errorf("behind the old records: %v", err)
	}
	// Another store's topic stays another store's, whatever stands in it.
	if err := newRelay(t, Config{Store: &memoryStore{id: uuid.New()}, Topic: topic, Partitions: partitions, Was: never}).Run(deadline(t)); !errors.Is(err, ErrForeignRecords) || errors.Is(err, ErrRestored) || LostStoreID(err) != uuid.Nil {
		t.Errorf("Run of a third store = %v, want ErrForeignRecords and no ErrRestored", err)
	}

	// Where Kafka's retention has removed the first past, nothing tells this store from a stranger: then
	// the topic has to go, as the refusal says.
	store, topic, _, _ = setUp()
	for p := range topic.partitions {
		old := 0
		for ; old < len(topic.partitions[p]); old++ {
			if r, err := parse(topic.partitions[p][old]); err != nil || r.StoreID != store.id {
				break
			}
		}
		topic.trimmed = max(topic.trimmed, int64(old))
	}
	err = newRelay(t, Config{Store: store, Topic: topic, Partitions: partitions, Was: never}).Run(deadline(t))
	if !errors.Is(err, ErrForeignRecords) || errors.Is(err, ErrRestored) || !strings.Contains(err.Error(), "delete the topic") {
		t.Errorf("Run with nothing left of the first past = %v, want ErrForeignRecords, and that the topic is to be deleted", err)
	}
}
