package commands

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"

	"github.com/tenantry/tenantry/events"
)

const (
	// longStream is from how many events on a stream's fold is kept. Loading fewer costs less than
	// a tenth of the fsync that a command waits for, and nearly all streams have fewer.
	longStream = 50
	// maxFolds is how many octets the kept folds may have, together.
	maxFolds = 32 << 20
)

// folds loads streams, and keeps how the long ones last were: a command on a tenant with 10,000
// events would else read and fold all of them, which takes 30 ms and 37 MB.
//
// What is kept is never taken on trust. Each load asks the store for the last event that was
// folded and all behind it; where that is not the event it was, the store was restored to another
// past, and the stream is folded from its beginning.
type folds struct {
	store events.Store
	kept  *otter.Cache[events.StreamID, fold]
}

// fold is a stream's state, and the event that it ends with.
type fold struct {
	state state
	last  uuid.UUID
}

func newFolds(store events.Store) folds {
	return folds{store: store, kept: otter.Must(&otter.Options[events.StreamID, fold]{
		MaximumWeight: maxFolds,
		Weigher:       func(_ events.StreamID, f fold) uint32 { return f.state.weight() },
		Executor:      func(evict func()) { evict() }, // no goroutine, which someone would have to stop
	})}
}

// load is the newest state of a stream; version 0 where there is none.
func (c folds) load(ctx context.Context, id events.StreamID) (state, error) {
	if was, ok := c.kept.GetIfPresent(id); ok {
		rest, err := c.store.Load(ctx, id, was.state.version()-1)
		if err != nil {
			return state{}, fmt.Errorf("load %s: %w", id, err)
		}
		if was.goesOn(rest) {
			return c.keep(was.state, rest[1:])
		}
		c.kept.Invalidate(id)
	}
	stream, err := c.store.Load(ctx, id, 0)
	if err != nil {
		return state{}, fmt.Errorf("load %s: %w", id, err)
	}
	return c.keep(state{id: id}, stream)
}

// goesOn reports whether a stream that was read from the fold's last event on begins with it.
func (f fold) goesOn(rest []events.Event) bool {
	return len(rest) > 0 && rest[0].ID == f.last && rest[0].Position == f.state.position() && rest[0].Time.Equal(f.state.updated())
}

// keep folds the rest of a stream, and keeps the fold of a long one.
func (c folds) keep(s state, rest []events.Event) (state, error) {
	s, err := s.apply(rest)
	if err == nil && len(rest) > 0 && s.version() >= longStream {
		c.kept.Set(s.id, fold{state: s, last: rest[len(rest)-1].ID})
	}
	return s, err
}

// weight is about how many octets a state holds on to.
func (s state) weight() uint32 {
	const (
		fixed = 4 << 10 // the structures, and the record that its ID may be a part of
		entry = 64      // of a slice or map, besides its text
	)
	n := fixed + len(s.tenant.Name) + len(s.group.Name)
	for _, h := range s.tenant.Hostnames {
		n += entry + len(h.String())
	}
	for name, p := range s.tenant.Products {
		n += entry*(1+len(p.Features)) + productSize(name, p)
	}
	for key, value := range s.tenant.Config {
		n += entry + len(key) + len(value)
	}
	return uint32(n)
}
