package readmodel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
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

// EventAt is the ID of the event at a position, where that is the last one of its partition.
func (p *Progress) EventAt(position uint64) (id uuid.UUID, ok bool) {
	for _, part := range p.Partitions {
		if part.LastEvent == position && position > 0 {
			return part.LastID, true
		}
	}
	return uuid.Nil, false
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

// last is the highest position that any partition has come to.
func (p *Progress) last() (position uint64) {
	for _, part := range p.Partitions {
		position = max(position, part.Position, part.LastEvent)
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

// NotAfter is the same, with no watermark that is later than now: such a one was taken note of while the clock was ahead, and
// says no more than that the model was complete before.
func (p *Progress) NotAfter(now time.Time) *Progress {
	now = now.UTC().Truncate(time.Microsecond)
	capped := p
	for i, part := range p.Partitions {
		if !part.Watermark.After(now) {
			continue
		}
		if capped == p {
			capped = p.clone()
		}
		capped.Partitions[i].Watermark = now
	}
	return capped
}

func (p *Progress) clone() *Progress {
	next := *p
	next.Partitions = append([]Partition(nil), p.Partitions...)
	return &next
}

// meta is the value of the key "m", and a seal behind it. Its schema can be read whatever program
// wrote it.
type meta struct {
	Schema     int       `json:"schema"`
	StoreID    uuid.UUID `json:"store_id"`
	Partitions int       `json:"partitions"`
	Complete   bool      `json:"complete"`
	Total      uint64    `json:"total"` // of the sums, so that none of their pages can be missing
}

func encodeMeta(p *Progress, total uint64) ([]byte, error) {
	b, err := json.Marshal(meta{
		Schema: Schema, StoreID: p.StoreID, Partitions: len(p.Partitions), Complete: p.Complete, Total: total,
	})
	return seal(keyMeta, b), err
}

func decodeMeta(b []byte) (mt meta, err error) {
	whole, err := unseal(keyMeta, b)
	if err != nil {
		if json.Unmarshal(b, &mt) == nil && mt.Schema == 1 {
			return mt, nil // which had no seal
		}
		return meta{}, err
	}
	err = json.Unmarshal(whole, &mt)
	return mt, err
}

// readState reads how far the model has come in a snapshot, and the sums of it.
func readState(txn *badger.Txn) (p *Progress, sums Sums, err error) {
	p = new(Progress)
	b, err := read(txn, keyMeta)
	if err != nil {
		return nil, Sums{}, err
	}
	if b == nil {
		return p, Sums{}, checkEmpty(txn)
	}
	mt, err := decodeMeta(b)
	if err != nil {
		return nil, Sums{}, fmt.Errorf("%w: its meta record: %w", ErrUnusable, err)
	}
	if mt.Schema != Schema {
		return nil, Sums{}, fmt.Errorf("%w: it has schema %d, this program has %d", ErrUnusable, mt.Schema, Schema)
	}
	p.StoreID, p.Complete = mt.StoreID, mt.Complete
	p.Partitions = make([]Partition, mt.Partitions)
	for i := range p.Partitions {
		if b, err = read(txn, checkpointKey(i)); err == nil {
			p.Partitions[i], err = decodeCheckpoint(i, b)
		}
		if err != nil {
			return nil, Sums{}, fmt.Errorf("%w: checkpoint %d: %w", ErrUnusable, i, err)
		}
	}
	for page := range pageCount {
		if b, err = read(txn, pageKey(page)); err == nil && b != nil {
			err = sums.decodePage(page, b)
		}
		if err != nil {
			return nil, Sums{}, fmt.Errorf("%w: page %d of its sums: %w", ErrUnusable, page, err)
		}
	}
	if sums.total() != mt.Total {
		return nil, Sums{}, fmt.Errorf("%w: its sums are not those that were written last", ErrUnusable)
	}
	return p, sums, nil
}

// read is the value of a key; nil where there is none.
func read(txn *badger.Txn, key string) ([]byte, error) {
	item, err := txn.Get([]byte(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return item.ValueCopy([]byte{})
}

// checkEmpty makes sure that a model without a meta record is a new one.
func checkEmpty(txn *badger.Txn) error {
	it := txn.NewIterator(badger.IteratorOptions{})
	defer it.Close()
	it.Rewind()
	if it.Valid() {
		return fmt.Errorf("%w: its meta record is gone", ErrUnusable)
	}
	return nil
}

func checkpointKey(partition int) string {
	return fmt.Sprintf("%s%05d", prefixCheckpoint, partition)
}

func encodeCheckpoint(partition int, p Partition) []byte {
	b := binary.AppendVarint(nil, p.Offset)
	b = binary.AppendUvarint(b, p.LastEvent)
	b = append(b, p.LastID[:]...)
	b = binary.AppendUvarint(b, p.Position)
	micros := int64(0)
	if !p.Watermark.IsZero() {
		micros = p.Watermark.UnixMicro()
	}
	return seal(checkpointKey(partition), binary.AppendVarint(b, micros))
}

func decodeCheckpoint(partition int, b []byte) (Partition, error) {
	b, err := unseal(checkpointKey(partition), b)
	if err != nil {
		return Partition{}, err
	}
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
