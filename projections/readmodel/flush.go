package readmodel

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// flush writes what the update has changed into the transaction, and the sums and the checkpoint
// with it.
func (tx *Tx) flush() error {
	for id, s := range tx.tenants {
		if err := put(tx, s, prefixTenant+id.String(), encodeTenant); err != nil {
			return err
		}
		if !s.dirty {
			continue
		}
		tx.touched[id.String()] = struct{}{}
		for _, h := range s.value.Hostnames { // those it lost are touched by their release
			tx.touched[h.String()] = struct{}{}
		}
	}
	for id, s := range tx.databases {
		if err := put(tx, s, prefixDatabase+id.String(), encodeDatabase); err != nil {
			return err
		}
	}
	for id, s := range tx.groups {
		if err := put(tx, s, prefixGroup+id.String(), encodeGroup); err != nil {
			return err
		}
	}
	if err := tx.flushClaims(); err != nil {
		return err
	}
	if err := tx.flushSums(); err != nil {
		return err
	}
	m, err := encodeMeta(tx.next, tx.total+tx.tally.total())
	if err != nil {
		return err
	}
	if err := tx.set(keyMeta, m); err != nil {
		return err
	}
	for i, p := range tx.next.Partitions {
		if i < len(tx.was.Partitions) && p == tx.was.Partitions[i] {
			continue // stands there already
		}
		if err := tx.set(checkpointKey(i), encodeCheckpoint(i, p)); err != nil {
			return err
		}
	}
	return nil
}

// put writes a state, or removes what is stored of one that is gone.
func put[S any](tx *Tx, s *state[S], key string, encode func(S, bool) ([]byte, error)) error {
	switch {
	case s.dirty:
		b, err := encode(s.value, s.quarantined)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrUnencodable, key, err)
		}
		return tx.exchange(key, b, s.stored)
	case s.gone:
		return tx.exchange(key, nil, s.stored)
	}
	return nil
}

// exchange writes a record that counts for the sums, or removes it where there is no value.
func (tx *Tx) exchange(key string, value []byte, was stored) error {
	if !was.known {
		if err := tx.raw(key, func(b []byte) { was.digest = digestOf([]byte(key), b) }); err != nil {
			return err
		}
	}
	if value == nil {
		tx.tally.exchange(was.digest, digest{})
		return tx.remove(key)
	}
	tx.tally.exchange(was.digest, digestOf([]byte(key), value))
	return tx.set(key, value)
}

// raw hands over the value of a key, if there is one.
func (tx *Tx) raw(key string, take func([]byte)) error {
	_, err := tx.get(key, func(b []byte) error {
		take(b)
		return nil
	})
	return err
}

// flushClaims writes hostnames. A released one stays, with its position, until no partition
// can bring an older claim of it any more: see Sweep.
func (tx *Tx) flushClaims() error {
	for h, c := range tx.claims {
		if c.gone && !c.dirty {
			if err := tx.exchange(prefixHostname+h.String(), nil, c.stored); err != nil {
				return err
			}
		}
		if !c.dirty {
			continue
		}
		if err := tx.exchange(prefixHostname+h.String(), encodeClaim(c.position, c.tenant), c.stored); err != nil {
			return err
		}
		if c.tenant.IsZero() {
			if err := tx.set(releasedKey(c.position, h.String()), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// flushSums writes the pages of sums that the update has touched.
func (tx *Tx) flushSums() error {
	for page, touched := range tx.tally.touched {
		if !touched {
			continue
		}
		if err := tx.set(pageKey(page), tx.tally.pageAfter(tx.before, page)); err != nil {
			return err
		}
	}
	return nil
}

// Sweep forgets up to limit released hostnames that every partition is past, and says how
// many it looked at.
func (m *Model) Sweep(limit int) (int, error) {
	swept := 0
	err := m.Update(func(tx *Tx) error {
		past := tx.next.Position()
		it := tx.txn.NewIterator(badger.IteratorOptions{Prefix: []byte(prefixReleased)})
		defer it.Close()
		for it.Rewind(); it.Valid() && swept < limit; it.Next() {
			key := it.Item().KeyCopy(nil)
			// What is damaged is not worth keeping, and must not stop the others.
			if position, hostname, err := parseReleasedKey(key); err == nil {
				if position > past {
					break
				}
				if err := tx.forget(position, hostname); err != nil && !errors.Is(err, ErrDamaged) {
					return err
				}
			}
			if err := tx.txn.Delete(key); err != nil {
				return err
			}
			swept++
		}
		return nil
	})
	return swept, err
}

// forget drops a released hostname, unless a later event has claimed or released it again.
func (tx *Tx) forget(position uint64, hostname string) error {
	key := prefixHostname + hostname
	var c claim
	found, err := tx.get(key, func(b []byte) (err error) {
		c, err = parseClaim(b)
		c.tenant = append([]byte(nil), c.tenant...)
		return err
	})
	if err != nil || !found || c.position != position || len(c.tenant) > 0 {
		return err
	}
	return tx.txn.Delete([]byte(key)) // no sum has it, since it is nobody's
}
