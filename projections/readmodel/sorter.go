package readmodel

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// sorter sorts more pairs than fit into memory: what fits is sorted and written to a file, a run, and the runs
// are merged when all is there.
type sorter struct {
	dir, name string
	files     []string

	arena []byte // pairs, each with its lengths before it
	index []sortKey
}

// sortKey is where a pair begins, with the beginning of its key, so that few comparisons go there.
type sortKey struct {
	head uint64
	at   uint32
}

// runSize is what a sorter holds in memory, and half as much again for its index.
const runSize = 8 << 20

func newSorter(dir, name string) *sorter { return &sorter{dir: dir, name: name} }

func (s *sorter) add(key, value []byte) error {
	if len(s.arena)+len(key)+len(value)+2*binary.MaxVarintLen32 > runSize {
		if err := s.spill(); err != nil {
			return err
		}
	}
	if s.arena == nil {
		s.arena = make([]byte, 0, 64<<10)
	}
	var head [8]byte
	copy(head[:], key)
	s.index = append(s.index, sortKey{head: binary.BigEndian.Uint64(head[:]), at: uint32(len(s.arena))})
	s.arena = binary.AppendUvarint(s.arena, uint64(len(key)))
	s.arena = append(s.arena, key...)
	s.arena = binary.AppendUvarint(s.arena, uint64(len(value)))
	s.arena = append(s.arena, value...)
	return nil
}

// spill writes what is in memory as a run.
func (s *sorter) spill() error {
	if len(s.index) == 0 {
		return nil
	}
	slices.SortFunc(s.index, func(a, b sortKey) int {
		switch {
		case a.head < b.head:
			return -1
		case a.head > b.head:
			return 1
		}
		return bytes.Compare(s.key(a.at), s.key(b.at))
	})
	path := filepath.Join(s.dir, fmt.Sprintf("%s-%05d", s.name, len(s.files)))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 64<<10)
	for _, k := range s.index {
		if _, err := out.Write(s.pair(k.at)); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if err := errors.Join(out.Flush(), f.Close()); err != nil {
		return err
	}
	s.files = append(s.files, path)
	s.arena, s.index = s.arena[:0], s.index[:0]
	return nil
}

func (s *sorter) key(at uint32) []byte {
	n, size := binary.Uvarint(s.arena[at:])
	return s.arena[int(at)+size:][:n]
}

func (s *sorter) pair(at uint32) []byte {
	n, size := binary.Uvarint(s.arena[at:])
	end := int(at) + size + int(n)
	n, size = binary.Uvarint(s.arena[end:])
	return s.arena[at : end+size+int(n)]
}

// merge yields the pairs of all runs in the order of their keys. They are good until yield returns.
func merge(files []string, yield func(key, value []byte) error) (err error) {
	var runs runHeap
	defer func() {
		for _, r := range runs {
			err = errors.Join(err, r.file.Close())
		}
	}()
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		r := &sortedRun{file: f, in: bufio.NewReaderSize(f, 32<<10)}
		runs = append(runs, r)
		if err := r.next(); err != nil { // none is empty
			return err
		}
	}
	heap.Init(&runs)
	for len(runs) > 0 {
		r := runs[0]
		if err := yield(r.key, r.value); err != nil {
			return err
		}
		switch err := r.next(); {
		case err == nil:
			heap.Fix(&runs, 0)
		case errors.Is(err, io.EOF):
			heap.Pop(&runs)
			if err := r.file.Close(); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// sortedRun is a file of sorted pairs, and the one that is next.
type sortedRun struct {
	file       *os.File
	in         *bufio.Reader
	key, value []byte
}

// next reads the next pair, or returns io.EOF.
func (r *sortedRun) next() (err error) {
	n, err := binary.ReadUvarint(r.in)
	if err != nil {
		return err
	}
	if r.key, err = r.read(r.key, n); err != nil {
		return err
	}
	if n, err = binary.ReadUvarint(r.in); err != nil {
		return noEOF(err)
	}
	r.value, err = r.read(r.value, n)
	return err
}

func (r *sortedRun) read(into []byte, n uint64) ([]byte, error) {
	into = slices.Grow(into[:0], int(n))[:n]
	_, err := io.ReadFull(r.in, into)
	return into, noEOF(err)
}

// noEOF tells a file that was cut from one that has ended.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

type runHeap []*sortedRun

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return bytes.Compare(h[i].key, h[j].key) < 0 }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is never called: runs only come to their end.
func (h *runHeap) Push(x any) { *h = append(*h, x.(*sortedRun)) }

// Pop takes the run that has ended.
func (h *runHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	*h = old[:len(old)-1]
	return r
}
