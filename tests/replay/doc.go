// Package replay holds package replay, and the program's `tenantry replay`, to what they promise
// to somebody who has lost something: whatever was damaged is named, and nothing else; what was mended or
// built anew answers as the log does; and while that goes on, and whatever is killed meanwhile, nobody is
// answered wrongly.
//
//	damage    copies of a region's directory, spoiled at random: records through Badger, files octet by
//	          octet. What the round did says what has to be named; the log says what has to be answered.
//	load      regions built anew in turn, under commands and look-ups, by the program as users get it.
//	kills     the replay and the node killed at random, and at the worst moments (internal/crashpoint).
//
// `go test ./tests/replay` runs a few rounds of each. TENANTRY_ROUNDS, TENANTRY_REBUILDS and TENANTRY_KILLS
// set how many; a round that fails prints its seed, and TENANTRY_SEED begins with that one.
package replay
