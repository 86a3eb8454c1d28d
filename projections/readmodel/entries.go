package readmodel

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/events"
)

// Claim is what one tenant's stream says last about a hostname: that it has it, or has let it go.
type Claim struct {
	Position uint64 // of the event that says so
	Held     bool
}

// Claims are what one tenant's stream says about hostnames. Those that it let go are kept as well: of two tenants'
// claims of one hostname the later decides, and it may be one of those.
type Claims map[events.Hostname]Claim

// Moved takes note of what the event at after.Position did to the tenant's hostnames, and returns
// the claims, made where there were none.
func (c Claims) Moved(before, after events.Tenant) Claims {
	for h, held := range moved(before, after) {
		if c == nil {
			c = make(Claims, 1)
		}
		c[h] = Claim{Position: after.Position, Held: held}
	}
	return c
}

// moved yields what an event did to the tenant's hostnames: which it gained, and which it lost.
func moved(before, after events.Tenant) func(yield func(h events.Hostname, held bool) bool) {
	return func(yield func(events.Hostname, bool) bool) {
		// All but attach, detach and purge leave the list as it was, and share it.
		if len(before.Hostnames) == len(after.Hostnames) {
			return
		}
		had := make(map[events.Hostname]struct{}, len(before.Hostnames))
		for _, h := range before.Hostnames {
			had[h] = struct{}{}
		}
		for _, h := range after.Hostnames {
			if _, ok := had[h]; ok {
				delete(had, h)
			} else if !yield(h, true) {
				return
			}
		}
		for h := range had {
			if !yield(h, false) {
				return
			}
		}
	}
}

// EntriesOfTenant are the records that a model has of a tenant: its own first, then those of its
// hostnames, in their order. A hostname that it let go has one without a tenant: what becomes of it is
// decided together with the other tenants' claims, by position. Of a tenant that does not exist
// there are only these.
//
// ErrUnencodable: the event that made it so is to be left out, and the stream to be in quarantine.
func EntriesOfTenant(t events.Tenant, claims Claims, quarantined bool) ([]KV, error) {
	kvs := make([]KV, 0, 1+len(claims))
	if t.Exists() {
		kv, err := entryOf(t, prefixTenant+t.ID.String(), quarantined, encodeTenant)
		if err != nil {
			return nil, err
		}
		kvs = append(kvs, kv)
	}
	if len(claims) == 0 {
		return kvs, nil
	}
	names := slices.SortedFunc(maps.Keys(claims), func(a, b events.Hostname) int { return strings.Compare(a.String(), b.String()) })
	for _, h := range names {
		c, holder := claims[h], events.TenantID{}
		if c.Held {
			holder = t.ID
		}
		kvs = append(kvs, KV{Key: prefixHostname + h.String(), Value: encodeClaim(c.Position, holder)})
	}
	return kvs, nil
}

// EntriesOfDatabase is the record that a model has of a database; none of one that does not exist.
func EntriesOfDatabase(d events.Database, quarantined bool) ([]KV, error) {
	if !d.Exists() {
		return nil, nil
	}
	kv, err := entryOf(d, prefixDatabase+d.ID.String(), quarantined, encodeDatabase)
	return []KV{kv}, err
}

// EntriesOfGroup is the record that a model has of a group; none of one that does not exist.
func EntriesOfGroup(g events.Group, quarantined bool) ([]KV, error) {
	if !g.Exists() {
		return nil, nil
	}
	kv, err := entryOf(g, prefixGroup+g.ID.String(), quarantined, encodeGroup)
	return []KV{kv}, err
}

func entryOf[S any](s S, key string, quarantined bool, encode func(S, bool) ([]byte, error)) (KV, error) {
	b, err := encode(s, quarantined)
	if err != nil {
		return KV{}, fmt.Errorf("%w: %s: %w", ErrUnencodable, key, err)
	}
	return KV{Key: key, Value: b}, nil
}

// Hostname is the hostname that a record is of, and at which position it was claimed or let go;
// false for a record of another kind, and for a damaged one.
func (kv KV) Hostname() (h events.Hostname, c Claim, ok bool) {
	name, ok := cutPrefix([]byte(kv.Key), prefixHostname)
	if !ok {
		return events.Hostname{}, Claim{}, false
	}
	h, err := events.ParseHostname(string(name))
	if err != nil || h.String() != string(name) {
		return events.Hostname{}, Claim{}, false
	}
	stored, err := parseClaim(kv.Value)
	if err != nil {
		return events.Hostname{}, Claim{}, false
	}
	return h, Claim{Position: stored.position, Held: len(stored.tenant) > 0}, true
}

func (kv KV) under(prefix string) bool { return strings.HasPrefix(kv.Key, prefix) }

// sortHostnames puts the entries of hostnames in their order, behind the stream's own record.
func sortHostnames(kvs []KV) {
	slices.SortFunc(kvs, func(a, b KV) int {
		if a.under(prefixHostname) != b.under(prefixHostname) {
			if b.under(prefixHostname) {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Key, b.Key)
	})
}
