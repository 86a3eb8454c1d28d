package readmodel

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/tenantry/tenantry/events"
)

// ErrNoModel says that the region has no complete model yet. Retry: it is being built.
var ErrNoModel = errors.New("the region's read model is being built")

// Live is the model that look-ups go to now, whichever generation that is. A swap fails no
// look-up: one that has begun ends on the old model, which waits for it.
type Live struct {
	model atomic.Pointer[Model]
}

// Model is the one in use; nil: none yet.
func (l *Live) Model() *Model { return l.model.Load() }

// Swap turns look-ups to another model and returns the old one, for the caller to close. Nothing
// may be committed to that one any more which the other does not have.
func (l *Live) Swap(m *Model) (old *Model) {
	if old = l.model.Swap(m); old != nil {
		old.wake()
	}
	return old
}

// wake lets whoever waits for a commit look again.
func (m *Model) wake() {
	m.open.RLock()
	defer m.open.RUnlock()
	if m.closed {
		return // they were woken by that
	}
	m.changed.Lock()
	defer m.changed.Unlock()
	close(m.changed.next)
	m.changed.next = make(chan struct{})
}

// Lookup is [Model.Lookup] on the model in use.
func (l *Live) Lookup(h events.Hostname) (*Document, error) {
	return onModel(l, func(m *Model) (*Document, error) { return m.Lookup(h) })
}

// Tenant is [Model.Tenant] on the model in use.
func (l *Live) Tenant(id events.TenantID) (*Document, error) {
	return onModel(l, func(m *Model) (*Document, error) { return m.Tenant(id) })
}

// onModel asks the model in use, and again the next one where it was closed meanwhile.
func onModel[T any](l *Live, ask func(*Model) (T, error)) (T, error) {
	for {
		m := l.model.Load()
		if m == nil {
			var none T
			return none, ErrNoModel
		}
		answer, err := ask(m)
		if errors.Is(err, ErrClosed) && l.model.Load() != m {
			continue
		}
		return answer, err
	}
}

// Progress is how far the model in use has come; an empty one where there is none.
func (l *Live) Progress() *Progress {
	if m := l.model.Load(); m != nil {
		return m.Progress()
	}
	return new(Progress)
}

// Changed is closed at the next commit, or when another model takes the place of this one;
// nil, which blocks for ever, where there is none.
func (l *Live) Changed() <-chan struct{} {
	for {
		m := l.model.Load()
		if m == nil {
			return nil
		}
		// A channel that was taken after the swap would be closed only with that model.
		if c := m.Changed(); l.model.Load() == m {
			return c
		}
	}
}

// Quarantined is [Model.Quarantined] on the model in use.
func (l *Live) Quarantined(ctx context.Context) ([]Quarantine, error) {
	return onModel(l, func(m *Model) ([]Quarantine, error) { return m.Quarantined(ctx) })
}
