package commands

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tenantry/tenantry/events"
)

// Config is what a Handler needs besides its store.
type Config struct {
	// HomeRegions are the regions that a tenant's home may be in. At least one.
	HomeRegions []string
	Clock       func() time.Time      // nil: time.Now
	Log         *slog.Logger          // nil: nowhere
	Registerer  prometheus.Registerer // nil: metrics are counted and not exposed
}

// Request is a command and how to carry it out.
type Request struct {
	Command Command
	// IfMatch, where not nil, is the version that the stream must be at. Where it is nil, the
	// command is decided against the newest version, again if that moved on.
	IfMatch *uint64
	// Key, where not nil, makes the command happen once however often it is sent. The
	// caller makes the fingerprint of all that makes two commands the same.
	Key *events.Key
	// Meta has Actor, Reason and the IDs of the request. Time and IdempotencyKey are filled in.
	Meta events.Metadata
	// DryRun does all the checks, of the store too, and appends nothing.
	DryRun bool
}

// Answer is what a command did. Of a dry run the positions are 0.
type Answer struct {
	events.Outcome
	// Unchanged: all was already so, nothing was appended; Version and Position are the
	// stream's.
	Unchanged bool
}

// Handler carries out commands. It is safe for any number of goroutines.
type Handler struct {
	store events.Store
	cfg   Config
}

// NewHandler is a handler on this store.
func NewHandler(store events.Store, cfg Config) *Handler {
	return &Handler{store: store, cfg: cfg}
}

// Do carries out one command. The error is a [*Refusal], or the store's.
func (h *Handler) Do(ctx context.Context, r Request) (Answer, error) {
	return Answer{}, errors.New("being written")
}

// ImportStatus is what became of one line of an import.
type ImportStatus string

// The statuses of an import's lines.
const (
	ImportCreated   ImportStatus = "created"
	ImportUnchanged ImportStatus = "unchanged" // it exists, and all that the line says is so
	ImportConflict  ImportStatus = "conflict"  // it exists with other content, or a hostname is another's
	ImportInvalid   ImportStatus = "invalid"   // the line is at fault
	// ImportFailed: the store could not take the line. Err is the store's, the outcome is
	// unknown; the same line may be imported again.
	ImportFailed ImportStatus = "failed"
)

// ImportResult is what became of one line. Err is nil for created and unchanged, the store's
// error for failed, and else a [*Refusal].
type ImportResult struct {
	ID     events.StreamID
	Status ImportStatus
	Err    error
}

// ImportAll carries out many [RegisterTenant], [RegisterDatabase] and [CreateGroup], in this
// order: a later one sees what an earlier one did. It has one result a line. meta is for all.
func (h *Handler) ImportAll(ctx context.Context, meta events.Metadata, lines []Command) []ImportResult {
	return nil
}

// At is a moment in a stream's past. The zero At is now.
type At struct {
	Version uint64    // as it was at this version; 0: not asked
	Time    time.Time // as it was at this time; zero: not asked
}

// Tenant is a tenant as it is or was, from the store. A purged one is found, with its status.
// There being none, or none yet then, is a Refusal NotFound.
func (h *Handler) Tenant(ctx context.Context, id events.TenantID, at At) (events.Tenant, error) {
	return events.Tenant{}, errors.New("being written")
}

// Database is a database as it is. There being none is a Refusal NotFound.
func (h *Handler) Database(ctx context.Context, id events.DatabaseID) (events.Database, error) {
	return events.Database{}, errors.New("being written")
}

// Group is a group as it is. There being none is a Refusal NotFound.
func (h *Handler) Group(ctx context.Context, id events.GroupID) (events.Group, error) {
	return events.Group{}, errors.New("being written")
}
