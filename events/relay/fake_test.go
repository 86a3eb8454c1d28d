package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/kafka"
)

// memoryStore is a log in memory: the three methods that a relay needs, and the ways in which
// a store can misbehave.
type memoryStore struct {
	mu    sync.Mutex
	id    uuid.UUID
	log   []events.Event
	moved chan struct{}
	away  error // answered by every method while not nil
	heads int   // how often Head was called
}

func newMemoryStore() *memoryStore {
	return &memoryStore{id: uuid.New(), moved: make(chan struct{})}
}

// append puts one event to each of the streams, and returns the position of the last.
func (s *memoryStore) append(streams ...events.StreamID) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stream := range streams {
		s.log = append(s.log, events.Event{
			ID: uuid.New(), Stream: stream, Version: s.version(stream) + 1, Position: uint64(len(s.log)) + 1,
			Type: "tenantry.tenant.renamed.v1", Time: time.Now().UTC().Truncate(time.Microsecond), Actor: "test",
			Data: fmt.Appendf(nil, `{"name":"n%d"}`, len(s.log)+1),
		})
	}
	close(s.moved)
	s.moved = make(chan struct{})
	return uint64(len(s.log))
}

func (s *memoryStore) version(stream events.StreamID) uint64 {
	for _, e := range slices.Backward(s.log) {
		if e.Stream == stream {
			return e.Version
		}
	}
	return 0
}

// restore takes the log back to a position, as a restored backup does, with the same ID.
func (s *memoryStore) restore(position uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = slices.Clone(s.log[:position])
}

func (s *memoryStore) setAway(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
	close(s.moved)
	s.moved = make(chan struct{})
}

func (s *memoryStore) all() []events.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

func (s *memoryStore) After(ctx context.Context, position uint64, limit int) ([]events.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(ctx.Err(), s.away); err != nil {
		return nil, err
	}
	from := min(position, uint64(len(s.log)))
	to := min(from+uint64(limit), uint64(len(s.log)))
	return slices.Clone(s.log[from:to]), nil
}

func (s *memoryStore) Wait(ctx context.Context, position uint64) error {
	for {
		s.mu.Lock()
		moved, there, away := s.moved, uint64(len(s.log)) > position, s.away
		s.mu.Unlock()
		if away != nil {
			return away
		}
		if there {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *memoryStore) Head(ctx context.Context) (events.Head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads++
	if err := errors.Join(ctx.Err(), s.away); err != nil {
		return events.Head{}, err
	}
	return events.Head{Position: uint64(len(s.log)), StoreID: s.id}, nil
}

// fate is what becomes of one Produce.
type fate int

const (
	fine     fate = iota
	unsent        // an error, and nothing is stored
	unheard       // an error, and all is stored: the answer was lost
	cutShort      // an error, and some of the first records are stored
)

var errFated = errors.New("fated to fail")

// memoryTopic is a topic in memory whose producers fail as the test says.
type memoryTopic struct {
	mu         sync.Mutex
	partitions [][]kafka.Record
	times      [][]time.Time // when each record was stored
	calls      int
	producers  int
	trimmed    int64 // what is before that offset First does not find, as after its retention

	gone atomic.Bool // no question about it is answered

	// judge says what becomes of the Produce of that number. It is called without the lock,
	// and may block.
	judge func(call, partition int, records []kafka.Record) fate
}

func newMemoryTopic(partitions int) *memoryTopic {
	return &memoryTopic{partitions: make([][]kafka.Record, partitions), times: make([][]time.Time, partitions)}
}

func (m *memoryTopic) Partitions(ctx context.Context) (int, error) {
	if m.gone.Load() {
		return 0, errFated
	}
	return len(m.partitions), ctx.Err()
}

func (m *memoryTopic) Last(ctx context.Context, partition int, before int64) (kafka.Record, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return kafka.Record{}, false, err
	}
	all := m.partitions[partition]
	if before < int64(len(all)) {
		all = all[:before]
	}
	if len(all) == 0 {
		return kafka.Record{}, false, nil
	}
	return all[len(all)-1], true, nil
}

func (m *memoryTopic) First(ctx context.Context, partition int) (kafka.Record, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.partitions[partition] {
		if r.Offset >= m.trimmed {
			return r, true, ctx.Err()
		}
	}
	return kafka.Record{}, false, ctx.Err()
}

func (m *memoryTopic) NewProducer(ctx context.Context) (Producer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.producers++
	return &memoryProducer{topic: m, broken: make([]bool, len(m.partitions)), busy: make([]sync.Mutex, len(m.partitions))}, ctx.Err()
}

// put stores records as if somebody else had written them.
func (m *memoryTopic) put(partition int, records ...kafka.Record) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	base := int64(len(m.partitions[partition]))
	for _, r := range records {
		m.partitions[partition] = append(m.partitions[partition], cloned(r, base))
		m.times[partition] = append(m.times[partition], time.Now())
		base++
	}
	return base - int64(len(records))
}

func cloned(r kafka.Record, offset int64) kafka.Record {
	r.Offset = offset
	r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
	r.Headers = slices.Clone(r.Headers)
	for i := range r.Headers {
		r.Headers[i].Value = slices.Clone(r.Headers[i].Value)
	}
	return r
}

func (m *memoryTopic) records() [][]kafka.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([][]kafka.Record, len(m.partitions))
	for i, p := range m.partitions {
		out[i] = slices.Clone(p)
	}
	return out
}

// memoryProducer keeps the contract of kafka.Producer.
type memoryProducer struct {
	topic  *memoryTopic
	busy   []sync.Mutex
	broken []bool
}

func (p *memoryProducer) Produce(ctx context.Context, partition int, records []kafka.Record) (int64, error) {
	if !p.busy[partition].TryLock() {
		panic("two batches of one partition are in flight")
	}
	defer p.busy[partition].Unlock()
	if p.broken[partition] {
		return 0, kafka.ErrBroken
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	p.topic.mu.Lock()
	p.topic.calls++
	call, judge := p.topic.calls, p.topic.judge
	p.topic.mu.Unlock()
	what := fine
	if judge != nil {
		what = judge(call, partition, records)
	}
	switch what {
	case fine:
		return p.topic.put(partition, records...), nil
	case unheard:
		p.topic.put(partition, records...)
	case cutShort:
		p.topic.put(partition, records[:len(records)/2]...)
	case unsent:
	}
	p.broken[partition] = true
	return 0, errFated
}

// stream is the i-th of the streams that the tests use.
func stream(t testing.TB, i int) events.StreamID {
	t.Helper()
	id, err := events.ParseStreamID(fmt.Sprintf("ten_t%d", i))
	if err != nil {
		t.Fatal(err)
	}
	return id
}
