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

// Swap turns look-ups to another model and returns the old one, for the caller to close.
func (l *Live) Swap(m *Model) (old *Model) { return l.model.Swap(m) }

// Lookup is [Model.Lookup] on the model in use.
func (l *Live) Lookup(h events.Hostname) (*Document, error) {
	return l.on(func(m *Model) (*Document, error) { return m.Lookup(h) })
}

// Tenant is [Model.Tenant] on the model in use.
func (l *Live) Tenant(id events.TenantID) (*Document, error) {
	return l.on(func(m *Model) (*Document, error) { return m.Tenant(id) })
}

// on asks the model in use, and again the next one where it was closed meanwhile.
func (l *Live) on(ask func(*Model) (*Document, error)) (*Document, error) {
	for {
		m := l.model.Load()
		if m == nil {
			return nil, ErrNoModel
		}
		doc, err := ask(m)
		if errors.Is(err, ErrClosed) && l.model.Load() != m {
			continue
		}
		return doc, err
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
	if m := l.model.Load(); m != nil {
		return m.Changed()
	}
	return nil
}

// Quarantined is [Model.Quarantined] on the model in use.
func (l *Live) Quarantined(ctx context.Context) ([]Quarantine, error) {
	if m := l.model.Load(); m != nil {
		return m.Quarantined(ctx)
	}
	return nil, ErrNoModel
}
