package events

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrUnknownType says that no version of this program's payloads has that type: the event
// was written by a newer program. Retry after an upgrade.
var ErrUnknownType = errors.New("unknown event type")

// Upcaster turns the raw payload of a type that is no longer written into the next version
// of it. It works on JSON, not on Go types, so that old Go types need not be kept.
type Upcaster struct {
	From, To Type
	Up       func(jsontext.Value) (jsontext.Value, error)
}

// Codec decodes payloads of every version that was ever released.
type Codec struct {
	upcasters map[Type]Upcaster
}

// NewCodec is a codec with these upcasters; each leads from one type to a later one, so that
// a chain of them ends at a current type.
func NewCodec(upcasters ...Upcaster) *Codec {
	c := &Codec{upcasters: make(map[Type]Upcaster, len(upcasters))}
	for _, u := range upcasters {
		c.upcasters[u.From] = u
	}
	return c
}

// released decodes what Tenantry has released so far. All payloads are at their first version.
var released = NewCodec()

// Types are all event types that are written now.
func Types() []Type {
	out := make([]Type, 0, len(decoders))
	for t := range decoders {
		out = append(out, t)
	}
	return out
}

// Decode reads the payload of an event of type t, of any released version, as its current
// version. A member that the version does not have is an error, since a region that
// passed over it would no longer equal the store.
func (c *Codec) Decode(t Type, data jsontext.Value) (Payload, error) {
	for u, ok := c.upcasters[t]; ok; u, ok = c.upcasters[t] {
		up, err := u.Up(data)
		if err != nil {
			return nil, fmt.Errorf("bring %s to %s: %w", u.From, u.To, err)
		}
		t, data = u.To, up
	}
	if p, ok := decodePlain(t, data); ok {
		return p, nil
	}
	decode, ok := decoders[t]
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrUnknownType, t)
	}
	return decode(data)
}

// Encode writes a payload as it is stored: compact JSON, the same bytes for the same payload.
func Encode(p Payload) (jsontext.Value, error) {
	data, err := json.Marshal(p, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", p.EventType(), err)
	}
	return data, nil
}

func decodeAs[P Payload](data jsontext.Value) (Payload, error) {
	var p P
	if err := json.Unmarshal(data, &p, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("decode payload: %w", err)
	}
	return p, nil
}
