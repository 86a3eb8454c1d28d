package postgres

// What the tests of plans ask the server to explain.
const (
	SelectRuns     = selectRuns
	SelectEventsAt = selectEventsAt
	SelectAfter    = selectAfter
)
