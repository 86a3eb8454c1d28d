// Package broker runs a Kafka-protocol broker inside this process, so that Tenantry works
// on one machine with nothing to install. It is franz-go's kfake with a data directory: a
// single node that speaks the real protocol (kcat and any Kafka client can talk to it), and
// keeps its topics, records and committed offsets over restarts.
//
// Guaranteed: what was acknowledged is there again after the process was killed. After the
// machine lost power the newest records may be missing (they are not synced one by one);
// the store has them, and relay and regions notice.
//
// Retention is enforced, by time and by size, for topics that have retention.ms or
// retention.bytes set: every minute, and in files as soon as a whole segment is out of use.
//
// Not there: replication, compaction that deserves the name, transactions across restarts,
// access control. One goroutine serves all requests. It is not for production: there, use
// Apache Kafka.
package broker
