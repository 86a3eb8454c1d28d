// Package relay publishes the store's events to Kafka: a Relay reads the log by position and
// writes each event to the partition of its stream.
//
//	        look: last record of each partition, Head          (once a session)
//	          │
//	store ──After──▶ page ──route──▶ lane 0 ──Produce──▶ partition 0   e12 e15 e40 W41
//	  ▲                │    by       lane 1 ──Produce──▶ partition 1   e13 e14 W37 e41
//	  └─────Wait───────┘    stream   …      one batch in flight each
//	                        and, when due, a watermark W to each lane
//
// A session begins with a look at what the topic holds, since nothing but the topic itself
// knows what was stored in it before a crash: there is no checkpoint that could be older
// than the truth. A last record that is an event says how far its partition is; one that is
// a watermark says up to where it is complete. Reading begins behind the least of these, and
// each partition skips what it has.
//
// # What is guaranteed
//
//   - Each event of the store stands in its partition once, in the order of positions, and
//     its ce_previous names the event before it, however often relay, store and broker are
//     killed. (Once, with the exceptions below.)
//   - Never past a hole: after the first error nothing more is written, to no partition, until
//     a new session has looked at what was stored.
//   - A watermark {position, time} is true: at that time the log ended at that position or
//     before, and every event of the partition up to it stands before the watermark. A
//     partition that is behind gets one at most every 100 ms while events flow; every
//     partition gets one each second while nothing happens, and as soon as the relay has
//     caught up after its start.
//   - Two histories are never mixed. Where a partition's last record is of another store, or
//     beyond this store's end, or of another event than this store has at that position, Run
//     refuses with ErrForeignRecords. (A watermark's ID is derived from the event at its
//     position for this.) This also finds a store that was restored to an earlier past and
//     has grown since: that is ErrRestored. Once it has a new identity, and Config.Was knows
//     the one before, it is published whole behind the old records.
//   - Of several relays one publishes (Config.Lead). One that led before, and was paused or cut
//     off when it lost the lead, is shut out by Kafka from each partition that the new one has
//     written to, which is the first thing that it does (FencedKafkaTopic; see fence.go).
//
// # What is not
//
// Without fences (KafkaTopic, for a relay that is the only one; or a Kafka without transactional
// IDs) an event may stand in the topic twice when two relays write at the same time, for instance
// one that was paused and thought dead, or when a batch that a killed process had sent reaches
// the broker after its successor has looked. Each relay notices by the offsets that it gets, stops, and looks again, so that it is a
// batch or two and not a stream of them. And each relay's own records are without a hole
// behind what it found. So for every record, whoever wrote it, all events of the partition
// before it stand before it: a reader who skips the events at or below the last position that
// it has applied sees each event once, in order, with an unbroken chain. Regions read so.
//
// A broker that loses what it has acknowledged (an unclean leader election, a power cut of an
// unreplicated one) shows by its sequence numbers or offsets. The session then ends, and the
// next one publishes again what the last records show to be missing. Where a batch was stored
// behind the gap before it was noticed, the gap stays: a region finds the chain broken there,
// and reads what it lacks from the store.
//
// The topic holds what Kafka's retention leaves of it. A partition with no record at all is
// published anew from position 1: an empty topic gets the whole log, and a region that has it
// already skips it. A range that is lost in the middle is not noticed here, since the last record shows
// that all was published: regions notice, and for other readers there is Replay.
//
// # Publishing again
//
// Replay publishes events once more, between the batches of the session that leads and by its
// producer: so what was said of order and of fences holds for it, which no second writer
// could promise. Such an event carries ce_replayed, the position up to which the partition was complete
// before it, and is else as it was, its ce_previous included; who reads by positions skips it. Each
// batch ends with a watermark that repeats how far the partition is, since the next session goes by the
// last record; where a batch was cut short, it looks behind the events that were published again.
//
// # When something fails
//
//	what                                what the relay does
//	broker away, leader moves           the same batch is sent again, with the same sequence number, until it is
//	                                    answered or ctx ends; nothing is stored twice; Status: stalled
//	broker refuses a batch              session ends; new look, new producer, from 100 ms to 5 s later; Status: failing
//	store away                          the same
//	store replaced while running        the same; the new look refuses it
//	killed, at any point                the next start looks, and repeats nothing
//	ctx ends                            what is in flight has half a second to be answered; Run returns nil
//	last records of another history     Run returns ErrForeignRecords, and nothing was written
//	topic has other partitions          Run returns ErrPartitions, and nothing was written
//	topic deleted while running         makes it again (Config.MakeTopic), or waits until somebody does; what it holds then
//	                                    is as after a loss, see above; Status: stalled or failing
//	topic was emptied                   all is published again from position 1, where no relay wrote a watermark into it since;
//	                                    else it is as after retention, and Replay is what fills it
//	another writer in the topic         session ends; Status: failing; failures_total{cause="disturbed"}
//	lead lost                           session ends; it waits for the lead again; Status: standby
//	shut out by another relay           the same; failures_total{cause="lead"}
//	who leads cannot be found out       tried again, from 100 ms to 5 s later; failures_total{cause="lead"}
//
// Memory: what was read and is not yet acknowledged is bounded by 16 MiB and one page.
package relay
