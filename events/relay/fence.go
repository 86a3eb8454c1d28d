package relay

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// Of several relays one leads. One that led before and does not know that it no longer does, since
// it was paused, or cut off, may have a batch ready, or on its way. Kafka refuses it from a
// partition once the new leader's producer, whose epoch is newer, has written there. So the first
// record of a session in each partition is a watermark that says nothing new:
//
//	e12 e15 |F| …      the old leader's e18 is refused
//	e12 e15 e18 |F|    it came before the fence, which gets another offset than it must: the
//	                   session ends, and the next look finds e18 behind F
//
// So an event stands in the topic once, whoever was paused for how long. Kafka counts epochs per
// name in 15 bits, and forgets a name that nobody used for a week: a relay that slept through
// either can write what regions then skip (see the package's comment).

// anyTime is the time of a fence. As a watermark's it is true of any log, and tells a fence from
// the others.
var anyTime = time.Unix(0, 0).UTC()

func isFence(r events.Record) bool { return r.IsWatermark() && r.Event.Time.Equal(anyTime) }

// fenceMark is a watermark of what is known of a partition already.
func fenceMark(f found, ids map[uint64]uuid.UUID) mark {
	return mark{position: f.complete, event: ids[f.complete], time: anyTime}
}

// shutOut writes the fence, if the producer is one that fences.
func (l *lane) shutOut(ctx context.Context, producer Producer) error {
	if l.fence.time.IsZero() {
		return nil
	}
	l.build.reset()
	l.build.mark(l.fence, l.previous)
	l.build.records[0].Time = time.Now() // Kafka's retention goes by it.
	began := time.Now()
	offset, err := producer.Produce(ctx, l.partition, l.build.records)
	if err != nil {
		return failed(causeKafka, fmt.Errorf("shut other relays out of partition %d: %w", l.partition, err))
	}
	if err := l.landed(offset, 1); err != nil {
		return err
	}
	l.session.published(nil, true, time.Since(began))
	return nil
}

// landed takes note of where a batch was stored.
func (l *lane) landed(offset int64, records int) error {
	if offset >= 0 && l.next >= 0 && offset != l.next {
		return failed(causeDisturbed, fmt.Errorf("partition %d: a batch was stored at offset %d, not %d: %w (does a second relay run?)",
			l.partition, offset, l.next, errDisturbed))
	}
	l.next = -1
	if offset >= 0 {
		l.next = offset + int64(records)
	}
	return nil
}
