// Package events is the ground that both sides of Tenantry stand on: the events, their IDs
// and payloads, how they are encoded and folded, and the contract of the store that holds them.
//
//	command ──decide──▶ payloads ──New──▶ events ──Store.Append──▶ log
//	                                                                │ After
//	     Tenant, Database, Group ◀──Apply── Payload ◀──Codec── relay, projection, replay
//
// What is guaranteed: a payload that was ever released decodes for ever, as its current
// version; folding is a pure function of the stream, so every region that folded the same
// events holds the same tenant. An event that does not fit its stream is refused with an
// error and changes nothing; what to do then is the caller's to decide.
//
// The package does no I/O and starts no goroutine.
package events
