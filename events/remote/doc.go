// Package remote reads the log of a catalogue over HTTP: what a region reads the truth from where
// it cannot, or should not, reach the store itself.
//
//	region ── GET /v1/events?after=… ──▶ catalogue ──▶ store
//	          GET /v1/tenants/{id}/events, and of databases and groups
//
// It uses the published contract only (schemas/admin.openapi.yaml), so that it can read any
// catalogue, older or newer.
//
// # Guarantees
//
//   - What it returns is a piece of one log: positions follow one another without a hole, and a
//     stream's versions as well. An answer of which that is not true is an error, and nothing of
//     it is returned.
//   - An answer that breaks off is as good as far as it came: [Log.After] returns what was whole,
//     and [Log.Read] goes on from there.
//   - Memory does not grow with the log, only with the limit that the caller gives. [Log.Whole]
//     sorts the log in a file.
//   - A catalogue that is away, or that answers 429 or 503, is asked again a few times, after a
//     while that grows; then it is an error. Callers that can wait longer ask again.
//   - No answer is waited for without end: a catalogue that is silent for [Config.Silence] is away.
//
// Not guaranteed: that two calls see the same history. A store that was restored has another
// identity in [Log.Head]; ask for it before and after what has to belong together.
//
// A stream is read by itself. An older catalogue has no such request for databases and groups:
// [Log.Load] goes through the whole log for these then, which happens only where a region has lost part of
// one, or has one in quarantine.
package remote
