package readmodel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"

	"github.com/tenantry/tenantry/internal/diskspace"
	"github.com/tenantry/tenantry/internal/durable"
)

// Writer makes a whole model at once from records in the order of their keys, several times as fast
// as updates do: they go straight into tables, without a log and without compaction. The result holds the
// octets that updates would have written.
//
// A model that is not finished cannot be opened: it has no meta record.
type Writer struct {
	cfg    Config
	db     *badger.DB
	stream *badger.StreamWriter
	most   int
	runs   string // directory of sorted hostnames

	mu    sync.Mutex
	sums  Sums
	files []string // of runs
	parts int      // that are not closed
}

// sorting is the directory, within that of the model, in which hostnames are sorted.
const sorting = "sorting"

// Create begins a model in a directory, which must be empty or not there.
func Create(cfg Config) (*Writer, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.FreeSpace == nil {
		cfg.FreeSpace = diskspace.Free
	}
	w := &Writer{cfg: cfg, runs: filepath.Join(cfg.Dir, sorting)}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of a read model: %w", err)
	}
	if there, err := os.ReadDir(cfg.Dir); err != nil || len(there) > 0 {
		return nil, errors.Join(fmt.Errorf("write a read model into %s: it is not empty", cfg.Dir), err)
	}
	if err := room(cfg, minFree); err != nil {
		return nil, err
	}
	err := os.Mkdir(w.runs, 0o700)
	if err == nil {
		w.db, err = open(options(cfg))
	}
	if err != nil {
		return nil, errors.Join(openError(cfg.Dir, err), os.RemoveAll(cfg.Dir))
	}
	w.most = int(w.db.MaxBatchSize())
	w.stream = w.db.NewStreamWriter()
	if err := w.stream.Prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", cfg.Dir, err), w.Abort())
	}
	return w, nil
}

// The streams of Badger's writer: in each, keys ascend, and no two overlap. A part has one for
// each kind of record, since tables that span several would overlap with those of other parts.
const (
	streamHostnames = 1
	streamParts     = 8 // and from there on
	streamsPerPart  = 3
)

// Part begins a part of the model, for one goroutine: the streams of a range of IDs. i is another for each
// part, from 0, and their ranges ascend with it or not, but never overlap.
func (w *Writer) Part(i int) *PartWriter {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parts++
	return &PartWriter{
		w: w, first: uint32(streamParts + streamsPerPart*i), names: newSorter(w.runs, fmt.Sprintf("%05d", i)),
		buf: z.NewBuffer(2*writeSize, "readmodel.Writer"),
	}
}

// writeSize is how much is handed to Badger's writer at a time.
const writeSize = 256 << 10

// PartWriter writes one part of a model.
type PartWriter struct {
	w     *Writer
	first uint32 // of its streams
	last  [streamsPerPart]string
	names *sorter
	buf   *z.Buffer
	sums  Sums
}

// Put writes the records of one stream, as EntriesOf… make them. Streams come in the order of
// their IDs. ErrTooBig: of what an update could not store either, nothing is written.
func (p *PartWriter) Put(kvs []KV) error {
	for _, kv := range kvs {
		if len(kv.Value) > p.w.most {
			return fmt.Errorf("%w: %s would have %d octets", ErrTooBig, kv.Key, len(kv.Value))
		}
	}
	for _, kv := range kvs {
		if name, ok := cutPrefix([]byte(kv.Key), prefixHostname); ok {
			if err := p.names.add(name, kv.Value); err != nil {
				return fmt.Errorf("sort hostnames: %w", err)
			}
			continue
		}
		if err := p.record(kv); err != nil {
			return err
		}
	}
	return nil
}

func (p *PartWriter) record(kv KV) error {
	kind := slices.IndexFunc([]string{prefixDatabase, prefixGroup, prefixTenant}, kv.under)
	switch {
	case kind < 0:
		return fmt.Errorf("write %q: it is not the record of a stream", kv.Key)
	case kv.Key <= p.last[kind]: // Badger would end the process
		return fmt.Errorf("write %q after %q: the order is that of the keys", kv.Key, p.last[kind])
	}
	p.last[kind] = kv.Key
	if d := digestOf([]byte(kv.Key), kv.Value); d.counts {
		p.sums[d.bucket] += d.sum
	}
	badger.KVToBuffer(&pb.KV{Key: []byte(kv.Key), Value: kv.Value, Version: 1, StreamId: p.first + uint32(kind)}, p.buf)
	return p.flush(writeSize)
}

// flush hands over what is there, if it is this much.
func (p *PartWriter) flush(size int) error {
	if p.buf.LenNoPadding() < size {
		return nil
	}
	defer p.buf.Reset()
	return p.w.write(p.buf)
}

func (w *Writer) write(buf *z.Buffer) error {
	if err := room(w.cfg, minFree); err != nil {
		return err
	}
	if err := w.stream.Write(buf); err != nil {
		return fmt.Errorf("write %s: %w", w.cfg.Dir, err)
	}
	return nil
}

// Close ends the part. Each one must be closed, whether it failed or not.
func (p *PartWriter) Close() error {
	for kind, last := range p.last {
		if last != "" {
			badger.KVToBuffer(&pb.KV{StreamId: p.first + uint32(kind), StreamDone: true}, p.buf)
		}
	}
	err := errors.Join(p.flush(1), p.buf.Release())
	spilled := p.names.spill()
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.parts--
	p.w.files = append(p.w.files, p.names.files...)
	for i, v := range p.sums {
		p.w.sums[i] += v
	}
	return errors.Join(err, spilled)
}

// Finish writes what is left (hostnames, the sums, how far the model has come, which streams are in quarantine),
// and closes it, durable. It returns the sums. On error call Abort.
//
// Everything up to p.Position must have been folded into it: releases up to there are forgotten.
func (w *Writer) Finish(ctx context.Context, p *Progress, quarantined []Quarantine) (*Sums, error) {
	if w.parts > 0 {
		return nil, fmt.Errorf("finish %s: %d of its parts are not closed", w.cfg.Dir, w.parts)
	}
	if err := w.hostnames(ctx); err != nil {
		return nil, err
	}
	if err := w.stream.Flush(); err != nil {
		return nil, fmt.Errorf("write %s: %w", w.cfg.Dir, err)
	}
	w.stream = nil
	if err := os.RemoveAll(w.runs); err != nil {
		return nil, err
	}
	if err := w.state(p, quarantined); err != nil {
		return nil, fmt.Errorf("write %s: %w", w.cfg.Dir, err)
	}
	if err := w.db.Close(); err != nil {
		return nil, fmt.Errorf("close %s: %w", w.cfg.Dir, err)
	}
	w.db = nil
	if err := durable.SyncDir(w.cfg.Dir); err != nil {
		return nil, err
	}
	return &w.sums, nil
}

// hostnames merges what the parts have sorted. Of what several tenants say about one hostname the
// latest stands, and nothing is left where that is a release.
func (w *Writer) hostnames(ctx context.Context) error {
	buf := z.NewBuffer(2*writeSize, "readmodel.Writer")
	defer func() { _ = buf.Release() }() // it only gives memory back
	var name []byte
	var value []byte
	var latest claim
	put := func() error {
		if len(latest.tenant) == 0 {
			return nil
		}
		key := append([]byte(prefixHostname), name...)
		if d := digestOf(key, value); d.counts {
			w.sums[d.bucket] += d.sum
		}
		badger.KVToBuffer(&pb.KV{Key: key, Value: value, Version: 1, StreamId: streamHostnames}, buf)
		if buf.LenNoPadding() < writeSize {
			return nil
		}
		defer buf.Reset()
		if err := ctx.Err(); err != nil {
			return err
		}
		return w.write(buf)
	}
	err := merge(w.files, func(n, v []byte) error {
		c, err := parseClaim(v)
		if err != nil {
			return fmt.Errorf("hostname %q: %w", n, err)
		}
		if !bytes.Equal(n, name) {
			if err := put(); err != nil {
				return err
			}
			name = append(name[:0], n...)
		} else if c.position < latest.position {
			return nil
		}
		value = append(value[:0], v...)
		latest, err = parseClaim(value) // which shares memory with it
		return err
	})
	if err == nil {
		err = put()
	}
	if err != nil || buf.LenNoPadding() == 0 {
		return err
	}
	return w.write(buf)
}

// state writes what the model keeps about itself. The meta record comes last, since with it the model is one.
func (w *Writer) state(p *Progress, quarantined []Quarantine) error {
	var kvs []KV
	for _, q := range quarantined {
		b, err := encodeQuarantine(&q)
		if err != nil {
			return err
		}
		kvs = append(kvs, KV{Key: prefixQuarantine + q.Stream.String(), Value: b})
	}
	for page := range pageCount {
		if !w.sums.emptyPage(page) {
			kvs = append(kvs, KV{Key: pageKey(page), Value: w.sums.encodePage(page)})
		}
	}
	for i, part := range p.Partitions {
		kvs = append(kvs, KV{Key: checkpointKey(i), Value: encodeCheckpoint(i, part)})
	}
	meta, err := encodeMeta(p, w.sums.total())
	if err != nil {
		return err
	}
	kvs = append(kvs, KV{Key: keyMeta, Value: meta})
	for some := range slices.Chunk(kvs, 500) {
		if err := w.db.Update(func(txn *badger.Txn) error {
			for _, kv := range some {
				if err := txn.Set([]byte(kv.Key), kv.Value); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// Abort removes what was written. It does nothing to a model that is finished.
func (w *Writer) Abort() error {
	if w.db == nil {
		return nil
	}
	if w.stream != nil {
		w.stream.Cancel()
	}
	err := errors.Join(w.db.Close(), os.RemoveAll(w.cfg.Dir))
	w.db = nil
	return err
}
