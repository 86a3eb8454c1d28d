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
//     from the source, and the copy's sums are counted anew within a minute.
//   - A node that starts with nothing builds a whole generation from the source before it
//     serves; one that has a complete generation serves it, and says how old it may be.
//
// # Generations
//
// A generation has a follower, which keeps its model up to date. Two can run at once: [Projector.Adopt]
// lets one that was built elsewhere follow the topic beside the live one, until it has all that the
// live one has; the live one is then held at rest between two commits, the pointer on disk is moved, and
// look-ups turn.
//
//   - No look-up fails by it, and nobody sees a tenant's version, the position or the time at which the
//     copy was complete go back.
//   - Where it cannot be done the live generation stays as it was, and the other is removed. A kill at any
//     moment leaves a pointer to a generation that is whole, and that had all that was answered.
//   - The generation before stays on disk, for [Projector.Rollback] and for a start that cannot use the
//     live one. What the node builds by itself replaces one that is wrong, which is removed.
//
// A start counts as in vain unless the node settles: the generation's position has moved on, or the node was ready and
// has committed something since or served for [Config.Settle], or it was stopped in order. After three in vain the
// generation is taken for the reason and is not opened again.
//
// [Projector.Repair] folds single streams of the live model anew from the source, while look-ups and the topic go
// on. A history that ends before what the copy has of it, as the source's log says, is not believed, and the stream is left as it
// is. Where [Config.Compare] is given the node holds its whole copy against the source every
// [Config.VerifyEvery], tells how that went ([Projector.Verified]), and with [Config.Heal] mends what differs.
//
// Not guaranteed: that nothing goes back when the node takes up another history, since the store was
// restored, or across a power cut, which may cost what was not synced.
//
// # Readiness
//
// A node is ready once it has applied all that the store held when it was first asked. A node
// that has a complete copy and gets no further for [Config.Patience], because the source, Kafka
// or both are away, is ready with what it has: each answer says how old that may be. Once ready
// it stays so. A node without a complete copy is not ready, whatever happens.
//
// Nor is one whose copy is known to be of another store than the source, or the topic: it would answer with another environment's
// tenants, or grow old for ever. Only a region that has served that store before ([Config.Served]) goes on with it.
//
// # On failure
//
//	Kafka lost something   read the log once from where this copy is complete, for all partitions
//	Kafka is away          wait, serve on; the staleness grows
//	the source is away     serve on; a gap or a bootstrap waits for it
//	the offset is gone     find the offset by position, heal what lies between from the source
//	another store identity a new generation from the source, beside the one that serves
//	the generation is bad  the one before, or a new one from the source where there is none
//	the disk fails         the update fails as a whole, is tried again, and is logged
package projections
