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
	for {
		n, err := s.dropSome(ctx, before)
		dropped += n
		if err != nil {
			return dropped, fmt.Errorf("drop idempotency keys: %w", err)
		}
		if n < dropAtOnce {
			return dropped, nil
		}
	}
}

func (s *Store) dropSome(ctx context.Context, before time.Time) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.broken != nil {
		return 0, s.broken
	}
	v, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer v.done()
	g := newGroup(v.Txn, v.position)
	it := v.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixKeyTime}})
	defer it.Close()
	end := keyKeyTime(before, "")
	n := 0
	for it.Rewind(); it.Valid() && n < dropAtOnce; it.Next() {
		key := it.Item().KeyCopy(nil)
		if bytes.Compare(key, end) >= 0 {
			break
		}
		g.writes[string(key)] = nil
		g.writes[string(keyOfTime(key))] = nil
		n++
	}
	if n == 0 {
		return 0, nil
	}
	if err := s.write(g); err != nil {
		return 0, err
	}
	return n, nil
}
