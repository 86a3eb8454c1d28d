package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The layout of a record batch (KIP-98), as far as it is looked at. kfake's segments hold one
// behind the other, with nothing between.
const (
	batchLength      = 8 // of what follows these four octets
	batchMagic       = 16
	batchCRC         = 17 // over everything behind it
	batchLastOffset  = 23 // the last record's, less the batch's own
	batchHeader      = 61
	behindLength     = 12
	currentMagic     = 2
	segmentExtension = ".dat"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// dropDamaged removes each partition whose log is damaged: kfake would serve it, and a reader of
// garbage goes on at an offset that never comes. The relay publishes what is gone anew, and regions
// go on by position. An end that is cut off is no damage, but what a kill leaves, and
// kfake's to mend.
func dropDamaged(dir string, log *slog.Logger) error {
	partitions, err := filepath.Glob(filepath.Join(dir, "partitions", "*"))
	if err != nil {
		return err
	}
	for _, p := range partitions {
		cause := checkPartition(p)
		if cause == nil {
			continue
		}
		log.Warn("the embedded broker's log of a partition is damaged and is dropped: it is published anew from the store", "dir", p, "err", cause)
		if err := os.RemoveAll(p); err != nil {
			return fmt.Errorf("drop a damaged partition: %w", err)
		}
	}
	return nil
}

func checkPartition(dir string) error {
	segments, err := filepath.Glob(filepath.Join(dir, "*"+segmentExtension))
	if err != nil {
		return err
	}
	for _, path := range segments {
		name := filepath.Base(path)
		base, err := strconv.ParseInt(strings.TrimSuffix(name, segmentExtension), 10, 64)
		if err != nil {
			return fmt.Errorf("segment %s is not named after its first offset", name)
		}
		log, err := os.ReadFile(path)
		if err == nil {
			err = checkSegment(log, base)
		}
		if err != nil {
			return fmt.Errorf("segment %s: %w", name, err)
		}
	}
	return nil
}

// checkSegment expects whole batches whose first offset is next, and then that of the batch before
// and its records.
func checkSegment(log []byte, next int64) error {
	for at := 0; at < len(log); {
		b := log[at:]
		if len(b) < batchHeader {
			return nil // cut off
		}
		offset, length := int64(binary.BigEndian.Uint64(b)), int(int32(binary.BigEndian.Uint32(b[batchLength:])))
		switch {
		case offset != next:
			return fmt.Errorf("offset %d stands where %d belongs", offset, next)
		case b[batchMagic] != currentMagic || length < batchHeader-behindLength:
			return errors.New("what should be a record batch is none")
		case len(b) < behindLength+length:
			return nil // cut off
		}
		b = b[:behindLength+length]
		if crc32.Checksum(b[batchCRC+4:], castagnoli) != binary.BigEndian.Uint32(b[batchCRC:]) {
			return fmt.Errorf("the batch at offset %d does not have its checksum", offset)
		}
		next += int64(int32(binary.BigEndian.Uint32(b[batchLastOffset:]))) + 1
		at += len(b)
	}
	return nil
}
