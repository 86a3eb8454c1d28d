// Package daemon wires the parts of Tenantry into what runs: the write side (Catalogue), a
// region's node (Region), and both in one process with nothing to install (Dev). The wiring
// is of types that are opened and closed, so that what tests run is what ships.
//
//	Dev ─┬─ broker.Broker        the embedded Kafka, or real brokers
//	     ├─ embedded.Store
//	     ├─ Catalogue ─┬─ commands.Handler ─ adminapi ─ HTTP
//	     │             └─ relay.Relay
//	     └─ Region …  ─┬─ projections.Projector
//	                   └─ queryapi ─ HTTP
//
// Open returns when everything listens; Close stops in the reverse order, waits for what is
// under way for a few seconds, and returns when nothing of it runs any more. What was
// acknowledged before is never lost by a Close, or by none.
package daemon
