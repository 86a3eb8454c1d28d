package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// Source is where the truth is read.
type Source interface {
	Head(ctx context.Context) (events.Head, error)
	After(ctx context.Context, position uint64, limit int) ([]events.Event, error)
	Load(ctx context.Context, id events.StreamID, after uint64) ([]events.Event, error)
	Whole(ctx context.Context) (events.Whole, error)
}

// Why a source is not one that this region can be held against. None of them changes anything.
var (
	// ErrSourceEmpty: the source has no events. A copy of it would be empty.
	ErrSourceEmpty = errors.New("the source has no events")
	// ErrOtherStore: the source is another store than the one that the region is a copy of, or the
	// same one with another past.
	ErrOtherStore = errors.New("the source is not the store that the region is a copy of")
	// errOtherPast is ErrOtherStore where the identity is the same: --force is not what mends that.
	errOtherPast = errors.New("it was restored to an earlier past, or is another environment's")
	// ErrSourceBehind: the region holds events that the source does not have, or not yet.
	ErrSourceBehind = projections.ErrSourceBehind
)

// checkSource holds a source to be the one that a copy was made from, and to have all that the
// copy has. One that is a little behind is waited for.
func checkSource(ctx context.Context, source Source, copied *readmodel.Progress, patience time.Duration) (events.Head, error) {
	var last uint64
	for _, p := range copied.Partitions {
		last = max(last, p.Position)
	}
	deadline := time.Now().Add(patience)
	for {
		head, err := source.Head(ctx)
		switch {
		case err != nil:
			return head, fmt.Errorf("ask the source for its head: %w", err)
		case head.Position == 0:
			return head, fmt.Errorf("%w: is it the right one? Nothing was changed", ErrSourceEmpty)
		case head.StoreID != copied.StoreID:
			return head, fmt.Errorf("%w: the region was made from store %s, and the source is %s", ErrOtherStore, copied.StoreID, head.StoreID)
		case head.Position >= last:
			return head, checkHistory(ctx, source, copied)
		case !time.Now().Before(deadline):
			return head, fmt.Errorf("%w: the region has applied position %d, and the source ends at %d: name the database's primary, or, where it was restored to an"+
				" earlier past, start its catalogue with --accept-restore", ErrSourceBehind, last, head.Position)
		}
		select {
		case <-ctx.Done():
			return head, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// checkHistory holds the last event of each partition of a copy against the source's at that position:
// a store that was restored may have the same identity, and another past.
func checkHistory(ctx context.Context, source Source, copied *readmodel.Progress) error {
	for i, p := range copied.Partitions {
		if p.LastEvent == 0 {
			continue
		}
		log, err := source.After(ctx, p.LastEvent-1, 1)
		if err != nil {
			return fmt.Errorf("read the source at position %d: %w", p.LastEvent, err)
		}
		if len(log) == 0 || log[0].ID != p.LastID {
			return fmt.Errorf("%w: it has another event at position %d, in partition %d: %w. Where it was restored, start its catalogue with --accept-restore, and"+
				" the regions build themselves anew", ErrOtherStore, p.LastEvent, i, errOtherPast)
		}
	}
	return nil
}

// cutoffs is how far a copy had come, by partition: of each stream only what is not beyond it counts.
func cutoffs(copied *readmodel.Progress) func(partition int) uint64 {
	return func(partition int) uint64 { return copied.Partitions[partition].Position }
}

// oneStream is a [events.Whole] of a single stream; its head's position is how many events there are.
type oneStream struct {
	head   events.Head
	stream []events.Event
}

func (o oneStream) Head() events.Head { return o.head }
func (o oneStream) Close() error      { return nil }
func (o oneStream) Parts(context.Context, int) ([]events.Part, error) {
	return []events.Part{o}, nil
}

func (o oneStream) Streams(_ context.Context, yield func([]events.Event) error) error {
	if len(o.stream) == 0 {
		return nil
	}
	return yield(o.stream)
}
