// Package testservers finds, installs and starts the servers that tests need: Apache Kafka and
// PostgreSQL. It is the one place for that.
//
//	Kafka(tb)        an address of a Kafka that all tests of a run share
//	NewKafka(tb, …)  a cluster of the test's own, of nodes that it may kill, stop and pause
//	KafkaTools(tb)   Kafka's own programs, such as its console consumer
//
// What is shared is started once: by internal/testservers/run for a whole `go test ./...`, which
// hands its address on in TENANTRY_TEST_KAFKA, and else by the first test of a process that asks
// for it. It is a fresh one every time, so tests name their topics and groups uniquely, and leave
// the broker's settings alone.
//
// Servers listen on loopback, on ports that were free, and keep their data in a directory of their
// own. They end with the process that started them, however that ends, also by kill -9: a shared
// one is watched by a shell that sees our end of a pipe close, a test's own are killed by the
// kernel. Only the second kind leaves its directory behind then, as every killed test does.
//
// What is not on the machine is fetched once, under a lock that all processes heed: the jars by
// Maven into .cache/ of the repository, Java and Maven by apt-get where we are root on a Debian.
// Where a server cannot be had the test is skipped, with the reason; with REQUIRE_SERVICES=1 it
// fails.
//
// Ports are taken from below the range that the kernel gives to outgoing connections. Within it, a
// client that tries to reach a stopped server again and again meets itself in the end: TCP
// connects a socket to its own port.
package testservers
