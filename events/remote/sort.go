package remote

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// The sizes of a sort. Those of memory are what it takes at most while it collects and, in all of
// its parts together, while it merges.
const (
	readAhead  = 32 << 20 // octets that a part reads ahead, of all runs together
	markEvery  = 64 << 10 // octets of a run from one mark to the next
	leastAhead = 8 << 10  // octets that are read ahead of one run
)

// collected is how many octets of events are in memory before they are sorted and written. A
// variable, so that a test can have many runs of few events.
var collected = 64 << 20

// sorter puts a log, which comes in the order of its positions, into the order of its streams: what
// fits in memory is sorted and written to a file as a run, and the runs are merged when they are read.
type sorter struct {
	file  *os.File
	out   *bufio.Writer
	size  int64 // of the file
	runs  []sorted
	most  int // octets to collect
	batch []byte
	index []entry // of batch
	count uint64
}

// sorted is a run of events in the order of their streams, and of their positions within these.
type sorted struct {
	from, to int64 // in the file
	marks    []mark
}

// mark says which stream an event of a run is of, and where it begins.
type mark struct {
	stream string
	at     int64
}

// entry is where an event stands in a batch, and how long its stream's name is.
type entry struct {
	from, name, to uint32 // the name ends at name
}

// newSorter makes its file in a directory ("": that of the system for such files) and forgets its
// name at once, so that nothing is left of it whatever happens.
func newSorter(dir string) (*sorter, error) {
	file, err := os.CreateTemp(dir, "tenantry-log-*.sort")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &sorter{file: file, out: bufio.NewWriterSize(file, 1<<20), most: collected}, nil
}

func (s *sorter) close() error { return s.file.Close() }

// add takes the next event of the log.
func (s *sorter) add(e *events.Event) error {
	name := e.Stream.String()
	from := len(s.batch)
	b := s.batch
	b = append(b, byte(len(name))) // an ID has 67 octets at most
	b = append(b, name...)
	to := len(b)
	b = binary.AppendUvarint(b, e.Version)
	b = binary.AppendUvarint(b, e.Position)
	b = append(b, e.ID[:]...)
	b = binary.AppendVarint(b, e.Time.UnixMicro())
	b = binary.AppendUvarint(b, uint64(len(e.Type)))
	b = append(b, e.Type...)
	b = binary.AppendUvarint(b, uint64(len(e.Data)))
	b = append(b, e.Data...)
	s.batch = b
	s.index = append(s.index, entry{from: uint32(from), name: uint32(to), to: uint32(len(b))})
	s.count++
	if len(s.batch)+len(s.index)*12 >= s.most {
		return s.flush()
	}
	return nil
}

// flush writes what was collected as a run.
func (s *sorter) flush() error {
	if len(s.index) == 0 {
		return nil
	}
	name := func(e entry) []byte { return s.batch[e.from+1 : e.name] }
	slices.SortFunc(s.index, func(a, b entry) int {
		if c := bytes.Compare(name(a), name(b)); c != 0 {
			return c
		}
		return int(int64(a.from) - int64(b.from))
	})
	r := sorted{from: s.size}
	marked := int64(-markEvery)
	for _, e := range s.index {
		if s.size-marked >= markEvery {
			r.marks = append(r.marks, mark{stream: string(name(e)), at: s.size})
			marked = s.size
		}
		// The length comes before, so that it can be told what is whole.
		size := binary.AppendUvarint(s.out.AvailableBuffer(), uint64(e.to-e.from))
		if _, err := s.out.Write(size); err != nil {
			return err
		}
		if _, err := s.out.Write(s.batch[e.from:e.to]); err != nil {
			return err
		}
		s.size += int64(len(size)) + int64(e.to-e.from)
	}
	r.to = s.size
	s.runs = append(s.runs, r)
	s.batch, s.index = s.batch[:0], s.index[:0]
	return nil
}

// finish writes what is left; nothing is added any more.
func (s *sorter) finish() error {
	err := errors.Join(s.flush(), s.out.Flush())
	s.batch, s.index = nil, nil
	return err
}

// cut is the streams before which each of up to n parts ends, by the marks, which stand at the same
// distance from one another; "" ends the last.
func (s *sorter) cut(n int) []string {
	var streams []string
	for _, r := range s.runs {
		for _, m := range r.marks {
			streams = append(streams, m.stream)
		}
	}
	slices.Sort(streams)
	var ends []string
	for i := 1; i < n; i++ {
		end := ""
		if len(streams) > 0 {
			end = streams[i*len(streams)/n]
		}
		if end != "" && end > streams[0] && (len(ends) == 0 || end > ends[len(ends)-1]) {
			ends = append(ends, end)
		}
	}
	return append(ends, "")
}

// merge calls yield with each stream from one to before another ("": no bound).
func (s *sorter) merge(ctx context.Context, from, end string, ahead int, yield func([]events.Event) error) error {
	m := merger{end: end}
	size := max(ahead/max(len(s.runs), 1), leastAhead)
	for i := range s.runs {
		if err := m.open(s.file, &s.runs[i], i, from, size); err != nil {
			return err
		}
	}
	var one assembled
	for len(m.heap) > 0 {
		if err := one.add(m.heap[0].record, yield); err != nil {
			return err
		}
		if one.count%1024 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if err := m.next(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return one.flush(yield)
}

// assembled is the stream that is being put together.
type assembled struct {
	name   []byte
	stream []events.Event
	data   []byte // what its events' Data is cut from
	count  uint64
}

func (a *assembled) add(record []byte, yield func([]events.Event) error) error {
	a.count++
	name := nameOf(record)
	var id events.StreamID
	if len(a.stream) > 0 && bytes.Equal(name, a.name) {
		id = a.stream[0].Stream
	} else {
		if err := a.flush(yield); err != nil {
			return err
		}
		var err error
		if id, err = events.ParseStreamID(string(name)); err != nil {
			return err
		}
		a.name = append(a.name[:0], name...)
	}
	from := len(a.data)
	a.data = append(a.data, record[1+len(name):]...)
	e, ok := decodeRest(a.data[from:len(a.data):len(a.data)])
	if !ok {
		return errSpoilt
	}
	e.Stream = id
	a.stream = append(a.stream, e)
	return nil
}

func (a *assembled) flush(yield func([]events.Event) error) error {
	if len(a.stream) == 0 {
		return nil
	}
	err := yield(a.stream)
	a.stream, a.data = a.stream[:0], a.data[:0]
	return err
}

// errSpoilt says that a temporary file is not what was written. Retry.
var errSpoilt = errors.New("the temporary file that the log is sorted in was changed")

func nameOf(record []byte) []byte { return record[1 : 1+int(record[0])] }

// decodeRest reads what stands behind the stream of a record, and keeps it.
func decodeRest(b []byte) (e events.Event, ok bool) {
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			b = nil
			return 0
		}
		b = b[n:]
		return v
	}
	e.Version, e.Position = number(), number()
	if len(b) < 16 {
		return e, false
	}
	e.ID, b = uuid.UUID(b[:16]), b[16:]
	at, n := binary.Varint(b)
	if n <= 0 {
		return e, false
	}
	e.Time, b = time.UnixMicro(at).UTC(), b[n:]
	size := number()
	if uint64(len(b)) < size {
		return e, false
	}
	e.Type, b = events.TypeOf(b[:size]), b[size:]
	size = number()
	e.Data = b
	return e, uint64(len(b)) == size
}

// cursor reads one run.
type cursor struct {
	run    int
	in     *bufio.Reader
	record []byte // its next one
}

// next reads the next record; false at the end.
func (c *cursor) next() (bool, error) {
	size, err := binary.ReadUvarint(c.in)
	if err == io.EOF { //nolint:errorlint // not one that is wrapped: the end between two records
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if size > maxLine {
		return false, errSpoilt
	}
	c.record = slices.Grow(c.record[:0], int(size))[:size]
	if _, err := io.ReadFull(c.in, c.record); err != nil {
		return false, fmt.Errorf("%w: %w", errSpoilt, err)
	}
	if len(c.record) == 0 || len(c.record) < 1+int(c.record[0]) {
		return false, errSpoilt
	}
	return true, nil
}

// merger reads all runs as one. Its heap has the run with the least next record first.
type merger struct {
	heap []*cursor
	end  string
}

func (m *merger) open(file *os.File, r *sorted, run int, from string, size int) error {
	at := r.from
	for _, mark := range r.marks {
		if mark.stream >= from {
			break // the stream may have begun before the mark
		}
		at = mark.at
	}
	c := &cursor{run: run, in: bufio.NewReaderSize(io.NewSectionReader(file, at, r.to-at), size)}
	for {
		more, err := c.next()
		if err != nil || !more {
			return err
		}
		if string(nameOf(c.record)) >= from {
			break
		}
	}
	if m.beyond(c) {
		return nil
	}
	m.heap = append(m.heap, c)
	for i := len(m.heap) - 1; i > 0 && m.less(i, (i-1)/2); i = (i - 1) / 2 {
		m.heap[i], m.heap[(i-1)/2] = m.heap[(i-1)/2], m.heap[i]
	}
	return nil
}

func (m *merger) beyond(c *cursor) bool { return m.end != "" && string(nameOf(c.record)) >= m.end }

func (m *merger) less(i, j int) bool {
	a, b := m.heap[i], m.heap[j]
	if c := bytes.Compare(nameOf(a.record), nameOf(b.record)); c != 0 {
		return c < 0
	}
	return a.run < b.run // the earlier run has the earlier positions
}

// next moves the first run on.
func (m *merger) next() error {
	more, err := m.heap[0].next()
	if err != nil {
		return err
	}
	if !more || m.beyond(m.heap[0]) {
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
	}
	for i := 0; ; {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(m.heap) && m.less(child, least) {
				least = child
			}
		}
		if least == i {
			return nil
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}
