package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// fetched is what one fetch brought.
type fetched struct {
	records []Record
	end     int64
}

// deliver delivers a partition's messages from start on, in order, and calls acked with the
// offset that follows all acknowledged ones. It returns when ctx ends, or with what makes it
// impossible to go on.
//
// Two goroutines: one fetches ahead, by the one answer that is under way or waits, the other keeps
// the window of messages in flight. Another answer ahead would be no faster, and a topic
// of many partitions read from the start holds all of them decoded.
func (s *subscription) deliver(ctx context.Context, partition int, start int64, acked func(next int64)) error {
	ctx, cancel := context.WithCancel(ctx)
	ahead := make(chan fetched)
	var failure error
	go func() {
		defer close(ahead)
		failure = s.fetchAhead(ctx, partition, start, ahead)
	}()
	w := window{
		subscription: s, ctx: ctx, partition: partition,
		ahead: ahead, acked: acked,
	}
	w.run()
	cancel()
	for range ahead { // Until the fetching goroutine has ended.
	}
	return failure
}

func (s *subscription) fetchAhead(ctx context.Context, partition int, offset int64, to chan<- fetched) error {
	for {
		records, end, err := s.cluster.Fetch(ctx, s.topic, partition, offset, s.config.MaxWait, s.config.FetchBytes)
		if errors.Is(err, ErrOffsetOutOfRange) && s.config.OnOutOfRange != nil {
			// Whoever is asked tells of it: that is for them to judge.
			s.log.Debug("kafka does not hold the offset to read next", "topic", s.topic, "partition", partition, "offset", offset)
			if offset, err = s.config.OnOutOfRange(ctx, s.topic, partition, offset); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		if len(records) == 0 {
			continue
		}
		offset = records[len(records)-1].Offset + 1
		select {
		case to <- fetched{records: records, end: end}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// window is the ordered window of a partition's messages in flight.
type window struct {
	*subscription
	ctx       context.Context
	partition int
	ahead     <-chan fetched
	acked     func(next int64)

	batch   fetched // records not yet in the window
	entries []entry // in order of their offsets; at most InFlight
	sent    int     // so many of the entries have been delivered
	again   *time.Timer
	held    <-chan time.Time // while it is not nil nothing is delivered, after a nack
}

// entry is a record in the window. It has a message once that is about to be delivered.
type entry struct {
	record   *Record
	end      int64
	msg      *message.Message
	delivery *delivery
}

func (w *window) run() {
	defer w.abandon()
	for {
		w.settle()
		// A full window waits for its first message, an empty one for records.
		var (
			out           chan<- *message.Message
			next          *message.Message
			ahead         <-chan fetched
			acked, nacked <-chan struct{}
		)
		switch {
		case w.sent < len(w.entries):
			if w.held == nil {
				out, next = w.out, w.message(&w.entries[w.sent])
			}
		case len(w.entries) < w.config.InFlight:
			if w.fill() {
				continue
			}
			ahead = w.ahead
		}
		if w.sent > 0 {
			acked, nacked = w.entries[0].msg.Acked(), w.entries[0].msg.Nacked()
		}
		select {
		case out <- next:
			w.sent++
		case batch, open := <-ahead:
			if !open {
				return
			}
			w.batch = batch
		case <-acked:
		case <-nacked:
		case <-w.held:
			w.held = nil
		case <-w.ctx.Done():
			w.settle() // What was acknowledged before the end counts.
			return
		}
	}
}

// fill moves a record from the batch into the window.
func (w *window) fill() bool {
	if len(w.batch.records) == 0 {
		return false
	}
	w.entries = append(w.entries, entry{record: &w.batch.records[0], end: w.batch.end})
	w.batch.records = w.batch.records[1:]
	return true
}

func (w *window) message(e *entry) *message.Message {
	if e.msg == nil {
		e.delivery = &delivery{Context: w.ctx, topic: w.topic, partition: w.partition, end: e.end, record: e.record}
		e.msg = messageOf(e.delivery)
	}
	return e.msg
}

// settle takes what was acknowledged from the front of the window, and starts again from the
// front when that was nacked.
func (w *window) settle() {
	for w.sent > 0 {
		first := &w.entries[0]
		select {
		case <-first.msg.Acked():
			first.delivery.finish()
			next := first.record.Offset + 1
			*first = entry{}
			w.entries = w.entries[1:]
			w.sent--
			w.acked(next)
		case <-first.msg.Nacked():
			w.rewind()
		default:
			return
		}
	}
}

// rewind makes all delivered messages be delivered again, as new ones, after a short while.
func (w *window) rewind() {
	w.abandon()
	w.sent = 0
	if w.again == nil {
		w.again = time.NewTimer(w.config.NackDelay)
	} else {
		w.again.Reset(w.config.NackDelay)
	}
	w.held = w.again.C
}

// abandon ends the contexts of the messages in the window.
func (w *window) abandon() {
	for i := range w.entries {
		if e := &w.entries[i]; e.msg != nil {
			e.delivery.finish()
			e.msg, e.delivery = nil, nil
		}
	}
}
