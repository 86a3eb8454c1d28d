package replay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// baseline is what the source's whole log came to when it was last read: its sums, up to a position in each
// partition. Brought up to a later moment by the streams that have changed since, it saves reading the log.
// It can be wrong only towards finding a difference that there is not, and then the log is read.
type baseline struct {
	At         time.Time              `json:"at"` // when the whole log was read
	StoreID    uuid.UUID              `json:"store_id"`
	Partitions []readmodel.Partition  `json:"partitions"`
	Sums       []byte                 `json:"sums"`
	Tenants    uint64                 `json:"tenants"`
	Streams    uint64                 `json:"streams"`
	Quarantine []readmodel.Quarantine `json:"quarantine"`
}

const (
	baselineFile = "source.sums"
	// What is brought up to date at most; where more has changed, reading the log is as fast.
	mostBehind  = 500_000 // events
	mostChanged = 20_000  // streams
)

// readEvery is how old a reading of the whole log may be that others go by.
const readEvery = 24 * time.Hour

// errNotAtHand says that there is no baseline that this comparison could use.
var errNotAtHand = errors.New("no sums of the source are at hand")

// readBaseline is that of a directory, or errNotAtHand: one that is damaged is none.
func readBaseline(dir string) (*baseline, error) {
	b, err := os.ReadFile(filepath.Join(dir, baselineFile))
	if errors.Is(err, fs.ErrNotExist) || len(b) < 17 {
		return nil, errNotAtHand
	}
	if err != nil {
		return nil, fmt.Errorf("read the sums of the source: %w", err)
	}
	base := new(baseline)
	if string(b[:17]) != sealed(b[17:]) || json.Unmarshal(b[17:], base) != nil || len(base.Sums) != 8*Buckets {
		return nil, errNotAtHand
	}
	return base, nil
}

func sealed(b []byte) string { return fmt.Sprintf("%016x\n", xxhash.Sum64(b)) }

// write keeps it for the next comparison. A crash leaves the one before, or none.
func (b *baseline) write(dir string) error {
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, baselineFile)
	if err := os.WriteFile(path+".new", append([]byte(sealed(text)), text...), 0o600); err != nil {
		return fmt.Errorf("keep the sums of the source: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("keep the sums of the source: %w", err)
	}
	return nil
}

// keepBaseline keeps what the whole log has come to. That it cannot be kept costs time at the next
// comparison, and nothing else.
func (c *comparison) keepBaseline(b *baseline) {
	if c.cfg.Dir == "" {
		return
	}
	if err := b.write(c.cfg.Dir); err != nil {
		c.cfg.Logger.Warn("the next comparison has to read the whole log", "err", err)
	}
}

// baselineNow is what the source that was read just now came to.
func (c *comparison) baselineNow(began time.Time) *baseline {
	progress := c.in.Progress()
	return &baseline{
		At: began.UTC(), StoreID: progress.StoreID, Partitions: progress.Partitions, Sums: encodeSums(&c.ledger.sums),
		Tenants: c.ledger.tenants, Streams: c.ledger.streams, Quarantine: c.ledger.quarantined,
	}
}

// atHand compares with the sums of the source that are at hand, brought up to where the copy is. It is
// false where there are none, or where something differs: then the log has to be read.
func (c *comparison) atHand(ctx context.Context) (equal bool, err error) {
	base, err := readBaseline(c.cfg.Dir)
	if err == nil && time.Since(base.At) > readEvery {
		err = errNotAtHand
	}
	if err == nil {
		err = c.advance(ctx, base)
	}
	if errors.Is(err, errNotAtHand) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sums, err := decodeSums(base.Sums)
	if err != nil {
		return false, err
	}
	if c.scanned, err = c.in.Scan(ctx, c.cfg.Rate); err != nil {
		return false, fmt.Errorf("read the region's copy: %w", err)
	}
	c.ledger.quarantined = base.Quarantine
	if err := c.compareQuarantines(ctx); err != nil {
		return false, err
	}
	kept := c.in.Maintained()
	if sums != c.scanned.Sums || kept != sums || len(c.scanned.Damaged) > 0 || len(c.standing) > 0 {
		return false, nil
	}
	head, err := c.cfg.Source.Head(ctx)
	if err != nil {
		return false, fmt.Errorf("ask the source for its head: %w", err)
	}
	c.report.Source, c.report.ReadAt = head.Position, base.At
	c.report.Entries, c.report.Tenants, c.report.Streams = c.scanned.Entries, base.Tenants, base.Streams
	c.keepBaseline(base)
	return true, nil
}

// advance brings a baseline up to where the copy is, by the streams that have events in between.
func (c *comparison) advance(ctx context.Context, base *baseline) error {
	to := c.in.Progress()
	if base.StoreID != to.StoreID || len(base.Partitions) != len(to.Partitions) {
		return errNotAtHand
	}
	low, high := base.Partitions[0].Position, uint64(0)
	for i, p := range to.Partitions {
		if p.Position < base.Partitions[i].Position {
			return errNotAtHand // a copy that went back, as by a rollback
		}
		low, high = min(low, base.Partitions[i].Position), max(high, p.Position)
	}
	if high-low > mostBehind {
		return errNotAtHand
	}
	if err := checkHistory(ctx, c.cfg.Source, &readmodel.Progress{Partitions: base.Partitions}); errors.Is(err, ErrOtherStore) {
		return errNotAtHand
	} else if err != nil {
		return err
	}
	changed, err := c.changedBetween(ctx, base, low, high)
	if err != nil {
		return err
	}
	sums, err := decodeSums(base.Sums)
	if err != nil {
		return err
	}
	for _, id := range slices.SortedFunc(maps.Keys(changed), func(a, b events.StreamID) int { return strings.Compare(a.String(), b.String()) }) {
		if err := c.exchange(ctx, base, &sums, id); err != nil {
			return err
		}
	}
	base.Sums, base.Partitions = encodeSums(&sums), to.Partitions
	return nil
}

// changedBetween are the streams that have events beyond the baseline and within the copy.
func (c *comparison) changedBetween(ctx context.Context, base *baseline, low, high uint64) (map[events.StreamID]struct{}, error) {
	to := c.in.Progress()
	changed := make(map[events.StreamID]struct{})
	for position := low; position < high; {
		log, err := c.cfg.Source.After(ctx, position, int(min(1000, high-position)))
		if err != nil {
			return nil, fmt.Errorf("read the source at position %d: %w", position, err)
		}
		if len(log) == 0 {
			return nil, errNotAtHand
		}
		for _, e := range log {
			p := events.Partition(e.Stream.String(), len(to.Partitions))
			if e.Position > base.Partitions[p].Position && e.Position <= to.Partitions[p].Position {
				changed[e.Stream] = struct{}{}
			}
		}
		position = log[len(log)-1].Position
		if len(changed) > mostChanged {
			return nil, errNotAtHand
		}
	}
	return changed, nil
}

// exchange puts what a stream is now in the place of what it was.
func (c *comparison) exchange(ctx context.Context, base *baseline, sums *Sums, id events.StreamID) error {
	log, err := c.cfg.Source.Load(ctx, id, 0)
	if err != nil {
		return fmt.Errorf("read %s from the source: %w", id, err)
	}
	before, _, err := foldOne(ctx, log, &readmodel.Progress{StoreID: base.StoreID, Partitions: base.Partitions})
	if err != nil {
		return err
	}
	now, inQuarantine, err := foldOne(ctx, log, c.in.Progress())
	if err != nil {
		return err
	}
	bucket := readmodel.BucketOf(id)
	for _, kv := range before {
		if e, ok := kv.Entry(); ok {
			sums[bucket] -= e.Digest
		}
	}
	for _, kv := range now {
		if e, ok := kv.Entry(); ok {
			sums[bucket] += e.Digest
		}
	}
	if len(before) == 0 && len(now) > 0 {
		base.Streams++
		if id.Kind() == events.KindTenant {
			base.Tenants++
		}
	}
	base.Quarantine = append(slices.DeleteFunc(base.Quarantine, func(q readmodel.Quarantine) bool { return q.Stream == id }), inQuarantine...)
	return nil
}
