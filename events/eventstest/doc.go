// Package eventstest makes events for property tests (pgregory.net/rapid): IDs, hostnames, names,
// payloads of every type, single events, and whole logs.
//
// What is guaranteed: a payload is one that a command could have decided on, within the limits
// that its schema states, and encodes and decodes to itself. A log is one that a store could hold:
// positions and versions have no hole, a hostname has one holder at a time, and no event
// contradicts the state that the events before it made.
//
// Values are drawn from small sets where collisions are what a test is after (hostnames, keys,
// products), and from large ones elsewhere.
package eventstest
