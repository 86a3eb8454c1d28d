package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// ErrBroken: an earlier Produce to this partition failed, and nothing of this one was sent.
// Make a new Producer, after having read what the partition holds.
var ErrBroken = errors.New("the producer is broken")

// ErrFenced: another Producer of the same name was made, and has written to the partition. Whoever
// is fenced has to find out whether it still is the one that may write, before it makes another.
var ErrFenced = errors.New("another producer has taken over")

const (
	// fencingTime is how long a producer that fences is tried for.
	fencingTime = 5 * time.Second

	// maxBatch bounds one request, in bytes. Larger calls are sent as several batches.
	maxBatch = 1 << 20

	// vanishedAfter is how long the pause between two tries has become before a topic that is said
	// not to exist is looked for.
	vanishedAfter = 16 * firstPause

	// settle is how long a request under way may take to answer after the caller's context
	// has ended. Knowing the outcome is worth the wait: it leaves the Producer usable, and
	// no request behind that could arrive after the next Producer has started.
	settle = 500 * time.Millisecond
)

// Producer writes records to the partitions of one topic, idempotently: with acks=all, a
// producer ID from the cluster and a sequence number per partition, so that a batch can be
// repeated when its answer was lost, and is stored once.
//
// Different partitions may be written to concurrently. Calls for the same partition are
// done one after the other, each with one request in flight.
//
// The contract on errors, per partition:
//
//   - Nil: all records are stored, in order, and acknowledged by all in-sync replicas.
//   - Transient trouble (connections, leaders, time-outs) is no error: the same batch with
//     the same sequence number is sent again until ctx ends.
//   - ErrUnknownTopic: the topic is no more. The partition is broken, as after any other error.
//   - Any other error, or the end of ctx while a request is unanswered: a prefix of the
//     records may be stored. The partition is broken from then on, and every later Produce
//     to it is refused with ErrBroken without sending anything, so that nothing is ever
//     stored past a hole. The way on is to read the last record of the partition
//     (Cluster.Last), to make a new Producer, and to produce what comes after that record.
//   - ctx had ended before anything was sent: nothing is stored, and nothing is broken.
//
// Being fenced (another producer took over the ID, or the broker no longer knows it, or
// finds a gap in the sequence) is such an error. It is not retried with another ID, for
// then the broker could no longer recognise a repeated batch.
//
// What no producer can rule out: a request that was given up on may still be on its way to
// the broker when the next Producer reads the last record, and be stored after that. Produce
// waits half a second for its answer before it gives up, which leaves only brokers that hang
// and networks that delay. A reader who must not take a record twice looks at its position.
type Producer struct {
	cluster *Cluster
	topic   string
	id      int64
	epoch   int16
	fences  bool

	mu    sync.Mutex
	lanes map[int]*lane
}

// lane is the writing end of one partition. Whoever holds turn may use the rest.
type lane struct {
	turn     chan struct{}
	sequence int32
	broken   error
	buffer   *bytes.Buffer
}

// NewProducer asks the cluster for a producer ID. It waits until the cluster answers or ctx
// ends. A Producer holds no resources of its own, and so has no Close.
func (c *Cluster) NewProducer(ctx context.Context, topic string) (*Producer, error) {
	return c.newProducer(ctx, topic, "")
}

// NewFencedProducer is NewProducer, but for one that shuts out all those before it that were made
// with the same name: in each partition, from the moment that it has written to it, their Produce
// is refused with ErrFenced. (The name is Kafka's transactional ID, which has a producer ID and
// an epoch that grows. Partitions refuse an epoch below the newest that they have seen, outside
// of transactions too: measured on Apache Kafka 4.1.)
//
// It takes a cluster that can do transactions, and the right to. Where that fails it warns, and
// returns a producer that does not fence: Fences tells.
func (c *Cluster) NewFencedProducer(ctx context.Context, topic, name string) (*Producer, error) {
	limited, cancel := context.WithTimeout(ctx, fencingTime)
	defer cancel()
	p, err := c.newProducer(limited, topic, name)
	if err == nil || ctx.Err() != nil {
		return p, err
	}
	c.log.Warn("no transactional ID is to be had from kafka: going on without, so that a relay which was thought dead may write an event twice (regions skip it);"+
		" it takes WRITE of TransactionalId "+name+" (kafka-acls.sh), and as many brokers as transaction.state.log.replication.factor", "err", err)
	return c.NewProducer(ctx, topic)
}

// Fences tells whether the Producer shuts out those before it.
func (p *Producer) Fences() bool { return p.fences }

func (c *Cluster) newProducer(ctx context.Context, topic, name string) (*Producer, error) {
	p := &Producer{cluster: c, topic: topic, fences: name != "", lanes: make(map[int]*lane)}
	err := c.retry(ctx, "get a producer ID", func(ctx context.Context, client *kafka.Client) error {
		// -1 asks for a new ID. kafka-go would send 0, which is one. The time-out is for
		// transactions, of which there are none.
		answer, err := client.InitProducerID(ctx, &kafka.InitProducerIDRequest{
			TransactionalID: name, TransactionTimeoutMs: int(time.Minute.Milliseconds()), ProducerID: -1, ProducerEpoch: -1,
		})
		if err != nil {
			return err
		}
		if answer.Error != nil { // A young broker is still loading: transient.
			return answer.Error
		}
		p.id, p.epoch = int64(answer.Producer.ProducerID), int16(answer.Producer.ProducerEpoch)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Producer) lane(partition int) *lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[partition]
	if l == nil {
		l = &lane{turn: make(chan struct{}, 1)}
		p.lanes[partition] = l
	}
	return l
}

// Produce stores the records, in order, and returns the offset of the first. (The others
// follow it without a gap as long as nobody else writes to the partition.) See Producer for
// what an error means. The records must not be changed until it returns.
func (p *Producer) Produce(ctx context.Context, partition int, records []Record) (int64, error) {
	l := p.lane(partition)
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return 0, fmt.Errorf("produce to %s/%d: %w", p.topic, partition, ctx.Err())
	}
	if l.broken != nil {
		return 0, fmt.Errorf("produce to %s/%d: %w since: %w", p.topic, partition, ErrBroken, l.broken)
	}
	base := int64(-1)
	for len(records) > 0 {
		if base < 0 && ctx.Err() != nil { // Nothing was sent.
			return 0, fmt.Errorf("produce to %s/%d: %w", p.topic, partition, ctx.Err())
		}
		n := fitting(records)
		offset, err := p.produceBatch(ctx, l, partition, records[:n])
		if err != nil {
			l.broken = err
			return 0, fmt.Errorf("produce to %s/%d: %w", p.topic, partition, err)
		}
		if base < 0 {
			base = offset
		}
		records = records[n:]
	}
	return base, nil
}

// fitting returns how many of the records go into one batch.
func fitting(records []Record) int {
	size := batchHead
	for i := range records {
		size += encodedSize(&records[i])
		if size > maxBatch && i > 0 {
			return i
		}
	}
	return len(records)
}

func (p *Producer) produceBatch(ctx context.Context, l *lane, partition int, records []Record) (int64, error) {
	if l.buffer == nil {
		l.buffer = new(bytes.Buffer)
	}
	l.buffer.Reset()
	id := identity{producer: p.id, epoch: p.epoch, sequence: l.sequence}
	if err := encodeBatch(l.buffer, records, id, time.Now()); err != nil {
		return 0, err
	}
	batch := l.buffer.Bytes()
	what := "produce to " + p.topic
	offset := int64(0)
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := p.cluster.try(ctx, func(ctx context.Context, client *kafka.Client) (err error) {
			offset, err = p.send(ctx, client, partition, batch)
			return err
		})
		var again *tryAgain
		switch {
		case err == nil:
			l.sequence = nextSequence(l.sequence, len(records))
			p.cluster.answered(what, pause)
			return offset, nil
		case ctx.Err() != nil:
			return 0, fmt.Errorf("%w, and it is not known whether the records are stored (last error: %w)", ctx.Err(), err)
		case !errors.As(err, &again):
			return 0, err
		}
		// kafka-go may go on reading the batch for a request that was given up on.
		l.buffer = nil
		if err := p.cluster.pause(ctx, what, again, pause); err != nil {
			return 0, fmt.Errorf("%w, and it is not known whether the records are stored", err)
		}
		if pause >= vanishedAfter && topicless(again) {
			// Deleted, and not merely unknown to a broker as yet. Whoever makes it again begins anew.
			if _, err := p.cluster.Partitions(ctx, p.topic); errors.Is(err, ErrUnknownTopic) {
				return 0, err
			}
		}
	}
}

func topicless(err error) bool {
	return errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition)
}

// send sends the batch once. It outlives ctx by settle.
func (p *Producer) send(ctx context.Context, client *kafka.Client, partition int, batch []byte) (int64, error) {
	alive, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(settle, cancel) })
	defer stop()
	answer, err := client.RawProduce(alive, &kafka.RawProduceRequest{
		Topic: p.topic, Partition: partition, RequiredAcks: kafka.RequireAll,
		RawRecords: protocol.RawRecordSet{Reader: bytes.NewReader(batch)},
	})
	switch {
	case err != nil:
		return 0, err
	case errors.Is(answer.Error, kafka.DuplicateSequenceNumber):
		return -1, nil // Stored by an earlier try, so long ago that the broker forgot where.
	case errors.Is(answer.Error, kafka.InvalidProducerEpoch), errors.Is(answer.Error, kafka.ProducerFenced):
		return 0, fmt.Errorf("%w: %w", ErrFenced, answer.Error)
	case answer.Error != nil:
		return 0, answer.Error
	default:
		return answer.BaseOffset, nil
	}
}
