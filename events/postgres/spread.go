package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/events"
)

// The log is read as it lies, which costs the server little, and put into the order of streams here:
// each row goes to the range of streams that it falls into, and each range is so small that it can be
// sorted in memory. To have the server sort would take it four times as long, and as much room in its
// temporary files as this takes in ours.
const (
	rangeEvents = 60_000   // in a range, about
	mostRanges  = 512      // whose beginnings are in memory at the same time
	rangeBuffer = 64 << 10 // octets of a range before they are written
	readers     = 4        // connections that read at the same time, at most
	copyRows    = `COPY (SELECT stream, version, position, id, type, time, data FROM tenantry.events WHERE position > %d AND position <= %d) TO STDOUT (FORMAT binary)`
)

// spread is a whole log in a temporary file, by ranges of streams.
type spread struct {
	file   *os.File
	ranges []*streamRange // ascending

	mu   sync.Mutex
	size int64 // of the file
}

// streamRange is the rows of the streams from one to before that of the next range.
type streamRange struct {
	from []byte

	mu     sync.Mutex
	buffer []byte
	chunks []chunk
	octets int64
}

// chunk is a piece of a range in the file.
type chunk struct {
	at   int64
	size int
}

// newSpread makes its file in a directory ("": that of the system for such files) and forgets its
// name at once, so that nothing is left of it whatever happens.
func newSpread(dir string, starts []string) (*spread, error) {
	file, err := os.CreateTemp(dir, "tenantry-log-*.spread")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s := &spread{file: file}
	for _, from := range starts {
		s.ranges = append(s.ranges, &streamRange{from: []byte(from)})
	}
	return s, nil
}

// read copies the whole log of a snapshot into the ranges, over several connections.
func (s *spread) read(ctx context.Context, w *whole, connections int) error {
	connections = max(1, min(connections, readers))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	counts := make([]uint64, connections)
	told := tellerOf(ctx, w.head.Position)
	for i := range counts {
		n := uint64(connections)
		first, last := w.head.Position/n*uint64(i), w.head.Position/n*uint64(i+1)
		if i == connections-1 {
			last = w.head.Position
		}
		wg.Go(func() {
			rows := &copied{each: s.put, told: told}
			if err := w.copy(ctx, rows, fmt.Sprintf(copyRows, first, last)); err != nil {
				cancel(err) // the first one is the reason of all
			}
			counts[i] = rows.count
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	if total != w.head.Position {
		return fmt.Errorf("the event log is damaged: it has %d events, and positions up to %d", total, w.head.Position)
	}
	for _, r := range s.ranges {
		if err := s.flush(r); err != nil {
			return err
		}
		r.buffer = nil
	}
	return nil
}

// tellEvery is after how many events of a connection it is told how far the reading is.
const tellEvery = 10_000

// tellerOf counts what several connections have read, and tells whoever wants to know, one at a time.
func tellerOf(ctx context.Context, total uint64) func(more uint64) {
	told := events.Reading(ctx)
	told(0, total) // so that the rate is right from the first that come
	var mu sync.Mutex
	done := uint64(0)
	return func(more uint64) {
		mu.Lock()
		defer mu.Unlock()
		done += more
		told(done, total)
	}
}

// put takes a row as it came.
func (s *spread) put(row []byte, f *[columns][]byte) error {
	i, found := slices.BinarySearchFunc(s.ranges, f[0], func(r *streamRange, stream []byte) int { return bytes.Compare(r.from, stream) })
	if !found {
		i = max(i-1, 0)
	}
	r := s.ranges[i]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buffer = append(r.buffer, row...)
	if len(r.buffer) < rangeBuffer {
		return nil
	}
	return s.flush(r)
}

func (s *spread) flush(r *streamRange) error {
	if len(r.buffer) == 0 {
		return nil
	}
	s.mu.Lock()
	at := s.size
	s.size += int64(len(r.buffer))
	s.mu.Unlock()
	if _, err := s.file.WriteAt(r.buffer, at); err != nil {
		return err
	}
	r.chunks = append(r.chunks, chunk{at: at, size: len(r.buffer)})
	r.octets += int64(len(r.buffer))
	r.buffer = r.buffer[:0]
	return nil
}

// copy carries out a COPY in the snapshot, on a connection of its own.
func (w *whole) copy(ctx context.Context, rows *copied, statement string) error {
	conn, err := w.store.connect(ctx)
	if err != nil {
		return w.store.readFault(ctx, err)
	}
	defer func() {
		hangUp(conn)
		<-conn.PgConn().CleanupDone() // where the connection was given up in the middle, somebody is at work on that
	}()
	err = w.copyOn(ctx, conn.PgConn(), rows, statement)
	switch {
	case rows.fault != nil:
		return rows.fault // the reason for what went wrong behind it
	case err != nil:
		return w.store.readFault(ctx, err)
	}
	return nil
}

func (w *whole) copyOn(ctx context.Context, conn *pgconn.PgConn, rows *copied, statement string) error {
	if err := carryOut(ctx, conn, beginWhole, `SET TRANSACTION SNAPSHOT '`+w.snapshot+`'`, limitsWhole); err != nil {
		return err
	}
	if _, err := conn.CopyTo(ctx, rows, statement); err != nil {
		return err
	}
	return rows.end()
}

// sorter puts one range after the other into the order of its streams, in memory that it uses again.
type sorter struct {
	data    []byte
	rows    []placed
	numbers map[string]int
	names   []string
	stream  []events.Event
}

// placed is a row: of which stream it is, and where in the data.
type placed struct {
	stream  int
	version int64
	from    int
}

// streams calls yield with each stream of a range.
func (o *sorter) streams(ctx context.Context, s *spread, r *streamRange, yield func([]events.Event) error) error {
	if err := o.load(s, r); err != nil {
		return err
	}
	inOrder := make([]int, len(o.names))
	for i := range inOrder {
		inOrder[i] = i
	}
	slices.SortFunc(inOrder, func(a, b int) int { return strings.Compare(o.names[a], o.names[b]) })
	rank := make([]int, len(o.names)) // of each stream
	for i, stream := range inOrder {
		rank[stream] = i
	}
	slices.SortFunc(o.rows, func(a, b placed) int {
		if a.stream != b.stream {
			return rank[a.stream] - rank[b.stream]
		}
		return cmp.Compare(a.version, b.version)
	})
	for first := 0; first < len(o.rows); {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, err := events.ParseStreamID(o.names[o.rows[first].stream])
		if err != nil {
			return fmt.Errorf("an event of the log: %w", err)
		}
		o.stream = o.stream[:0]
		next := first
		for ; next < len(o.rows) && o.rows[next].stream == o.rows[first].stream; next++ {
			e, err := foldable(id, o.data[o.rows[next].from:])
			if err != nil {
				return err
			}
			o.stream = append(o.stream, e)
		}
		if err := yield(o.stream); err != nil {
			return err
		}
		first = next
	}
	return nil
}

// load reads a range and finds its rows.
func (o *sorter) load(s *spread, r *streamRange) error {
	o.data = slices.Grow(o.data[:0], int(r.octets))[:r.octets]
	at := 0
	for _, c := range r.chunks {
		if _, err := s.file.ReadAt(o.data[at:at+c.size], c.at); err != nil {
			return err
		}
		at += c.size
	}
	o.rows, o.names = o.rows[:0], o.names[:0]
	if o.numbers == nil {
		o.numbers = make(map[string]int)
	}
	clear(o.numbers)
	for from := 0; from < len(o.data); {
		var f [columns][]byte
		size, err := fieldsOf(o.data[from:], &f)
		if err != nil || size == 0 {
			return errors.Join(errCopy, err)
		}
		stream, known := o.numbers[string(f[0])]
		if !known {
			stream = len(o.names)
			o.names = append(o.names, string(f[0]))
			o.numbers[o.names[stream]] = stream
		}
		o.rows = append(o.rows, placed{stream: stream, version: asInt(f[1]), from: from})
		from += size
	}
	return nil
}
