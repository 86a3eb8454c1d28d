package storetest

import (
	"errors"
	"fmt"

	"github.com/tenantry/tenantry/events"
)

var appendAllContract = []contract{
	{"AppendsInThisOrder", func(f *fixture) {
		const n = 1000
		batches := make([]events.Batch, n)
		for i := range batches {
			batches[i] = batch(tenant(fmt.Sprintf("t%d", (i*7)%n)), 0, 1+i%3)
		}
		position := uint64(0)
		for i, r := range f.AppendAll(f.ctx(), batches) {
			if r.Err != nil {
				f.Fatalf("result %d: %v", i, r.Err)
			}
			position += uint64(len(batches[i].Events))
			if r.Outcome.Stream != batches[i].Stream || r.Outcome.Position != position {
				f.Fatalf("result %d: got %s at %d, want %s at %d", i, r.Outcome.Stream, r.Outcome.Position, batches[i].Stream, position)
			}
		}
		f.sound()
	}},
	{"ALaterBatchSeesWhatAnEarlierOneDid", func(f *fixture) {
		acme, other, db := tenant("acme"), tenant("other"), database("small")
		refer := referring(acme, 1, to(db, 1, 1))
		refer.Take, refer.Key = hosts("h"), key("k", 1)
		retire := batch(db, 1, 1)
		retire.Unreferred = true
		free := referring(acme, 2, nil, db)
		free.Release = hosts("h")
		steps := []struct {
			batch events.Batch
			want  error
		}{
			{batch(db, 0, 1), nil},
			{batch(acme, 0, 1), nil},
			{refer, nil},
			{batch(acme, 1, 1), events.ErrConflict},
			{taking(other, 0, hosts("h"), nil), events.ErrClaimed},
			{referring(other, 0, to(db, 1, 1)), events.ErrFull},
			{referring(other, 0, to(acme, 1, 0)), events.ErrConflict},
			{retire, events.ErrReferenced},
			{keyed(other, 0, 1, key("k", 2)), events.ErrKeyReused},
			{refer, nil}, // replayed
			{free, nil},
			{taking(other, 0, hosts("h"), nil), nil},
			{retire, nil},
		}
		batches := make([]events.Batch, len(steps))
		for i, s := range steps {
			batches[i] = s.batch
		}
		results := f.AppendAll(f.ctx(), batches)
		for i, r := range results {
			if !errors.Is(r.Err, steps[i].want) || (r.Err == nil) != (steps[i].want == nil) {
				f.Errorf("result %d: got error %v, want %v", i, r.Err, steps[i].want)
			}
		}
		f.sameOutcome(results[9].Outcome, results[2].Outcome)
		f.wantHolder(host("h"), other)
		if got := len(f.sound()); got != 6 {
			f.Errorf("events in the log: got %d, want 6", got)
		}
	}},
	{"AppendsEachOnItsOwn", func(f *fixture) {
		// One that is refused takes no other with it, and uses up no position.
		var batches []events.Batch
		for i := range 20 {
			batches = append(batches, batch(tenant(fmt.Sprintf("t%d", i/2)), 0, 2))
		}
		for i, r := range f.AppendAll(f.ctx(), batches) {
			if i%2 == 0 && r.Err != nil {
				f.Errorf("result %d: %v", i, r.Err)
			}
			if i%2 == 1 && !errors.Is(r.Err, events.ErrConflict) {
				f.Errorf("result %d: got %v, want a conflict", i, r.Err)
			}
		}
		if got := len(f.sound()); got != 20 {
			f.Errorf("events in the log: got %d, want 20", got)
		}
	}},
	{"HasOneResultABatch", func(f *fixture) {
		if got := f.AppendAll(f.ctx(), nil); len(got) != 0 {
			f.Errorf("results of no batch: got %d", len(got))
		}
		for _, n := range []int{1, 2, 700} {
			batches := make([]events.Batch, n)
			for i := range batches {
				batches[i] = batch(tenant(fmt.Sprintf("n%d-%d", n, i)), 0, 1)
			}
			if got := f.AppendAll(f.ctx(), batches); len(got) != n {
				f.Errorf("results of %d batches: got %d", n, len(got))
			}
		}
	}},
	{"TakesWhatIsTogetherFarLargerThanOneTransaction", func(f *fixture) {
		batches := make([]events.Batch, 24)
		for i := range batches {
			batches[i] = batch(tenant(fmt.Sprintf("t%d", i)), 0, 0)
			for j := range 8 {
				batches[i].Events = append(batches[i].Events, must(events.New(batches[i].Stream, uint64(j), events.Metadata{Time: epoch},
					events.ConfigSet{Key: "k", Value: []byte(`"` + long("v", 100<<10) + `"`)}))...)
			}
		}
		for i, r := range f.AppendAll(f.ctx(), batches) {
			if r.Err != nil {
				f.Fatalf("result %d: %v", i, r.Err)
			}
		}
		if got := len(f.sound()); got != 24*8 {
			f.Errorf("events in the log: got %d, want %d", got, 24*8)
		}
	}},
	{"KeepsEachCallersOrder_SixteenCallersOfManyAndOfOne", func(f *fixture) {
		race(writers, func(w int) {
			id := tenant(fmt.Sprintf("t%d", w))
			for round := range uint64(4) {
				if w%2 == 0 {
					for i := range uint64(10) {
						if _, err := f.Append(f.ctx(), batch(id, 10*round+i, 1)); err != nil {
							f.Errorf("append: %v", err)
						}
					}
					continue
				}
				batches := make([]events.Batch, 10)
				for i := range batches {
					batches[i] = batch(id, 10*round+uint64(i), 1)
				}
				for i, r := range f.AppendAll(f.ctx(), batches) {
					if r.Err != nil {
						f.Errorf("result %d: %v", i, r.Err)
					}
				}
			}
		})
		if got := len(f.sound()); got != writers*40 {
			f.Errorf("events in the log: got %d, want %d", got, writers*40)
		}
	}},
}
