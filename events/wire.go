package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// ErrBadRecord says that a record of the topic is not one of ours, or is damaged. Retrying
// the same record does not help.
var ErrBadRecord = errors.New("not a record of this topic")

// TypeWatermark is the type of the records that carry no event but say how far a partition
// is complete.
const TypeWatermark Type = "tenantry.watermark.v1"

// The header names of a record: CloudEvents 1.0 in binary mode, with extensions of our own.
const (
	HeaderID            = "ce_id"
	HeaderSpecVersion   = "ce_specversion"
	HeaderSource        = "ce_source"
	HeaderType          = "ce_type"
	HeaderSubject       = "ce_subject"
	HeaderTime          = "ce_time"
	HeaderContentType   = "content-type"
	HeaderPosition      = "ce_position"
	HeaderVersion       = "ce_version"
	HeaderPrevious      = "ce_previous"
	HeaderStoreID       = "ce_storeid"
	HeaderReplayed      = "ce_replayed"
	HeaderPartitions    = "ce_partitions"
	HeaderActor         = "ce_actor"
	HeaderReason        = "ce_reason"
	HeaderCorrelationID = "ce_correlationid"
	HeaderCausationID   = "ce_causationid"
	HeaderTraceparent   = "ce_traceparent"
)

// Record is what one Kafka record of the topic says: an event, or, where Event.Stream is
// zero, a watermark.
type Record struct {
	// Event is the event with its position. Of a watermark only ID, Type, Time and Position
	// are set: at Time the store's log ended at Position, and every event of this partition
	// up to there stands before this record.
	Event Event
	// Previous is the position of the event before this record in the same partition; 0: none.
	// It makes a lost record show.
	Previous uint64
	// StoreID is the history that the event is part of.
	StoreID uuid.UUID
	// Replayed is of an event that was published again, out of its place, for those who have lost
	// it: its partition was complete up to this position before. All else is as it was the first
	// time. 0: the record is in its place.
	Replayed uint64
	// Partitions is of a watermark: in how many the topic is published, which decides what a
	// partition holds. 0: not told.
	Partitions int
}

// Reached is how far its partition is with this record: it never goes back within a partition,
// wherever events were published again.
func (r Record) Reached() uint64 { return max(r.Event.Position, r.Replayed) }

// IsWatermark tells whether the record carries no event.
func (r Record) IsWatermark() bool { return r.Event.Stream.IsZero() }

// Key is the Kafka key: the stream, so that one stream's events keep their order; "" for a watermark.
func (r Record) Key() string { return r.Event.Stream.String() }

// watermarks is the namespace of the watermarks' IDs.
var watermarks = uuid.MustParse("c0a5d1f2-0f5b-4a0e-9d53-6f1f4a9b7e35")

// WatermarkID is the ID of a watermark: it is derived from that of the event that the watermark's
// position names (none at position 0), so that whoever finds it can tell whether its own history has
// that very event there. A store that was restored to an earlier past, and has grown since, has
// another. Never to be changed: the watermarks of every release are read by every later one.
func WatermarkID(event uuid.UUID, position uint64, partition int, at time.Time) uuid.UUID {
	var name [16 + 8 + 8 + 8]byte
	copy(name[:], event[:])
	binary.BigEndian.PutUint64(name[16:], position)
	binary.BigEndian.PutUint64(name[24:], uint64(partition))
	binary.BigEndian.PutUint64(name[32:], uint64(at.UnixMicro()))
	return uuid.NewSHA1(watermarks, name[:])
}

// Headers calls put with each header of the record, in a fixed order.
func (r Record) Headers(put func(name, value string)) {
	e := r.Event
	put(HeaderSpecVersion, "1.0")
	put(HeaderID, e.ID.String())
	put(HeaderSource, "/tenantry/"+r.StoreID.String())
	put(HeaderType, string(e.Type))
	put(HeaderTime, e.Time.Format(time.RFC3339Nano))
	put(HeaderPosition, strconv.FormatUint(e.Position, 10))
	put(HeaderPrevious, strconv.FormatUint(r.Previous, 10))
	put(HeaderStoreID, r.StoreID.String())
	if r.IsWatermark() {
		if r.Partitions > 0 {
			put(HeaderPartitions, strconv.Itoa(r.Partitions))
		}
		return
	}
	put(HeaderContentType, "application/json")
	put(HeaderSubject, e.Stream.String())
	put(HeaderVersion, strconv.FormatUint(e.Version, 10))
	if r.Replayed > 0 {
		put(HeaderReplayed, strconv.FormatUint(r.Replayed, 10))
	}
	for _, h := range [...]struct{ name, value string }{
		{HeaderActor, e.Actor},
		{HeaderReason, e.Reason},
		{HeaderCorrelationID, e.CorrelationID},
		{HeaderCausationID, e.CausationID},
		{HeaderTraceparent, e.Traceparent},
	} {
		if h.value != "" {
			put(h.name, h.value)
		}
	}
}

// ParseRecord reads a record back from its headers and value; get returns "" for a header
// that is not there. The value is kept, not copied. The error is an [ErrBadRecord].
func ParseRecord(get func(name string) string, value []byte) (Record, error) {
	var r Record
	var err error
	fail := func(name string, err error) (Record, error) {
		return Record{}, fmt.Errorf("%w: header %s: %w", ErrBadRecord, name, err)
	}
	r.Event.Type = Type(get(HeaderType))
	if r.Event.ID, err = uuid.Parse(get(HeaderID)); err != nil {
		return fail(HeaderID, err)
	}
	if r.StoreID, err = uuid.Parse(get(HeaderStoreID)); err != nil {
		return fail(HeaderStoreID, err)
	}
	if r.Event.Time, err = time.Parse(time.RFC3339Nano, get(HeaderTime)); err != nil {
		return fail(HeaderTime, err)
	}
	if r.Event.Position, err = strconv.ParseUint(get(HeaderPosition), 10, 64); err != nil {
		return fail(HeaderPosition, err)
	}
	if r.Previous, err = strconv.ParseUint(get(HeaderPrevious), 10, 64); err != nil {
		return fail(HeaderPrevious, err)
	}
	if r.Event.Type == TypeWatermark {
		if r.Previous > r.Event.Position {
			return fail(HeaderPrevious, errors.New("the event before lies behind"))
		}
		if text := get(HeaderPartitions); text != "" {
			if r.Partitions, err = strconv.Atoi(text); err != nil {
				return fail(HeaderPartitions, err)
			}
		}
		return r, nil
	}
	if r.Event.Position == 0 {
		return fail(HeaderPosition, errors.New("positions begin at 1"))
	}
	if r.Previous >= r.Event.Position {
		return fail(HeaderPrevious, errors.New("the event before lies behind"))
	}
	if text := get(HeaderReplayed); text != "" {
		if r.Replayed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fail(HeaderReplayed, err)
		}
		if r.Replayed < r.Event.Position {
			return fail(HeaderReplayed, errors.New("the event itself lies behind"))
		}
	}
	if r.Event.Stream, err = ParseStreamID(get(HeaderSubject)); err != nil {
		return fail(HeaderSubject, err)
	}
	if r.Event.Version, err = strconv.ParseUint(get(HeaderVersion), 10, 64); err != nil {
		return fail(HeaderVersion, err)
	}
	if r.Event.Version == 0 {
		return fail(HeaderVersion, errors.New("versions begin at 1"))
	}
	r.Event.Data = jsontext.Value(value)
	r.Event.Actor, r.Event.Reason = get(HeaderActor), get(HeaderReason)
	r.Event.CorrelationID, r.Event.CausationID = get(HeaderCorrelationID), get(HeaderCausationID)
	r.Event.Traceparent = get(HeaderTraceparent)
	return r, nil
}
