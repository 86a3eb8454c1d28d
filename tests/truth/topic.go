package truth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
)

// CheckTopic reads the whole topic as any Kafka client could, and expects each event of the log in
// it once, in its stream's partition and in the order of positions, each record telling the one
// before it. Of those that were published again, each has to be what it was, behind itself.
func (l *Log) CheckTopic(ctx context.Context, cluster *kafka.Cluster, topic string) error {
	held, err := cluster.Offsets(ctx, topic)
	if err != nil {
		return err
	}
	var faults []error
	seen := make(map[uint64]bool, len(l.Events))
	for p := range held {
		if err := l.readPartition(ctx, cluster, topic, p, len(held), held[p], seen); err != nil {
			faults = append(faults, fmt.Errorf("partition %d: %w", p, err))
		}
	}
	if len(seen) != len(l.Events) {
		faults = append(faults, fmt.Errorf("the topic holds %d events, the log %d", len(seen), len(l.Events)))
	}
	return errors.Join(faults...)
}

func (l *Log) readPartition(ctx context.Context, cluster *kafka.Cluster, topic string, partition, partitions int, held kafka.Offsets, seen map[uint64]bool) error {
	if held.First != 0 {
		return fmt.Errorf("it begins at offset %d: retention cannot have come to it", held.First)
	}
	var faults []error
	last := uint64(0) // the position of the last event
	for offset := int64(0); offset < held.End; {
		records, _, err := cluster.Fetch(ctx, topic, partition, offset, time.Second, 1<<20)
		if err != nil {
			return err
		}
		for _, r := range records {
			if r.Offset != offset {
				faults = append(faults, fmt.Errorf("offset %d follows %d", r.Offset, offset-1))
			}
			offset = r.Offset + 1
			record, err := l.checkRecord(r, partition, partitions, last)
			if err != nil {
				faults = append(faults, fmt.Errorf("offset %d: %w", r.Offset, err))
				continue
			}
			if !record.IsWatermark() && record.Replayed == 0 {
				last = record.Event.Position
				seen[last] = true
			}
		}
	}
	return errors.Join(faults[:min(len(faults), 5)]...)
}

// isFence tells the first record of a relay that came to lead from other watermarks: it is of no time.
func isFence(r events.Record) bool { return r.IsWatermark() && r.Event.Time.Equal(time.Unix(0, 0)) }

// checkRecord expects a record that follows an event at position last.
func (l *Log) checkRecord(r kafka.Record, partition, partitions int, last uint64) (events.Record, error) {
	record, err := events.ParseRecord(func(name string) string {
		v, _ := r.Header(name)
		return v
	}, r.Value)
	if err != nil {
		return record, err
	}
	position := record.Event.Position
	switch {
	case record.StoreID.String() != l.StoreID:
		return record, fmt.Errorf("it is of store %s", record.StoreID)
	case record.Replayed > 0 && (position > last || record.Replayed < last):
		return record, fmt.Errorf("position %d, published again, says that the partition was complete up to %d, behind position %d", position, record.Replayed, last)
	case record.Replayed > 0:
	case isFence(record) && record.Previous < last && position < last:
		// A relay that comes to lead writes what it found. Where the one before it wrote meanwhile, it
		// looks again, and what it wrote first stays where it is.
		return record, nil
	case record.Previous != last:
		return record, fmt.Errorf("position %d says that %d is before it, and %d is", position, record.Previous, last)
	case record.IsWatermark():
		if position < last {
			return record, fmt.Errorf("a watermark of %d behind position %d", position, last)
		}
		return record, nil
	case position <= last:
		return record, fmt.Errorf("position %d stands behind %d: twice, or out of order", position, last)
	case position > l.Head():
		return record, fmt.Errorf("position %d, where the log ends at %d", position, l.Head())
	}
	e, got := l.Events[position-1], record.Event
	same := got.ID == e.ID && got.Stream == e.Stream && got.Version == e.Version && got.Type == e.Type && got.Time.Equal(e.Time) &&
		got.Actor == e.Actor && got.Reason == e.Reason && bytes.Equal(got.Data, e.Data) &&
		got.CorrelationID == e.CorrelationID && got.CausationID == e.CausationID && got.Traceparent == e.Traceparent
	if !same {
		return record, fmt.Errorf("position %d is\n%+v\nand in the log\n%+v", position, got, e)
	}
	if key := e.Stream.String(); string(r.Key) != key || events.Partition(key, partitions) != partition {
		return record, fmt.Errorf("position %d of %s has the key %q in partition %d", position, key, r.Key, partition)
	}
	return record, nil
}
