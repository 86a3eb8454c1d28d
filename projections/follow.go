package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

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
func (p *Projector) follow(ctx context.Context, m *readmodel.Model) error {
	if err := p.checkHistory(ctx, m); err != nil {
		return err
	}
	if err := p.retryQuarantined(ctx, m); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failure error // written before the channel of messages is closed
	sub := kafka.NewSubscriber(p.cfg.Cluster, kafka.SubscriberConfig{
		InFlight:     inFlight,
		FetchBytes:   fetchBytes,
		StartOffsets: func(ctx context.Context, _ string) (map[int]int64, error) { return p.startOffsets(ctx, m) },
		OnOutOfRange: func(ctx context.Context, _ string, partition int, offset int64) (int64, error) {
			p.log.Warn("the topic does not hold the next offset: going on by position", "partition", partition, "offset", offset)
			if err := p.checkLast(ctx, m.Progress()); err != nil {
				return 0, err
			}
			return p.offsetAfter(ctx, m, partition)
		},
		OnFailure: func(_ string, err error) { failure = err },
		Logger:    p.log,
	})
	defer sub.Close()
	messages, err := sub.Subscribe(ctx, p.cfg.Topic)
	if err != nil {
		return err
	}
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	batch := make([]delivery, 0, batchRecords)
	for {
		select {
		case <-sweep.C:
			if _, err := m.Sweep(batchRecords); err != nil {
				return err
			}
			continue
		case msg, ok := <-messages:
			if !ok {
				return failure
			}
			batch = append(batch[:0], parse(msg))
		}
		for more := true; more && len(batch) < batchRecords; {
			select {
			case msg, ok := <-messages:
				if more = ok; ok {
					batch = append(batch, parse(msg))
				}
			default:
				more = false
			}
		}
		if err := p.apply(ctx, m, batch); err != nil {
			return err
		}
		if p.trouble.Load() != nil {
			p.trouble.Store(nil)
		}
		for _, d := range batch {
			d.msg.Ack()
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
func (p *Projector) checkHistory(ctx context.Context, m *readmodel.Model) error {
	progress := m.Progress()
	err := p.patiently(ctx, "reach Kafka", func() error {
		n, err := p.cfg.Cluster.Partitions(ctx, p.cfg.Topic)
		if err == nil && n != len(progress.Partitions) {
			err = fmt.Errorf("%w: the topic has %d partitions, the copy was made from %d", errDiverged, n, len(progress.Partitions))
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := p.checkStore(ctx, progress); err != nil {
		return err
	}
	if err := p.checkLast(ctx, progress); err != nil {
		return err
	}
	return p.checkTopic(ctx, progress)
}

// checkLast holds the copy's last event of each partition against the source's at the same position.
func (p *Projector) checkLast(ctx context.Context, progress *readmodel.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	for _, part := range progress.Partitions {
		if part.LastEvent == 0 {
			continue
		}
		log, err := p.cfg.Source.After(ctx, part.LastEvent-1, 1)
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
func (p *Projector) checkTopic(ctx context.Context, progress *readmodel.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	var beyond uint64
	for partition := range progress.Partitions {
		last, ok, err := p.cfg.Cluster.Last(ctx, p.cfg.Topic, partition)
		if err != nil {
			return err
		}
		if r, err := parseRecord(last); ok && err == nil && r.StoreID == progress.StoreID {
			beyond = max(beyond, r.Event.Position)
		}
	}
	// The end is read after the topic, which may grow meanwhile.
	head, err := p.cfg.Source.Head(ctx)
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
func (p *Projector) checkStore(ctx context.Context, progress *readmodel.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	head, err := p.cfg.Source.Head(ctx)
	if err == nil && head.StoreID != progress.StoreID {
		return fmt.Errorf("%w: it is %s, the copy was made from %s", errOtherStore, head.StoreID, progress.StoreID)
	}
	return nil
}

func (p *Projector) startOffsets(ctx context.Context, m *readmodel.Model) (map[int]int64, error) {
	starts := make(map[int]int64)
	for i, part := range m.Progress().Partitions {
		starts[i] = part.Offset
		if part.Offset >= 0 {
			continue
		}
		offset, err := p.offsetAfter(ctx, m, i)
		if err != nil {
			return nil, err
		}
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
func (p *Projector) offsetAfter(ctx context.Context, m *readmodel.Model, partition int) (int64, error) {
	progress := m.Progress()
	part := progress.Partitions[partition]
	beyond := func(position uint64, seen func(events.Record)) func(kafka.Record) bool {
		return func(r kafka.Record) bool {
			record, err := parseRecord(r)
			if err != nil || record.StoreID != progress.StoreID {
				return false
			}
			seen(record)
			return record.Event.Position > position
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
		if _, err := p.cfg.Cluster.Search(ctx, p.cfg.Topic, partition, beyond(part.LastEvent-1, standing)); err != nil {
			return 0, err
		}
		if other != nil {
			return 0, other
		}
	}
	return p.cfg.Cluster.Search(ctx, p.cfg.Topic, partition, beyond(part.Position, func(events.Record) {}))
}

// apply folds a batch of deliveries into the model, and heals what is found missing between
// them. After an error some of the batch may be committed, with its offsets.
func (p *Projector) apply(ctx context.Context, m *readmodel.Model, batch []delivery) error {
	p.metrics.batch.Observe(float64(len(batch)))
	for len(batch) > 0 {
		foreign := foreignRun(batch, m.Progress())
		if foreign > 0 {
			if err := p.passOver(ctx, m, batch[:foreign]); err != nil {
				return err
			}
			batch = batch[foreign:]
			continue
		}
		var hole gap
		done, _, err := p.inUpdates(m, len(batch), func(u *update, i int) (bool, error) {
			if batch[i].foreign(u.Progress()) {
				return false, nil
			}
			var err error
			hole, err = p.applyOne(u, batch[i])
			return hole == gap{}, err
		})
		if err != nil {
			return err
		}
		p.observe(ctx, batch[:done])
		batch = batch[done:]
		if hole != (gap{}) {
			if err := p.heal(ctx, m, hole); err != nil {
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
func (p *Projector) applyOne(u *update, d delivery) (gap, error) {
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
		part.Offset = d.offset + 1
		part.Position = max(part.Position, position)
		// No later than now: a relay whose clock is ahead must not make this copy look fresh.
		at := r.Event.Time.UTC().Truncate(time.Microsecond)
		if now := p.cfg.Clock().UTC().Truncate(time.Microsecond); at.After(now) {
			at = now
		}
		if position >= part.LastEvent && at.After(part.Watermark) {
			part.Watermark = at
		}
		return gap{}, nil
	}
	o := duplicate
	if position > part.LastEvent {
		var err error
		if o, err = fold(u, r.Event, p.cfg.Clock()); err != nil {
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
func (p *Projector) passOver(ctx context.Context, m *readmodel.Model, foreign []delivery) error {
	// Either the source has moved on to another history, or the topic has not yet.
	if err := p.checkStore(ctx, m.Progress()); err != nil {
		return err
	}
	if first := foreign[0]; !p.toldForeign {
		p.toldForeign = true
		p.log.Warn("passing over records of another store; they are counted, and not told one by one",
			"partition", first.partition, "offset", first.offset, "store_id", first.record.StoreID)
	}
	err := m.Update(func(tx *readmodel.Tx) error {
		for _, d := range foreign {
			tx.Progress().Partitions[d.partition].Offset = d.offset + 1
		}
		return nil
	})
	if err == nil {
		p.metrics.badRecords.Add(float64(len(foreign)))
	}
	return err
}
