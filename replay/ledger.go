package replay

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// ledger is what the source says that a copy should hold: sums in memory, and every entry's key and
// digest on disk, some 150 octets a tenant, so that finding out what differs reads the source no second
// time. Its file has no name any more once it is open: nothing is left of a process that was killed.
type ledger struct {
	mu      sync.Mutex
	f       *os.File
	w       *bufio.Writer
	sums    Sums
	streams uint64
	tenants uint64
	entries uint64
	buf     []byte
	// late are hostnames that are only known at the end to be a stream's: see projections.FoldSource.
	late map[events.StreamID][]Entry
	// quarantined are the streams with an event that cannot be folded.
	quarantined []readmodel.Quarantine
}

func newLedger(dir string) (*ledger, error) {
	f, err := os.CreateTemp(dir, "compare-*.tmp")
	if err != nil {
		return nil, fmt.Errorf("make a file to compare with: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("make a file to compare with: %w", err), f.Close())
	}
	return &ledger{f: f, w: bufio.NewWriterSize(f, 256<<10), late: make(map[events.StreamID][]Entry)}, nil
}

func (l *ledger) close() error { return l.f.Close() }

// add takes a stream's records. It may be called from several goroutines.
func (l *ledger) add(stream events.StreamID, records []KV) error {
	bucket := readmodel.BucketOf(stream)
	l.mu.Lock()
	defer l.mu.Unlock()
	b := appendText(l.buf[:0], stream.String())
	n := 0
	for _, kv := range records {
		e, ok := kv.Entry()
		if !ok {
			continue
		}
		n++
		l.sums[bucket] += e.Digest
		b = appendText(b, e.Key)
		b = binary.LittleEndian.AppendUint64(b, e.Digest)
	}
	l.buf = b
	l.entries += uint64(n)
	if len(records) == 0 || records[0].Key != readmodel.RecordKey(stream) {
		for _, kv := range records {
			if e, ok := kv.Entry(); ok {
				l.late[stream] = append(l.late[stream], e)
			}
		}
		return nil
	}
	l.streams++
	if stream.Kind() == events.KindTenant {
		l.tenants++
	}
	// The bucket and the length stand first, so that a reader can leave out what it does not want.
	var head [6]byte
	binary.LittleEndian.PutUint16(head[:], uint16(bucket))
	binary.LittleEndian.PutUint32(head[2:], uint32(len(b)))
	if _, err := l.w.Write(head[:]); err != nil {
		return fmt.Errorf("note what to compare with: %w", err)
	}
	if _, err := l.w.Write(b); err != nil {
		return fmt.Errorf("note what to compare with: %w", err)
	}
	return nil
}

// read yields the streams of some buckets, with their entries. Nothing is added any more.
func (l *ledger) read(of *BucketSet, yield func(stream events.StreamID, entries []Entry) error) error {
	if err := l.w.Flush(); err != nil {
		return fmt.Errorf("note what to compare with: %w", err)
	}
	if _, err := l.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(l.f, 256<<10)
	var entries []Entry
	var b []byte
	late := maps.Clone(l.late)
	for {
		var head [6]byte
		if _, err := io.ReadFull(r, head[:]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read what to compare with: %w", err)
		}
		bucket := int(binary.LittleEndian.Uint16(head[:]))
		size := int(binary.LittleEndian.Uint32(head[2:]))
		if !of.Has(bucket) {
			if _, err := r.Discard(size); err != nil {
				return fmt.Errorf("read what to compare with: %w", err)
			}
			continue
		}
		if cap(b) < size {
			b = make([]byte, size)
		}
		b = b[:size]
		if _, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("read what to compare with: %w", err)
		}
		id, rest := cutText(b)
		stream, err := events.ParseStreamID(id)
		if err != nil {
			return fmt.Errorf("read what to compare with: %w", err)
		}
		entries = entries[:0]
		for len(rest) > 0 {
			var e Entry
			e.Key, rest = cutText(rest)
			e.Stream, e.Bucket = stream, bucket
			e.Digest, rest = binary.LittleEndian.Uint64(rest), rest[8:]
			entries = append(entries, e)
		}
		entries = append(entries, late[stream]...)
		delete(late, stream)
		if err := yield(stream, entries); err != nil {
			return err
		}
	}
	for stream, entries := range late { // of which nothing else is left
		if of.Has(readmodel.BucketOf(stream)) {
			if err := yield(stream, entries); err != nil {
				return err
			}
		}
	}
	return nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// cutText reads what appendText has written, in this process.
func cutText(b []byte) (s string, rest []byte) {
	n, size := binary.Uvarint(b)
	b = b[size:]
	return string(b[:n]), b[n:]
}
