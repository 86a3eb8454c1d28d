package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/postgres"
)

func keyed(b events.Batch) events.Batch {
	b.Key = &events.Key{Key: "k-" + b.Stream.String(), Fingerprint: [32]byte{1}, Time: time.Now()}
	return b
}

func TestAppend_TheAnswerIsLost_FindsOutWhatWasStoredAndStoresItOnce(t *testing.T) {
	for name, l := range map[string]loss{"it did not arrive": unsent, "it was carried out": unheard, "nothing breaks": silent} {
		t.Run(name, func(t *testing.T) {
			url := database(t)
			direct := open(t, patient(url))
			if _, err := direct.Append(t.Context(), registration(t, 1)); err != nil {
				t.Fatal(err)
			}
			w, through := newWire(t, url)
			cfg := patient(through)
			if l == silent {
				cfg.StatementTimeout = time.Second
			}
			s := open(t, cfg)

			var lost atomic.Int64
			w.lose(l, func() { lost.Add(1) })
			out, err := s.Append(t.Context(), registration(t, 2))
			if err != nil || out.Version != 5 || out.Position != 10 || len(out.Events) != 5 || out.Events[0].Position != 6 || out.Replayed {
				t.Errorf("without a key: got %+v, %v", out, err)
			}
			w.lose(l, func() { lost.Add(1) })
			b := keyed(registration(t, 3))
			if out, err = s.Append(t.Context(), b); err != nil || out.Position != 15 || out.Replayed {
				t.Errorf("with a key: got %+v, %v", out, err)
			}
			w.lose(l, func() { lost.Add(1) })
			idle := keyed(events.Batch{Stream: b.Stream, Expected: 5})
			idle.Key.Key = "idle"
			if out, err = s.Append(t.Context(), idle); err != nil || out.Version != 5 || out.Position != 15 || len(out.Events) != 0 {
				t.Errorf("a key alone: got %+v, %v", out, err)
			}
			for _, k := range []*events.Key{b.Key, idle.Key} {
				if out, known, err := direct.Recall(t.Context(), *k); err != nil || !known || out.Position != 15 {
					t.Errorf("recall %s: got %+v, %v, %v", k.Key, out, known, err)
				}
			}
			if err := s.Wait(t.Context(), 14); err != nil {
				t.Errorf("wait: %v", err)
			}
			if got := len(sound(t, direct)); got != 15 {
				t.Errorf("events in the log: got %d, want 15", got)
			}
			if lost.Load() != 3 {
				t.Errorf("%d calls were lost, want 3: the test proved nothing", lost.Load())
			}
		})
	}
}

// TestAppend_GivenUpAndDeliveredLater_IsNotStored is what makes "nothing is stored" true: the call is
// still on its way while its caller is told.
func TestAppend_GivenUpAndDeliveredLater_IsNotStored(t *testing.T) {
	url := database(t)
	w, through := newWire(t, url)
	s, direct := open(t, patient(through)), open(t, patient(url))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.lose(delayed, cancel)
	if _, err := s.Append(ctx, registration(t, 1)); !errors.Is(err, context.Canceled) {
		t.Fatalf("append: got %v, want that it was withdrawn", err)
	}
	w.letGo()
	if got := <-w.answered; !bytes.Contains(got, []byte("given up")) {
		t.Errorf("the call that came late: got %q", got)
	}
	if got := len(sound(t, direct)); got != 0 {
		t.Errorf("events in the log: got %d, want none", got)
	}
	if out, err := s.Append(t.Context(), registration(t, 1)); err != nil || out.Position != 5 {
		t.Errorf("append: got %+v, %v", out, err)
	}
}

func TestAppend_NothingGetsThroughAnyMore_SaysSoLongBeforeAStatementMayEnd(t *testing.T) {
	url := database(t)
	w, through := newWire(t, url)
	cfg := patient(through)
	cfg.AnswerTimeout, cfg.StatementTimeout = 500*time.Millisecond, time.Hour
	s := open(t, cfg)
	b := keyed(registration(t, 1))
	w.lose(stopped, func() {})
	// Two groups: what comes behind one whose outcome is not known is not even sent.
	batches := []events.Batch{b}
	for i := range uint64(300) {
		batches = append(batches, registration(t, i+2))
	}
	results := s.AppendAll(t.Context(), batches)
	if err := results[0].Err; !errors.Is(err, postgres.ErrUnknownOutcome) || errors.Is(err, events.ErrUnavailable) {
		t.Errorf("what was on its way: got %v, want ErrUnknownOutcome", err)
	}
	if err := results[300].Err; !errors.Is(err, events.ErrUnavailable) || errors.Is(err, events.ErrUnknownOutcome) {
		t.Errorf("what was not: got %v, want ErrUnavailable", err)
	}
	w.mu.Lock()
	w.begun = false
	w.mu.Unlock()
	w.letGo()
	eventually(t, "append again", func() error {
		_, err := s.Append(t.Context(), b)
		return err
	})
	sound(t, s)
	history, err := s.Load(t.Context(), b.Stream, 0)
	if err != nil || len(history) != 5 {
		t.Errorf("load: got %d events, %v, want 5", len(history), err)
	}
}
