package relay

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
)

// parsed reads all records of a partition.
func parsed(partition []kafka.Record) ([]events.Record, error) {
	out := make([]events.Record, len(partition))
	for i, r := range partition {
		var err error
		if out[i], err = parse(r); err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
		if string(r.Key) != out[i].Key() {
			return nil, fmt.Errorf("record %d has key %q, want %q", i, r.Key, out[i].Key())
		}
	}
	return out, nil
}

// checkTopic says how the topic differs from what it must be: per partition the events of
// the log (up to its end, or a prefix with whole false), each once, in order, chained, and
// watermarks that are true.
func checkTopic(topic [][]kafka.Record, log []events.Event, store uuid.UUID, whole bool) error {
	want := make([][]events.Event, len(topic))
	for _, e := range log {
		p := events.Partition(e.Stream.String(), len(topic))
		want[p] = append(want[p], e)
	}
	for p, raw := range topic {
		records, err := parsed(raw)
		if err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
		if err := checkPartition(p, records, want[p], log, store, whole); err != nil {
			return fmt.Errorf("partition %d: %w\n%s", p, err, drawn(records))
		}
	}
	return nil
}

func checkPartition(p int, records []events.Record, want, log []events.Event, store uuid.UUID, whole bool) error {
	n, previous := 0, uint64(0)
	for i, r := range records {
		if r.StoreID != store {
			return fmt.Errorf("record %d is of store %s, want %s", i, r.StoreID, store)
		}
		if r.Previous != previous {
			return fmt.Errorf("record %d has previous %d, want %d", i, r.Previous, previous)
		}
		if r.IsWatermark() {
			m := mark{position: r.Event.Position, time: r.Event.Time}
			if m.position > 0 {
				m.event = log[m.position-1].ID
			}
			if id := m.id(p); r.Event.ID != id {
				return fmt.Errorf("record %d, a watermark, has ID %s, want %s", i, r.Event.ID, id)
			}
			if n < len(want) && want[n].Position <= r.Event.Position {
				return fmt.Errorf("record %d says complete up to %d, and the event at %d has not come", i, r.Event.Position, want[n].Position)
			}
			continue
		}
		if n == len(want) {
			return fmt.Errorf("record %d (position %d) is one too many", i, r.Event.Position)
		}
		if got := r.Event; !equal(got, want[n]) {
			return fmt.Errorf("record %d is %+v, want %+v", i, got, want[n])
		}
		previous = r.Event.Position
		n++
	}
	if whole && n != len(want) {
		return fmt.Errorf("%d of %d events are there", n, len(want))
	}
	return nil
}

func equal(a, b events.Event) bool {
	same := a.Time.Equal(b.Time) && slices.Equal(a.Data, b.Data)
	a.Time, b.Time, a.Data, b.Data = time.Time{}, time.Time{}, nil, nil
	return same && fmt.Sprint(a) == fmt.Sprint(b)
}

// drawn is a partition as a line: e12 is the event of position 12, W12 a watermark.
func drawn(records []events.Record) string {
	line := ""
	for _, r := range records {
		kind := "e"
		if r.IsWatermark() {
			kind = "W"
		}
		line += fmt.Sprintf(" %s%d(%d)", kind, r.Event.Position, r.Previous)
	}
	return line
}

// readAsRegion reads a partition as a region does: what is at or below the last applied
// position is skipped. It returns what was applied, and fails where the chain breaks.
func readAsRegion(raw []kafka.Record) ([]events.Event, error) {
	records, err := parsed(raw)
	if err != nil {
		return nil, err
	}
	var applied []events.Event
	last, complete := uint64(0), uint64(0)
	for i, r := range records {
		switch {
		case r.Previous > last:
			return nil, fmt.Errorf("record %d: the event at %d is missing:%s", i, r.Previous, drawn(records))
		case r.IsWatermark():
			complete = max(complete, r.Event.Position)
		case r.Event.Position <= last: // a duplicate
		case r.Event.Position <= complete:
			return nil, fmt.Errorf("record %d: position %d comes after a watermark of %d:%s", i, r.Event.Position, complete, drawn(records))
		case r.Previous != last:
			return nil, fmt.Errorf("record %d: previous is %d, and %d was applied last:%s", i, r.Previous, last, drawn(records))
		default:
			applied, last = append(applied, r.Event), r.Event.Position
		}
	}
	return applied, nil
}
