package replay

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// Change is how one copy differs from another that takes its place, in streams (tenants, databases and
// groups) and in hostnames.
type Change struct {
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Removed int `json:"removed"`
	// Hostnames are answered with one tenant, and would be with another, or with none.
	Hostnames int `json:"hostnames"`
	// HostnamesAdded are answered with none, and would be with one.
	HostnamesAdded int `json:"hostnames_added"`
	// Newer are streams of which one of the two has later events: that is no change.
	Newer int `json:"newer"`

	Streams      int `json:"streams"` // that there are before, as all hostnames
	AllHostnames int `json:"all_hostnames"`
}

// Part is how much of what there is would be taken away or altered: of streams or of hostnames, whichever is
// more. It is 0 to 1. What is added does not count, however much: a copy that has lost most of what it
// had is just what is rebuilt, and a wrong source shows in what it does not have. For the same reason it is a
// part of what there is before, and not of what there would be: a wrong source may be a large one.
func (c Change) Part() float64 {
	part := func(n, of int) float64 { return float64(n) / float64(max(of, n, 1)) }
	return max(part(c.Changed+c.Removed, c.Streams), part(c.Hostnames, c.AllHostnames))
}

func (c Change) String() string {
	return fmt.Sprintf("remove %d and change %d of the %d tenants, databases and groups that the region has, and take away or move %d of its %d hostnames; it would add %d, and %d hostnames",
		c.Removed, c.Changed, c.Streams, c.Hostnames, c.AllHostnames, c.Added, c.HostnamesAdded)
}

// Change is what a rebuild would change, of which this is the comparison.
func (r *Report) Change() Change {
	c := r.change
	c.Streams = int(r.Streams) - c.Added + c.Removed
	c.AllHostnames = int(r.Entries) - c.Streams
	return c
}

// countTo adds what is wrong with a stream to what would change.
func (d *Difference) countTo(c *Change) {
	switch {
	case !d.record:
	case d.Kind == Missing:
		c.Added++
	case d.Kind == Extra:
		c.Removed++
	default:
		c.Changed++
	}
	for _, h := range d.Hostnames {
		switch {
		case h.unreadable || h.Here == d.Stream:
			c.Hostnames++
		case h.Here.IsZero():
			c.HostnamesAdded++
		} // else it is told of the other stream, too, and counted there
	}
	if !d.Stream.IsZero() {
		return // its keys that cannot be read are among these
	}
	for _, k := range d.Keys {
		if _, ok := hostnameOf(string(k)); ok {
			if !d.astray {
				c.Hostnames++
			}
		} else {
			c.Removed++
		}
	}
}

// changeOf compares a copy with the one that is to take its place, both in the order of their keys, at once:
// memory does not grow with either. The two need not have come as far as each other.
func changeOf(ctx context.Context, live, next Inspection) (Change, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &changing{
		live: live, next: next, from: live.Progress(), to: next.Progress(),
		comparable: live.Progress().StoreID == next.Progress().StoreID && len(live.Progress().Partitions) == len(next.Progress().Partitions),
		newer:      make(map[events.StreamID]bool),
	}
	a, b := pull(ctx, live), pull(ctx, next)
	err := c.merge(ctx, a, b)
	cancel()
	return c.change(), firstError(err, a.wait(), b.wait())
}

// firstError leaves out what the others ended for.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

type changing struct {
	live, next Inspection
	from, to   *readmodel.Progress
	comparable bool // the two are of one store
	newer      map[events.StreamID]bool

	found              Change
	streams, hostnames int // of the live one
}

func (c *changing) change() Change {
	c.found.Streams, c.found.AllHostnames = c.streams, c.hostnames
	return c.found
}

func (c *changing) merge(ctx context.Context, a, b *pulled) error {
	x, okX := a.next()
	y, okY := b.next()
	for okX || okY {
		switch {
		case !okY || okX && x.Key < y.Key:
			c.count(x)
			if err := c.note(ctx, &c.found.Removed, &c.found.Hostnames, x, Entry{}); err != nil {
				return err
			}
			x, okX = a.next()
		case !okX || y.Key < x.Key:
			if err := c.note(ctx, &c.found.Added, &c.found.HostnamesAdded, y, Entry{}); err != nil {
				return err
			}
			y, okY = b.next()
		default:
			c.count(x)
			if x.Digest != y.Digest {
				if err := c.note(ctx, &c.found.Changed, &c.found.Hostnames, x, y); err != nil {
					return err
				}
			}
			x, okX = a.next()
			y, okY = b.next()
		}
	}
	return nil
}

func (c *changing) count(e Entry) {
	if _, ok := hostnameOf(e.Key); ok {
		c.hostnames++
	} else {
		c.streams++
	}
}

// note counts a key that differs, as a stream's or a hostname's, unless it does because one of the two is further.
func (c *changing) note(ctx context.Context, stream, hostname *int, e, other Entry) error {
	_, isHostname := hostnameOf(e.Key)
	for _, id := range []events.StreamID{e.Stream, other.Stream} {
		if id.IsZero() {
			continue
		}
		newer, err := c.isNewer(ctx, id)
		if err != nil {
			return err
		}
		if newer {
			if !isHostname {
				c.found.Newer++
			}
			return nil
		}
	}
	if isHostname {
		*hostname++
	} else {
		*stream++
	}
	return nil
}

// maxNewer is how many answers of isNewer are kept.
const maxNewer = 100_000

// isNewer tells whether one of the two has events of a stream that the other has not come to.
func (c *changing) isNewer(ctx context.Context, id events.StreamID) (newer bool, err error) {
	if !c.comparable {
		return false, nil
	}
	if newer, ok := c.newer[id]; ok {
		return newer, nil
	}
	p := events.Partition(id.String(), len(c.to.Partitions))
	position, err := positionIn(ctx, c.next, id)
	if err != nil {
		return false, err
	}
	if newer = position > c.from.Partitions[p].Position; !newer {
		if position, err = positionIn(ctx, c.live, id); err != nil {
			return false, err
		}
		newer = position > c.to.Partitions[p].Position
	}
	if len(c.newer) >= maxNewer {
		clear(c.newer)
	}
	c.newer[id] = newer
	return newer, nil
}

// positionIn is that of the last event of a stream that a copy has; 0: none, or it cannot be read.
func positionIn(ctx context.Context, in Inspection, id events.StreamID) (uint64, error) {
	key := readmodel.RecordKey(id)
	value, err := in.Record(ctx, key)
	if err != nil || value == nil {
		return 0, err
	}
	var d struct {
		Position uint64         `json:"position"`
		Rest     jsontext.Value `json:",unknown"`
	}
	if err := json.Unmarshal(readmodel.Describe([]KV{{Key: key, Value: value}}), &d); err != nil {
		return 0, err
	}
	return d.Position, nil
}

// pulled are the entries of a copy as somebody takes them.
type pulled struct {
	batches chan []Entry
	batch   []Entry
	ended   chan struct{}
	err     error
}

const pullBatch = 1000

func pull(ctx context.Context, in Inspection) *pulled {
	p := &pulled{batches: make(chan []Entry, 4), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		defer close(p.batches)
		var all BucketSet
		for i := range all {
			all[i] = 0xff
		}
		batch := make([]Entry, 0, pullBatch)
		send := func() error {
			select {
			case p.batches <- batch:
				batch = make([]Entry, 0, pullBatch)
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		p.err = in.Entries(ctx, &all, func(e Entry) error {
			if batch = append(batch, e); len(batch) < pullBatch {
				return nil
			}
			return send()
		})
		if p.err == nil && len(batch) > 0 {
			p.err = send()
		}
	}()
	return p
}

func (p *pulled) next() (Entry, bool) {
	for len(p.batch) == 0 {
		batch, ok := <-p.batches
		if !ok {
			return Entry{}, false
		}
		p.batch = batch
	}
	e := p.batch[0]
	p.batch = p.batch[1:]
	return e, true
}

// wait is why it has ended, where that is a failure.
func (p *pulled) wait() error {
	<-p.ended
	return p.err
}
