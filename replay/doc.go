// Package replay holds a region's copy against the source of truth, and makes it equal: all of it
// ([Rebuild]), or just what differs ([Verify], [Repair]). It goes around Kafka.
//
//	            source of truth
//	               │ all streams, at one moment
//	               ▼
//	replay ── fold ──▶ gen-0008.building ── read back, compare ──▶ gen-0008
//	  │                                                             │
//	  │ control.sock: look into, mend, adopt                        │ pointer moved
//	  ▼                                                             ▼
//	node  ◀── Kafka ── follows both until the new one has all ── look-ups turn to it
//
// A replay works on a [Region]: a node that runs, through the Unix socket in the region's directory
// ([Dial], [Serve]), or the directory itself while no node has it ([OpenStopped]). [Open] finds out
// which. Node and replay may start, stop and die in any order.
//
// # Guarantees
//
//   - A rebuild reads one moment of the source, writes beside the live generation, reads back what it has
//     written, and holds it against the sums of what it folded, before anything is turned to it.
//   - A generation that is half built, or was not verified, never becomes live: until then it has a name
//     that the pointer cannot have.
//   - Whatever fails, or kills the replay or the node, leaves the live generation serving. What is left over
//     then is removed by the next rebuild or the node's next start, which says so.
//   - A comparison is of one moment: the node's copy is held against the source as far as the
//     copy had come then, partition by partition. It stops neither side, and what is in order but on its
//     way is no difference. Where another generation becomes live meanwhile it begins anew, with that one.
//   - A comparison reads every entry of the copy. It names each stream that differs, and each
//     hostname that is answered wrongly, or would be when somebody gets it next.
//   - A repair changes what differs, and nothing else, and compares that again.
//   - A source that is empty, another store, of another past, or behind the copy is refused before anything
//     is changed; so is a rebuild that would take away or alter more of what the region has than it may. What it adds
//     does not count: a region that has lost most of its tenants gets them back without being asked twice.
//   - A node can start at any time: a replay that works on the directory of a stopped one gives way to it ([ErrGaveWay]).
//     What a node that starts has is not taken for nothing: it is waited for.
//   - One rebuild, repair or rollback of a region runs at a time; a second one says who is first.
//
// Not guaranteed: that differences are found which somebody made on purpose to have the same 64-bit sums.
//
// # Memory
//
// It grows with neither tenants nor differences: what the source says is kept on disk, some 150 octets
// a tenant, in a file without a name in the region's directory, until the comparison ends.
package replay
