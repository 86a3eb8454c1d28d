package commands

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/events"
)

// At is a moment in a stream's past. The zero At is now.
type At struct {
	Version uint64    // as it was at this version; 0: not asked
	Time    time.Time // as it was at this time; zero: not asked
}

// Tenant is a tenant as it is or was, from the store. A purged one is found, with its status.
// Where there is none, or was none yet then, the error is a Refusal NotFound.
func (h *Handler) Tenant(ctx context.Context, id events.TenantID, at At) (events.Tenant, error) {
	if at == (At{}) {
		s, err := h.find(ctx, id.Stream())
		return s.tenant, err
	}
	stream, err := h.store.Load(ctx, id.Stream(), 0)
	if err != nil {
		return events.Tenant{}, fmt.Errorf("load %s: %w", id, err)
	}
	stream, err = at.cut(id.Stream(), stream)
	if err != nil {
		return events.Tenant{}, err
	}
	t, err := events.FoldTenant(events.Tenant{}, stream)
	if err != nil {
		return events.Tenant{}, fmt.Errorf("fold %s: %w", id, err)
	}
	return t, nil
}

// cut is the stream up to that moment.
func (at At) cut(id events.StreamID, stream []events.Event) ([]events.Event, error) {
	if len(stream) == 0 {
		return nil, notFound(id)
	}
	if n := uint64(len(stream)); at.Version > n {
		return nil, &Refusal{Code: NotFound, Stream: id, Detail: fmt.Sprintf("%s has no version %d: its newest is %d", id, at.Version, n)}
	}
	if at.Version > 0 {
		stream = stream[:at.Version]
	}
	if !at.Time.IsZero() {
		// Times never go back within a stream.
		if later := slices.IndexFunc(stream, func(e events.Event) bool { return e.Time.After(at.Time) }); later >= 0 {
			stream = stream[:later]
		}
	}
	if len(stream) == 0 {
		return nil, &Refusal{Code: NotFound, Stream: id, Detail: fmt.Sprintf("%s was not there yet at %s: ask for a later time", id, at.Time.UTC().Format(time.RFC3339Nano))}
	}
	return stream, nil
}

// Database is a database as it is. Where there is none, the error is a Refusal NotFound.
func (h *Handler) Database(ctx context.Context, id events.DatabaseID) (events.Database, error) {
	s, err := h.find(ctx, id.Stream())
	return s.database, err
}

// Group is a group as it is. Where there is none, the error is a Refusal NotFound.
func (h *Handler) Group(ctx context.Context, id events.GroupID) (events.Group, error) {
	s, err := h.find(ctx, id.Stream())
	return s.group, err
}

// find is a stream that must be there, as it is.
func (h *Handler) find(ctx context.Context, id events.StreamID) (state, error) {
	s, err := h.folds.load(ctx, id)
	if err == nil && s.version() == 0 {
		err = notFound(id)
	}
	return s, err
}
