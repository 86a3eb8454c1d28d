package replay

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// descend finds what differs within buckets whose sums do, a group of buckets at a time, so that memory
// does not grow with how much differs.
func (c *comparison) descend(ctx context.Context, wrong *BucketSet) error {
	size := max(1, groupEntries*Buckets/int(max(c.scanned.Entries, c.ledger.entries, 1)))
	c.holders = make(holders)
	var late []Difference // told at the end, in order, when it is known whose a hostname should be
	each := c.cfg.Each
	tell := func() error {
		slices.SortStableFunc(late, func(a, b Difference) int { return strings.Compare(a.Stream.String(), b.Stream.String()) })
		for _, d := range late {
			for i, h := range d.Hostnames {
				if h.Source.IsZero() {
					d.Hostnames[i].Source = c.holders[h.Hostname]
				}
			}
			if err := each(d); err != nil {
				return err
			}
		}
		late = nil
		clear(c.holders)
		return nil
	}
	c.cfg.Each = func(d Difference) error {
		if late = append(late, d); len(late) < maxLate {
			return nil
		}
		return tell()
	}
	group := new(BucketSet)
	n := 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		here := make(map[events.StreamID][]Entry)
		if err := c.in.Entries(ctx, group, func(e Entry) error {
			if !e.Stream.IsZero() {
				here[e.Stream] = append(here[e.Stream], e)
			}
			return nil
		}); err != nil {
			return fmt.Errorf("read the region's copy: %w", err)
		}
		if err := c.compareGroup(ctx, group, here); err != nil {
			return err
		}
		group, n = new(BucketSet), 0
		return nil
	}
	for i := range Buckets {
		if !wrong.Has(i) {
			continue
		}
		group.Add(i)
		if n++; n == size {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if err := c.tellStanding(); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(c.damaged)) {
		value, err := c.in.Record(ctx, key)
		if err != nil {
			return fmt.Errorf("read the region's copy: %w", err)
		}
		_, _, readable := claimOf(KV{Key: key, Value: value})
		d := Difference{Kind: Damaged, Keys: []Key{Key(key)}, astray: readable}
		c.report.count(&d)
		late = append(late, d)
	}
	return tell()
}

// tellStanding tells of streams with which nothing else is wrong than who is in quarantine.
func (c *comparison) tellStanding() error {
	for stream, f := range c.standing {
		d := Difference{Stream: stream, Kind: Different, Fields: []FieldDifference{f}}
		c.report.count(&d)
		if err := c.cfg.Each(d); err != nil {
			return err
		}
	}
	return nil
}

// maxLate is how many differences are held to be told in order; more are told in several orders.
const maxLate = 100_000

// holders are whose hostnames are that are answered wrongly, as far as that has turned up.
type holders map[string]events.StreamID

// compareGroup compares the streams of some buckets, of which here are all entries of the copy.
func (c *comparison) compareGroup(ctx context.Context, group *BucketSet, here map[events.StreamID][]Entry) error {
	var found []Difference
	if err := c.ledger.read(group, func(stream events.StreamID, want []Entry) error {
		have := here[stream]
		delete(here, stream)
		if sameEntries(have, want) {
			return nil
		}
		d, err := c.difference(ctx, stream, have, want)
		if err == nil && d != nil {
			found = append(found, *d)
		}
		return err
	}); err != nil {
		return err
	}
	for stream, have := range here {
		d, err := c.difference(ctx, stream, have, nil)
		if err != nil {
			return err
		}
		if d != nil {
			found = append(found, *d)
		}
	}
	slices.SortFunc(found, func(a, b Difference) int { return strings.Compare(a.Stream.String(), b.Stream.String()) })
	for i := range found {
		d := &found[i]
		if err := c.detail(ctx, d); err != nil {
			return err
		}
		if f, ok := c.standing[d.Stream]; ok {
			d.Fields = append(d.Fields, f)
			delete(c.standing, d.Stream)
		}
		c.report.count(d)
		if err := c.cfg.Each(*d); err != nil {
			return err
		}
	}
	return nil
}

func sameEntries(a, b []Entry) bool {
	if len(a) != len(b) {
		return false
	}
	byKey := func(x, y Entry) int { return strings.Compare(x.Key, y.Key) }
	slices.SortFunc(a, byKey)
	slices.SortFunc(b, byKey)
	return slices.EqualFunc(a, b, func(x, y Entry) bool { return x.Key == y.Key && x.Digest == y.Digest })
}

// difference is what a stream's entries have wrong; nil: nothing, on a closer look.
func (c *comparison) difference(ctx context.Context, stream events.StreamID, have, want []Entry) (*Difference, error) {
	partitions := c.in.Progress().Partitions
	d := &Difference{Stream: stream, Kind: Different, read: &projections.Read{UpTo: partitions[events.Partition(stream.String(), len(partitions))].Position}}
	record := readmodel.RecordKey(stream)
	mine := make(map[string]uint64, len(have))
	for _, e := range have {
		mine[e.Key] = e.Digest
		if name, ok := hostnameOf(e.Key); ok {
			if h, err := events.ParseHostname(name); err == nil && h.String() == name {
				d.held = append(d.held, h)
			} else {
				d.Keys = append(d.Keys, Key(e.Key)) // no hostname that anybody could have claimed
			}
		}
	}
	_, recorded := mine[record]
	wanted := false
	wrong := false
	for _, e := range want {
		digest, ok := mine[e.Key]
		delete(mine, e.Key)
		if e.Key == record {
			wanted, d.read.Digest = true, e.Digest
			wrong = wrong || !ok || digest != e.Digest
			continue
		}
		if ok && digest == e.Digest {
			continue
		}
		name, _ := hostnameOf(e.Key)
		h, err := c.lostHostname(ctx, stream, name)
		if err != nil {
			return nil, err
		}
		if h != nil {
			d.Hostnames = append(d.Hostnames, *h)
			if c.holders != nil {
				c.holders[name] = stream
			}
		}
	}
	for key := range mine { // what the source does not have
		if key == record {
			wrong = true
		}
		if name, ok := hostnameOf(key); ok {
			d.Hostnames = append(d.Hostnames, HostnameDifference{Hostname: name, Here: stream})
		}
	}
	if !wrong && len(d.Hostnames) == 0 && len(d.Keys) == 0 {
		return nil, nil
	}
	slices.SortFunc(d.Hostnames, func(a, b HostnameDifference) int { return strings.Compare(a.Hostname, b.Hostname) })
	d.record = wrong
	switch {
	case wanted && !recorded:
		d.Kind = Missing
	case !wanted:
		d.Kind = Extra
	}
	return d, nil
}

// lostHostname looks closer at a hostname that a stream has by the source, and whose entry in the copy
// says something else. It is nil where that is as it should be: partitions come at their own pace, and
// a hostname may have gone on to another tenant by a later event that the copy has already, before the
// copy has this tenant's letting go of it.
func (c *comparison) lostHostname(ctx context.Context, stream events.StreamID, name string) (*HostnameDifference, error) {
	key := hostnamePrefix + name
	lost := &HostnameDifference{Hostname: name, Source: stream}
	value, err := c.in.Record(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read the region's copy: %w", err)
	}
	if value == nil {
		return lost, nil
	}
	position, holder, ok := claimOf(KV{Key: key, Value: value})
	if !ok {
		delete(c.damaged, key) // the repair of this stream writes it anew
		lost.unreadable = true
		return lost, nil
	}
	lost.Here = holder
	if holder.IsZero() {
		delete(c.damaged, key) // it may be astray: the repair of this stream writes it anew, too
	}
	records, err := c.load(ctx, stream)
	if err != nil {
		return nil, err
	}
	for _, kv := range records {
		if kv.Key != key {
			continue
		}
		if claimed, _, ok := claimOf(kv); !ok || claimed >= position {
			return lost, nil
		}
		passed, err := c.wentOn(ctx, name, position, holder)
		if err != nil || passed {
			return nil, err
		}
	}
	return lost, nil
}

// wentOn tells whether the event at a position is what a hostname's entry says that it was, and one that
// the copy has applied.
func (c *comparison) wentOn(ctx context.Context, name string, position uint64, holder events.StreamID) (bool, error) {
	if position == 0 || position > c.report.sourceEnd() {
		return false, nil
	}
	log, err := c.cfg.Source.After(ctx, position-1, 1)
	if err != nil {
		return false, fmt.Errorf("read the source at position %d: %w", position, err)
	}
	partitions := c.in.Progress().Partitions
	if len(log) == 0 || log[0].Position > partitions[events.Partition(log[0].Stream.String(), len(partitions))].Position {
		return false, nil
	}
	p, err := log[0].Payload()
	if err != nil {
		return false, nil //nolint:nilerr // an event that nobody can read has moved no hostname
	}
	switch p := p.(type) {
	case events.HostnameAttached:
		return p.Hostname.String() == name && holder == log[0].Stream, nil
	case events.HostnameDetached:
		return p.Hostname.String() == name && holder.IsZero(), nil
	case events.TenantPurged:
		if !holder.IsZero() {
			return false, nil
		}
		return c.heldBefore(ctx, name, log[0])
	}
	return false, nil
}

// heldBefore tells whether a hostname was the tenant's until an event: a purge lets go all that are, and names none.
func (c *comparison) heldBefore(ctx context.Context, name string, until events.Event) (held bool, err error) {
	log, err := c.cfg.Source.Load(ctx, until.Stream, 0)
	if err != nil {
		return false, fmt.Errorf("read %s from the source: %w", until.Stream, err)
	}
	for _, e := range log {
		if e.Version >= until.Version {
			break
		}
		p, err := e.Payload()
		if err != nil {
			return false, nil //nolint:nilerr // it is in quarantine since, and the purge let nothing go
		}
		switch p := p.(type) {
		case events.HostnameAttached:
			held = held || p.Hostname.String() == name
		case events.HostnameDetached:
			held = held && p.Hostname.String() != name
		}
	}
	return held, nil
}

func (r *Report) sourceEnd() uint64 { return r.Source }

// detail says which fields of the record differ.
func (c *comparison) detail(ctx context.Context, d *Difference) error {
	if c.told++; c.told > c.cfg.Details || d.Kind != Different {
		return nil
	}
	key := readmodel.RecordKey(d.Stream)
	value, err := c.in.Record(ctx, key)
	if err != nil {
		return fmt.Errorf("read the region's copy: %w", err)
	}
	records, err := c.load(ctx, d.Stream)
	if err != nil {
		return err
	}
	for _, kv := range records {
		if kv.Key != key {
			continue
		}
		want, _ := described(kv)
		here, ok := described(KV{Key: key, Value: value})
		if !ok {
			d.Fields = []FieldDifference{{Field: "the whole record", Here: quoted("damaged"), Source: want}}
			return nil
		}
		d.Fields, err = diff(here, want)
		d.Purged = purged(want) && !purged(here)
		return err
	}
	return nil // the source tells nothing of it now, and it cannot be said which: a repair will not believe that
}
