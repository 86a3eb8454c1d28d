// Package postgres is the event store for many processes: [events.Store] on PostgreSQL 14 to 18,
// in one database, in its schema tenantry.
//
//	Append ─┐                  one goroutine a process
//	Append ─┼─▶ queue ─▶ take what waits ─▶ read what they ask for ─▶ decide each ─▶ store all ─▶ answer
//	Append ─┘            (in its order)     (one statement, one      (in Go; what is  (one statement,
//	                                         snapshot, no lock)       refused drops    one transaction)
//	                                               ▲                  out alone)          │
//	                                               └──── another process was faster ──────┘
//	Load, After, Streams, Recall ─▶ plain reads, through a pool of their own
//	Whole ─▶ one snapshot, several connections, COPY as the rows lie ─▶ ordered by stream here
//
// # What is guaranteed
//
// Positions have no hole, and commits are in their order: whoever stores a group first locks
// the one row of log_head, and keeps it until the commit is visible. So After is a plain range read.
//
// A group is decided on what was read without any lock. It is stored by one call of the function
// tenantry.append, which looks behind the lock on the head whether all that was read is still so; if
// not, nothing is stored, and the group is read and decided anew. So the outcome is as if one
// batch came after the other, of whichever process. Since all locks are taken behind the first, there
// is no deadlock; and since the call is one statement, which the server gets whole before it begins,
// and ends by itself, a process that is paused, killed or cut off in the middle holds no lock.
// That is why the head is not locked by the transaction that reads, nor by a transaction of
// several statements.
//
// What was answered is durable as far as the server keeps its word: synchronous_commit is put on
// for an append where it is off.
//
// The role that a server runs as cannot change the log, nor write to any table: it may call the
// functions, which are the owner's. [Migrate] grants that. Triggers refuse a change of the log to
// the owner as well.
//
// # What is not
//
// When the connection is lost while a group is stored, the appender asks on a new one whether it is:
// tenantry.settle waits for the call behind the lock on the head, or sees to it that it is refused
// when it comes, and looks for an event of the group. So the answer is the true one, if the server can be
// asked within Config.AnswerTimeout. If not, the error is [ErrUnknownOutcome], and only a retry with the
// same idempotency key is safe.
//
// A server that was restored to an earlier past does not know it. The relay finds out, and
// [Store.MintStoreID] gives the log a new identity.
//
// # On failure
//
// While the server is away, what needs it gets [events.ErrUnavailable]: at once where the
// connection is refused, else after Config.AnswerTimeout. A group that is being stored is waited
// for as long as a statement may take, while the server answers other questions. Wait goes on waiting. Nothing has to be
// restarted when the server is back.
//
// # Poolers
//
// No statement is prepared, and no session state is kept, so that pgbouncer in transaction mode may
// stand before the server; its limits on time are then kept by us alone. [Store.Lead] needs a session,
// and gets it from Config.LeadURL, which must lead to the server itself, as must the URL of [Migrate].
//
// # What is in the database
//
//	log_head          position, store_id, partition_size: one row
//	streams           stream ─▶ version, position, number of referrers
//	runs              stream, version ─▶ position, count: where a batch's events are
//	events            position ─▶ the event; partitioned by ranges of position
//	claims            hostname ─▶ stream
//	refs              stream, referrer
//	given_up          calls of append that must not be carried out any more
//	idempotency_keys  key ─▶ fingerprint, time of first use, what to answer
//	former_store_ids  store_id ─▶ until when, and where the log ended then
//	schema_versions   which migrations there were
//
//	runs   ten_acme 7 ─▶ 312, 7      ten_acme 9 ─▶ 4711, 2
//	                      │                         │
//	events  … 306 … 312 ◀─┘   …   4710, 4711 ◀──────┘
//
// A stream is loaded in two steps: its runs by their index, then the events by their positions, so
// that only the partitions are touched in which there are some. A partition is made by the
// appender when half of the one before is left; it may be detached and kept elsewhere only when
// nothing will be rebuilt from it any more.
package postgres
