package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// errRecord says that a value is not what its key promises. Badger's checksums find a bad
// disk first, so this is a fault in this program, or in who else wrote to the directory.
var errRecord = errors.New("not a record of this store")

// recordFormat is the first octet of each run and key record, so that a later layout of one
// can be told from this one.
const recordFormat = 1

// maxRun is where a run ends and the batch's next one begins, in octets of payload. Short
// runs keep a read of few events cheap, long ones a read of many.
const maxRun = 64 << 10

// runs cuts a batch's events into those that are stored under one key.
func runs(batch []events.Event) [][]events.Event {
	var out [][]events.Event
	start, size := 0, 0
	for i := range batch {
		if i > start && (size+len(batch[i].Data) > maxRun || !sameMetadata(&batch[start], &batch[i])) {
			out = append(out, batch[start:i])
			start, size = i, 0
		}
		size += len(batch[i].Data)
	}
	if start < len(batch) {
		out = append(out, batch[start:])
	}
	return out
}

func sameMetadata(a, b *events.Event) bool {
	return a.Time.Equal(b.Time) && a.Actor == b.Actor && a.Reason == b.Reason &&
		a.CorrelationID == b.CorrelationID && a.CausationID == b.CausationID && a.Traceparent == b.Traceparent
}

// encodeRun writes where the stream's run before ends, what the events have in common, and then each
// event's ID, type and payload. Their positions are not in it: they follow from the key.
func encodeRun(run []events.Event, previous uint64) []byte {
	first := &run[0]
	size := 64 + len(first.Stream.String()) + len(first.Actor) + len(first.Reason) +
		len(first.CorrelationID) + len(first.CausationID) + len(first.Traceparent)
	for i := range run {
		size += 16 + 4 + len(run[i].Type) + len(run[i].Data)
	}
	b := make([]byte, 0, size)
	b = append(b, recordFormat)
	b = binary.AppendUvarint(b, previous)
	b = binary.AppendUvarint(b, first.Version)
	b = binary.AppendUvarint(b, uint64(len(run)))
	b = binary.AppendVarint(b, first.Time.UnixMicro())
	for _, s := range []string{first.Stream.String(), first.Actor, first.Reason, first.CorrelationID, first.CausationID, first.Traceparent} {
		b = appendString(b, s)
	}
	for i := range run {
		b = append(b, run[i].ID[:]...)
		b = appendString(b, string(run[i].Type))
		b = appendString(b, string(run[i].Data))
	}
	return b
}

// run is the beginning of a stored one; the events follow in its cursor.
type run struct {
	last     uint64 // position of its last event
	previous uint64 // position of the last event of the stream's run before; 0: this is the first
	version  uint64 // of its first event
	count    uint64
	common   events.Event
	cursor   cursor
}

// openRun reads the beginning of the run that ends at position last. It keeps value.
func openRun(value []byte, last uint64) (run, error) {
	c := newCursor(value)
	c.format()
	r := run{last: last, previous: c.uvarint(), version: c.uvarint(), count: c.uvarint()}
	r.common.Time = time.UnixMicro(c.varint()).UTC()
	stream := c.text()
	r.common.Actor, r.common.Reason = c.text(), c.text()
	r.common.CorrelationID, r.common.CausationID, r.common.Traceparent = c.text(), c.text(), c.text()
	if c.bad || r.count == 0 || r.count > last || r.count > uint64(len(value)) || r.previous > last-r.count {
		return run{}, fmt.Errorf("%w: run that ends at position %d", errRecord, last)
	}
	var err error
	if r.common.Stream, err = events.ParseStreamID(stream); err != nil {
		return run{}, fmt.Errorf("%w: run that ends at position %d: %w", errRecord, last, err)
	}
	r.cursor = c
	return r, nil
}

// events appends those of the run.
func (r run) events(out []events.Event) ([]events.Event, error) {
	c := r.cursor
	for i := range r.count {
		e := r.common
		e.Version, e.Position = r.version+i, r.last-r.count+1+i
		e.ID = uuid.UUID(c.take(16))
		e.Type = events.Type(c.text())
		e.Data = c.take(c.uvarint())
		if c.bad {
			return out, fmt.Errorf("%w: run that ends at position %d", errRecord, r.last)
		}
		out = append(out, e)
	}
	return out, nil
}

// state is what a decision needs to know of a stream.
type state struct {
	version, position uint64
	referrers         uint64
}

func (s state) encode() []byte {
	b := binary.AppendUvarint(make([]byte, 0, 16), s.version)
	b = binary.AppendUvarint(b, s.position)
	return binary.AppendUvarint(b, s.referrers)
}

func decodeState(value []byte) (state, error) {
	c := newCursor(value)
	s := state{version: c.uvarint(), position: c.uvarint(), referrers: c.uvarint()}
	if c.bad {
		return state{}, fmt.Errorf("%w: state of a stream", errRecord)
	}
	return s, nil
}

// keyRecord is what an idempotency key is remembered as. The events of the outcome are not
// in it: they are in the log.
type keyRecord struct {
	fingerprint [32]byte
	time        time.Time
	stream      events.StreamID
	version     uint64 // of the stream after the batch
	position    uint64 // of the stream's last event then
	count       uint64 // how many events the batch had
}

func (k keyRecord) encode() []byte {
	b := append(make([]byte, 0, 128), recordFormat)
	b = append(b, k.fingerprint[:]...)
	b = binary.AppendVarint(b, k.time.UnixMicro())
	b = appendString(b, k.stream.String())
	b = binary.AppendUvarint(b, k.version)
	b = binary.AppendUvarint(b, k.position)
	return binary.AppendUvarint(b, k.count)
}

func decodeKeyRecord(value []byte) (keyRecord, error) {
	c := newCursor(value)
	c.format()
	k := keyRecord{fingerprint: [32]byte(c.take(32)), time: time.UnixMicro(c.varint()).UTC()}
	stream := c.text()
	k.version, k.position, k.count = c.uvarint(), c.uvarint(), c.uvarint()
	if c.bad || k.count > k.version {
		return keyRecord{}, fmt.Errorf("%w: idempotency key", errRecord)
	}
	var err error
	if k.stream, err = events.ParseStreamID(stream); err != nil {
		return keyRecord{}, fmt.Errorf("%w: idempotency key: %w", errRecord, err)
	}
	return k, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// cursor reads a record from the front. After a fault it is bad, and returns zeroes.
type cursor struct {
	rest []byte
	// text is the whole record as a string, from which all strings are cut: one allocation
	// for all of them.
	record string
	bad    bool
}

func newCursor(value []byte) cursor { return cursor{rest: value, record: string(value)} }

var zeroes [32]byte

func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.rest)) {
		c.bad, c.rest = true, nil
		return zeroes[:min(n, uint64(len(zeroes)))]
	}
	out := c.rest[:n:n]
	c.rest = c.rest[n:]
	return out
}

func (c *cursor) text() string {
	n := c.uvarint()
	from := len(c.record) - len(c.rest)
	if n > uint64(len(c.rest)) {
		c.bad, c.rest = true, nil
		return ""
	}
	c.rest = c.rest[n:]
	return c.record[from : from+int(n)]
}

func (c *cursor) format() {
	if c.take(1)[0] != recordFormat {
		c.bad = true
	}
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.rest)
	if n <= 0 {
		c.bad, c.rest = true, nil
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.rest)
	if n <= 0 {
		c.bad, c.rest = true, nil
		return 0
	}
	c.rest = c.rest[n:]
	return v
}
