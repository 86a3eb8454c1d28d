package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/tenantry/tenantry/events"
)

// The first octet of each key. doc.go draws what stands behind it.
const (
	prefixMeta     = 'm'
	prefixRun      = 'e'
	prefixState    = 'v'
	prefixHostname = 'h'
	prefixReferrer = 'r'
	prefixKey      = 'k'
	prefixKeyTime  = 't'
)

// maxKey is the longest idempotency key: far below Badger's limit, and far above any UUID.
const maxKey = 1024

func keyID() []byte   { return []byte("mid") }
func keyHead() []byte { return []byte("mhead") }

func keyRun(last uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixRun}, last)
}

// keysOfKind is the prefix of the states of all streams of a kind. Behind it are their IDs,
// so they are in the order of these.
func keysOfKind(k events.Kind) []byte {
	return append(append([]byte{prefixState}, k...), 0)
}

func keyState(id events.StreamID) []byte {
	return append(keysOfKind(id.Kind()), id.String()...)
}

func keyHostname(h events.Hostname) []byte {
	return append([]byte{prefixHostname}, h.String()...)
}

func keyReferrer(to, from events.StreamID) []byte {
	return append(append(append([]byte{prefixReferrer}, to.String()...), 0), from.String()...)
}

func keyKey(key string) []byte { return append([]byte{prefixKey}, key...) }

// keyKeyTime sorts times before 1970 first, as a time does: its highest bit is flipped.
func keyKeyTime(at time.Time, key string) []byte {
	micros := uint64(at.UnixMicro()) ^ 1<<63
	return append(binary.BigEndian.AppendUint64([]byte{prefixKeyTime}, micros), key...)
}

// keyOfTime is the idempotency key that an age key names.
func keyOfTime(k []byte) []byte { return append([]byte{prefixKey}, k[1+8:]...) }

// get is a copy of the value of a key, and whether there is one.
func get(txn *badger.Txn, key []byte) ([]byte, bool, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read %q: %w", key, err)
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		return nil, false, fmt.Errorf("read %q: %w", key, err)
	}
	return value, true, nil
}

func number(value []byte) (uint64, error) {
	if len(value) != 8 {
		return 0, fmt.Errorf("%w: a number of %d octets", errRecord, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

func readHead(txn *badger.Txn) (uint64, error) {
	value, found, err := get(txn, keyHead())
	if err != nil || !found {
		return 0, err
	}
	return number(value)
}

// lastPosition is that of the last run that is there, whatever the head says.
func lastPosition(txn *badger.Txn) (uint64, error) {
	it := txn.NewIterator(badger.IteratorOptions{Reverse: true})
	defer it.Close()
	it.Seek(keyRun(1<<64 - 1))
	if !it.ValidForPrefix([]byte{prefixRun}) {
		return 0, nil
	}
	return number(it.Item().Key()[1:])
}
