package events

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Whole is all that a store held at one moment, stream by stream: what a read model is built from
// and compared with. Each sentence here and of [Part] is proved by package storetest for each
// implementation. The caller closes it; until then the store keeps what it needs to answer.
type Whole interface {
	// Head is where the log ended at that moment. Everything up to there is in the parts, and
	// nothing beyond, although writers go on.
	Head() Head
	// Parts cuts all streams into up to n parts of about equal work, which may be read at the same
	// time: disjoint ranges of stream IDs that ascend from part to part. Each call makes parts
	// that may all be read once more.
	Parts(ctx context.Context, n int) ([]Part, error)
	// Close releases all that it holds. Parts must not be read any more. A second Close does nothing.
	Close() error
}

// Part is some of a [Whole]'s streams. One goroutine reads it, once.
type Part interface {
	// Streams calls yield with each stream, whole: IDs ascend octet by octet, and versions
	// 1, 2, 3 … An error of yield ends it and is returned as it is. What yield is given is its own only
	// until it returns.
	//
	// The events have what folding them needs: ID, Stream, Version, Position, Type, Time and Data.
	// What else an event has may be left out.
	//
	// A source that dies half way is an error, and so is one that has less than it ought to: since
	// positions have no hole, all parts together have as many events as Head's position says, and
	// the part that is read last returns an error if they have not.
	Streams(ctx context.Context, yield func(stream []Event) error) error
}

// Tally counts the events of the parts of one [Whole.Parts], so that a result that is too short is
// never taken for whole. It is for the stores.
type Tally struct {
	want uint64
	got  atomic.Uint64
	left atomic.Int64
}

// NewTally is for so many parts that have so many events together.
func NewTally(events uint64, parts int) *Tally {
	t := &Tally{want: events}
	t.left.Store(int64(parts))
	return t
}

// Done adds a part that was read to its end without an error. The last one gets an error if all of
// them together have more or fewer events than they must.
func (t *Tally) Done(events uint64) error {
	got := t.got.Add(events)
	if t.left.Add(-1) == 0 && got != t.want {
		return fmt.Errorf("the event log is damaged: its streams have %d events, and positions up to %d", got, t.want)
	}
	return nil
}

// CheckStream holds versions to be 1, 2, 3 … and positions to ascend up to the head's: what a part
// yields is whole.
func CheckStream(stream []Event, head Head) error {
	before := uint64(0)
	for i := range stream {
		e := &stream[i]
		if e.Version != uint64(i)+1 || e.Position <= before || e.Position > head.Position {
			return fmt.Errorf("the event log is damaged: %s has version %d at position %d where version %d behind position %d should be, of a log up to %d",
				e.Stream, e.Version, e.Position, i+1, before, head.Position)
		}
		before = e.Position
	}
	return nil
}
