package kafka

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

const (
	// UUIDHeader is the record header that carries a Watermill message's UUID. It is the one
	// that Watermill's other Kafka adapter uses.
	UUIDHeader = "_watermill_message_uuid"

	// KeyMetadata is the message metadata that becomes the record's key, and so decides its
	// partition, unless PublisherConfig.KeyFunc says otherwise.
	KeyMetadata = "kafka_key"

	// idHeader names the message when the record is a CloudEvent that Watermill did not write.
	idHeader = "ce_id"
)

// recordOf turns a message into a record: payload, metadata as headers, the UUID as one more.
func recordOf(msg *message.Message, key string) Record {
	headers := make([]Header, 0, len(msg.Metadata)+1)
	headers = append(headers, Header{Key: UUIDHeader, Value: []byte(msg.UUID)})
	for k, v := range msg.Metadata {
		headers = append(headers, Header{Key: k, Value: []byte(v)})
	}
	return Record{Key: []byte(key), Value: msg.Payload, Headers: headers}
}

// messageOf turns a record into a message. Of headers with the same name the last one counts.
func messageOf(d *delivery) *message.Message {
	record := d.record
	metadata := make(message.Metadata, len(record.Headers))
	uuid := ""
	values := headerValues(record.Headers)
	for i := range record.Headers {
		h := &record.Headers[i]
		value := values[:len(h.Value)]
		values = values[len(h.Value):]
		if h.Key == UUIDHeader {
			uuid = value
			continue
		}
		metadata[h.Key] = value
	}
	if uuid == "" {
		uuid = metadata[idHeader]
	}
	if uuid == "" {
		uuid = d.topic + "-" + strconv.Itoa(d.partition) + "-" + strconv.FormatInt(record.Offset, 10)
	}
	msg := message.NewMessage(uuid, record.Value)
	msg.Metadata = metadata
	msg.SetContext(d)
	return msg
}

// headerValues is all values one after the other, since one string costs less than a dozen.
func headerValues(headers []Header) string {
	size := 0
	for i := range headers {
		size += len(headers[i].Value)
	}
	var all strings.Builder
	all.Grow(size)
	for i := range headers {
		all.Write(headers[i].Value)
	}
	return all.String()
}

// delivery is the context of a delivered message. It knows where the message came from, and ends
// with its message or with its subscription.
type delivery struct {
	context.Context // the subscription's
	topic           string
	partition       int
	end             int64
	record          *Record

	mu     sync.Mutex
	over   bool            // the message's time is over
	own    context.Context // made for who asks; most consumers never do, and it costs more than all else here
	cancel context.CancelFunc
}

// finish ends the context.
func (d *delivery) finish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.cancel != nil {
		d.cancel()
	}
}

func (d *delivery) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.own == nil {
		d.own, d.cancel = context.WithCancel(d.Context)
		if d.over {
			d.cancel()
		}
	}
	return d.own.Done()
}

func (d *delivery) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return context.Canceled
	}
	return d.Context.Err()
}

type deliveryKey struct{}

func (d *delivery) Value(key any) any {
	if _, ok := key.(deliveryKey); ok {
		return d
	}
	return d.Context.Value(key)
}

func deliveryFrom(ctx context.Context) (*delivery, bool) {
	d, ok := ctx.Value(deliveryKey{}).(*delivery)
	return d, ok
}

// PartitionFromContext returns the partition that the message with this context came from.
// Like its siblings it answers false when the context is not of a Subscriber's message.
func PartitionFromContext(ctx context.Context) (int, bool) {
	d, ok := deliveryFrom(ctx)
	if !ok {
		return 0, false
	}
	return d.partition, true
}

// OffsetFromContext returns the offset of the message's record.
func OffsetFromContext(ctx context.Context) (int64, bool) {
	d, ok := deliveryFrom(ctx)
	if !ok {
		return 0, false
	}
	return d.record.Offset, true
}

// EndFromContext returns the end of the partition when the record was fetched: the offset of
// the record that was to come next. The distance is how far the reader is behind.
func EndFromContext(ctx context.Context) (int64, bool) {
	d, ok := deliveryFrom(ctx)
	if !ok {
		return 0, false
	}
	return d.end, true
}

// TimeFromContext returns the record's time.
func TimeFromContext(ctx context.Context) (time.Time, bool) {
	d, ok := deliveryFrom(ctx)
	if !ok {
		return time.Time{}, false
	}
	return d.record.Time, true
}

// KeyFromContext returns the record's key.
func KeyFromContext(ctx context.Context) (string, bool) {
	d, ok := deliveryFrom(ctx)
	if !ok {
		return "", false
	}
	return string(d.record.Key), true
}
