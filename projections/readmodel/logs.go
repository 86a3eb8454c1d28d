package readmodel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// A process that was killed leaves the logs of the memtables that were not written into tables yet, 00001.mem and so
// on. Badger reads each of them up to where it makes no sense any more. That loses the last updates,
// which are read again from Kafka, as long as it is the last log; of one before, it would leave out updates
// in the middle.
//
// Badger numbers transactions without a gap, since there is one writer, and each
// update is one. So what is in tables and logs together must have no gap either.

const (
	logSuffix     = ".mem"
	logHeader     = 20        // the ID of a key and an initialization vector, both unused
	maxLogKey     = 1 << 16   // Badger's limit
	bitTxn        = 1 << 6    // an entry is one of a transaction
	bitFinTxn     = 1 << 7    // an entry ends its transaction
	versionSize   = 8         // behind a key
	logEntryLeast = 2 + 3 + 4 // flags, lengths and expiry, checksum
)

// errLogLength is a length in a log that no entry has. Badger would reserve that much memory.
var errLogLength = errors.New("an entry is longer than the log")

// checkLogs makes sure that nothing is missing between what tables have, up to a version, and what
// the logs have.
func checkLogs(dir string, newest uint64) error {
	if err := checkHeaders(dir); err != nil {
		return err
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*"+logSuffix))
	if err != nil {
		return err
	}
	slices.Sort(paths) // names have leading zeros
	var buf []byte
	for _, path := range paths {
		if buf, err = readInto(buf, path); err != nil {
			return err
		}
		if err := readLog(buf, func(version uint64) error {
			if version > newest+1 {
				return fmt.Errorf("updates %d to %d are missing before it", newest+1, version-1)
			}
			newest = max(newest, version)
			return nil
		}); err != nil {
			return fmt.Errorf("log %s: %w", filepath.Base(path), err)
		}
	}
	return nil
}

// checkHeaders makes sure that no log claims to be encrypted, and removes those that a kill has cut off before anything was
// in them: Badger would not open. The value log has nothing in it at all.
func checkHeaders(dir string) error {
	for _, pattern := range []string{"*" + logSuffix, "*.vlog"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, path := range paths {
			header, err := readHeader(path)
			if err == nil && len(header) < logHeader {
				err = os.Remove(path)
			} else if err == nil && binary.BigEndian.Uint64(header) != 0 {
				err = fmt.Errorf("log %s is damaged at its beginning", filepath.Base(path))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func readHeader(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b := make([]byte, logHeader)
	n, err := io.ReadFull(f, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return b[:n], errors.Join(err, f.Close())
}

// readLog yields the version of each transaction that is whole, up to the first that is not.
func readLog(b []byte, yield func(version uint64) error) error {
	if len(b) < logHeader {
		return nil
	}
	var current uint64 // the transaction that is under way; 0: none
	for b = b[logHeader:]; ; {
		e, n, err := readLogEntry(b)
		if err != nil || n == 0 {
			return err
		}
		b = b[n:]
		switch {
		case e.flags&bitTxn != 0:
			if current != 0 && current != e.version {
				return nil
			}
			current = e.version
		case e.flags&bitFinTxn != 0:
			if current != e.version {
				return nil
			}
			current = 0
			if err := yield(e.version); err != nil {
				return err
			}
		default:
			if current != 0 {
				return nil
			}
			if err := yield(e.version); err != nil {
				return err
			}
		}
	}
}

type logEntry struct {
	flags   byte
	version uint64
}

// readLogEntry reads one entry, and says how long it is: 0 where the log ends, or makes no sense.
func readLogEntry(b []byte) (e logEntry, n int, err error) {
	if len(b) < logEntryLeast {
		return e, 0, nil
	}
	var lengths [3]uint64 // of key and value, and when it expires, which nothing here does
	head := 2
	for i := range lengths {
		v, size := binary.Uvarint(b[head:])
		if size <= 0 {
			return e, 0, nil
		}
		lengths[i] = v
		head += size
	}
	if lengths[0] < versionSize || lengths[0] > maxLogKey {
		return e, 0, nil
	}
	if lengths[1] > uint64(len(b)) {
		return e, 0, errLogLength
	}
	end := head + int(lengths[0]) + int(lengths[1])
	if end+crc32.Size > len(b) {
		return e, 0, nil
	}
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return e, 0, nil
	}
	key := b[head : head+int(lengths[0])]
	return logEntry{flags: b[0], version: math.MaxUint64 - binary.BigEndian.Uint64(key[len(key)-versionSize:])}, end + crc32.Size, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
