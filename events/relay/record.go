package relay

import (
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
)

// mark is what a watermark says: at time the log ended at or before position, and every event
// of the partition up to position stands before it.
type mark struct {
	position uint64
	event    uuid.UUID // the ID of the event at position; nil at position 0
	time     time.Time // zero: no mark
}

func (m mark) id(partition int) uuid.UUID {
	return events.WatermarkID(m.event, m.position, partition, m.time)
}

// truncate cuts a watermark's time to what its ID and the header both keep. It cuts
// downwards, so that what the mark says stays true.
func truncate(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// builder makes the Kafka records of one batch in memory that it uses again for the next.
type builder struct {
	storeID    uuid.UUID
	partition  int
	partitions int // of the topic
	records    []kafka.Record
	headers    []kafka.Header
	bytes      []byte // keys and header values; slices of it stay valid when it grows
}

func (b *builder) reset() {
	// After an import, which fills it, the memory of each partition's largest batch would
	// stay in use for ever.
	if small := 64 * headersAbout; len(b.headers) < small && cap(b.headers) > 4*small {
		b.records, b.headers, b.bytes = nil, nil, nil
	}
	clear(b.records) // they hold the events' data
	b.records, b.headers, b.bytes = b.records[:0], b.headers[:0], b.bytes[:0]
}

func (b *builder) add(r events.Record) {
	r.StoreID = b.storeID
	first := len(b.headers)
	r.Headers(func(name, value string) {
		b.headers = append(b.headers, kafka.Header{Key: name, Value: b.keep(value)})
	})
	record := kafka.Record{
		Value:   r.Event.Data,
		Headers: b.headers[first:len(b.headers):len(b.headers)],
		Time:    keptFrom(r.Event.Time),
	}
	if !r.IsWatermark() {
		record.Key = b.keep(r.Key())
	}
	b.records = append(b.records, record)
}

func (b *builder) mark(m mark, previous uint64) {
	b.add(events.Record{
		Event:    events.Event{ID: m.id(b.partition), Type: events.TypeWatermark, Position: m.position, Time: m.time},
		Previous: previous, Partitions: b.partitions,
	})
}

func (b *builder) keep(s string) []byte {
	from := len(b.bytes)
	b.bytes = append(b.bytes, s...)
	return b.bytes[from:len(b.bytes):len(b.bytes)]
}

// keptFrom is the time of a record for Kafka, whose retention goes by it: an old event that is
// published only now, as after Kafka lost its log, would be removed at once. What the event
// says of itself stands in its headers.
func keptFrom(happened time.Time) time.Time {
	if now := time.Now(); now.Sub(happened) > time.Hour {
		return now
	}
	return happened
}

// parse reads a record of the topic.
func parse(r kafka.Record) (events.Record, error) {
	return events.ParseRecord(func(name string) string {
		value, _ := r.Header(name)
		return value
	}, r.Value)
}

// headersAbout is how many headers a record has, about.
const headersAbout = 16

// recordOverhead is what headers and key take at most, nearly.
const recordOverhead = 768

// weight is about how many bytes an event takes in memory and in a batch.
func weight(e *events.Event) int { return min(recordOverhead+len(e.Data), pendingBytes) }

// fitting is how many of the events weigh no more than size together; at least one.
func fitting(all []events.Event, size int) int {
	for n := range all {
		size -= weight(&all[n])
		if size < 0 && n > 0 {
			return n
		}
	}
	return len(all)
}
