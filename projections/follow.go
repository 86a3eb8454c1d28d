package projections

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// delivery is one record as the topic delivered it.
type delivery struct {
	msg       *message.Message
	partition int
	offset    int64
	key       string
	record    events.Record
	err       error // not one of our records
}

// follow reads the topic into the model until the context ends or something is wrong that a
// new subscription or a new generation has to mend.
func (f *follower) follow(ctx context.Context) error {
	if err := f.checkHistory(ctx); err != nil {
		return err
	}
	if err := f.retryQuarantined(ctx); err != nil {
		return err
	}
	clear(f.unmended)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failure error // written before the channel of messages is closed
	// Asked by each partition that finds its offset gone, and the same for all.
	same := sync.OnceValue(func() error { return f.checkLast(ctx, f.model.Progress()) })
	sub := kafka.NewSubscriber(f.cfg.Cluster, kafka.SubscriberConfig{
		InFlight:     inFlight,
		FetchBytes:   fetchBytes,
		StartOffsets: func(ctx context.Context, _ string) (map[int]int64, error) { return f.startOffsets(ctx) },
		OnOutOfRange: func(ctx context.Context, _ string, partition int, offset int64) (int64, error) {
			f.log.Warn("the topic does not hold the next offset: going on by position", "partition", partition, "offset", offset)
			if err := same(); err != nil {
				return 0, err
			}
			return f.offsetAfter(ctx, partition)
		},
		OnFailure: func(_ string, err error) { failure = err },
		Logger:    f.log,
	})
	defer sub.Close()
	messages, err := sub.Subscribe(ctx, f.cfg.Topic)
	if err != nil {
		return err
	}
	batches := make(chan []delivery)
	gathered := make(chan struct{})
	go func() {
		defer close(gathered)
		defer close(batches)
		gather(ctx, messages, batches)
	}()
	defer func() { cancel(); <-gathered }()
	other := make(chan error, 1)
	var watching sync.WaitGroup
	watching.Go(func() { f.watchStore(ctx, other) })
	defer func() { cancel(); watching.Wait() }()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case err := <-other:
			return err
		case <-sweep.C:
			if err := f.sweep(); err != nil {
				return err
			}
			f.countAnew(ctx)
		case batch, ok := <-batches:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if !ok {
				return failure
			}
			if err := f.apply(ctx, batch); err != nil {
				return err
			}
			if f.trouble.Load() != nil {
				f.trouble.Store(nil)
			}
			for _, d := range batch {
				d.msg.Ack()
			}
		}
	}
}

// gather parses messages, and hands over together what has come while the batch before was applied.
// It returns when the context or the messages end.
func gather(ctx context.Context, messages <-chan *message.Message, to chan<- []delivery) {
	var batch []delivery
	for {
		from, ready := messages, to
		if len(batch) == 0 {
			ready = nil
		}
		if len(batch) == batchRecords {
			from = nil
		}
		select {
		case msg, ok := <-from:
			if !ok {
				return
			}
			batch = append(batch, parse(msg))
		case ready <- batch:
			batch = make([]delivery, 0, len(batch)) // the next one is about as large
		case <-ctx.Done():
			return
		}
	}
}

func parse(msg *message.Message) delivery {
	d := delivery{msg: msg}
	// A subscriber's message has both.
	d.partition, _ = kafka.PartitionFromContext(msg.Context())
	d.offset, _ = kafka.OffsetFromContext(msg.Context())
	d.key, _ = kafka.KeyFromContext(msg.Context())
	d.record, d.err = events.ParseRecord(msg.Metadata.Get, msg.Payload)
	return d
}

// checkHistory makes sure that model, topic and source can belong together.
//
// A store that was restored to an earlier past does not know that it was, and has the same
// identity. Two things show it: the copy has an event that the store does not have at that
// position, and the topic tells of positions beyond the store's end.
func (f *follower) checkHistory(ctx context.Context) error {
	progress := f.model.Progress()
	err := patiently(ctx, f.log, "reach Kafka", func() error {
		n, err := f.cfg.Cluster.Partitions(ctx, f.cfg.Topic)
		if err == nil && n != len(progress.Partitions) {
			err = fmt.Errorf("%w: the topic has %d partitions, the copy was made from %d", errDiverged, n, len(progress.Partitions))
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := f.checkStore(ctx, progress); err != nil {
		return err
	}
	if err := f.checkLast(ctx, progress); err != nil {
		return err
	}
	return f.checkTopic(ctx, progress)
}

// checkLast holds the copy's last event of each partition against the source's at the same position.
func (f *follower) checkLast(ctx context.Context, progress *readmodel.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	for _, part := range progress.Partitions {
		if part.LastEvent == 0 {
			continue
		}
		log, err := f.cfg.Source.After(ctx, part.LastEvent-1, 1)
		if err != nil {
			return nil // a source that is away proves nothing
		}
		if len(log) == 0 || log[0].ID != part.LastID {
			return fmt.Errorf("%w: the source of truth does not have the event that was applied at position %d", errDiverged, part.LastEvent)
		}
	}
	return nil
}

// checkTopic holds the topic's last records against the source's end.
func (f *follower) checkTopic(ctx context.Context, progress *readmodel.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	var beyond uint64
	for partition := range progress.Partitions {
		last, ok, err := f.cfg.Cluster.Last(ctx, f.cfg.Topic, partition)
		if err != nil {
			return err
		}
		if r, err := parseRecord(last); ok && err == nil && r.StoreID == progress.StoreID {
			beyond = max(beyond, r.Event.Position)
		}
	}
	// The end is read after the topic, which may grow meanwhile.
	head, err := f.cfg.Source.Head(ctx)
	if err == nil && head.StoreID == progress.StoreID && beyond > head.Position {
		return fmt.Errorf("%w: it tells of position %d, and the source of truth ends at %d", errTopicAhead, beyond, head.Position)
	}
	return nil
}

// parseRecord reads a record that was fetched without a subscription.
func parseRecord(r kafka.Record) (events.Record, error) {
	return events.ParseRecord(func(name string) string {
		v, _ := r.Header(name)
		return v
	}, r.Value)
}

// checkStore returns errOtherStore where the source is of another identity. A source that is
// away proves nothing.
func (f *follower) checkStore(ctx context.Context, progress *readmodel.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	head, err := f.cfg.Source.Head(ctx)
	if err == nil && head.StoreID != progress.StoreID {
		return fmt.Errorf("%w: it is %s, the copy was made from %s", errOtherStore, head.StoreID, progress.StoreID)
	}
	return nil
}

// watchStore tells once the source is another store than the copy's. The topic mostly tells of that first; but its relay may be
// down, or the source have been away when it was asked because of what the topic told.
func (f *follower) watchStore(ctx context.Context, other chan<- error) {
	ticker := time.NewTicker(max(f.cfg.Patience, 100*time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := f.checkStore(ctx, f.model.Progress()); err != nil {
			other <- err
			return
		}
	}
}

// searches is how many partitions are searched at a time. Each search is some dozen questions, one after the other.
const searches = 8

func (f *follower) startOffsets(ctx context.Context) (map[int]int64, error) {
	parts := f.model.Progress().Partitions
	offsets := make([]int64, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(searches)
	for i, part := range parts {
		offsets[i] = part.Offset
		if part.Offset < 0 {
			group.Go(func() (err error) {
				offsets[i], err = f.offsetAfter(ctx, i)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	starts := make(map[int]int64, len(offsets))
	for i, offset := range offsets {
		starts[i] = offset
	}
	return starts, nil
}

// offsetAfter finds the first record of a partition that goes beyond a position of this copy's
// history. Positions never go back within a partition; where they do all the same, the chain
// shows it.
//
// The records up to there are never read. That they are the ones that were applied is what the
// last of them has to show: the topic may be a new one, made from a store that was restored to an
// earlier past and has come as far again by another way.
func (f *follower) offsetAfter(ctx context.Context, partition int) (int64, error) {
	progress := f.model.Progress()
	part := progress.Partitions[partition]
	beyond := func(position uint64, seen func(events.Record)) func(kafka.Record) bool {
		return func(r kafka.Record) bool {
			record, err := parseRecord(r)
			if err != nil || record.StoreID != progress.StoreID {
				return false
			}
			seen(record)
			// Watermarks that stand behind the last event tell how late the copy is known to be complete.
			later := record.IsWatermark() && record.Event.Position == part.Position && record.Event.Time.After(part.Watermark)
			return record.Reached() > position || later
		}
	}
	if part.LastEvent > 0 {
		var other error
		standing := func(r events.Record) {
			if r.Event.Position == part.LastEvent && !r.IsWatermark() && r.Event.ID != part.LastID {
				other = fmt.Errorf("%w: in partition %d another event stands at position %d", errDiverged, partition, part.LastEvent)
			}
		}
		// The search for what is beyond the one before it ends at the event itself.
		if _, err := f.cfg.Cluster.Search(ctx, f.cfg.Topic, partition, beyond(part.LastEvent-1, standing)); err != nil {
			return 0, err
		}
		if other != nil {
			return 0, other
		}
	}
	return f.cfg.Cluster.Search(ctx, f.cfg.Topic, partition, beyond(part.Position, func(events.Record) {}))
}

// apply folds a batch of deliveries into the model, and heals what is found missing between
// them. After an error some of the batch may be committed, with its offsets.
func (f *follower) apply(ctx context.Context, batch []delivery) error {
	if f.live.Load() {
		f.metrics.batch.Observe(float64(len(batch)))
	}
	for len(batch) > 0 {
		foreign := foreignRun(batch, f.model.Progress())
		if foreign > 0 {
			if err := f.passOver(ctx, batch[:foreign]); err != nil {
				return err
			}
			batch = batch[foreign:]
			continue
		}
		var hole gap
		done, _, err := f.inUpdates(len(batch), func(u *update, i int) (bool, error) {
			if batch[i].foreign(u.Progress()) {
				return false, nil
			}
			var err error
			hole, err = f.applyOne(u, batch[i])
			return hole == gap{}, err
		})
		if err != nil {
			return err
		}
		f.observe(ctx, batch[:done])
		batch = batch[done:]
		if hole != (gap{}) {
			if err := f.heal(ctx, hole); err != nil {
				return err
			}
		}
	}
	return nil
}

// foreign tells that a record is of another history than the model.
func (d delivery) foreign(progress *readmodel.Progress) bool {
	return d.err == nil && d.record.StoreID != progress.StoreID
}

// foreignRun is how many records at the beginning of the batch are foreign.
func foreignRun(batch []delivery, progress *readmodel.Progress) int {
	for i, d := range batch {
		if !d.foreign(progress) {
			return i
		}
	}
	return len(batch)
}

// applyOne folds one delivery. Where events are missing before it, it changes nothing and
// says which.
func (f *follower) applyOne(u *update, d delivery) (gap, error) {
	part := &u.Progress().Partitions[d.partition]
	if d.err != nil {
		u.bad = append(u.bad, d)
		part.Offset = d.offset + 1
		return gap{}, nil //nolint:nilerr // told, and passed over: the chain finds what was lost with it
	}
	r := d.record
	position := r.Event.Position
	switch {
	case r.Previous > part.LastEvent:
		return gap{partition: d.partition, upTo: r.Previous}, nil
	case position > part.LastEvent && r.Previous < part.LastEvent:
		return gap{}, fmt.Errorf("%w: in partition %d position %d follows %d, and the copy has %d between them",
			errDiverged, d.partition, position, r.Previous, part.LastEvent)
	case position == part.LastEvent && !r.IsWatermark() && r.Event.ID != part.LastID:
		return gap{}, fmt.Errorf("%w: in partition %d another event stands at position %d", errDiverged, d.partition, position)
	}
	if r.IsWatermark() {
		if n := len(u.Progress().Partitions); r.Partitions > 0 && r.Partitions != n {
			return gap{}, fmt.Errorf("%w: the topic is published in %d partitions, the copy was made from %d", errDiverged, r.Partitions, n)
		}
		// A topic that was made anew from a store with another past may go on just where this copy is.
		if id, ok := u.Progress().EventAt(position); ok && r.Event.ID != events.WatermarkID(id, position, d.partition, r.Event.Time) {
			return gap{}, fmt.Errorf("%w: the topic tells of another event at position %d", errDiverged, position)
		}
		f.marked.Store(true)
		f.foreign.Store(nil)
		part.Offset = d.offset + 1
		part.Position = max(part.Position, position)
		// No later than now: a relay whose clock is ahead must not make this copy look fresh.
		at, now := r.Event.Time.UTC().Truncate(time.Microsecond), f.cfg.Clock().UTC().Truncate(time.Microsecond)
		if at.After(now) {
			at = now
		}
		if position >= part.LastEvent && (at.After(part.Watermark) || part.Watermark.After(now)) {
			part.Watermark = at
		}
		return gap{}, nil
	}
	if _, left := f.unmended[r.Event.Stream]; r.Replayed > 0 && position <= part.LastEvent && !left {
		if lost, err := lacks(u, r.Event); err != nil || lost {
			return gap{stream: r.Event.Stream, upTo: r.Event.Version, whole: true, at: position}, err
		}
	}
	o := duplicate
	if position > part.LastEvent {
		var err error
		if o, err = fold(u, r.Event, f.cfg.Clock()); err != nil {
			return gap{}, err
		}
		if hole := before(o, r.Event); hole != (gap{}) {
			return hole, nil
		}
		part.Applied(r.Event)
	}
	u.tell(o, r.Event)
	part.Offset = d.offset + 1
	return gap{}, nil
}

// passOver goes beyond records of another store, without looking into them.
func (f *follower) passOver(ctx context.Context, foreign []delivery) error {
	// Either the source has moved on to another history, or the topic has not yet.
	if err := f.checkStore(ctx, f.model.Progress()); err != nil {
		return err
	}
	what := topicOfAnother(f.cfg.Topic, foreign[0].record.StoreID, f.model.Progress().StoreID)
	f.foreign.Store(&what)
	f.marked.Store(false)
	if first := foreign[0]; !f.toldForeign {
		f.toldForeign = true
		f.log.Warn("passing over records of another store; they are counted, and not told one by one",
			"partition", first.partition, "offset", first.offset, "store_id", first.record.StoreID)
	}
	err := f.update(func(tx *readmodel.Tx) error {
		for _, d := range foreign {
			tx.Progress().Partitions[d.partition].Offset = d.offset + 1
		}
		return nil
	})
	if err == nil {
		f.metrics.badRecords.Add(float64(len(foreign)))
	}
	return err
}
