// Package broker runs a Kafka-protocol broker inside this process, so that Tenantry works
// on one machine with nothing to install. It is franz-go's kfake with a data directory: a
// single node that speaks the real protocol (kcat and any Kafka client can talk to it), and
// keeps its topics, records and committed offsets over restarts.
//
// Guaranteed: what was acknowledged is there again after the process was killed. After the
// machine lost power the newest records may be missing (they are not synced one by one);
// the store has them, and relay and regions notice.
//
// Retention is enforced, by time and by size (retention.ms, retention.bytes; a week and no
// limit by default): every minute, and in the files as soon as a whole segment is out of
// use. What a batch takes in memory is about 80 bytes. A topic that gets one record per
// second and partition for ever should therefore have a retention of hours, not of weeks: 12
// partitions and 6 hours are 260,000 batches, 20 MB in memory and about 150 MB on disk. When
// a partition was emptied by retention, and the process is then killed, its offsets start
// from zero again.
//
// Not there: replication, compaction that deserves the name, transactions across restarts,
// access control. One goroutine serves all requests. It is not for production: there, use
// Apache Kafka.
package broker
