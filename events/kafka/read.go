package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Header is a record's header: a Key and a Value.
type Header = kafka.Header

// Record is one record of a partition. A nil Key or Value is Kafka's null.
type Record struct {
	Offset  int64 // given by the broker; ignored when producing
	Key     []byte
	Value   []byte
	Headers []Header
	Time    time.Time // to the millisecond; the time of producing when zero
}

// Header returns the value of the first header of that name.
func (r Record) Header(name string) (string, bool) {
	for i := range r.Headers {
		if r.Headers[i].Key == name {
			return string(r.Headers[i].Value), true
		}
	}
	return "", false
}

// Offsets is what a partition holds: the records from First up to, not including, End.
type Offsets struct{ First, End int64 }

// quickWait is the long poll of a read that expects its records to be there. (kafka-go takes
// zero for its default of half a second.)
const quickWait = time.Millisecond

// Offsets returns what each partition of the topic holds, or ErrUnknownTopic.
func (c *Cluster) Offsets(ctx context.Context, topic string) (map[int]Offsets, error) {
	n, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	wanted := make([]kafka.OffsetRequest, 0, 2*n)
	for p := range n {
		wanted = append(wanted, kafka.FirstOffsetOf(p), kafka.LastOffsetOf(p))
	}
	found := make(map[int]Offsets, n)
	err = c.retry(ctx, "read the offsets of topic "+topic, func(ctx context.Context, client *kafka.Client) error {
		answer, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
			Topics: map[string][]kafka.OffsetRequest{topic: wanted},
		})
		if err != nil {
			return fewer(ctx, client, topic, n-1, err)
		}
		for _, p := range answer.Topics[topic] {
			if errors.Is(p.Error, kafka.Unknown) { // kafka-go's word for one of its requests that failed
				return fmt.Errorf("partition %d: no answer", p.Partition)
			}
			if p.Error != nil {
				return fewer(ctx, client, topic, n-1, fmt.Errorf("partition %d: %w", p.Partition, p.Error))
			}
			found[p.Partition] = Offsets{First: p.FirstOffset, End: p.LastOffset}
		}
		if len(found) != n {
			return fmt.Errorf("the brokers answered for %d of %d partitions", len(found), n)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Fetch reads records from offset on: at least one, unless none comes within maxWait, and
// about maxBytes of them (Kafka answers whole batches). It also returns the partition's end,
// the offset of the next record to be stored. Moved leaders and lost connections are waited
// out until ctx ends. ErrOffsetOutOfRange when the log does not hold offset (its end counts
// as held), ErrUnknownPartition when the topic, made again meanwhile, has fewer partitions.
func (c *Cluster) Fetch(ctx context.Context, topic string, partition int, offset int64, maxWait time.Duration, maxBytes int) ([]Record, int64, error) {
	if offset < 0 {
		return nil, 0, fmt.Errorf("fetch %s/%d at %d: %w", topic, partition, offset, ErrOffsetOutOfRange)
	}
	var records []Record
	var end int64
	for {
		next := offset
		err := c.retry(ctx, "fetch from "+topic, func(ctx context.Context, client *kafka.Client) (err error) {
			records, next, end, err = fetchOnce(ctx, client, &kafka.FetchRequest{
				Topic: topic, Partition: partition, Offset: offset,
				MinBytes: 1, MaxBytes: int64(maxBytes), MaxWait: max(maxWait, quickWait),
			})
			return fewer(ctx, client, topic, partition, err)
		})
		if err != nil {
			return nil, 0, fmt.Errorf("partition %d at offset %d: %w", partition, offset, err)
		}
		if len(records) > 0 || next == offset {
			return records, end, nil
		}
		offset = next // Only marks of a transaction stood there.
	}
}

// fewer makes a lasting error of a broker's not knowing the last partition that is asked for, where it knows the
// topic: that was deleted, and made again with fewer. Else err is returned as it is.
func fewer(ctx context.Context, client *kafka.Client, topic string, last int, err error) error {
	if !errors.Is(err, kafka.UnknownTopicOrPartition) && !errors.Is(err, protocol.ErrNoPartition) {
		return err
	}
	answer, unanswered := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if unanswered != nil || len(answer.Topics) != 1 || answer.Topics[0].Error != nil {
		return err
	}
	if n := len(answer.Topics[0].Partitions); n > 0 && last >= n {
		return fmt.Errorf("%w: topic %s has %d of them, and no %d", ErrUnknownPartition, topic, n, last)
	}
	return err
}

// fetchOnce also returns the offset to go on from, which lies beyond the last record when
// marks of a transaction follow it.
func fetchOnce(ctx context.Context, client *kafka.Client, request *kafka.FetchRequest) (records []Record, next, end int64, err error) {
	answer, err := client.Fetch(ctx, request)
	if err != nil {
		return nil, 0, 0, err
	}
	if errors.Is(answer.Error, kafka.OffsetOutOfRange) {
		return nil, 0, 0, fmt.Errorf("%w (the log is %d to %d)", ErrOffsetOutOfRange, answer.LogStartOffset, answer.HighWatermark)
	}
	if answer.Error != nil {
		return nil, 0, 0, answer.Error
	}
	next = request.Offset
	batches := []protocol.RecordReader{answer.Records}
	if stream, ok := answer.Records.(*protocol.RecordStream); ok {
		batches = stream.Records
	}
	var memory slab
	if there := answer.HighWatermark - request.Offset; there > 0 {
		records = make([]Record, 0, min(there, request.MaxBytes/guessedSize+1))
	}
	for _, batch := range batches {
		_, control := batch.(*protocol.ControlBatch)
		for {
			r, err := batch.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, 0, 0, fmt.Errorf("read a record after offset %d: %w", next-1, err)
			}
			key, err := memory.take(r.Key)
			if err != nil {
				return nil, 0, 0, fmt.Errorf("read the key at offset %d: %w", r.Offset, err)
			}
			value, err := memory.take(r.Value)
			if err != nil {
				return nil, 0, 0, fmt.Errorf("read the value at offset %d: %w", r.Offset, err)
			}
			if r.Offset < request.Offset { // A batch is answered whole, from its own start.
				continue
			}
			next = r.Offset + 1
			if !control {
				records = append(records, Record{Offset: r.Offset, Key: key, Value: value, Headers: r.Headers, Time: r.Time})
			}
		}
	}
	return records, next, answer.HighWatermark, nil
}

// guessedSize is a record's on the wire, roughly, to reserve memory by. A wrong guess costs a copy.
const guessedSize = 512

// slab hands out memory for many small keys and values from few allocations.
type slab struct{ free []byte }

const slabSize = 32 << 10

// take copies b out of kafka-go's pooled pages and gives those back.
func (s *slab) take(b protocol.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	defer b.Close() // Gives the pages back, and has no error to tell.
	n := b.Len()
	var to []byte
	switch {
	case n > slabSize/4:
		to = make([]byte, n)
	default:
		if n > len(s.free) {
			s.free = make([]byte, slabSize)
		}
		to, s.free = s.free[:n:n], s.free[n:]
	}
	_, err := io.ReadFull(b, to)
	return to, err
}

// Last returns the last record of the partition; false when it holds none, which is also so
// when retention has removed all that it ever held.
func (c *Cluster) Last(ctx context.Context, topic string, partition int) (Record, bool, error) {
	return c.LastBefore(ctx, topic, partition, math.MaxInt64)
}

// LastBefore returns the last record of the partition with an offset below before; false when it
// holds none.
func (c *Cluster) LastBefore(ctx context.Context, topic string, partition int, before int64) (Record, bool, error) {
	all, err := c.Offsets(ctx, topic)
	if err != nil {
		return Record{}, false, err
	}
	held, ok := all[partition]
	if !ok {
		return Record{}, false, fmt.Errorf("topic %s has %d partitions, and no %d", topic, len(all), partition)
	}
	// One step usually. Marks of a transaction, which nobody should write here, take more.
	for at := min(held.End, before) - 1; at >= held.First; at-- {
		records, _, err := c.Fetch(ctx, topic, partition, at, quickWait, 1)
		if errors.Is(err, ErrOffsetOutOfRange) {
			return Record{}, false, nil // Retention went past it meanwhile.
		}
		if err != nil {
			return Record{}, false, err
		}
		// A batch is answered whole, so that later ones may come with it.
		for _, r := range slices.Backward(records) {
			if r.Offset < before {
				return r, true, nil
			}
		}
	}
	return Record{}, false, nil
}

// Search returns the offset of the first record for which holds is true, or the partition's
// end when there is none. Once holds is true for a record it has to be true for all that
// follow. It reads about log2(n) batches, never the whole partition.
func (c *Cluster) Search(ctx context.Context, topic string, partition int, holds func(Record) bool) (int64, error) {
	for {
		offset, err := c.search(ctx, topic, partition, holds)
		if !errors.Is(err, ErrOffsetOutOfRange) {
			return offset, err
		}
		// Retention moved the start of the log during the search. Look again.
		if ctx.Err() != nil {
			return 0, fmt.Errorf("search %s/%d: %w", topic, partition, ctx.Err())
		}
	}
}

func (c *Cluster) search(ctx context.Context, topic string, partition int, holds func(Record) bool) (int64, error) {
	all, err := c.Offsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	held, ok := all[partition]
	if !ok {
		return 0, fmt.Errorf("topic %s has %d partitions, and no %d", topic, len(all), partition)
	}
	// Invariant: holds is false for the records below low, and true for those from high on.
	low, high := held.First, held.End
	for low < high {
		middle := low + (high-low)/2
		records, _, err := c.Fetch(ctx, topic, partition, middle, quickWait, 1)
		if err != nil {
			return 0, err
		}
		if len(records) == 0 || records[0].Offset >= high {
			high = middle // No record stands between middle and high.
			continue
		}
		// The answer is the rest of a batch: all of it narrows the search.
		switch i := sort.Search(len(records), func(i int) bool { return holds(records[i]) }); i {
		case 0:
			high = middle
		case len(records):
			low = records[len(records)-1].Offset + 1
		default:
			return records[i].Offset, nil
		}
	}
	return low, nil
}
