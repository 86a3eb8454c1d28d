package readmodel

import (
	"hash/maphash"
	"strings"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
)

// cache keeps whole documents of the hostnames that are asked for most. It is kept true by
// stamps, not by deletion, because a reader of an older snapshot could put its document in
// after the deletion: each key hashes to a slot, the writer moves the slot on after each
// commit that touches the key, and a document is good only while its slot is where it was
// when its reader began. A change of a database or group moves the one slot on that all
// documents depend on.
type cache struct {
	docs  *otter.Cache[string, cached]
	seed  maphash.Seed
	all   atomic.Uint64
	slots [4096]atomic.Uint64
}

type stamp struct{ all, slot uint64 }

type cached struct {
	doc   *Document
	stamp stamp
}

func newCache(bytes int64) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	c.docs = otter.Must(&otter.Options[string, cached]{
		MaximumWeight: uint64(bytes),
		Weigher: func(key string, v cached) uint32 {
			// 200: the entry's own structures, roughly.
			return uint32(len(key)+len(v.doc.Body)) + 200
		},
	})
	return c
}

func (c *cache) slot(key string) *atomic.Uint64 {
	return &c.slots[maphash.String(c.seed, key)%uint64(len(c.slots))]
}

// get returns the document, or nil and the stamp to put one with. The stamp is read before
// the caller opens its snapshot, so it is never newer than that.
func (c *cache) get(key string) (*Document, stamp) {
	now := stamp{all: c.all.Load(), slot: c.slot(key).Load()}
	if v, ok := c.docs.GetIfPresent(key); ok && v.stamp == now {
		return v.doc, now
	}
	return nil, now
}

// put clones the key, which may be a part of a request that is much longer than it.
func (c *cache) put(key string, doc *Document, s stamp) {
	c.docs.Set(strings.Clone(key), cached{doc, s})
}

// invalidate is called after the commit, with every hostname and tenant ID it touched.
func (c *cache) invalidate(keys map[string]struct{}, all bool) {
	if all {
		c.all.Add(1)
	}
	for k := range keys {
		c.slot(k).Add(1)
	}
}

func (c *cache) close() { c.docs.StopAllGoroutines() }
