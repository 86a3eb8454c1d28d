package readmodel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	compression "github.com/dgraph-io/badger/v4/options"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/diskspace"
)

// The errors of a Model.
var (
	// ErrClosed: the model was closed. The region has another one by now, or is stopping.
	ErrClosed = errors.New("read model is closed")
	// ErrUnusable: the directory holds a model that this program cannot use: of another
	// schema, or damaged. Build it anew from the store.
	ErrUnusable = errors.New("read model cannot be used")
	// ErrInUse: another process has the region's directory.
	ErrInUse = errors.New("data directory is in use by another process")
)

// Config says where a model is and how much memory it may use.
type Config struct {
	Dir        string
	CacheBytes int64 // of whole documents kept in memory; 0: 160 MiB, about 100,000 of them
	Logger     *slog.Logger
	// FreeSpace is how many octets the disk of a directory has free; nil: ask the kernel.
	FreeSpace func(dir string) (uint64, error)
}

// Model is one generation of a region's read model. Any number of goroutines may read it;
// one at a time updates it.
type Model struct {
	cfg   Config
	db    *badger.DB
	dir   os.FileInfo // of cfg.Dir when it was opened
	cache *cache

	progress atomic.Pointer[Progress]
	updating sync.Mutex
	tally    tally // of the update that is under way
	sums     struct {
		sync.RWMutex
		now   Sums
		total uint64
	}

	changed struct {
		sync.Mutex
		next chan struct{}
	}

	recounts atomic.Uint64 // how often the sums were corrected

	inspecting struct {
		sync.Mutex
		all  map[*Inspection]struct{}
		over bool
	}

	// open is held for reading by each look-up, so that Close waits for them.
	open   sync.RWMutex
	closed bool
}

// Open opens the model in a directory, or makes an empty one there.
func Open(cfg Config) (*Model, error) {
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = 160 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.FreeSpace == nil {
		cfg.FreeSpace = diskspace.Free
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of a read model: %w", err)
	}
	if err := room(cfg, minFree/2); err != nil {
		return nil, err
	}
	db, err := open(options(cfg))
	if err != nil {
		return nil, openError(cfg.Dir, err)
	}
	m := &Model{cfg: cfg, db: db}
	m.changed.next = make(chan struct{})
	if m.dir, err = os.Stat(cfg.Dir); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", cfg.Dir, err), db.Close())
	}
	err = db.View(func(txn *badger.Txn) error {
		p, sums, err := readState(txn)
		m.progress.Store(p)
		m.sums.now, m.sums.total = sums, sums.total()
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", cfg.Dir, err), db.Close())
	}
	m.cache = newCache(cfg.CacheBytes) // last, for it has goroutines
	m.reserve()
	return m, nil
}

// options keep a region small while it takes in a whole catalogue. What Badger holds then is not
// its caches but memtables (up to three: one that is written, one that waits and one that becomes a
// table), and the buffers that tables are built in, of which it keeps eight of the largest size
// that each ever had. The tail is not synced: Kafka has it.
func options(cfg Config) badger.Options {
	opt := badger.DefaultOptions(cfg.Dir).
		WithLogger(badgerLogger{cfg.Logger}).
		WithSyncWrites(false).
		WithMemTableSize(memTableSize).
		WithNumMemtables(1).
		WithValueThreshold(maxValue).
		// Not compressed, so that a look-up reads a block where the kernel has it: no copy of it in
		// a cache of our own, and half the buffers for building tables.
		WithCompression(compression.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(32 << 20).
		WithValueLogFileSize(16 << 20).
		WithNumVersionsToKeep(1).
		WithDetectConflicts(false). // there is one writer
		WithBaseTableSize(1 << 20).
		WithNumCompactors(2).
		WithMetricsEnabled(false)
	opt.TableSizeMultiplier = 1 // or a compaction builds ever larger tables in memory
	return opt
}

const (
	// memTableSize bounds a transaction to 15% of it, 768 KiB, and what one event changes must fit
	// one: a tenant with as much as the commands allow, and all its hostnames. A test makes it.
	memTableSize = 5 << 20
	// maxValue is above any record, which would otherwise go to the value log, that nobody collects.
	maxValue = 700 << 10
)

// Begin makes an empty model one of this store's history and this number of partitions.
func (m *Model) Begin(storeID uuid.UUID, partitions int) error {
	return m.Update(func(tx *Tx) error {
		if len(tx.next.Partitions) > 0 {
			return fmt.Errorf("begin: the model already follows store %s", tx.next.StoreID)
		}
		tx.next.StoreID = storeID
		tx.next.Partitions = make([]Partition, partitions)
		for i := range tx.next.Partitions {
			tx.next.Partitions[i].Offset = -1
		}
		return nil
	})
}

// Progress is how far the model has come. Read it before a look-up: the document is then at
// least as new.
func (m *Model) Progress() *Progress { return m.progress.Load() }

// Changed is closed at the next commit. To wait for a condition: take the channel, check
// the condition, and only then wait on the channel.
func (m *Model) Changed() <-chan struct{} {
	m.changed.Lock()
	defer m.changed.Unlock()
	return m.changed.next
}

// publish makes a commit visible to readers. The cache is invalidated first, so that whoever
// sees the new progress gets no older document.
func (m *Model) publish(p *Progress) {
	m.progress.Store(p)
	m.changed.Lock()
	close(m.changed.next)
	m.changed.next = make(chan struct{})
	m.changed.Unlock()
}

// Lookup is the context of the tenant that has this hostname, or ErrUnknown.
func (m *Model) Lookup(h events.Hostname) (*Document, error) {
	return m.read(h.String(), func(txn *badger.Txn) (*Document, error) {
		item, err := txn.Get([]byte(prefixHostname + h.String()))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil, ErrUnknown
		}
		if err != nil {
			return nil, err
		}
		value, err := item.ValueCopy(nil)
		if err != nil {
			return nil, err
		}
		c, err := parseClaim(value)
		if err != nil {
			return nil, err
		}
		if len(c.tenant) == 0 {
			return nil, ErrUnknown
		}
		return compose(txn, c.tenant, h.String())
	})
}

// Tenant is the context of the tenant with this ID, or ErrUnknown. Its "hostname" is the
// primary one.
func (m *Model) Tenant(id events.TenantID) (*Document, error) {
	return m.read(id.String(), func(txn *badger.Txn) (*Document, error) {
		return compose(txn, []byte(id.String()), "")
	})
}

// read answers from the cache, or else from one snapshot of Badger.
func (m *Model) read(key string, compose func(*badger.Txn) (*Document, error)) (*Document, error) {
	m.open.RLock()
	defer m.open.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	doc, stamp := m.cache.get(key)
	if doc != nil {
		return doc, nil
	}
	txn := m.db.NewTransaction(false)
	defer txn.Discard()
	doc, err := compose(txn)
	if err != nil {
		if errors.Is(err, ErrUnknown) {
			return nil, ErrUnknown
		}
		return nil, fmt.Errorf("look up %s: %w", key, err)
	}
	m.cache.put(key, doc, stamp)
	return doc, nil
}

// Quarantined are the streams with an event that could not be folded, in the order of their IDs.
func (m *Model) Quarantined(ctx context.Context) ([]Quarantine, error) {
	m.open.RLock()
	defer m.open.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	var out []Quarantine
	err := m.db.View(func(txn *badger.Txn) (err error) {
		out, err = quarantined(ctx, txn)
		return err
	})
	return out, err
}

func quarantined(ctx context.Context, txn *badger.Txn) (out []Quarantine, err error) {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(prefixQuarantine), PrefetchValues: true, PrefetchSize: 16})
	defer it.Close()
	for it.Rewind(); it.Valid() && ctx.Err() == nil; it.Next() {
		item := it.Item()
		id, err := events.ParseStreamID(string(item.Key()[len(prefixQuarantine):]))
		if err != nil {
			continue // it names no stream that could be held up
		}
		if err := item.Value(func(b []byte) error {
			out = append(out, *decodeQuarantine(id, b))
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return out, ctx.Err()
}

// Sync makes everything that was committed durable.
func (m *Model) Sync() error { return m.db.Sync() }

// Close waits for look-ups that are under way, and closes the model. On a full disk it takes the room
// that was reserved when the model was opened. Where that was not to be had, or others were
// faster, the answer is ErrDiskFull: Badger is left as a kill would leave it, which costs the
// tail, to be read again, and what it holds of memory and files until the process ends. Where its directory cannot
// be written it is ErrNotClosed, and the same; where that was deleted it is ErrLost.
func (m *Model) Close() error {
	m.endInspections()
	m.open.Lock()
	defer m.open.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	m.cache.close()
	m.changed.Lock()
	close(m.changed.next) // whoever waits looks again, and finds the next model or ErrClosed
	m.changed.Unlock()
	return m.closeDatabase()
}
