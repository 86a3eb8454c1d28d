package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/tenantry/tenantry/events"
)

// A log that has lost something is not taken for a shorter one.
func TestWhole_LogThatLacksSomething_IsAnErrorAndNoShortResult(t *testing.T) {
	for name, spoil := range map[string]func(txn *badger.Txn) error{
		"a stream's last run":  func(txn *badger.Txn) error { return txn.Delete(keyRun(20)) },
		"a stream's first run": func(txn *badger.Txn) error { return txn.Delete(keyRun(2)) },
		"a stream's state":     func(txn *badger.Txn) error { return txn.Delete(keyState(streamOf(3))) },
		"an older state": func(txn *badger.Txn) error {
			return txn.Set(keyState(streamOf(3)), state{version: 2, position: 8}.encode())
		},
		"another stream's run": func(txn *badger.Txn) error {
			return txn.Set(keyState(streamOf(3)), state{version: 4, position: 20}.encode())
		},
		"half of a run's value": func(txn *badger.Txn) error { return txn.Set(keyRun(8), []byte{recordFormat, 0, 1, 2}) },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			for version := uint64(0); version < 4; version += 2 {
				for i := range 5 {
					made, err := events.New(streamOf(i), version, events.Metadata{Time: time.Now()}, events.TenantRenamed{Name: "a"}, events.TenantRenamed{Name: "b"})
					if err != nil {
						t.Fatal(err)
					}
					if _, err := s.Append(t.Context(), events.Batch{Stream: streamOf(i), Expected: version, Events: made}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if got, err := count(t.Context(), s); err != nil || got != 20 {
				t.Fatalf("got %d events, %v, want 20", got, err)
			}
			_, ts := s.tail.end()
			txn := s.db.NewTransactionAt(ts+1, true)
			defer txn.Discard()
			if err := spoil(txn); err != nil {
				t.Fatal(err)
			}
			if err := txn.CommitAt(ts+1, nil); err != nil {
				t.Fatal(err)
			}
			s.tail.publish(20, ts+1)
			if got, err := count(t.Context(), s); err == nil || !strings.Contains(err.Error(), "read the whole log") {
				t.Errorf("got %d events, %v, want an error", got, err)
			}
		})
	}
}

func streamOf(i int) events.StreamID {
	id, err := events.ParseTenantID(fmt.Sprintf("ten_%d", i))
	if err != nil {
		panic(err)
	}
	return id.Stream()
}

func count(ctx context.Context, s *Store) (n int, err error) {
	w, err := s.Whole(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = w.Close() }() // it never fails
	parts, err := w.Parts(ctx, 2)
	if err != nil {
		return 0, err
	}
	for _, p := range parts {
		if err := p.Streams(ctx, func(stream []events.Event) error {
			n += len(stream)
			return nil
		}); err != nil {
			return n, err
		}
	}
	return n, nil
}
