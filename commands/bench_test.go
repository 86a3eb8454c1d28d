package commands

import (
	"context"
	"fmt"
	"testing"

	"github.com/tenantry/tenantry/events"
)

// importLines are tenants as a roster has them: four events each.
func importLines(n int, from int) []Command {
	lines := make([]Command, n)
	for i := range lines {
		c := register(ten(fmt.Sprintf("bench-%d", from+i)), fmt.Sprintf("bench-%d.example.com", from+i))
		c.Database = db("one")
		c.Products = map[string]events.Product{"jira": {Plan: "standard", Seats: new(int64(25))}}
		lines[i] = c
	}
	return lines
}

// empty takes everything at once, so that what is measured is deciding.
type empty struct{ events.Store }

func (empty) Load(_ context.Context, id events.StreamID, _ uint64) ([]events.Event, error) {
	if id.Kind() != events.KindDatabase {
		return nil, nil
	}
	return events.New(id, 0, events.Metadata{Time: began}, pg)
}

func (empty) AppendAll(_ context.Context, batches []events.Batch) []events.Result {
	return make([]events.Result, len(batches))
}

func BenchmarkImport(b *testing.B) {
	for _, bench := range []struct {
		name  string
		store func(b *testing.B) events.Store
	}{
		{"deciding", func(*testing.B) events.Store { return empty{} }},
		{"embedded", func(b *testing.B) events.Store { return openStore(b) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s := systemOn(b, bench.store(b))
			if bench.name == "embedded" {
				s.do(database(db("one"), 0))
			}
			const chunk = 1000
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				lines := importLines(chunk, n)
				b.StartTimer()
				for _, r := range s.ImportAll(b.Context(), events.Metadata{Actor: "bench"}, lines) {
					if r.Status != ImportCreated {
						b.Fatalf("%s: %v", r.Status, r.Err)
					}
				}
				n += chunk
			}
			b.ReportMetric(float64(4*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkImportAgain(b *testing.B) {
	s := newSystem(b)
	s.do(database(db("one"), 0))
	lines := importLines(1000, 0)
	s.ImportAll(b.Context(), events.Metadata{}, lines)
	n := 0
	for b.Loop() {
		for _, r := range s.ImportAll(b.Context(), events.Metadata{}, lines) {
			if r.Status != ImportUnchanged {
				b.Fatalf("%s: %v", r.Status, r.Err)
			}
		}
		n += len(lines)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
}

func BenchmarkDo(b *testing.B) {
	s := newSystem(b)
	s.do(register(acme, "a.example"))
	b.RunParallel(func(pb *testing.PB) {
		id := events.NewTenantID()
		if _, err := s.Do(b.Context(), Request{Command: register(id)}); err != nil {
			b.Error(err)
		}
		for i := 0; pb.Next(); i++ {
			if _, err := s.Do(b.Context(), Request{Command: SetConfig{id, "k", raw(fmt.Sprint(i))}}); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkSecretIn(b *testing.B) {
	for b.Loop() {
		if secretIn("Fundação Hermínio Ometto: Zürcher Hochschule, Abteilung 4") != "" {
			b.Fatal("a name is no secret")
		}
	}
}
