package embedded

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// dropAtOnce is how many keys are dropped in one transaction. Appends wait for it.
const dropAtOnce = 1000

// DropKeys forgets idempotency keys first used before a time, and says how many, also when it
// ends with an error.
func (s *Store) DropKeys(ctx context.Context, before time.Time) (int, error) {
	dropped := 0
	// Each search begins where the one before it ended, and the first one in a place that is found
	// while nobody waits: what was dropped before stands in Badger's way until it is compacted, and
	// to pass it again for each thousand keys takes seconds once there are millions.
	from, err := s.oldestKey(ctx)
	for err == nil && from != nil {
		var n int
		n, from, err = s.dropSome(ctx, from, before)
		dropped += n
	}
	if err != nil {
		return dropped, fmt.Errorf("drop idempotency keys: %w", err)
	}
	return dropped, nil
}

// oldestKey is the first of the keys in the order of their age; nil where there is none.
func (s *Store) oldestKey(ctx context.Context) ([]byte, error) {
	s.writing.Lock()
	broken := s.broken
	s.writing.Unlock()
	if broken != nil {
		return nil, broken
	}
	v, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer v.done()
	it := v.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixKeyTime}})
	defer it.Close()
	if it.Rewind(); !it.Valid() {
		return nil, nil
	}
	return it.Item().KeyCopy(nil), nil
}

// dropSome drops as many keys as go into one transaction, and says where to go on; nil: there are
// no more.
func (s *Store) dropSome(ctx context.Context, from []byte, before time.Time) (n int, next []byte, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.broken != nil {
		return 0, nil, s.broken
	}
	v, err := s.begin(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer v.done()
	g := newGroup(v.Txn, v.position)
	it := v.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixKeyTime}})
	defer it.Close()
	end := keyKeyTime(before, "")
	for it.Seek(from); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		if bytes.Compare(key, end) >= 0 {
			break
		}
		if n == dropAtOnce {
			next = key
			break
		}
		g.writes[string(key)] = nil
		g.writes[string(keyOfTime(key))] = nil
		n++
	}
	if n == 0 {
		return 0, nil, nil
	}
	if err := s.write(g); err != nil {
		return 0, nil, err
	}
	return n, next, nil
}
