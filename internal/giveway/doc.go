// Package giveway lets look-ups go before the bulk work of the same process: reading a whole log for a replay, a
// whole copy for a comparison, all files of a generation that is opened.
//
// Go runs goroutines by turns, some ten milliseconds each, and asks the network for what has come between them. On
// two processors two bulk goroutines would have each look-up wait for such a turn, and yielding the processor does not
// help, since they stand in line again before the network is asked. So they sleep: as long as they worked, after each
// millisecond of it, and only in a process that answers look-ups at that time.
package giveway
