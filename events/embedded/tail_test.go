package embedded

import (
	"testing"

	"github.com/tenantry/tenantry/events"
)

// TestTail_DiscardsNothingThatAReaderCanSee: Badger may drop the versions that are older than
// the newest at or below the timestamp it is given, and a reader in between would find none.
func TestTail_DiscardsNothingThatAReaderCanSee(t *testing.T) {
	s := openIn(t, t.TempDir())
	var discarded uint64
	discard := s.tail.discard
	s.tail.discard = func(ts uint64) {
		discarded = ts
		discard(ts)
	}
	appendNext := func(version uint64) {
		t.Helper()
		if _, err := s.Append(t.Context(), tenantBatch(t, "acme", version, events.TenantActivated{})); err != nil {
			t.Fatal(err)
		}
	}
	appendNext(0)
	early, err := s.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	appendNext(1)
	late, err := s.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	appendNext(2)
	if discarded != early.ts {
		t.Errorf("discarded up to %d while %d is read", discarded, early.ts)
	}
	for i, v := range []view{early, late} {
		now, err := readState(v.Txn, acme(t))
		if err != nil || now.version != uint64(i)+1 {
			t.Errorf("reader %d: got version %d, %v, want its own %d", i, now.version, err, i+1)
		}
	}
	early.done()
	appendNext(3)
	if discarded != late.ts {
		t.Errorf("discarded up to %d while %d is read", discarded, late.ts)
	}
	late.done()
	appendNext(4)
	if _, ts := s.tail.end(); discarded != ts {
		t.Errorf("discarded up to %d when no one reads, the end is %d", discarded, ts)
	}
}

func TestClose_WaitsForReadersAndLetsNoOtherIn(t *testing.T) {
	s := openIn(t, t.TempDir())
	if _, err := s.Append(t.Context(), tenantBatch(t, "acme", 0, events.TenantActivated{})); err != nil {
		t.Fatal(err)
	}
	v, err := s.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	<-s.stopped // the appender has ended, so Close has begun
	for err == nil {
		_, err = s.Head(t.Context()) // until it lets no one in
	}
	select {
	case err := <-closed:
		t.Errorf("closed under a reader: %v", err)
	default:
	}
	if now, err := readState(v.Txn, acme(t)); err != nil || now.version != 1 {
		t.Errorf("the reader: got %+v, %v", now, err)
	}
	v.done()
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
}
