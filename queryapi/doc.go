// Package queryapi answers look-ups over HTTP from a region's read model, and from nothing else.
//
//	             ┌─ stamp: position, staleness ─┐
//	request ─────┤   read before the look-up    ├──▶ look up ──▶ the document's bytes, as stored
//	             └─ await, if a write is asked ─┘       │
//	                 for: wakes on each commit          └─▶ or a problem
//
// # Guarantees
//
// No answer needs anything but the local copy: a look-up is the same while every other process
// is away, and Tenantry-Staleness says how old the copy may be. A document is at least as new
// as the Tenantry-Position that comes with it, since that is read first; so are all documents
// of a batch, which is not one snapshot. A tenant in quarantine is answered as it was last
// understood, with Tenantry-Quarantined: true.
//
// A request that asks for a write (at_least, min_position, min_version) is answered from a copy
// that has it, or with a problem: 504 not-yet-visible when the time it gave is over. A token of
// another store's history can never become visible and is refused at once, by 409
// token-of-another-store. While the tenant is unknown, min_version waits; at_least and
// min_position do not, since an unknown hostname is an answer too.
//
// A request for what the copy does not have yet, because it is still being built, is answered
// 503 not-ready. Which hostname or tenant is asked for is never a reason for 5xx, save for a
// damaged record.
//
// A query parameter that a route under /v1 does not have is refused by 400 bad-request, so that a
// misspelled at_least cannot pass for one. X-Request-Id is echoed; a problem gets one made up where
// the request has none, by which it is found in the log.
//
// # Cost
//
// A look-up is one read of a cache and formats nothing. [API.Front] answers the plainest ones,
// which nearly all are, without net/http; see there for what that saves.
//
// # Not guaranteed
//
// Two answers of one node may be of two generations, the later one being at least as far.
package queryapi
