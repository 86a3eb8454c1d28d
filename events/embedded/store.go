package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/internal/appendqueue"
)

// What Open returns besides errors of the file system. Each is one line for the operator that
// names the directory and says what to do.
var (
	// ErrInUse: another process has the directory open. Retry once that has ended.
	ErrInUse = errors.New("event store is in use by another process")
	// ErrNewer: the directory was written by a newer version of this program. Never retry with
	// this one.
	ErrNewer = errors.New("event store was written by a newer version")
	// ErrDamaged: what is in the directory is no whole event store. Never retry: restore it.
	ErrDamaged = errors.New("event store is damaged")
)

// ErrTooLarge says that a batch is more than one transaction can hold, or an event more than
// one value. Nothing of it is stored; never retry.
var ErrTooLarge = errors.New("batch is too large")

// Config is how to open a store. Only Dir has no default.
type Config struct {
	Dir    string
	Logger *slog.Logger // nil: slog.Default()
	// MinFree is the fewest octets that the disk must have free for an append to be taken; 0:
	// DefaultMinFree.
	MinFree uint64
	// FreeSpace is how many octets the disk of a directory has free; nil: ask the kernel.
	FreeSpace func(dir string) (uint64, error)
	// Committed, where not nil, is told of every commit: how many batches and events it had, and
	// how long it took. It is called on the path of each append, so it must be quick.
	Committed func(batches, events int, took time.Duration)
}

// Store is an [events.Store] in one directory.
type Store struct {
	dir       string
	log       *slog.Logger
	db        *badger.DB
	id        uuid.UUID
	disk      disk
	committed func(batches, events int, took time.Duration)
	// commit writes a transaction and syncs it. A field, so that a test can make it fail.
	commit func(txn *badger.Txn, ts uint64) error

	queue   *appendqueue.Queue
	stopped chan struct{} // closed when the appender has ended
	tail    tail

	// writing is held by whoever decides and commits: the appender, or DropKeys.
	writing sync.Mutex
	broken  error // of the first commit that failed

	closing sync.Once
}

var _ events.Store = (*Store)(nil)

// Open opens the store in cfg.Dir, which is made where there is none. The caller closes it.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Store{
		dir:       cfg.Dir,
		log:       cfg.Logger,
		disk:      newDisk(cfg),
		committed: cfg.Committed,
		commit:    func(txn *badger.Txn, ts uint64) error { return txn.CommitAt(ts, nil) },
		stopped:   make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.committed == nil {
		s.committed = func(int, int, time.Duration) {}
	}
	if err := prepare(cfg.Dir); err != nil {
		return nil, err
	}
	if err := s.disk.roomToOpen(); err != nil {
		return nil, err
	}
	unlock, err := lock(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(verify(cfg.Dir), unlock()); err != nil {
		return nil, err
	}
	db, err := openBadger(cfg.Dir, s.log)
	if err != nil {
		return nil, err
	}
	s.db = db
	if err := s.recover(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.reserve()
	s.queue = appendqueue.New(maxTake)
	go s.appendAll()
	s.log.Info("event store opened", "dir", s.dir, "store_id", s.id, "position", s.tail.position)
	return s, nil
}

// recover finds the end of the log and the store's identity, which is minted where the log is empty.
func (s *Store) recover() error {
	ts := s.db.MaxVersion()
	txn := s.db.NewTransactionAt(ts, false)
	defer txn.Discard()
	head, err := readHead(txn)
	if err != nil {
		return damaged(s.dir, err)
	}
	last, err := lastPosition(txn)
	if err != nil {
		return damaged(s.dir, err)
	}
	if head != last {
		return damaged(s.dir, fmt.Errorf("its head is %d, its last event %d", head, last))
	}
	id, found, err := get(txn, keyID())
	if err != nil {
		return damaged(s.dir, err)
	}
	copy(s.id[:], id)
	was, err := readWitness(s.dir)
	if err != nil {
		return err
	}
	if was.id != uuid.Nil && (s.id != was.id || head < was.position) {
		return damaged(s.dir, fmt.Errorf("it has events of store %s up to position %d, and had those of store %s up to %d", s.id, head, was.id, was.position))
	}
	if !found {
		if head > 0 {
			return damaged(s.dir, errors.New("it has no identity"))
		}
		ts++
		if err := s.mint(ts); err != nil {
			return fmt.Errorf("write the identity of event store %s: %w", s.dir, err)
		}
	}
	s.tail.init(head, ts, s.db.SetDiscardTs)
	return witness{s.id, head}.write(s.dir)
}

func (s *Store) mint(ts uint64) error {
	id, err := uuid.NewRandom()
	if err != nil {
		return err
	}
	txn := s.db.NewTransactionAt(ts, true)
	defer txn.Discard()
	if err := txn.Set(keyID(), id[:]); err != nil {
		return err
	}
	s.id = id
	return txn.CommitAt(ts, nil)
}

// Close refuses what waits to be appended, waits for what is being appended and read, and
// closes the directory, on a full disk with room that was reserved for that. A second Close does
// nothing. Where nothing could be reserved and the disk is full, the error says so, and the
// directory stays locked and as a kill would leave it: whole.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		s.queue.Close()
		<-s.stopped
		s.writing.Lock() // DropKeys may still be at work
		s.broken = errClosed
		s.writing.Unlock()
		s.tail.close()
		err = s.closeDisk()
	})
	return err
}

var errClosed = fmt.Errorf("%w: it is closed", events.ErrUnavailable)

// Head is the end of the log and the identity of the store.
func (s *Store) Head(ctx context.Context) (events.Head, error) {
	v, err := s.begin(ctx)
	if err != nil {
		return events.Head{}, err
	}
	defer v.done()
	return events.Head{Position: v.position, StoreID: s.id}, nil
}

// Wait returns nil once there is an event after position, or the context's error.
func (s *Store) Wait(ctx context.Context, position uint64) error {
	return s.tail.wait(ctx, position)
}
