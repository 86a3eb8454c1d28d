package readmodel

import (
	"errors"
	"fmt"

	"github.com/tenantry/tenantry/events"
)

// Replace puts what a stream's events fold to in the place of what the model has of it, however
// damaged that is: entries as EntriesOf… make them, and the quarantine that the stream is in (nil: none). A hostname
// that another tenant has claimed or let go by a later event stays as that event left it; where that entry is
// itself the damage, [Tx.Drop] it first.
//
// The caller must have folded all events up to the partition's position.
func (tx *Tx) Replace(stream events.StreamID, entries []KV, q *Quarantine) error {
	if err := tx.Forget(stream); err != nil {
		return err
	}
	tx.touchedAll = true // a damaged record does not tell under which hostnames it was found
	for _, kv := range entries {
		if kv.Key == RecordKey(stream) {
			if err := tx.replaceRecord(stream, kv.Value); err != nil {
				return err
			}
			continue
		}
		h, c, ok := kv.Hostname()
		tenant, isTenant := stream.Tenant()
		if !ok || !isTenant {
			return fmt.Errorf("replace %s: %q is not a record of it", stream, kv.Key)
		}
		if !c.Held {
			if c.Position <= tx.next.Position() {
				if err := tx.letGo(h, c.Position); err != nil {
					return err
				}
				continue
			}
			tenant = events.TenantID{}
		}
		if err := tx.claim(h, c.Position, tenant); err != nil {
			return err
		}
	}
	if q != nil {
		return tx.SetQuarantine(*q)
	}
	return tx.clearQuarantine(stream)
}

// letGo takes a hostname from whoever has it, unless by a later event than that at a position which every partition is
// past: that needs no tombstone, as for [Model.Sweep]. Nothing is written where nothing is wrong, so that a stream which has let go
// thousands fits into an update.
func (tx *Tx) letGo(h events.Hostname, position uint64) error {
	holder, since, err := tx.Holder(h)
	if errors.Is(err, ErrDamaged) || err == nil && since <= position && !holder.IsZero() {
		return tx.Drop(HostnameKey(h))
	}
	return err
}

// replaceRecord takes the state out of a stream's new record.
func (tx *Tx) replaceRecord(stream events.StreamID, record []byte) (err error) {
	tx.bytes += len(record)
	if id, ok := stream.Tenant(); ok {
		return replaceState(tx.tenants, id, record, decodeTenant)
	}
	if id, ok := stream.Database(); ok {
		return replaceState(tx.databases, id, record, decodeDatabase)
	}
	if id, ok := stream.Group(); ok {
		return replaceState(tx.groups, id, record, decodeGroup)
	}
	return fmt.Errorf("no record of stream %q", stream)
}

func replaceState[ID comparable, S any](states map[ID]*state[S], id ID, record []byte, decode func([]byte) (S, bool, error)) error {
	value, quarantined, err := decode(record)
	if err != nil {
		return err
	}
	states[id] = &state[S]{value: value, quarantined: quarantined, dirty: true, stored: storedOf(states[id])}
	return nil
}

// Remove takes a stream out of the model that the source does not have: its record and its quarantine, and the
// entries under these keys as [Tx.Drop] does.
func (tx *Tx) Remove(stream events.StreamID, keys ...string) error {
	tx.touchedAll = true
	if err := tx.Forget(stream); err != nil {
		return err
	}
	for _, key := range keys {
		if err := tx.Drop(key); err != nil {
			return err
		}
	}
	return tx.clearQuarantine(stream)
}

// clearQuarantine does it without a look at the stream's state, which says it already.
func (tx *Tx) clearQuarantine(stream events.StreamID) error {
	tx.quarantine[stream] = nil
	return tx.remove(prefixQuarantine + stream.String())
}

// Drop removes one record, whatever it is and however damaged. To drop the entry of a hostname
// takes it from whoever has it now: see [Tx.Holder].
func (tx *Tx) Drop(key string) error {
	tx.touchedAll = true
	kv := KV{Key: key}
	if key == keyMeta || kv.under(prefixCheckpoint) || kv.under(prefixSums) {
		return fmt.Errorf("drop %q: the model keeps it itself", key)
	}
	if stream := streamOf(key, nil); !stream.IsZero() && !kv.under(prefixHostname) {
		return tx.Forget(stream)
	}
	if name, ok := cutPrefix([]byte(key), prefixHostname); ok {
		if h, err := events.ParseHostname(string(name)); err == nil && h.String() == string(name) {
			c := tx.claims[h]
			tx.claims[h] = claimState{gone: true, stored: c.stored}
			return nil
		}
	}
	tx.bytes += len(key) + 64
	return tx.exchange(key, nil, stored{})
}

// Holder is the tenant that has a hostname now, and since which position; the zero ID where nobody
// has it. What the entry says may be damage: ErrDamaged where it says nothing that makes sense.
func (tx *Tx) Holder(h events.Hostname) (events.TenantID, uint64, error) {
	if c, ok := tx.claims[h]; ok {
		return c.tenant, c.position, nil
	}
	var c claim
	var id events.TenantID
	_, err := tx.get(HostnameKey(h), func(b []byte) (err error) {
		if c, err = parseClaim(b); err != nil {
			return err
		}
		return id.UnmarshalText(c.tenant)
	})
	if err != nil {
		return events.TenantID{}, 0, err
	}
	return id, c.position, nil
}
