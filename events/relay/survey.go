package relay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
)

// ErrForeignRecords says that the topic holds records that this store never had, so that
// whatever is published next would mix two histories. It occurs when the topic belongs to
// another store, or when the store was restored to an earlier past. Retrying does not help;
// the error's text says what does.
var ErrForeignRecords = errors.New("the topic holds records of another history")

// ErrRestored is an ErrForeignRecords where the records are of this very store: of events that it
// does not have, or has others in place of. It was restored to an earlier past, and has to be
// given a new identity before anything is published: the lost future has been read by others.
var ErrRestored = errors.New("the store was restored to an earlier past")

// restored is an ErrRestored with what was found and what to do.
func (r *Relay) restored(partition int, what error) error {
	advice := r.config.RestoredAdvice
	if advice == "" {
		advice = "Start with --accept-restore to go on from what the store has now: it is given a new identity and published anew behind the" +
			" old records, and the regions notice and rebuild themselves. (Or, if this is not the store that the topic belongs to: use another --kafka-topic." +
			" Or delete the topic, on one machine kafka/ in the data directory, and start again.)"
	}
	return failed(causeRefused, fmt.Errorf("%w: %w: the last record of partition %d %w. Nothing was published. %s",
		ErrForeignRecords, ErrRestored, partition, what, advice))
}

// lostStore is an ErrRestored where the topic's last records are of an identity that this store had been
// given, until it was restored to before it was.
type lostStore struct {
	id uuid.UUID
	error
}

func (l *lostStore) Unwrap() error { return l.error }

// LostStoreID is the identity that a store had when it was restored to before it got it, as an ErrRestored
// tells; zero: the one that it still has. The records of that past have to be known for the store's own
// before anything is published behind them (Config.Was).
func LostStoreID(err error) uuid.UUID {
	if l, ok := errors.AsType[*lostStore](err); ok {
		return l.id
	}
	return uuid.Nil
}

// foreign is an ErrForeignRecords with what was found and what to do.
func foreign(partition int, what error) error {
	return failed(causeRefused, fmt.Errorf("%w: the last record of partition %d %w. Nothing was published."+
		" Either the topic belongs to another store: use another --kafka-topic."+
		" Or it is no longer wanted: stop, delete the topic (on one machine: kafka/ in the data directory),"+
		" and start again; the store is published anew, and the regions notice and rebuild themselves from it",
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
	if errors.Is(err, kafka.ErrUnknownTopic) && r.config.MakeTopic != nil {
		r.log.Warn("the topic is not there: making it")
		if err = r.config.MakeTopic(ctx); err == nil {
			n, err = r.config.Topic.Partitions(ctx)
		}
	}
	if err != nil {
		return survey{}, failed(causeKafka, fmt.Errorf("look at the topic: %w", err))
	}
	if n != r.config.Partitions {
		return survey{}, failed(causeRefused, fmt.Errorf("%w: it has %d, and this relay was made for %d. "+
			"If it was given more, stop all catalogues, delete the topic, and start them again; else start with --kafka-partitions %d",
			ErrPartitions, n, r.config.Partitions, n))
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

// last is a partition's last record, and with it those before it for as long as they are fences, or
// events that were published again; the newest first. None: the partition is empty.
type last []lastRecord

type lastRecord struct {
	events.Record
	offset int64
}

func (r *Relay) lastRecords(ctx context.Context) ([]last, error) {
	all := make([]last, r.config.Partitions)
	group, ctx := errgroup.WithContext(ctx)
	for partition := range all {
		group.Go(func() error {
			var err error
			all[partition], err = r.lastOf(ctx, partition)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return all, nil
}

// maxFences bounds how far back a look goes. Beyond it an event may be published again.
const maxFences = 1000

// lastOf reads a partition's last record. A fence may have come late, behind records that its relay
// did not know of, and then says less than they do; so does an event that was published again.
func (r *Relay) lastOf(ctx context.Context, partition int) (last, error) {
	var all last
	for before := int64(math.MaxInt64); len(all) < maxFences; before = all[len(all)-1].offset {
		record, ok, err := r.config.Topic.Last(ctx, partition, before)
		if err != nil {
			return nil, failed(causeKafka, fmt.Errorf("read the last record of partition %d: %w", partition, err))
		}
		if !ok {
			break
		}
		parsed, err := parse(record)
		if err != nil {
			return nil, foreign(partition, fmt.Errorf("cannot be read: %w", err))
		}
		all = append(all, lastRecord{Record: parsed, offset: record.Offset})
		if !isFence(parsed) && parsed.Replayed == 0 {
			break
		}
	}
	return all, nil
}

// compare holds a partition's last records against the store. Since an event's ID is its own,
// and positions are given in order, a store that has the same event at the same position has
// the same history up to there.
func (r *Relay) compare(ctx context.Context, s *survey, partition int, l last) (found, error) {
	f := found{next: -1}
	for _, record := range l {
		position := record.Event.Position
		f.next = max(f.next, record.offset+1)
		was := false // the store's identity before it was restored
		if record.StoreID != s.head.StoreID {
			var err error
			if was, err = r.was(ctx, record.StoreID); err != nil {
				return found{}, err
			}
			if !was {
				return found{}, r.stranger(ctx, s, partition, record.StoreID)
			}
		}
		if r.otherwise(record.Record, partition) {
			return found{}, failed(causeRefused, fmt.Errorf("%w: what stands in it was published in fewer or more than the %d that it has now. "+
				"Readers would look for a stream's events in other partitions than they are in. "+
				"Stop all catalogues, delete the topic, and start them again: they make it anew and publish everything", ErrPartitions, r.config.Partitions))
		}
		if was { // It holds nothing of ours yet: all is published, behind the old records.
			continue
		}
		if position > s.head.Position {
			return found{}, r.restored(partition, fmt.Errorf("is of position %d, and this store ends at %d", position, s.head.Position))
		}
		id, err := r.idAt(ctx, s, position)
		if err != nil {
			return found{}, err
		}
		previous, expected := position, id
		if record.IsWatermark() {
			previous = record.Previous
			expected = events.WatermarkID(id, position, partition, record.Event.Time)
			if !isFence(record.Record) {
				f.marked = record.Event.Time
			}
		}
		if record.Event.ID != expected {
			return found{}, r.restored(partition, fmt.Errorf("tells of another event at position %d than this store has there", position))
		}
		f.complete, f.previous = max(f.complete, position), max(f.previous, previous)
	}
	return f, nil
}

// stranger is what a record of an unknown identity at the end of a partition means. Where the topic still
// has older records of this store, it is this store's own: nobody publishes behind another store's
// records, except a store that knows to have had that identity before it was restored. So this one was
// restored a second time, to before the first time was accepted.
func (r *Relay) stranger(ctx context.Context, s *survey, partition int, id uuid.UUID) error {
	for p := range r.config.Partitions {
		record, ok, err := r.config.Topic.First(ctx, p)
		if err != nil {
			return failed(causeKafka, fmt.Errorf("read the first record of partition %d: %w", p, err))
		}
		if !ok {
			continue
		}
		first, err := parse(record)
		if err != nil {
			continue // it proves nothing
		}
		ours := first.StoreID == s.head.StoreID
		if !ours && first.StoreID != id {
			if ours, err = r.was(ctx, first.StoreID); err != nil {
				return err
			}
		}
		if ours {
			what := fmt.Errorf("is of store %s, which this store, %s, became after an earlier restore, and it was restored to before that", id, s.head.StoreID)
			return &lostStore{id: id, error: r.restored(partition, what)}
		}
	}
	return foreign(partition, fmt.Errorf("is of store %s, and this store is %s", id, s.head.StoreID))
}

// otherwise tells that a record was published when the topic had another number of partitions: a
// watermark says so, and an event may stand where its key does not belong now.
func (r *Relay) otherwise(record events.Record, partition int) bool {
	if record.IsWatermark() {
		return record.Partitions > 0 && record.Partitions != r.config.Partitions
	}
	return events.Partition(record.Key(), r.config.Partitions) != partition
}

// was tells whether this store had that identity before it was restored.
func (r *Relay) was(ctx context.Context, id uuid.UUID) (bool, error) {
	if r.config.Was == nil {
		return false, nil
	}
	was, err := r.config.Was(ctx, id)
	if err != nil {
		return false, failed(causeStore, fmt.Errorf("look for store %s among the identities before this one: %w", id, err))
	}
	return was, nil
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
