// Command roster writes examples/roster.ndjson: the tenants, databases and groups of Larkspur,
// a made-up company that sells Boards, Wiki, Desk and Forms to a thousand organisations.
//
//	words, one file a family of languages ──▶ company ──▶ lines in ID order ──▶ NDJSON
//
// Guaranteed: the same program writes the same bytes, on any machine and at any time; every
// line is a body that the import takes into an empty catalogue; hostnames are in their normal
// form, belong to one tenant each, and end in .example, which belongs to nobody (RFC 2606).
//
// The names are put together from dictionary words in 27 languages and ten scripts. A likeness
// to a real organisation is chance.
package main

//go:generate go run . ../../examples/roster.ndjson
