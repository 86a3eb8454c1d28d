package projections

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// roster is a log of n tenants with a hostname each, and some changes.
func roster(t *testing.T, n int) []events.Event {
	h := newHistory(t)
	for i := range n {
		id := fmt.Sprintf("ten_t%d", i)
		h.add(id, events.TenantRegistered{Name: id, HomeRegion: "eu-west"})
		h.add(id, events.HostnameAttached{Hostname: hostname(t, fmt.Sprintf("t%d.example", i))})
	}
	for i := range n {
		h.add(fmt.Sprintf("ten_t%d", i), events.TenantActivated{})
	}
	return h.log
}

// byKey places a stream as the relay does.
func byKey(partitions int) func(events.StreamID) int {
	return func(s events.StreamID) int { return events.Partition(s.String(), partitions) }
}

func TestProjector_RecordsLostFromTheTopic_AreReadFromTheSource(t *testing.T) {
	const partitions = 3
	log := roster(t, 40)
	for _, lost := range []struct{ from, to int }{{0, 1}, {0, 5}, {3, 4}, {3, 17}, {10, 11}} {
		t.Run(fmt.Sprintf("records %d to %d of each partition", lost.from, lost.to), func(t *testing.T) {
			n := newNode(t, partitions, log)
			for p, records := range published(n.source.id, log, partitions, byKey(partitions)) {
				n.mustDeliver(records[:lost.from]...)
				n.mustDeliver(records[lost.to:]...)
				if got, want := n.model.Progress().Partitions[p].LastEvent, records[len(records)-1].Event.Position; got != want {
					t.Errorf("partition %d: last event %d, want %d", p, got, want)
				}
			}
			checkEquals(t, n.model, log)
			// What heals one partition heals the others with it, up to there.
			if got := testutil.ToFloat64(n.metrics.gaps); got < 1 || got > partitions {
				t.Errorf("gaps counted: got %v, want 1 to %d", got, partitions)
			}
			if got, least := testutil.ToFloat64(n.metrics.healed), float64(partitions*(lost.to-lost.from)); got < least {
				t.Errorf("events healed: got %v, want at least the %v that were lost", got, least)
			}
			if got := testutil.ToFloat64(n.metrics.foldedByOut[folded]); got != float64(len(log)) {
				t.Errorf("events folded: got %v, want each of %d once", got, len(log))
			}
			if !strings.Contains(n.logged.String(), "events are missing from the topic") {
				t.Errorf("the gap was not logged:\n%s", n.logged)
			}
		})
	}
}

func TestProjector_LostTail_IsNoticedByTheNextWatermark(t *testing.T) {
	const partitions = 2
	log := roster(t, 10)
	n := newNode(t, partitions, log)
	head := uint64(len(log))
	now := time.Now()
	for p, records := range published(n.source.id, log, partitions, byKey(partitions)) {
		last := records[len(records)-1].Event.Position
		n.mustDeliver(records[:len(records)/2]...)
		n.mustDeliver(watermark(n.source.id, p, log[head-1], last, now))
	}
	checkEquals(t, n.model, log)
	if got := n.model.Progress().Position(); got != head {
		t.Errorf("position: got %d, want %d", got, head)
	}
	if got := n.model.Progress().CompleteAt(); !got.Equal(now.UTC().Truncate(0)) && got.UnixMicro() != now.UnixMicro() {
		t.Errorf("complete at %s, want %s", got, now)
	}
}

func TestProjector_HoleInAStreamOfItsOwnCopy_IsReadFromTheSource(t *testing.T) {
	log := roster(t, 1)
	n := newNode(t, 1, log)
	records := published(n.source.id, log, 1, byKey(1))[0]
	n.mustDeliver(records[0])
	// The copy believes to be further than it is: as after a loss in its own files.
	if err := n.model.Update(func(tx *readmodel.Tx) error {
		tx.Progress().Partitions[0].LastEvent = records[1].Event.Position
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	n.mustDeliver(records[2])
	checkEquals(t, n.model, log)
}

func TestProjector_GapWhileTheSourceIsAway_FoldsNothingBehindIt(t *testing.T) {
	log := roster(t, 3)
	n := newNode(t, 1, log)
	records := published(n.source.id, log, 1, byKey(1))[0]
	n.source.away = true
	back := make(chan struct{})
	go func() {
		defer close(back)
		for !strings.Contains(n.logged.String(), "cannot read missing events") {
			time.Sleep(time.Millisecond)
		}
		if _, err := n.model.Lookup(hostname(t, "t2.example")); !errors.Is(err, readmodel.ErrUnknown) {
			t.Errorf("something behind the gap is folded: %v", err)
		}
		n.source.mu.Lock()
		n.source.away = false
		n.source.mu.Unlock()
	}()
	n.mustDeliver(records[0], records[len(records)-1])
	<-back
	checkEquals(t, n.model, log)
}

func TestProjector_TopicOfAnotherHistory_IsToldFromAGap(t *testing.T) {
	log := roster(t, 4)
	for name, disturb := range map[string]func(n *node, records []record) error{
		"an event that the source does not have": func(n *node, records []record) error {
			n.source.log = n.source.log[:4]
			return n.deliver(records[0], records[6])
		},
		"a chain that leaves out what was applied": func(n *node, records []record) error {
			n.mustDeliver(records[:4]...)
			r := records[5]
			r.Previous = records[2].Event.Position
			return n.deliver(r)
		},
		"the source has another identity": func(n *node, records []record) error {
			n.source.id[0] ^= 1
			for i := range records {
				records[i].StoreID = n.source.id
			}
			return n.deliver(records...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, 1, append([]events.Event(nil), log...))
			err := disturb(n, published(n.source.id, log, 1, byKey(1))[0])
			if !errors.Is(err, errDiverged) && !errors.Is(err, errOtherStore) {
				t.Errorf("got %v, want errDiverged or errOtherStore", err)
			}
		})
	}
}

func TestProjector_RecordOfAnotherStore_IsPassedOverWhereTheSourceIsStillOurs(t *testing.T) {
	log := roster(t, 2)
	n := newNode(t, 1, log)
	records := published(n.source.id, log, 1, byKey(1))[0]
	foreign := records[0]
	foreign.StoreID[0] ^= 1
	n.mustDeliver(foreign)
	n.mustDeliver(records...)
	checkEquals(t, n.model, log)
}

func TestProjector_RecordsOfAnotherStoreBetweenOurs_CostUsNoneOfOurs(t *testing.T) {
	log := roster(t, 2)
	n := newNode(t, 1, log)
	n.source.away = true // so that nothing can be healed
	ours := published(n.source.id, log, 1, byKey(1))[0]
	foreign := watermark(uuid.New(), 0, log[1], 2, time.Now())
	batch := []record{foreign, ours[0], ours[1], foreign, foreign, ours[2]}
	n.mustDeliver(append(batch, ours[3:]...)...)
	n.source.away = false
	checkEquals(t, n.model, log)
	part := n.model.Progress().Partitions[0]
	if want := ours[len(ours)-1].Event; part.LastEvent != want.Position || part.LastID != want.ID {
		t.Errorf("last event: got %d %s, want %d %s", part.LastEvent, part.LastID, want.Position, want.ID)
	}
	if part.Offset != int64(len(ours)+3) {
		t.Errorf("offset: got %d, want %d", part.Offset, len(ours)+3)
	}
	if got := strings.Count(n.logged.String(), "passing over"); got != 1 {
		t.Errorf("told %d times, want once:\n%s", got, n.logged)
	}
}

// A store that was restored has the same identity, and other events at the same positions.
func TestProjector_AnotherEventAtTheSamePosition_IsAnotherHistory(t *testing.T) {
	log := roster(t, 2)
	n := newNode(t, 1, log)
	ours := published(n.source.id, log, 1, byKey(1))[0]
	n.mustDeliver(ours[:2]...)
	other := ours[1]
	other.Event.ID = uuid.New()
	if err := n.deliver(other); !errors.Is(err, errDiverged) {
		t.Errorf("got %v, want errDiverged", err)
	}
}

// A topic that was made anew from a restored store may have the next record just where this copy
// looks for it, with the positions that it expects.
func TestProjector_WatermarkOfAnotherPast_IsAnotherHistory(t *testing.T) {
	const partitions = 2
	log := roster(t, 4)
	n := newNode(t, partitions, log)
	head := log[len(log)-1]
	previous := make([]uint64, partitions)
	for p, records := range published(n.source.id, log, partitions, byKey(partitions)) {
		n.mustDeliver(records...)
		previous[p] = records[len(records)-1].Event.Position
	}
	for p := range partitions {
		n.mustDeliver(watermark(n.source.id, p, head, previous[p], time.Now()))
	}
	other := head
	other.ID = uuid.New()
	for p := range partitions { // the partition that the event is in, and one that is not
		if err := n.deliver(watermark(n.source.id, p, other, previous[p], time.Now())); !errors.Is(err, errDiverged) {
			t.Errorf("partition %d: got %v, want errDiverged", p, err)
		}
	}
}

// A topic that was given more partitions: what is new is in those that this node does not read.
func TestProjector_TopicPublishedInMorePartitions_IsAnotherHistory(t *testing.T) {
	log := roster(t, 2)
	n := newNode(t, 1, log)
	ours := published(n.source.id, log, 1, byKey(1))[0]
	n.mustDeliver(ours[:2]...)
	same := watermark(n.source.id, 0, ours[1].Event, ours[1].Event.Position, time.Now())
	same.Partitions = 1
	n.mustDeliver(same)
	more := same
	more.Partitions = 4
	if err := n.deliver(more); !errors.Is(err, errDiverged) {
		t.Errorf("got %v, want errDiverged", err)
	}
}

// Kafka has lost everything: every partition shows a gap at about the same time.
func TestProjector_GapsInAllPartitionsAtOnce_ReadTheLogOnce(t *testing.T) {
	const partitions = 12
	log := roster(t, 2000)
	n := newNode(t, partitions, log)
	byPartition := published(n.source.id, log, partitions, byKey(partitions))
	var last []record
	for p, records := range byPartition {
		n.mustDeliver(records[:1]...) // so that none begins where the other does
		last = append(last, watermark(n.source.id, p, log[len(log)-1], records[len(records)-1].Event.Position, time.Now()))
	}
	n.source.read = 0
	for i := range last { // the furthest first, and in batches of their own
		n.mustDeliver(last[len(last)-1-i])
	}
	checkEquals(t, n.model, log)
	if n.source.read > len(log) {
		t.Errorf("read %d events from the source to heal %d partitions, want each of %d once at most", n.source.read, partitions, len(log))
	}
	if got := n.model.Progress().Position(); got != uint64(len(log)) {
		t.Errorf("position: got %d, want %d", got, len(log))
	}
}

func TestProjector_TopicGoesOnWithWhatWasHealed_IsDuplicateAndNoOtherHistory(t *testing.T) {
	const partitions = 4
	log := roster(t, 50)
	n := newNode(t, partitions, log)
	byPartition := published(n.source.id, log, partitions, byKey(partitions))
	n.mustDeliver(byPartition[0][len(byPartition[0])-1]) // only the last is left of this one
	for _, records := range byPartition[1:] {
		n.mustDeliver(records...)
	}
	checkEquals(t, n.model, log)
	for p, records := range byPartition {
		part := n.model.Progress().Partitions[p]
		if e := records[len(records)-1].Event; part.LastEvent != e.Position || part.LastID != e.ID {
			t.Errorf("partition %d: last event %d %s, want %d %s", p, part.LastEvent, part.LastID, e.Position, e.ID)
		}
	}
}
