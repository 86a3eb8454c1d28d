package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// The errors of a Store. Nothing of a batch that was answered with one of them is stored;
// after any other error, [ErrUnknownOutcome] first of all, the outcome is unknown, and only a
// retry with the same idempotency key is safe.
var (
	// ErrConflict: the stream, or a stream that the batch refers to, is no longer at the
	// version that the batch was decided at. Load again, decide again, append again.
	ErrConflict = errors.New("stream has moved on")
	// ErrClaimed: a hostname that the batch takes has another holder. The error is a
	// *ClaimedError, which names both. A retry is refused until the holder lets it go.
	ErrClaimed = errors.New("hostname is taken")
	// ErrKeyReused: the idempotency key was used for another command. Never retry.
	ErrKeyReused = errors.New("idempotency key was used for another command")
	// ErrFull: a stream that the batch refers to has as many referrers as it may have. The
	// error is a *ReferenceError. A retry is refused until one lets go.
	ErrFull = errors.New("no room for another reference")
	// ErrReferenced: the batch needs its stream to be free of references, and it is not. The
	// error is a *ReferenceError. A retry is refused until they have let go.
	ErrReferenced = errors.New("still referred to")
	// ErrUnavailable: the store cannot take the batch now (it is closed, its disk is full, its
	// server is away). Retry later.
	ErrUnavailable = errors.New("event store is unavailable")
	// ErrForbidden is an ErrUnavailable where we lack a right at the store's server. The text says which
	// one, and how an operator grants it. Retry later: it works once that is done.
	ErrForbidden = fmt.Errorf("%w: a right is missing", ErrUnavailable)
)

// ErrUnknownOutcome: what was to be stored was on its way when the disk failed, or the server or the
// network went away, and no answer to whether it arrived could be had in time. The batch is stored,
// or is not, or will be a moment from now. Retry with the same idempotency key; without one, look first.
var ErrUnknownOutcome = errors.New("it is not known whether the batch is stored")

// ClaimedError says who holds a hostname that another wants. It is an [ErrClaimed].
type ClaimedError struct {
	Hostname Hostname
	Holder   StreamID
}

func (e *ClaimedError) Error() string {
	return fmt.Sprintf("hostname %s is held by %s", e.Hostname, e.Holder)
}

// Is makes errors.Is(err, ErrClaimed) true.
func (e *ClaimedError) Is(target error) bool { return target == ErrClaimed }

// ReferenceError says which stream cannot take another reference ([ErrFull]) or still has
// some ([ErrReferenced]), and how many it has.
type ReferenceError struct {
	Reason error // ErrFull or ErrReferenced
	Stream StreamID
	Count  int
}

func (e *ReferenceError) Error() string {
	return fmt.Sprintf("%s has %d references: %s", e.Stream, e.Count, e.Reason)
}

// Unwrap is the reason.
func (e *ReferenceError) Unwrap() error { return e.Reason }

// Batch is what one command appends to one stream.
type Batch struct {
	Stream StreamID
	// Expected is the version the stream must be at; 0: it must not exist.
	Expected uint64
	// Events have versions Expected+1, Expected+2 …; the store gives them their positions.
	// It may be empty where the command changes nothing but has a Key to be remembered; then
	// the batch may change neither claims nor references.
	Events []Event
	// Take and Release are the hostnames that the stream claims and lets go. Releasing what
	// another holds, or no one, is a fault of the caller and an error; taking what the stream
	// holds already is not.
	Take, Release []Hostname
	// Refer and Unrefer are the streams that this one begins and ceases to depend on, the
	// latter first. A second reference to the same stream counts once; ending one that is not
	// there is an error. Being referred to does not make a stream exist.
	Refer   []Reference
	Unrefer []StreamID
	// Unreferred refuses the batch, with ErrReferenced, while any stream refers to Stream.
	Unreferred bool
	// Key, where not nil, makes the batch happen once however often it is sent.
	Key *Key
	// DryRun does all the checks and appends nothing. The positions of its outcome are 0.
	DryRun bool
}

// Reference is a dependence on another stream that must hold when the batch is appended.
type Reference struct {
	To      StreamID
	Version uint64 // To must be at it, or ErrConflict
	Limit   int    // To may have at most so many referrers, this one included, or ErrFull; 0: no limit
}

// Key is a client's name for one command. The same key with the same fingerprint is the same
// command.
type Key struct {
	Key         string
	Fingerprint [32]byte
	Time        time.Time // of first use; keys are dropped by [Store.DropKeys] by this time
}

// Outcome is what became of a batch.
type Outcome struct {
	Stream   StreamID   `json:"stream"`
	Version  uint64     `json:"version"`  // of the stream after the batch
	Position uint64     `json:"position"` // of the stream's last event
	Events   []Appended `json:"events"`   // none: the command changed nothing
	Replayed bool       `json:"-"`        // the answer to an earlier batch with the same key
}

// Appended is one event of an outcome.
type Appended struct {
	Type     Type   `json:"type"`
	Version  uint64 `json:"version"`
	Position uint64 `json:"position"`
}

// Result is one batch's outcome among many: the error is nil or what Append would return.
type Result struct {
	Outcome Outcome
	Err     error
}

// Head is where the log ends.
type Head struct {
	Position uint64 // of the last event; 0: the log is empty
	// StoreID names this history. It is minted with the store, and again whenever the store
	// was restored to an earlier past.
	StoreID uuid.UUID
}

// Store is the source of truth: an append-only log of events, in streams. Each sentence here
// is proved by package storetest for each implementation. All methods may be called from any
// number of goroutines.
type Store interface {
	// Append stores all events of the batch or none. It returns only when they are durable.
	// A Key that was seen before with the same fingerprint returns the first outcome with
	// Replayed set, before anything else is checked, and with another fingerprint
	// ErrKeyReused. Then the stream must be at the expected version (ErrConflict), as must
	// the streams that it refers to; hostnames are taken and released in the same transaction
	// (ErrClaimed; one released in the same batch by the holder itself may be taken again).
	// Positions and versions have no hole and no double.
	Append(ctx context.Context, b Batch) (Outcome, error)

	// AppendAll appends each batch on its own, in this order, as Append would, so that a later
	// one sees what an earlier one did. It has one result a batch.
	AppendAll(ctx context.Context, batches []Batch) []Result

	// Recall is the outcome that an idempotency key already has: false when it is new,
	// ErrKeyReused when it has another fingerprint.
	Recall(ctx context.Context, k Key) (Outcome, bool, error)

	// Load is the stream's events after a version, in order; none when there are none.
	Load(ctx context.Context, id StreamID, after uint64) ([]Event, error)

	// History is up to limit of the stream's events after a version, in order; none when there
	// are none. It is Load for a stream that may be longer than memory should hold.
	History(ctx context.Context, id StreamID, after uint64, limit int) ([]Event, error)

	// Streams is the whole of up to limit streams of a kind, in the order of their IDs, after
	// the ID given (zero: from the first).
	Streams(ctx context.Context, k Kind, after StreamID, limit int) ([][]Event, error)

	// References is how many streams refer to this one.
	References(ctx context.Context, id StreamID) (int, error)

	// After is up to limit events after a position, in order and without a hole: it never
	// returns an event that a later call could precede.
	After(ctx context.Context, position uint64, limit int) ([]Event, error)

	// Wait returns nil once there is an event after position, at the latest 100 ms after it is
	// durable, or the context's error. It costs next to nothing while nothing happens.
	Wait(ctx context.Context, position uint64) error

	// Head is the end of the log and the identity of the store.
	Head(ctx context.Context) (Head, error)

	// DropKeys forgets idempotency keys first used before a time, and says how many.
	DropKeys(ctx context.Context, before time.Time) (int, error)
}
