// Package truth holds what Tenantry answers against the log: it reads the whole log of a
// catalogue, folds it by nothing but the folds of package events, and compares what the nodes of
// regions serve with that.
//
//	GET /v1/events ─▶ Fold: no hole, no double, one holder a hostname ─▶ Log ─┐
//	                                                                          ├─▶ CheckRegion: what differs
//	look-ups of every hostname and tenant, at a node ─────────────────────────┘
//
// It knows nothing of how the servers that it asks were started.
package truth
