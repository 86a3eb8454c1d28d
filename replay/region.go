package replay

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// Region is a region's copy, to be looked into and mended: that of a node that runs, through its
// control socket ([Dial]), or that of a stopped one, in its directory ([OpenStopped]).
type Region interface {
	// Info says whose copy it is. It costs next to nothing.
	Info(ctx context.Context) (Info, error)
	// Inspect takes one moment of the copy. Look-ups and updates go on.
	Inspect(ctx context.Context) (Inspection, error)
	// Repair folds streams anew from the source, and says how many it changed: see [projections.Projector.Repair].
	Repair(ctx context.Context, repairs []projections.Repair) (int, error)
	// Recount makes the sums that the copy keeps those that a scan gives. An inspection that has read
	// everything does it without another scan.
	Recount(ctx context.Context) error
	// Adopt makes a verified generation of the region's directory the live one. When it fails, the
	// one before is live, and the new one is removed.
	Adopt(ctx context.Context, generation string) error
	// Rollback goes back to the generation before, and says which that is.
	Rollback(ctx context.Context) (string, error)
	Close() error
}

// Info says whose copy a region's directory has, and how far it has come.
type Info struct {
	Region     string    `json:"region"`
	PID        int       `json:"pid,omitzero"` // of the node; 0: none runs
	Generation string    `json:"generation,omitzero"`
	StoreID    uuid.UUID `json:"store_id,omitzero"`
	Position   uint64    `json:"position"`
	Partitions int       `json:"partitions"`
	Complete   bool      `json:"complete"` // false: there is no copy that could be looked into
	// Starting: the node has not looked into its directory yet.
	Starting bool `json:"starting,omitzero"`
	// Schema is what a generation must have that this node is to adopt.
	Schema int `json:"schema"`
	// Lost says which files of the generation are gone from under the node that has it open; "": none.
	Lost string `json:"lost,omitzero"`
	// Fault is why the generation cannot be used, of a stopped region's that cannot; nil else.
	Fault error `json:"-"`
}

// Inspection is a copy at one moment.
type Inspection interface {
	// Progress is how far the copy had come then, by partition.
	Progress() *readmodel.Progress
	// Maintained are the sums that the copy keeps while it folds.
	Maintained() Sums
	// Scan reads every entry, so many a second (0: as fast as it goes), and sums them.
	Scan(ctx context.Context, rate int) (*Scanned, error)
	// Entries yields the entries of some buckets, in the order of their keys, and those that cannot
	// be read.
	Entries(ctx context.Context, of *BucketSet, yield func(Entry) error) error
	// Quarantined are the streams with an event that could not be folded.
	Quarantined(ctx context.Context) ([]readmodel.Quarantine, error)
	// Record is the value of a key; nil: there is none.
	Record(ctx context.Context, key string) ([]byte, error)
	// Recount makes the sums that the copy keeps those of what was stored at this moment, changed by what
	// was written since. It is [readmodel.ErrRecounted] where somebody else has done so meanwhile.
	Recount(ctx context.Context) error
	Close() error
}

// Scanned is what a scan of a copy gave.
type Scanned struct {
	Sums    Sums
	Entries uint64
	Tenants uint64   // records of tenants, purged ones included
	Damaged []string // keys of entries of which nobody can say whose they are, or which are astray: see [Entry]
}

// BucketSet is a set of buckets.
type BucketSet [Buckets / 8]byte

// Add puts a bucket in.
func (s *BucketSet) Add(bucket int) { s[bucket/8] |= 1 << (bucket % 8) }

// Has tells whether a bucket is in.
func (s *BucketSet) Has(bucket int) bool { return s[bucket/8]&(1<<(bucket%8)) != 0 }

// Empty tells whether none is in.
func (s *BucketSet) Empty() bool { return *s == BucketSet{} }

// differ are the buckets in which two copies differ.
func differ(a, b *Sums) *BucketSet {
	out := new(BucketSet)
	for i := range a {
		if a[i] != b[i] {
			out.Add(i)
		}
	}
	return out
}

// sessionIdle is how long a moment of a live copy is kept for a caller that says nothing, as one that was killed does: it
// holds back what the node could clean up.
const sessionIdle = 2 * time.Minute
