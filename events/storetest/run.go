package storetest

import (
	"context"
	"testing"

	"github.com/tenantry/tenantry/events"
)

// Store is an [events.Store] that can be read as a whole, and closed.
type Store interface {
	events.Store
	Whole(ctx context.Context) (events.Whole, error)
	Close() error
}

// Data is where one test's store keeps its data; it is empty at first.
type Data struct {
	// Open opens the store on the data as it is. It is not open then.
	Open func(ctx context.Context) (Store, error)
	// Kill ends an idle store as kill -9 does: nothing of it runs on, and what it had not made
	// durable is gone. A store that was killed is not closed.
	Kill func(s Store) error
	// NoKill is the reason why Kill is nil; the tests that need it are skipped with it.
	NoKill string
}

// Factory makes room for the data of one test, and cleans up after it.
type Factory func(t *testing.T) Data

// contract is a sentence and its proof.
type contract struct {
	sentence string
	proof    func(f *fixture)
}

// Run proves the whole contract for one implementation.
func Run(t *testing.T, factory Factory) {
	parts := []struct {
		name      string
		sentences []contract
	}{
		{"Append", appendContract},
		{"Refusals", refusalContract},
		{"Claims", claimContract},
		{"References", referenceContract},
		{"Keys", keyContract},
		{"DryRun", dryRunContract},
		{"AppendAll", appendAllContract},
		{"Reads", readContract},
		{"Log", logContract},
		{"Whole", wholeContract},
		{"Fidelity", fidelityContract},
		{"Lifetime", lifetimeContract},
		{"Model", modelContract},
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) {
			for _, c := range part.sentences {
				t.Run(c.sentence, func(t *testing.T) { c.proof(newFixture(t, factory)) })
			}
		})
	}
}
