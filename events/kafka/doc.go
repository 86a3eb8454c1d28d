// Package kafka carries Tenantry's records to and from Apache Kafka: a Cluster (one
// connection pool, topics, offsets, reading), an idempotent Producer, and a Watermill
// Publisher and Subscriber on top of them.
//
//	relay --Producer--> topic, partition = Murmur2(key) --Subscriber--> projector
//
// It stands on the Client of segmentio/kafka-go and not on that library's Reader and
// Writer: the Reader skips records below the log start without an error, the Writer goes
// on after a failed batch and so leaves a hole, and both repeat or block where we need to
// know what happened.
//
// Guaranteed:
//   - A record is read in the order of its offsets within a partition, none is skipped
//     silently: an offset that the log no longer holds is ErrOffsetOutOfRange.
//   - A Producer never stores past a hole, and a batch that it repeats (the answer was
//     lost, the leader moved) is not stored twice.
//   - Lost connections, a restarted broker and a new leader are waited out, with fresh
//     metadata, until the caller's context ends. A broker that hangs counts as lost after 5 s,
//     and is left alone for 3 s while there are others.
//   - A fenced Producer shuts out those before it of the same name (NewFencedProducer).
//   - Certificates and password files are read again when they change. A login or certificate
//     that is refused is ErrLogin or ErrTLS, whose text says what to set; no password is in it.
//   - Whoever closes a Subscriber or a Cluster waits for all its goroutines.
//
// Not guaranteed: exactly-once delivery. A Subscriber delivers again what was not
// acknowledged; a consumer that keeps its own offsets (the projector) makes that exactly
// once in effect.
//
// Topics must not be compacted: kafka-go hangs on the holes, and the relay's chain of
// positions needs every record. EnsureTopic refuses such a topic.
package kafka
