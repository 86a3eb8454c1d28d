package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// Where the fields of a record batch (magic 2) are that make it idempotent. kafka-go encodes
// batches, but knows no producer IDs.
// https://kafka.apache.org/documentation/#recordbatch
const (
	sizePrefix   = 4 // kafka-go's WriteTo puts the size of the batch before it
	crcAt        = sizePrefix + 17
	crcFrom      = sizePrefix + 21
	producerIDAt = sizePrefix + 43
	epochAt      = sizePrefix + 51
	sequenceAt   = sizePrefix + 53
	batchHead    = 61
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// identity is how the broker recognises a repeated batch.
type identity struct {
	producer int64
	epoch    int16
	sequence int32 // of the batch's first record, counted per partition
}

// encodeBatch appends the records as one batch to b, with its size before it, as RawProduce
// wants it.
func encodeBatch(b *bytes.Buffer, records []Record, id identity, now time.Time) error {
	start := b.Len()
	set := protocol.RecordSet{Version: 2, Records: &encodingReader{records: records, now: now}}
	if _, err := set.WriteTo(b); err != nil {
		return fmt.Errorf("encode a batch of %d records: %w", len(records), err)
	}
	batch := b.Bytes()[start:]
	binary.BigEndian.PutUint64(batch[producerIDAt:], uint64(id.producer))
	binary.BigEndian.PutUint16(batch[epochAt:], uint16(id.epoch))
	binary.BigEndian.PutUint32(batch[sequenceAt:], uint32(id.sequence))
	binary.BigEndian.PutUint32(batch[crcAt:], crc32.Checksum(batch[crcFrom:], castagnoli))
	return nil
}

// nextSequence counts as Kafka does: from the largest int32 on to zero.
func nextSequence(sequence int32, records int) int32 {
	return int32((int64(sequence) + int64(records)) & 0x7fffffff)
}

// encodedSize is an upper bound of what a record takes in a batch.
func encodedSize(r *Record) int {
	const perRecord, perField = 1 + 5 + 5 + 10 + 5, 5 // attributes and variable-length numbers
	n := perRecord + 2*perField + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += 2*perField + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// encodingReader gives kafka-go's encoder the records one by one, without an allocation each.
type encodingReader struct {
	records []Record
	now     time.Time
	next    int
	record  protocol.Record
	key     reusableBytes
	value   reusableBytes
}

func (r *encodingReader) ReadRecord() (*protocol.Record, error) {
	if r.next == len(r.records) {
		return nil, io.EOF
	}
	from := &r.records[r.next]
	r.next++
	r.record = protocol.Record{Time: from.Time, Headers: from.Headers}
	if from.Time.IsZero() {
		r.record.Time = r.now
	}
	if from.Key != nil {
		r.key.Reset(from.Key)
		r.record.Key = &r.key
	}
	if from.Value != nil {
		r.value.Reset(from.Value)
		r.record.Value = &r.value
	}
	return &r.record, nil
}

type reusableBytes struct{ bytes.Reader }

func (*reusableBytes) Close() error { return nil }
