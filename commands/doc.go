// Package commands turns intent into events: one plain struct and one pure decide method per
// command, and a [Handler] that loads, decides and appends.
//
//	Command ──check──▶ faults in the input          Refusal Invalid, nothing was read
//	   │
//	   ▼            ┌──────────── ErrConflict: again, a few times, after a little while
//	Store.Load ──▶ decide ──▶ payloads ──events.New──▶ events ──▶ Store.Append
//	   ▲             (state, facts)                      │ fold onto the state
//	   └ the stream, and the database and                └─▶ effects: before against after
//	     group that the command refers to
//
// What is guaranteed: a command is decided against a state that is still the newest when its
// events are appended. The databases and groups it refers to are also still as they were
// decided upon. Hostnames taken and released and references gained and lost are derived from
// the fold of the very events that are appended, so claims cannot disagree with the fold.
// What is refused is a [*Refusal] that says what to do, and appends nothing. A command that
// changes nothing appends nothing.
//
// What is not: commands on two streams are two appends. No goroutine is started. Between two
// calls the folds of long streams are kept, up to a size, and each is held against the store
// before it is used.
//
// On failure: an error that is no Refusal comes from the store. After [events.ErrUnavailable]
// nothing is stored and the caller may send the command again. After any other, only a
// command with an idempotency key may safely be sent again.
package commands
