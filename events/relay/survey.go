package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/events"
)

// ErrForeignRecords says that the topic holds records that this store never had, so that
// whatever is published next would mix two histories. It occurs when the topic belongs to
// another store, or when the store was restored to an earlier past. Retrying does not help;
// the error's text says what does.
var ErrForeignRecords = errors.New("the topic holds records of another history")

// foreign is an ErrForeignRecords with what was found and what to do.
func foreign(partition int, what error) error {
	return failed(causeRefused, fmt.Errorf("%w: the last record of partition %d %w. Nothing was published."+
		" Either the topic belongs to another store: use another --kafka-topic."+
		" Or the store was restored to an earlier past: stop, delete the topic (on one machine: kafka/ in the data directory),"+
		" and start again; it is published anew, and the regions notice and rebuild themselves from the store",
		ErrForeignRecords, partition, what))
}

// found is what a partition's last record tells.
type found struct {
	complete uint64    // every event of the partition up to there is in the topic
	previous uint64    // position of the partition's last event; 0: it has none
	next     int64     // offset of the next record; -1: unknown
	marked   time.Time // the watermark's time; zero: an event, or nothing
}

// survey is what topic and store hold at the start of a session.
type survey struct {
	head       events.Head
	at         time.Time // before head was read
	partitions []found
	start      uint64               // the least complete; reading begins behind it
	marked     observation          // the newest watermark's, which is still true; zero: none
	ids        map[uint64]uuid.UUID // of the store's events at the positions that the last records name
}

// look reads the last record of each partition and holds it against the store.
func (r *Relay) look(ctx context.Context) (survey, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.SurveyTimeout)
	defer cancel()

	n, err := r.config.Topic.Partitions(ctx)
	if err != nil {
		return survey{}, failed(causeKafka, fmt.Errorf("look at the topic: %w", err))
	}
	if n != r.config.Partitions {
		return survey{}, failed(causeRefused, fmt.Errorf("%w: it has %d, and this relay was made for %d", ErrPartitions, n, r.config.Partitions))
	}
	last, err := r.lastRecords(ctx)
	if err != nil {
		return survey{}, err
	}
	// The head is read after the topic: another relay, one that has not yet noticed that it
	// is no longer alone, may publish what was appended a moment ago.
	now := time.Now()
	head, err := r.config.Store.Head(ctx)
	if err != nil {
		return survey{}, failed(causeStore, fmt.Errorf("read the end of the log: %w", err))
	}
	s := survey{head: head, at: now, partitions: make([]found, n), ids: map[uint64]uuid.UUID{0: uuid.Nil}}
	for partition, l := range last {
		if s.partitions[partition], err = r.compare(ctx, &s, partition, l); err != nil {
			return survey{}, err
		}
	}
	s.start = s.partitions[0].complete
	for _, f := range s.partitions {
		s.start = min(s.start, f.complete)
		if f.marked.After(s.marked.time) {
			s.marked = observation{time: f.marked, position: f.complete}
		}
	}
	return s, nil
}

// last is a partition's last record, where it has one.
type last struct {
	events.Record
	offset int64
	there  bool
}

func (r *Relay) lastRecords(ctx context.Context) ([]last, error) {
	all := make([]last, r.config.Partitions)
	group, ctx := errgroup.WithContext(ctx)
	for partition := range all {
		group.Go(func() error {
			record, ok, err := r.config.Topic.Last(ctx, partition)
			if err != nil {
				return failed(causeKafka, fmt.Errorf("read the last record of partition %d: %w", partition, err))
			}
			if !ok {
				return nil
			}
			parsed, err := parse(record)
			if err != nil {
				return foreign(partition, fmt.Errorf("cannot be read: %w", err))
			}
			all[partition] = last{Record: parsed, offset: record.Offset, there: true}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return all, nil
}

// compare holds a partition's last record against the store. Since an event's ID is its own,
// and positions are given in order, a store that has the same event at the same position has
// the same history up to there.
func (r *Relay) compare(ctx context.Context, s *survey, partition int, l last) (found, error) {
	if !l.there {
		return found{next: -1}, nil
	}
	position := l.Event.Position
	if l.StoreID != s.head.StoreID {
		return found{}, foreign(partition, fmt.Errorf("is of store %s, and this store is %s", l.StoreID, s.head.StoreID))
	}
	if position > s.head.Position {
		return found{}, foreign(partition, fmt.Errorf("is of position %d, and this store ends at %d", position, s.head.Position))
	}
	id, err := r.idAt(ctx, s, position)
	if err != nil {
		return found{}, err
	}
	f := found{complete: position, previous: position, next: l.offset + 1}
	expected := id
	if l.IsWatermark() {
		f.previous, f.marked = l.Previous, l.Event.Time
		expected = markID(mark{position: position, event: id, time: l.Event.Time}, partition)
	}
	if l.Event.ID != expected {
		return found{}, foreign(partition, fmt.Errorf("tells of another event at position %d than this store has there", position))
	}
	return f, nil
}

// idAt is the ID of the store's event at a position.
func (r *Relay) idAt(ctx context.Context, s *survey, position uint64) (uuid.UUID, error) {
	if id, ok := s.ids[position]; ok {
		return id, nil
	}
	page, err := r.config.Store.After(ctx, position-1, 1)
	if err == nil && (len(page) != 1 || page[0].Position != position) {
		err = errHole
	}
	if err != nil {
		return uuid.UUID{}, failed(causeStore, fmt.Errorf("read the event at position %d: %w", position, err))
	}
	s.ids[position] = page[0].ID
	return page[0].ID, nil
}
