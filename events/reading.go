package events

import "context"

type readingKey struct{}

// WithReading has who reads a whole store, and first has to read all of its log, tell how much of that is done: how
// many events, of how many. It is called from one goroutine at a time. A source that reads as it folds tells nothing.
func WithReading(ctx context.Context, told func(done, total uint64)) context.Context {
	return context.WithValue(ctx, readingKey{}, told)
}

// Reading is what to tell, now and then, how much is read.
func Reading(ctx context.Context) func(done, total uint64) {
	if told, ok := ctx.Value(readingKey{}).(func(done, total uint64)); ok {
		return told
	}
	return func(uint64, uint64) {}
}
