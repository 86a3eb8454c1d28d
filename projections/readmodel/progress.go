package readmodel

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// Progress is how far a model has come. It is a value that never changes; a commit makes the
// next one.
type Progress struct {
	StoreID    uuid.UUID // the history that was folded; zero: nothing yet
	Partitions []Partition
	// Complete tells that the model has held all events up to some head of the store once, so
	// that it is a copy of the catalogue, if an old one. Until then it must not be served.
	Complete bool
}

// Partition is how far a model has come in one partition of the topic.
type Partition struct {
	// Offset is the next one to read; -1: not known, to be found by Position.
	Offset int64
	// LastEvent is the position of the last event of this partition that was applied.
	LastEvent uint64
	// LastID is the ID of that event: what tells a store that was restored, under the same
	// identity, to a past in which something else stands at that position.
	LastID uuid.UUID
	// Position is the one up to which every event of this partition was applied: LastEvent, or
	// what a later watermark says.
	Position uint64
	// Watermark is the time at which the store's log was known to end at Position; zero: never.
	Watermark time.Time
}

// Applied takes note that an event of this partition was folded.
func (p *Partition) Applied(e events.Event) {
	if e.Position > p.LastEvent {
		p.LastEvent, p.LastID = e.Position, e.ID
	}
	p.Position = max(p.Position, e.Position)
}

// Last is the partition with the last event of all that were applied.
func (p *Progress) Last() Partition {
	var last Partition
	for _, part := range p.Partitions {
		if part.LastEvent > last.LastEvent {
			last = part
		}
	}
	return last
}

// Position is the one up to which everything was applied, over all partitions.
func (p *Progress) Position() uint64 {
	if len(p.Partitions) == 0 {
		return 0
	}
	position := p.Partitions[0].Position
	for _, part := range p.Partitions[1:] {
		position = min(position, part.Position)
	}
	return position
}

// CompleteAt is the time at which the model was last known to hold everything; zero: never.
func (p *Progress) CompleteAt() time.Time {
	if len(p.Partitions) == 0 {
		return time.Time{}
	}
	at := p.Partitions[0].Watermark
	for _, part := range p.Partitions[1:] {
		if part.Watermark.Before(at) {
			at = part.Watermark
		}
	}
	return at
}

// Staleness is how old the model may be: the time since it was last known to hold everything.
func (p *Progress) Staleness(now time.Time) time.Duration {
	return max(0, now.Sub(p.CompleteAt()))
}

func (p *Progress) clone() *Progress {
	next := *p
	next.Partitions = append([]Partition(nil), p.Partitions...)
	return &next
}

// meta is the value of the key "m".
type meta struct {
	Schema     int       `json:"schema"`
	StoreID    uuid.UUID `json:"store_id"`
	Partitions int       `json:"partitions"`
	Complete   bool      `json:"complete"`
}

func encodeMeta(p *Progress) ([]byte, error) {
	return json.Marshal(meta{Schema: Schema, StoreID: p.StoreID, Partitions: len(p.Partitions), Complete: p.Complete})
}

func checkpointKey(partition int) string {
	return fmt.Sprintf("%s%05d", prefixCheckpoint, partition)
}

func encodeCheckpoint(p Partition) []byte {
	b := binary.AppendVarint(nil, p.Offset)
	b = binary.AppendUvarint(b, p.LastEvent)
	b = append(b, p.LastID[:]...)
	b = binary.AppendUvarint(b, p.Position)
	if p.Watermark.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, p.Watermark.UnixMicro())
}

func decodeCheckpoint(b []byte) (Partition, error) {
	offset, n := binary.Varint(b)
	if n <= 0 {
		return Partition{}, ErrDamaged
	}
	h := head{b: b[n:]}
	p := Partition{Offset: offset, LastEvent: h.number()}
	if h.failed || len(h.b) < len(p.LastID) {
		return Partition{}, ErrDamaged
	}
	h.b = h.b[copy(p.LastID[:], h.b):]
	p.Position = h.number()
	micros, m := binary.Varint(h.b)
	if h.failed || m <= 0 {
		return Partition{}, ErrDamaged
	}
	if micros != 0 {
		p.Watermark = time.UnixMicro(micros).UTC()
	}
	return p, nil
}
