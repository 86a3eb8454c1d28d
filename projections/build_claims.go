package projections

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// contest decides whose a hostname is that several streams say something about.
//
// The store gives a hostname to one tenant at a time. So of streams that were folded to their ends only one
// holds it, and that is the end of the matter. A stream that was cut off or is in quarantine may still
// hold what it has let go since, and what another took after that: whoever folds the events one by one
// goes by their positions, and so must this. Claims of such streams are kept until all that others said
// later is known.
type contest struct {
	// beyond is the least cutoff. What contradicts a claim of a stream that was cut off lies behind it.
	beyond    uint64
	hostnames atomic.Uint64 // that are held

	mu     sync.Mutex
	kept   map[events.Hostname][]keptClaim
	latest map[events.Hostname]uint64 // the last position at which anything was said, as far as it matters
	all    bool                       // there is a claim of a stream in quarantine: everything matters to it
}

// keptClaim is a claim of a stream that was not folded to its end.
type keptClaim struct {
	stream   events.StreamID
	position uint64
	entry    readmodel.KV
}

// settled are the entries of a stream that are not contested; the others are kept.
func (c *contest) settled(f *foldedStream) []readmodel.KV {
	if f.id.Kind() != events.KindTenant {
		return f.entries
	}
	toEnd := !f.cut && f.quarantine == nil
	out := f.entries[:0]
	for _, kv := range f.entries {
		if !isHostname(kv) {
			out = append(out, kv)
			continue
		}
		h, claim, _ := kv.Hostname()
		if claim.Position > c.beyond || !toEnd {
			c.note(f, h, claim, kv, toEnd)
		}
		if toEnd && claim.Held {
			c.hostnames.Add(1)
			out = append(out, kv)
		}
	}
	return out
}

func isHostname(kv readmodel.KV) bool { return strings.HasPrefix(kv.Key, "h/") }

func (c *contest) note(f *foldedStream, h events.Hostname, claim readmodel.Claim, kv readmodel.KV, toEnd bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.latest == nil {
		c.latest, c.kept = make(map[events.Hostname]uint64), make(map[events.Hostname][]keptClaim)
	}
	c.latest[h] = max(c.latest[h], claim.Position)
	if !toEnd && claim.Held {
		c.kept[h] = append(c.kept[h], keptClaim{stream: f.id, position: claim.Position, entry: kv})
		c.all = c.all || f.quarantine != nil
	}
}

// needsAll tells whether every stream must be heard about the hostnames that are contested.
func (c *contest) needsAll() bool { return c.all }

// hear takes note of what a stream says about hostnames that are contested.
func (c *contest) hear(f *foldedStream) {
	if f.id.Kind() != events.KindTenant {
		return
	}
	for _, kv := range f.entries {
		if !isHostname(kv) {
			continue
		}
		h, claim, _ := kv.Hostname()
		c.mu.Lock()
		if _, contested := c.kept[h]; contested {
			c.latest[h] = max(c.latest[h], claim.Position)
		}
		c.mu.Unlock()
	}
}

// winners are the claims that were kept and that nothing later contradicts.
func (c *contest) winners() []keptClaim {
	var out []keptClaim
	for h, claims := range c.kept {
		for _, k := range claims {
			if k.position == c.latest[h] {
				out = append(out, k)
			}
		}
	}
	c.hostnames.Add(uint64(len(out)))
	return out
}
