// Package projections keeps a region's read model up to date: it reads the topic, folds each
// event into its tenant, database or group, and stores the result together with how far it
// has read.
//
//	         bootstrap, gaps, quarantine retries
//	source ───────────────────────────────┐
//	                                      ▼
//	Kafka ─▶ Watermill subscriber ─▶ Projector ─Update─▶ readmodel.Model ─▶ look-ups
//	         all partitions,          parse, check         documents and
//	         offsets of our own       the chain, fold      checkpoint in one commit
//
// # Guarantees
//
//   - Each event is folded once, in the order of its stream, whatever is delivered twice or
//     killed: the offset to go on from is committed with the documents.
//   - A lost event is noticed, by the chain of positions within the partition or by a hole in
//     the stream's versions, and read from the source of truth before anything behind it
//     in that partition is folded.
//   - An event that cannot be folded, or whose outcome cannot be stored, stops its own stream and
//     no other. What was folded before is served on, flagged, and the stream is tried again at the
//     next start. A database or group in quarantine flags all its tenants, also where nothing of
//     it was ever folded.
//   - A record whose headers cannot be read tells nothing but its key. It is passed over and
//     counted; the event that was lost with it shows in the chain, and is read from the source.
//   - A record of this copy that turns out to be damaged when an event comes for it is folded anew
//     from the source.
//   - A node that starts with nothing builds a whole generation from the source before it
//     serves; one that has a complete generation serves it, and says how old it may be.
//
// # Readiness
//
// A node is ready once it has applied all that the store held when it was first asked. A node
// that has a complete copy and gets no further for [Config.Patience], because the source, Kafka
// or both are away, is ready with what it has: each answer says how old that may be. Once ready
// it stays so. A node without a complete copy is not ready, whatever happens.
//
// # On failure
//
//	Kafka lost something   read the log once from where this copy is complete, for all partitions
//	Kafka is away          wait, serve on; the staleness grows
//	the source is away     serve on; a gap or a bootstrap waits for it
//	the offset is gone     find the offset by position, heal what lies between from the source
//	another store identity a new generation from the source, beside the one that serves
//	the disk fails         the update fails as a whole, is tried again, and is logged
package projections
