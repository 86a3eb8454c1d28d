package readmodel

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
)

// The errors of a Copy.
var (
	// ErrBadCopy: what was read is no copy of a model, or it is cut short or altered. Make it again.
	ErrBadCopy = errors.New("not a whole copy of a read model")
	// ErrOtherSchema: the copy is of another version of the program. Make it with this one, or build the
	// model from the store.
	ErrOtherSchema = errors.New("the copy is of another schema of the read model")
)

// A copy is a whole model as a stream of octets:
//
//	"TNTRYCP1"  length, header (JSON)  { length, records }*  0  length, trailer (JSON)
//
// Lengths are 4 octets, little endian. A record is the lengths of key and value as varints, then
// both; keys ascend. The trailer has the number of records, the sum of their digests, and the SHA-256 of
// all octets before the trailer's length.
const (
	copyMagic  = "TNTRYCP1"
	copyBlock  = 256 << 10 // about: a block ends behind the record that reaches it
	maxBlock   = copyBlock + maxValue + maxCopyKey + 2*binary.MaxVarintLen64
	maxCopyKey = 1 << 10
	maxHead    = 1 << 20 // of header and trailer
)

// CopyHeader says what a copy is of. What it says is proved only when all of the copy was read.
type CopyHeader struct {
	Schema   int       `json:"schema"`
	Region   string    `json:"region"` // of the node that it was made from
	Made     time.Time `json:"made"`
	Progress *Progress `json:"progress"`
}

// StoreID is the history that the copy is of.
func (h *CopyHeader) StoreID() uuid.UUID { return h.Progress.StoreID }

type copyTrailer struct {
	Records uint64 `json:"records"`
	Total   uint64 `json:"total,string"` // of the sums
	SHA256  []byte `json:"sha256"`
}

// copied are the kinds of records that a copy has, in the order of their keys. Checkpoints, sums and meta are
// made anew from its header and its records.
var copied = []string{prefixDatabase, prefixGroup, prefixHostname, prefixQuarantine, prefixTenant, prefixReleased}

// WriteCopy writes all of the model as it was at the moment of the inspection, and says how many records that
// were. A model whose records do not add up to its sums is damaged, and ErrDamaged: a copy would carry
// the damage on. What was written until an error is no copy.
func (i *Inspection) WriteCopy(ctx context.Context, w io.Writer, region string) (records uint64, err error) {
	if !i.progress.Complete {
		return 0, ErrNoModel
	}
	out := &copyWriter{out: bufio.NewWriterSize(w, copyBlock), hash: sha256.New()}
	out.write([]byte(copyMagic))
	if err := out.json(CopyHeader{Schema: Schema, Region: region, Made: time.Now().UTC(), Progress: i.progress}); err != nil {
		return 0, err
	}
	var sums Sums
	for _, prefix := range copied {
		for from := []byte(prefix); from != nil; {
			if err := ctx.Err(); err != nil {
				return records, err
			}
			n, next, err := i.batch(prefix, from, scanBatch, func(key, value []byte) {
				if d := digestOf(key, value); d.counts {
					sums[d.bucket] += d.sum
				}
				out.add(key, value)
			})
			if err != nil {
				return records, err
			}
			if out.err != nil {
				return records, out.err
			}
			records += uint64(n)
			if from = next; len(out.block) < copyBlock {
				continue
			}
			if err := out.flush(); err != nil {
				return records, err
			}
		}
	}
	if sums != i.sums {
		return records, fmt.Errorf("%w: its records do not add up to its sums: verify it and repair it first", ErrDamaged)
	}
	if err := out.flush(); err != nil {
		return records, err
	}
	out.length(0)
	if err := out.json(copyTrailer{Records: records, Total: sums.total(), SHA256: out.hash.Sum(nil)}); err != nil {
		return records, err
	}
	return records, errors.Join(out.err, out.out.Flush())
}

// copyWriter writes the parts of a copy. Its first error stays.
type copyWriter struct {
	out   *bufio.Writer
	hash  hash.Hash
	block []byte
	err   error
}

func (c *copyWriter) write(b []byte) {
	if c.err == nil {
		_, _ = c.hash.Write(b) // it has no error
		_, c.err = c.out.Write(b)
	}
}

func (c *copyWriter) length(n int) {
	c.write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
}

func (c *copyWriter) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.length(len(b))
	c.write(b)
	return c.err
}

func (c *copyWriter) add(key, value []byte) {
	if len(key) > maxCopyKey || len(value) > maxValue { // which nobody could read back
		if c.err == nil {
			c.err = fmt.Errorf("%w: a record of %d octets under %.100q: verify it and repair it first", ErrDamaged, len(value), key)
		}
		return
	}
	c.block = binary.AppendUvarint(c.block, uint64(len(key)))
	c.block = binary.AppendUvarint(c.block, uint64(len(value)))
	c.block = append(append(c.block, key...), value...)
}

func (c *copyWriter) flush() error {
	// Several batches may have come together: blocks stay within what a reader takes.
	for rest := c.block; len(rest) > 0; {
		n := 0
		for n < len(rest) && n < copyBlock {
			r := record(rest[n:])
			n += r.size
		}
		c.length(n)
		c.write(rest[:n])
		rest = rest[n:]
	}
	c.block = c.block[:0]
	return c.err
}

// rawRecord is a record within a block; size 0: it is none.
type rawRecord struct {
	key, value []byte
	size       int
}

func record(b []byte) rawRecord {
	keys, n := binary.Uvarint(b)
	if n <= 0 {
		return rawRecord{}
	}
	values, m := binary.Uvarint(b[n:])
	if m <= 0 || keys > maxCopyKey || values > maxValue || uint64(len(b)-n-m) < keys+values {
		return rawRecord{}
	}
	at, end := n+m, n+m+int(keys)
	size := end + int(values)
	return rawRecord{key: b[at:end], value: b[end:size], size: size}
}

// Copy is a copy that is being read.
type Copy struct {
	Header CopyHeader

	in   *bufio.Reader
	hash hash.Hash
	seen uint64 // records
}

// OpenCopy reads the beginning of a copy, so that its reader can decide whether it wants the rest.
func OpenCopy(r io.Reader) (*Copy, error) {
	c := &Copy{in: bufio.NewReaderSize(r, copyBlock), hash: sha256.New()}
	magic := make([]byte, len(copyMagic))
	if err := c.read(magic); err != nil {
		return nil, err
	}
	if string(magic) != copyMagic {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrBadCopy)
	}
	if err := c.json(&c.Header); err != nil {
		return nil, err
	}
	switch h := &c.Header; {
	case h.Schema != Schema:
		return nil, fmt.Errorf("%w: it has %d, this program has %d", ErrOtherSchema, h.Schema, Schema)
	case h.Progress == nil || !h.Progress.Complete || len(h.Progress.Partitions) == 0:
		return nil, fmt.Errorf("%w: it is of no complete model", ErrBadCopy)
	}
	return c, nil
}

// read fills b. The end of what is read is one that comes too early.
func (c *Copy) read(b []byte) error {
	_, err := io.ReadFull(c.in, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut short", ErrBadCopy)
	}
	if err != nil {
		return fmt.Errorf("read the copy: %w", err)
	}
	_, _ = c.hash.Write(b) // it has no error
	return nil
}

func (c *Copy) length(most int) (int, error) {
	var b [4]byte
	if err := c.read(b[:]); err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint32(b[:])
	if uint64(n) > uint64(most) {
		return 0, fmt.Errorf("%w: a part of it has %d octets", ErrBadCopy, n)
	}
	return int(n), nil
}

func (c *Copy) json(v any) error {
	n, err := c.length(maxHead)
	if err != nil {
		return err
	}
	b := make([]byte, n)
	if err := c.read(b); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrBadCopy, err)
	}
	return nil
}

// Restore writes the model of the copy into cfg.Dir, which must be empty or not there, durable and closed. On
// error the directory is gone. told, where not nil, is told of the records as they are read.
func (c *Copy) Restore(ctx context.Context, cfg Config, told func(records uint64)) (sums *Sums, err error) {
	w, err := Create(cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			sums, err = nil, errors.Join(err, w.Abort())
		}
	}()
	quarantined, err := c.records(ctx, w, told)
	if err != nil {
		return nil, err
	}
	// Checked before Finish, since with that it is a model.
	if err := c.trailer(w.sums.total()); err != nil {
		return nil, err
	}
	return w.Finish(ctx, c.Header.Progress, quarantined)
}

func (c *Copy) records(ctx context.Context, w *Writer, told func(uint64)) (quarantined []Quarantine, err error) {
	into := &restoring{w: w, part: w.Part(0), buf: z.NewBuffer(2*writeSize, "readmodel.Copy")}
	defer func() { err = errors.Join(err, into.close(err == nil)) }()
	block := make([]byte, maxBlock)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := c.length(maxBlock)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return into.quarantined, nil
		}
		if err := c.read(block[:n]); err != nil {
			return nil, err
		}
		for rest := block[:n]; len(rest) > 0; {
			r := record(rest)
			if r.size == 0 {
				return nil, fmt.Errorf("%w: record %d cannot be read", ErrBadCopy, c.seen+1)
			}
			if err := into.put(r.key, r.value); err != nil {
				return nil, err
			}
			rest = rest[r.size:]
			c.seen++
		}
		if told != nil {
			told(c.seen)
		}
	}
}

func (c *Copy) trailer(total uint64) error {
	sum := c.hash.Sum(nil)
	var t copyTrailer
	if err := c.json(&t); err != nil {
		return err
	}
	switch {
	case !bytes.Equal(t.SHA256, sum), t.Records != c.seen, t.Total != total:
		return fmt.Errorf("%w: it was altered since it was made", ErrBadCopy)
	}
	return nil
}

// restoring puts the records of a copy into a new model.
type restoring struct {
	w           *Writer
	part        *PartWriter
	buf         *z.Buffer // of what the part does not take
	last        []byte
	quarantined []Quarantine
}

// streamReleased is the stream of Badger's writer that has the releases.
const streamReleased = 2

func (r *restoring) put(key, value []byte) error {
	if bytes.Compare(key, r.last) <= 0 { // Badger would end the process
		return fmt.Errorf("%w: %q stands behind %q", ErrBadCopy, key, r.last)
	}
	r.last = append(r.last[:0], key...)
	switch {
	case bytes.HasPrefix(key, []byte(prefixHostname)):
		if d := digestOf(key, value); d.counts {
			r.part.sums[d.bucket] += d.sum
		}
		return r.raw(key, value, streamHostnames)
	case bytes.HasPrefix(key, []byte(prefixReleased)):
		return r.raw(key, value, streamReleased)
	case bytes.HasPrefix(key, []byte(prefixQuarantine)):
		id, err := events.ParseStreamID(string(key[len(prefixQuarantine):]))
		if err != nil {
			return fmt.Errorf("%w: quarantine of %q", ErrBadCopy, key)
		}
		r.quarantined = append(r.quarantined, *decodeQuarantine(id, value))
		return nil
	}
	kv := KV{Key: string(key), Value: value}
	if !kv.under(prefixDatabase) && !kv.under(prefixGroup) && !kv.under(prefixTenant) {
		return fmt.Errorf("%w: it has %q", ErrBadCopy, key)
	}
	return r.part.record(kv)
}

func (r *restoring) raw(key, value []byte, stream uint32) error {
	badger.KVToBuffer(&pb.KV{Key: key, Value: value, Version: 1, StreamId: stream}, r.buf)
	if r.buf.LenNoPadding() < writeSize {
		return nil
	}
	defer r.buf.Reset()
	return r.w.write(r.buf)
}

func (r *restoring) close(whole bool) error {
	var err error
	if whole && r.buf.LenNoPadding() > 0 {
		err = r.w.write(r.buf)
	}
	return errors.Join(err, r.part.Close(), r.buf.Release())
}
