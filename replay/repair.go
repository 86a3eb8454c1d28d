package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// RepairReport is what a repair found and did.
type RepairReport struct {
	Report          // of the comparison before
	Repaired int    // streams that were folded anew, and entries that were removed
	Again    uint64 // position at which they were compared again
	// Left are those that differ still. There should be none; why they were not mended is logged.
	Left []Difference
}

const (
	repairBatch = 500    // streams that the node is asked to mend at once
	maxRecheck  = 20_000 // streams that are compared again one by one; beyond, everything is
)

// Repair compares a region's copy with the source as [Verify] does, mends what differs and nothing
// else, and compares that again. The node goes on serving and folding. While anybody else rebuilds or repairs the
// region whose directory Dir is, it is a [readmodel.ErrReplaying].
func Repair(ctx context.Context, cfg VerifyConfig) (*RepairReport, error) {
	if cfg.Dir == "" {
		return repair(ctx, cfg)
	}
	// What is mended in a generation whose place another takes would be lost, and the report wrong.
	unlock, err := readmodel.Dir(cfg.Dir).ReplayLock()
	if err != nil {
		return nil, err
	}
	r, err := repair(ctx, cfg)
	if err := errors.Join(err, unlock()); err != nil {
		return nil, err
	}
	return r, nil
}

func repair(ctx context.Context, cfg VerifyConfig) (*RepairReport, error) {
	cfg.defaults()
	tell := cfg.Each
	var found []Difference
	mended := 0
	unmended := make(map[events.StreamID]struct{})
	var batch []projections.Repair
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		n, err := cfg.Region.Repair(ctx, batch)
		mended += n
		if left, ok := errors.AsType[*projections.UnmendedError](err); ok {
			for _, u := range left.Streams {
				unmended[u.Stream] = struct{}{}
				cfg.Logger.Warn("not mended", "stream", u.Stream, "reason", u.Err)
			}
		} else if err != nil {
			return fmt.Errorf("mend the region's copy: %w", err)
		}
		batch = nil
		return nil
	}
	cfg.Each = func(d Difference) error {
		if err := tell(d); err != nil {
			return err
		}
		if len(found) <= maxRecheck {
			found = append(found, d)
		}
		if batch = append(batch, d.repair()); len(batch) < repairBatch {
			return nil
		}
		return flush()
	}
	report, err := verify(ctx, cfg, func(in Inspection, r *Report) error {
		if err := flush(); err != nil || r.Equal() {
			return err
		}
		// What damage did to the copy behind the back of its sums is in them still: in those of every tenant
		// that an entry named, also where one alone was mended.
		return recounted(ctx, cfg.Region, in)
	})
	if err != nil {
		return nil, err
	}
	out := &RepairReport{Report: *report, Repaired: mended, Again: report.Position}
	if report.Equal() {
		return out, nil
	}
	cfg.Each = func(d Difference) error {
		out.Left = append(out.Left, d)
		delete(unmended, d.Stream)
		return nil
	}
	if len(found) > maxRecheck {
		again, err := Verify(ctx, cfg)
		if err != nil {
			return nil, err
		}
		out.Again = again.Position
		return out, nil
	}
	if out.Again, err = recheck(ctx, cfg, found); err != nil {
		return nil, err
	}
	for _, d := range found { // of which the source may tell nothing again
		if _, ok := unmended[d.Stream]; ok {
			out.Left = append(out.Left, d)
		}
	}
	return out, nil
}

// recounted has the copy count its sums anew, by what was read of the moment that was compared. Where that is
// not at hand any more, all is read again.
func recounted(ctx context.Context, region Region, in Inspection) error {
	err := in.Recount(ctx)
	if errors.Is(err, readmodel.ErrRecounted) || errors.Is(err, ErrSessionGone) {
		err = region.Recount(ctx)
	}
	if err != nil {
		return fmt.Errorf("count the region's copy anew: %w", err)
	}
	return nil
}

// recheck compares again what was mended, and says at which position.
func recheck(ctx context.Context, cfg VerifyConfig, found []Difference) (position uint64, err error) {
	in, err := cfg.Region.Inspect(ctx)
	if err != nil {
		return 0, fmt.Errorf("look into the region's copy: %w", err)
	}
	defer func() {
		if closeErr := in.Close(); err == nil {
			err = closeErr
		}
	}()
	c := &comparison{cfg: cfg, in: in, report: &Report{Position: in.Progress().Position()}}
	head, err := checkSource(ctx, cfg.Source, in.Progress(), cfg.Patience)
	if err != nil {
		return 0, fmt.Errorf("compare again what was mended: %w", err)
	}
	c.report.Source = head.Position
	list, err := in.Quarantined(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the region's copy: %w", err)
	}
	c.inQuarantine = make(map[events.StreamID]struct{})
	for _, q := range list {
		c.inQuarantine[q.Stream] = struct{}{}
	}
	for i := range found {
		d, err := c.again(ctx, &found[i])
		if err != nil {
			return 0, err
		}
		if d != nil {
			if err := cfg.Each(*d); err != nil {
				return 0, err
			}
		}
	}
	return c.report.Position, nil
}

// again compares one stream by what is known of it: the entries that it should have, and those that it
// had.
func (c *comparison) again(ctx context.Context, was *Difference) (*Difference, error) {
	keys := make(map[string]struct{})
	for _, k := range was.Keys {
		keys[string(k)] = struct{}{}
	}
	for _, h := range was.held {
		keys[hostnamePrefix+h.String()] = struct{}{}
	}
	its := make(map[string]struct{}) // as the whole source says
	for _, h := range was.Hostnames {
		keys[hostnamePrefix+h.Hostname] = struct{}{}
		if h.Source == was.Stream {
			its[hostnamePrefix+h.Hostname] = struct{}{}
		}
	}
	var want []Entry
	should := false // be in quarantine
	if !was.Stream.IsZero() {
		keys[readmodel.RecordKey(was.Stream)] = struct{}{}
		records, quarantined, err := c.loadAlone(ctx, was.Stream, its)
		if err != nil {
			return nil, err
		}
		should = len(quarantined) > 0
		for _, kv := range records {
			if e, ok := kv.Entry(); ok {
				want = append(want, e)
				keys[e.Key] = struct{}{}
			}
		}
	}
	var have []Entry
	var damaged []Key
	for key := range keys {
		value, err := c.in.Record(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("read the region's copy: %w", err)
		}
		if value == nil {
			continue
		}
		switch e, ok := (KV{Key: key, Value: value}).Entry(); {
		case !ok:
		case e.Stream.IsZero():
			damaged = append(damaged, Key(key))
		case e.Stream == was.Stream:
			have = append(have, e)
		}
	}
	slices.Sort(damaged)
	if was.Stream.IsZero() || len(damaged) > 0 {
		if len(damaged) == 0 {
			return nil, nil
		}
		return &Difference{Stream: was.Stream, Kind: Damaged, Keys: damaged}, nil
	}
	if _, in := c.inQuarantine[was.Stream]; in != should {
		return was, nil
	}
	if sameEntries(have, want) {
		return nil, nil
	}
	return c.difference(ctx, was.Stream, have, want)
}

// TenantState is what the source says of a tenant.
type TenantState int

// What a tenant can be by the source.
const (
	TenantUnknown TenantState = iota // there never was one
	TenantPurged
	TenantThere
)

// AskTenant asks the source about a tenant.
func AskTenant(ctx context.Context, source Source, id events.TenantID) (TenantState, error) {
	log, err := source.Load(ctx, id.Stream(), 0)
	if err != nil {
		return 0, fmt.Errorf("read %s from the source: %w", id, err)
	}
	if len(log) == 0 {
		return TenantUnknown, nil
	}
	for _, e := range log {
		if p, err := e.Payload(); err == nil {
			if _, purged := p.(events.TenantPurged); purged {
				return TenantPurged, nil
			}
		}
	}
	return TenantThere, nil
}
