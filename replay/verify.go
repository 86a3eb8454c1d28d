package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// VerifyConfig says what to compare, and how.
type VerifyConfig struct {
	Region Region
	Source Source
	// Dir is the region's directory, where what is compared is kept, some 150 octets a tenant, until the end; "": where the
	// system keeps such.
	Dir string
	// Rate is how many entries of the copy are read a second at most; 0: as fast as it goes.
	Rate int
	// AtHand takes the sums of the source that an earlier comparison in Dir has kept, brought up to date, in
	// place of reading the whole log. Where they show a difference, the log is read.
	AtHand bool
	// Tenant is the only one to compare; zero: all that there is.
	Tenant events.TenantID
	// Details is of how many streams it is told which fields differ; 0: 1000, negative: none. All are named.
	Details int
	// Each is called with each stream that differs, in the order of IDs where they are not very many.
	Each     func(Difference) error
	Progress func(stage string, done, total uint64)
	Logger   *slog.Logger
	// Patience is how long a source is waited for that is a little behind the copy, as a replica of the
	// database may be; 0: 5 s.
	Patience time.Duration
}

const (
	defaultDetails  = 1000
	defaultPatience = 5 * time.Second
)

// groupEntries is how many entries of a copy are held at once while what differs is looked for, at
// some 150 octets each.
const groupEntries = 250_000

func (cfg *VerifyConfig) defaults() {
	if cfg.Details == 0 {
		cfg.Details = defaultDetails
	}
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.Each == nil {
		cfg.Each = func(Difference) error { return nil }
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string, uint64, uint64) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
}

// Verify compares a region's copy with the source, at the position at which the copy is now: nothing
// is stopped, and what is folded meanwhile is none of it. It changes nothing.
func Verify(ctx context.Context, cfg VerifyConfig) (*Report, error) {
	return verify(ctx, cfg, func(Inspection, *Report) error { return nil })
}

// verifyTries is how often a comparison begins anew since another generation has become live. Rebuilds do not follow each
// other that fast.
const verifyTries = 5

// verify is Verify, and what is done then while the moment that was compared is at hand still. Where another
// generation takes the place of the one that is compared, that one is closed: then it begins anew, with the other, unless it
// has told of something already.
func verify(ctx context.Context, cfg VerifyConfig, then func(Inspection, *Report) error) (*Report, error) {
	cfg.defaults()
	told := false
	each := cfg.Each
	cfg.Each = func(d Difference) error {
		told = true
		return each(d)
	}
	for try := 1; ; try++ {
		info, err := cfg.Region.Info(ctx)
		if err != nil {
			return nil, err
		}
		r, err := verifyOnce(ctx, cfg, info, then)
		if err == nil || ctx.Err() != nil {
			return r, err
		}
		now, infoErr := cfg.Region.Info(ctx)
		switch {
		case infoErr != nil || now.Generation == info.Generation || info.Generation == "":
			return nil, err
		case told || try == verifyTries:
			return nil, fmt.Errorf("%s has taken the place of %s, which was being compared: begin again (%w)", now.Generation, info.Generation, err)
		}
		cfg.Logger.Warn("another generation has taken the place of the one that was being compared: beginning anew with that", "generation", now.Generation, "before", info.Generation)
	}
}

func verifyOnce(ctx context.Context, cfg VerifyConfig, info Info, then func(Inspection, *Report) error) (*Report, error) {
	began := time.Now()
	in, err := cfg.Region.Inspect(ctx)
	switch {
	case noCopy(err) && info.PID != 0:
		return nil, fmt.Errorf("the node of region %s has no copy yet that could be compared: wait until it is ready (%w)", info.Region, err)
	case noCopy(err):
		return nil, fmt.Errorf("region %s has no copy that could be compared or mended: rebuild it, without --verify, --repair, --dry-run and --tenant (%w)", info.Region, err)
	case err != nil:
		return nil, fmt.Errorf("look into the region's copy: %w", err)
	}
	r, err := compare(ctx, cfg, in)
	if err == nil {
		err = then(in, r)
	}
	if err := errors.Join(err, in.Close()); err != nil {
		return nil, err
	}
	r.Region, r.Generation, r.Took = info.Region, info.Generation, time.Since(began)
	return r, nil
}

// compare is Verify of one moment.
func compare(ctx context.Context, cfg VerifyConfig, in Inspection) (*Report, error) {
	cfg.defaults()
	if _, err := checkSource(ctx, cfg.Source, in.Progress(), cfg.Patience); err != nil {
		return nil, err
	}
	c := &comparison{cfg: cfg, in: in, report: &Report{StoreID: in.Progress().StoreID, Position: in.Progress().Position()}}
	var err error
	if c.ledger, err = newLedger(cfg.Dir); err != nil {
		return nil, err
	}
	if err := errors.Join(c.run(ctx), c.ledger.close()); err != nil {
		return nil, err
	}
	return c.report, nil
}

// comparison is one under way.
type comparison struct {
	cfg     VerifyConfig
	in      Inspection
	ledger  *ledger
	report  *Report
	scanned *Scanned
	damaged map[string]struct{} // keys that nobody was named for yet
	// standing is what is wrong with who is in quarantine, until it is told.
	standing map[events.StreamID]FieldDifference
	holders  holders
	// inQuarantine are those of the copy, for what is compared again.
	inQuarantine map[events.StreamID]struct{}
	told         int // with details
}

func (c *comparison) run(ctx context.Context) error {
	if !c.cfg.Tenant.IsZero() {
		return c.runOne(ctx)
	}
	if c.cfg.AtHand {
		if equal, err := c.atHand(ctx); err != nil || equal {
			return err
		}
	}
	if err := c.readBoth(ctx); err != nil {
		return err
	}
	kept := c.in.Maintained()
	c.report.WrongSums = count(differ(&kept, &c.scanned.Sums))
	wrong := differ(&c.ledger.sums, &c.scanned.Sums)
	c.damaged = make(map[string]struct{}, len(c.scanned.Damaged))
	for _, key := range c.scanned.Damaged {
		c.damaged[key] = struct{}{}
	}
	if err := c.compareQuarantines(ctx); err != nil {
		return err
	}
	if wrong.Empty() && len(c.damaged) == 0 && len(c.standing) == 0 {
		return nil
	}
	return c.descend(ctx, wrong)
}

// readBoth sums what the copy holds and what the source says, at the same time.
func (c *comparison) readBoth(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	scanned := make(chan error, 1)
	go func() {
		var err error
		if c.scanned == nil {
			c.scanned, err = c.in.Scan(ctx, c.cfg.Rate)
		}
		if err != nil {
			cancel()
		}
		scanned <- err
	}()
	err := c.readSource(ctx)
	if err != nil {
		cancel()
	}
	// The one that ended by itself is the reason; the other was told to.
	if scanErr := <-scanned; scanErr != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return fmt.Errorf("read the region's copy: %w", scanErr)
	}
	if err != nil {
		return err
	}
	c.report.Entries = c.scanned.Entries
	c.report.Tenants, c.report.Streams = c.ledger.tenants, c.ledger.streams
	return nil
}

// readSource writes down what the source says that the copy should hold.
func (c *comparison) readSource(ctx context.Context) error {
	began := time.Now()
	ctx = events.WithReading(ctx, func(done, total uint64) { c.cfg.Progress("read the source", done, total) })
	whole, err := c.cfg.Source.Whole(ctx)
	if err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	c.report.Source = whole.Head().Position
	err = c.foldAll(ctx, whole)
	if err := errors.Join(err, whole.Close()); err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	c.report.ReadAt = began.UTC()
	c.keepBaseline(c.baselineNow(began))
	return nil
}

func (c *comparison) foldAll(ctx context.Context, whole events.Whole) error {
	progress := c.in.Progress()
	if head := whole.Head(); head.StoreID != progress.StoreID {
		return fmt.Errorf("%w: it became store %s meanwhile", ErrOtherStore, head.StoreID)
	}
	folded, err := projections.FoldSource(ctx, whole, projections.FoldConfig{
		Partitions: len(progress.Partitions), Cutoff: cutoffs(progress),
		Progress: func(done, total uint64) { c.cfg.Progress("compare", done, total) },
	}, func(_ int, stream events.StreamID, records []KV) error { return c.ledger.add(stream, records) })
	c.ledger.quarantined = folded.Quarantined
	return err
}

// compareQuarantines finds out who is in quarantine and should not be, and the other way round: such a
// stream is served as it was, or followed although it cannot be.
func (c *comparison) compareQuarantines(ctx context.Context) error {
	list, err := c.in.Quarantined(ctx)
	if err != nil {
		return fmt.Errorf("read the region's copy: %w", err)
	}
	c.standing = make(map[events.StreamID]FieldDifference)
	at := func(q readmodel.Quarantine) jsontext.Value { return quoted(fmt.Sprintf("since version %d", q.Version)) }
	for _, q := range c.ledger.quarantined {
		c.standing[q.Stream] = FieldDifference{Field: "quarantine", Source: at(q)}
	}
	for _, q := range list {
		if !c.cfg.Tenant.IsZero() && q.Stream != c.cfg.Tenant.Stream() {
			continue
		}
		d := c.standing[q.Stream]
		d.Field, d.Here = "quarantine", at(q)
		c.standing[q.Stream] = d
	}
	maps.DeleteFunc(c.standing, func(_ events.StreamID, d FieldDifference) bool { return bytes.Equal(d.Here, d.Source) })
	return nil
}

// runOne compares one tenant.
func (c *comparison) runOne(ctx context.Context) error {
	stream := c.cfg.Tenant.Stream()
	set := new(BucketSet)
	set.Add(readmodel.BucketOf(stream))
	here := make(map[events.StreamID][]Entry)
	if err := c.in.Entries(ctx, set, func(e Entry) error {
		if e.Stream == stream {
			here[stream] = append(here[stream], e)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("read the region's copy: %w", err)
	}
	head, err := c.cfg.Source.Head(ctx)
	if err != nil {
		return fmt.Errorf("ask the source for its head: %w", err)
	}
	c.report.Source = head.Position
	records, inQuarantine, err := c.loadAlone(ctx, stream, nil)
	if err != nil {
		return err
	}
	c.ledger.quarantined = inQuarantine
	if len(records) > 0 {
		if err := c.ledger.add(stream, records); err != nil {
			return err
		}
	}
	c.report.Tenants, c.report.Streams = c.ledger.tenants, c.ledger.streams
	c.report.Entries = uint64(len(here[stream]))
	if err := c.compareQuarantines(ctx); err != nil {
		return err
	}
	if err := c.compareGroup(ctx, set, here); err != nil {
		return err
	}
	return c.tellStanding()
}

// load is what the source says of one stream, as far as the copy had come.
func (c *comparison) load(ctx context.Context, stream events.StreamID) (records []KV, err error) {
	log, err := c.cfg.Source.Load(ctx, stream, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s from the source: %w", stream, err)
	}
	records, _, err = foldOne(ctx, log, c.in.Progress())
	return records, err
}

// loadAlone is load where nothing is known of other streams. One in quarantine may hold a hostname that it has let go since, by
// events that are not folded: where the copy does not give it that, only they could tell whether it should. Those that are known
// to be its are kept.
func (c *comparison) loadAlone(ctx context.Context, stream events.StreamID, its map[string]struct{}) (records []KV, quarantined []readmodel.Quarantine, err error) {
	progress := c.in.Progress()
	log, err := c.cfg.Source.Load(ctx, stream, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s from the source: %w", stream, err)
	}
	records, quarantined, err = foldOne(ctx, log, progress)
	if err != nil || len(quarantined) == 0 {
		return records, quarantined, err
	}
	upTo := cutoffs(progress)(events.Partition(stream.String(), len(progress.Partitions)))
	for len(log) > 0 && log[len(log)-1].Position > upTo {
		log = log[:len(log)-1]
	}
	kept := make([]KV, 0, len(records))
	for _, kv := range records {
		h, claim, ok := kv.Hostname()
		_, known := its[kv.Key]
		if ok && claim.Held && !known && projections.MayHaveLetGo(log, quarantined[0].Version, h) {
			value, err := c.in.Record(ctx, kv.Key)
			if err != nil {
				return nil, nil, fmt.Errorf("read the region's copy: %w", err)
			}
			if _, holder, readable := claimOf(KV{Key: kv.Key, Value: value}); value == nil || !readable || holder != stream {
				continue
			}
		}
		kept = append(kept, kv)
	}
	return kept, quarantined, nil
}

// foldOne is what a stream comes to, as far as a copy had come.
func foldOne(ctx context.Context, log []events.Event, upTo *readmodel.Progress) (records []KV, quarantined []readmodel.Quarantine, err error) {
	one := oneStream{head: events.Head{StoreID: upTo.StoreID, Position: uint64(len(log))}, stream: log}
	folded, err := projections.FoldSource(ctx, one, projections.FoldConfig{Partitions: len(upTo.Partitions), Cutoff: cutoffs(upTo)},
		func(_ int, _ events.StreamID, kvs []KV) error {
			records = append(records, kvs...)
			return nil
		})
	return records, folded.Quarantined, err
}

func count(s *BucketSet) (n int) {
	for i := range Buckets {
		if s.Has(i) {
			n++
		}
	}
	return n
}
