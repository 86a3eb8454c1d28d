// Package adminapi is the admin REST API: it parses a request into a command, has it carried out,
// and writes what became of it. What may be done is for package commands to decide.
//
//	request ──parse──▶ commands.Command ──Commands.Do──▶ answer, or refusal ──problemOf──▶ problem
//
// What is guaranteed: a command that is answered 2xx is durable; one that is answered 4xx changed
// nothing, and says in a sentence what to do. After 503 nothing was changed either; after 500 that is
// not known, and a retry with the same Idempotency-Key is safe. Every refusal, also of paths and
// methods, is application/problem+json, by the one table in problems.go. What is not known
// (a member, a parameter) is refused, so that nothing is silently not done.
//
// A body without a Content-Type is taken for what the route wants; one with another type is
// answered 415.
//
// The log, an export and an import stream, in constant memory. An answer that breaks off in
// the middle ends with a broken connection, never as if it were whole. Lines of an import that
// were answered are durable, whatever happens then.
//
// The handler starts no goroutine but those of an import, which end with it.
package adminapi
