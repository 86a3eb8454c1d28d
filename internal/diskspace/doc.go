// Package diskspace keeps Badger from meeting a full disk.
//
// Badger does not return an error then: a page of a memory map that cannot be written is a
// SIGBUS, and the end of the process. So whoever has a database asks for room before each
// write ([Need]), and keeps what closing takes in a file that it gives up at the end
// ([Reserve]): a database that cannot be closed keeps its lock, its goroutines and its files
// until the process ends.
//
// Not guaranteed: that the room is still there a moment later. Others write to the same disk,
// which is why callers ask for more than they need. Where the kernel cannot be asked, there is
// always room.
package diskspace
