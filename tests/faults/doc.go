// Package faults holds the proof that no fault of processes, engines, network or disk loses,
// doubles or reorders a tenant's events. Its tests run what an operator would run, each part a
// process of its own, on real PostgreSQL and Apache Kafka, and break one thing after another while
// writers write and readers read.
//
//	writers ─▶ catalogue ×2 ─▶ PostgreSQL
//	               │ relay
//	               ▼
//	             Kafka ─▶ region eu-west ×2, us-east ×2 ◀─ readers
//
// Each command of a writer has an idempotency key and is sent again with it, to any catalogue, until
// it is answered. What it answered is kept, and at the end held against the log:
//
//   - the events that it answered are in the log at their positions, each once, and no others are;
//   - the log has no hole and no double, in positions, versions, IDs and holders of hostnames;
//   - the history is linearizable, for each stream's version and for each hostname's holder;
//   - every node's every document equals a fold of the log;
//   - while all went on, no node showed a version older than one that it had shown, and none that
//     was ready failed a look-up.
//
// The program is built with the tag crashpoints, so that a test can have it die at the worst
// moments (internal/crashpoint). `go test ./tests/faults` comes to each of them once; `make faults
// KILLS=1000` goes on until so many processes were killed, and prints what came of it. Moments and
// commands are drawn with a seed that is printed, and taken from TENANTRY_SEED; what the machine makes
// of them is its own.
package faults
