package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/postgres"
	"github.com/tenantry/tenantry/internal/testservers"
)

func TestPooler_InTransactionMode_AllButLeadWorksThroughIt(t *testing.T) {
	direct := database(t)
	cfg := patient(testservers.PgBouncer(t, direct))
	both := []*postgres.Store{open(t, cfg), open(t, cfg)}
	const writers, each = 8, 20
	race(writers+2, func(w int) {
		s := both[w%2]
		if w >= writers { // a reader that follows
			for position := uint64(0); position < writers*each; {
				if err := s.Wait(t.Context(), position); err != nil {
					t.Errorf("wait: %v", err)
					return
				}
				page, err := s.After(t.Context(), position, 7)
				if err != nil {
					t.Errorf("after: %v", err)
					return
				}
				position += uint64(len(page))
			}
			return
		}
		id := tenant(t, fmt.Sprintf("t%d", w))
		for i := range uint64(each) {
			stream, err := s.Load(t.Context(), id, 0)
			if err != nil || uint64(len(stream)) != i {
				t.Errorf("load: got %d events, %v, want %d", len(stream), err, i)
			}
			if _, err := s.Append(t.Context(), batch(t, id, i, events.TenantActivated{})); err != nil {
				t.Errorf("append: %v", err)
			}
		}
	})
	if got := len(sound(t, both[0])); got != writers*each {
		t.Errorf("events in the log: got %d, want %d", got, writers*each)
	}

	_, _, err := both[0].Lead(t.Context())
	if !errors.Is(err, postgres.ErrPooled) || !strings.Contains(err.Error(), "pgbouncer") {
		t.Errorf("lead through the pooler: got %v, want ErrPooled", err)
	}
	cfg.LeadURL = direct
	leading, release := lead(t, open(t, cfg))
	if leading.Err() != nil {
		t.Error("it does not lead")
	}
	release()
}
