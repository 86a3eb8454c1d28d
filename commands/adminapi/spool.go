package adminapi

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// The most that a spool holds in memory, and on disk.
const (
	spoolMemory = 1 << 20
	spoolDisk   = 2 << 30
)

// errSpoolFull says that a client sends lines without end and reads no answer.
var errSpoolFull = fmt.Errorf("more than %d octets of answers wait for a client that does not read them", spoolDisk)

// spool takes an import's answers without making the import wait for the client to read them.
// Many clients send all their lines before they read the first answer; were the answers held back
// by them, both sides would wait for one another for ever. What does not fit in memory waits in
// a file that has no name.
//
// One goroutine writes and one reads.
type spool struct {
	mu      sync.Mutex
	changed *sync.Cond
	memory  []byte   // comes before what is in the file
	file    *os.File // nil until it is needed
	read    int64    // of the file
	written int64    // of the file
	noFile  bool     // there is no place for one: writers wait for readers after all
	end     error    // io.EOF: all is written; else why nothing can be read or written any more
}

func newSpool() *spool {
	s := &spool{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// Write keeps b until it is read.
func (s *spool) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.end == nil && s.noFile && len(s.memory) > 0 && len(s.memory)+len(b) > spoolMemory {
		s.changed.Wait()
	}
	switch {
	case s.end != nil:
		return 0, s.end
	case s.written == 0 && (s.noFile || len(s.memory)+len(b) <= spoolMemory):
		s.memory = append(s.memory, b...)
	default:
		if err := s.toFile(b); err != nil {
			return 0, err
		}
	}
	s.changed.Broadcast()
	return len(b), nil
}

// toFile puts b behind what is in the file.
func (s *spool) toFile(b []byte) error {
	if s.written+int64(len(b)) > spoolDisk {
		return errSpoolFull
	}
	if s.file == nil {
		s.file, s.noFile = unnamedFile()
		if s.noFile {
			s.memory = append(s.memory, b...)
			return nil
		}
	}
	if _, err := s.file.WriteAt(b, s.written); err != nil {
		return fmt.Errorf("keep answers of an import: %w", err)
	}
	s.written += int64(len(b))
	return nil
}

// unnamedFile is gone by itself when it is closed, or when the process ends. Where there is no
// place for one, which is no fault of the import's, it is none.
func unnamedFile() (file *os.File, none bool) {
	file, err := os.CreateTemp("", "tenantry-import-*")
	if err != nil {
		return nil, true
	}
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close()
		return nil, true
	}
	return file, false
}

// next waits for something to read, and is valid until the call after. At the end it is io.EOF.
func (s *spool) next() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.end == nil && len(s.memory) == 0 && s.read == s.written {
		s.changed.Wait()
	}
	switch {
	case s.end != nil && !errors.Is(s.end, io.EOF):
		return nil, s.end
	case len(s.memory) > 0:
		b := s.memory
		s.memory = nil
		s.changed.Broadcast()
		return b, nil
	case s.read == s.written:
		return nil, s.end
	}
	b := make([]byte, min(64<<10, s.written-s.read))
	if _, err := s.file.ReadAt(b, s.read); err != nil {
		return nil, fmt.Errorf("read kept answers of an import: %w", err)
	}
	if s.read += int64(len(b)); s.read == s.written {
		s.read, s.written = 0, 0
		if err := s.file.Truncate(0); err != nil {
			return nil, fmt.Errorf("empty kept answers of an import: %w", err)
		}
	}
	return b, nil
}

// finish says that all is written (io.EOF), or that it was in vain (any other error).
func (s *spool) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil || !errors.Is(err, io.EOF) {
		s.end = err
	}
	s.changed.Broadcast()
}

// close gives the file back. No one may be reading or writing any more.
func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
