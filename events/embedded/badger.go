package embedded

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

const (
	// memTableSize bounds a transaction to 15% of it, 1.5 MiB, and a batch must fit one. The
	// largest batch that a command makes is a request body of 1 MiB as some 800 events, each
	// with some 100 octets of its own, and 500 claims: 1.3 MiB. A test makes it.
	memTableSize = 10 << 20
	// maxValue is Badger's own limit for values that it keeps in the tree. A larger one would
	// go to the value log, where an error of fsync is logged but not returned, and whose garbage no
	// one collects.
	maxValue = 1 << 20
	// tableSize bounds what a compaction holds in memory: an import of a million tenants needed
	// more than a GiB with Badger's own sizes.
	tableSize = 1 << 20
)

// openBadger opens the database with as little memory as this use needs: three of them
// have to fit into the process of `tenantry dev`.
func openBadger(dir string, log *slog.Logger) (*badger.DB, error) {
	opt := badger.DefaultOptions(dir).
		WithLogger(badgerLog{log}).
		// fsync before an answer. Not DB.Sync after a commit: that misses the log of a memtable
		// that was rotated in between.
		WithSyncWrites(true).
		// The appender is the only writer, so no two transactions can conflict.
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithNumVersionsToKeep(1).
		// Badger makes tables of a level ten times its size each below, and builds them in memory.
		WithBaseTableSize(tableSize).
		WithMemTableSize(memTableSize).
		WithNumMemtables(1).
		WithValueThreshold(maxValue).
		WithValueLogFileSize(16 << 20).
		// A tail reader reads each block once, and a stream's events are seldom loaded twice.
		WithBlockCacheSize(16 << 20).
		WithIndexCacheSize(16 << 20).
		WithNumCompactors(2).
		WithNumLevelZeroTables(3).
		WithNumLevelZeroTablesStall(5).
		WithCompression(options.Snappy).
		// The source of truth is worth the CRC: a flipped bit is an error, not another event.
		// Tables as a whole are verified before.
		WithChecksumVerificationMode(options.OnBlockRead)
	opt.TableSizeMultiplier = 1
	db, err := badger.OpenManaged(opt)
	switch {
	case err == nil:
		return db, nil
	case strings.Contains(err.Error(), "Another process is using this Badger database"):
		// It came in after our own lock. Badger flattens the errno into this text.
		return nil, inUse(dir)
	default:
		return nil, damaged(dir, err)
	}
}

func inUse(dir string) error {
	return fmt.Errorf("%w: %s: stop that process, or give this one a directory of its own", ErrInUse, dir)
}

// damaged is one line, whatever Badger says.
func damaged(dir string, err error) error {
	return fmt.Errorf("%w: %s: %s: restore the directory from a backup", ErrDamaged, dir, strings.Join(strings.Fields(err.Error()), " "))
}

// badgerLog passes Badger's log on. What it calls information is of no interest to an
// operator, and what it calls an error also comes back as one, or is retried by Badger.
type badgerLog struct{ *slog.Logger }

func (l badgerLog) Errorf(f string, a ...any)   { l.Warn(line(f, a)) }
func (l badgerLog) Warningf(f string, a ...any) { l.Warn(line(f, a)) }
func (l badgerLog) Infof(f string, a ...any)    { l.Debug(line(f, a)) }
func (l badgerLog) Debugf(string, ...any)       {} // several a commit

func line(f string, a []any) string { return "badger: " + strings.TrimSpace(fmt.Sprintf(f, a...)) }
