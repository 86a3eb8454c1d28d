package events

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// Event is one fact about one stream, as it is stored, published and listed. Its JSON is
// the line of the log's NDJSON.
type Event struct {
	ID       uuid.UUID      `json:"id"`
	Stream   StreamID       `json:"stream"`
	Version  uint64         `json:"version"`           // of the stream: 1, 2, 3 … without a hole
	Position uint64         `json:"position,omitzero"` // in the whole store; 0 until it is appended
	Type     Type           `json:"type"`
	Time     time.Time      `json:"time"` // UTC, microseconds; never before the stream's event before
	Actor    string         `json:"actor,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	Data     jsontext.Value `json:"data"` // the payload as it was written, never rewritten

	CorrelationID string `json:"correlation_id,omitempty"` // the request that led to it
	CausationID   string `json:"causation_id,omitempty"`   // the command that led to it
	Traceparent   string `json:"traceparent,omitempty"`    // W3C Trace Context
}

// Metadata is what all events of one command have in common besides the stream.
type Metadata struct {
	Time          time.Time
	Actor         string
	Reason        string
	CorrelationID string
	CausationID   string
	Traceparent   string
	// IdempotencyKey, where not empty, makes the events' IDs follow from it, the stream, the version
	// and the time.
	IdempotencyKey string
}

// idSpace is the namespace of the event IDs that are derived from an idempotency key.
var idSpace = uuid.MustParse("5b0e9d0a-7a52-4c41-9b1c-2d52f6f0b7a1")

// New makes the events that record payloads on a stream that is at version. Times are cut to
// microseconds, which is what every store keeps.
func New(stream StreamID, version uint64, meta Metadata, payloads ...Payload) ([]Event, error) {
	out := make([]Event, len(payloads))
	at := meta.Time.UTC().Truncate(time.Microsecond)
	for i, p := range payloads {
		data, err := Encode(p)
		if err != nil {
			return nil, err
		}
		id, err := eventID(stream, meta.IdempotencyKey, version+uint64(i)+1, at)
		if err != nil {
			return nil, err
		}
		out[i] = Event{
			ID:            id,
			Stream:        stream,
			Version:       version + uint64(i) + 1,
			Type:          p.EventType(),
			Time:          at,
			Actor:         meta.Actor,
			Reason:        meta.Reason,
			Data:          data,
			CorrelationID: meta.CorrelationID,
			CausationID:   meta.CausationID,
			Traceparent:   meta.Traceparent,
		}
	}
	return out, nil
}

// eventID is derived from the key and the event's version, which stands for its ordinal, so that a
// key that is used again after it was forgotten makes no ID that exists; and from the time. Relays
// and regions tell two pasts of a store apart by the ID of their last event: a client that after a
// restore sends its last command again, with its key, must not make the same one behind another past.
func eventID(stream StreamID, key string, version uint64, at time.Time) (uuid.UUID, error) {
	if key != "" {
		return uuid.NewSHA1(idSpace, fmt.Appendf(nil, "%s\x00%s\x00%d\x00%d", stream, key, version, at.UnixMicro())), nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.UUID{}, fmt.Errorf("make an event ID: %w", err)
	}
	return id, nil
}

// Payload is the event's data, brought to its current version. An error means that this
// program cannot understand the event: it is damaged, or newer than the program.
func (e Event) Payload() (Payload, error) {
	p, err := released.Decode(e.Type, e.Data)
	if err != nil {
		return nil, fmt.Errorf("event %s of %s at version %d: %w", e.Type, e.Stream, e.Version, err)
	}
	return p, nil
}

// MarshalJSON writes the event as one line of NDJSON holds it.
func (e Event) MarshalJSON() ([]byte, error) {
	type plain Event // without the methods, which would recurse
	return json.Marshal(plain(e))
}
