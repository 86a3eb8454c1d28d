// Package embedded is the event store on one machine: [events.Store] on Badger, in one
// directory, in this process, with nothing to install.
//
//	Append ─┐                       one goroutine                     one fsync
//	Append ─┼─▶ queue ─▶ take what waits ─▶ decide each ─▶ one Badger transaction ─▶ answer all
//	Append ─┘            (in its order)     (a refused         and Wait wakes
//	                                        one drops out alone)
//	Load, After, Streams, Recall ─▶ the snapshot that the last answered commit left
//
// # What is guaranteed
//
// What was answered is on the disk: it survives kill -9, and a power cut as far as the disk
// keeps its word on fsync. What a refusal was answered for is not stored, and neither is half
// of a batch. Readers see only what is durable, and never wait for a commit.
//
// # What is not
//
// A directory that was spoiled is refused, with [ErrDamaged], where a table or the list of them is
// spoiled, or where the log has become shorter than it was when the store was last opened or
// closed. What was appended since then and is not in a table yet is in a log that Badger cuts
// at the first fault: a bit that a disk flips there is taken for a torn write.
//
// There is one process a directory; a second gets [ErrInUse]. There is no copy on another
// machine: back the directory up, or use the Postgres store.
//
// # On failure
//
// When the disk has less than Config.MinFree left, appends are refused with
// [events.ErrUnavailable] until there is room again: Badger writes through memory maps, and
// the answer of the kernel to a full disk is a signal that ends the process. What is needed to
// close the store is kept free beforehand, by a file RESERVE of that size (on Linux; elsewhere, and
// where the disk had no room for it, a store on a full disk stays locked until the process ends).
//
// When a commit fails, what the disk holds is no longer known: those who wait for it get
// [events.ErrUnknownOutcome]. The store then takes no more appends until it is opened anew, and goes on answering reads from what was durable before.
//
// # What is on the disk
//
// The file FORMAT says which layout the directory has; it is read before anything else, so
// that an older program refuses what a newer one wrote. The file HEAD says how far the log was
// when the store was last opened or closed, so that a log which has become shorter is not taken for
// whole. The rest is Badger's. Numbers in keys
// are 8 octets, big endian, so that keys sort as their numbers do; ∅ is a zero octet, which no
// ID, kind or hostname contains.
//
//	key                            value
//	m id                           the store's ID, 16 octets
//	m head                         position of the last event
//	e POSITION                     a run: events of one batch, one after the other
//	v KIND ∅ STREAM                version, position, number of referrers
//	h HOSTNAME                     the stream that holds it
//	r STREAM ∅ REFERRER            (empty)
//	k IDEMPOTENCY-KEY              fingerprint, time of first use, what to answer
//	t TIME IDEMPOTENCY-KEY         (empty): the keys in the order of their age
//
//	v tenant∅ten_acme ─▶ version 9, position 4711
//	                                          │
//	e 4711 ◀──────────────────────────────────┘
//	    [previous 312 │ version 8 … │ 4710 HostnameDetached, 4711 HostnameAttached]
//	              │
//	e 312 ◀───────┘
//	    [previous 0 │ version 1 … │ 306 TenantRegistered … 312 ConfigSet]
//
// A run holds the events of one batch, and once what they have in common. It stands under the
// position of its last event, so that a seek to position+1 finds the run that position+1 is
// in, and has at most 64 KiB unless it is one event. Each run says where the stream's run
// before it ends: a stream is loaded from its end, as far back as it must be. So an event is
// stored once, a batch costs two keys however many events it has, and nothing has to be searched.
package embedded
