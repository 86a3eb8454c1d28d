// Package storetest is the contract of [events.Store] as tests: each sentence of its comments,
// and of those of its errors, of Batch, Reference and Key, has a test whose name says it. A
// store is a Store when it passes [Run], and callers may rely on no more than that.
//
//	func TestStore_KeepsTheContract(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Data { … })
//	}
//
// Besides the sentences there are two tests that look for what no sentence names: random
// batches against a model in memory, one by one, and from many goroutines at once, where the answers
// must be explained by some order of the batches.
//
// Two sentences have no test here, since a test gives no verdict on time: that Wait returns
// at the latest 100 ms after an event is durable, and that it costs next to nothing while nothing
// happens. The benchmarks of each store measure them.
package storetest
