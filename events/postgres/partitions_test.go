package postgres_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/postgres"
)

// partitioned opens a store whose log has partitions of that many positions.
func partitioned(t *testing.T, size int) (url string, s *postgres.Store) {
	t.Helper()
	url = database(t)
	exec(t, url, fmt.Sprintf(`UPDATE tenantry.log_head SET partition_size = %d`, size))
	return url, open(t, patient(url))
}

const countPartitions = `SELECT count(*)::text FROM pg_inherits WHERE inhparent = 'tenantry.events'::regclass`

func TestPartitions_AreMadeAheadOfNeedAndABatchMayBeLargerThanSome(t *testing.T) {
	url, s := partitioned(t, 7)
	if got := ask(t, url, countPartitions); got != "0" {
		t.Fatalf("partitions of an empty log: got %s", got)
	}
	var want []events.Event
	for i, n := range []int{1, 5, 1, 40, 2} {
		id := registration(t, uint64(i)).Stream
		payloads := make([]events.Payload, n)
		for j := range payloads {
			payloads[j] = events.TenantRenamed{Name: fmt.Sprint(j)}
		}
		list, err := events.New(id, 0, events.Metadata{}, payloads...)
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Append(t.Context(), events.Batch{Stream: id, Events: list})
		if err != nil {
			t.Fatalf("append %d events: %v", n, err)
		}
		for j := range list {
			list[j].Position = out.Events[j].Position
		}
		want = append(want, list...)
		room := ask(t, url, `SELECT (max((regexp_match(pg_get_expr(relpartbound, oid), 'TO \(''(\d+)''\)'))[1]::bigint) - 1 - `+
			`(SELECT position FROM tenantry.log_head))::text FROM pg_class WHERE relispartition AND relname LIKE 'events\_%' AND relkind = 'r'`)
		var left int
		if _, err := fmt.Sscan(room, &left); err != nil || left < 3 {
			t.Errorf("after %d events there is room for %s more (%v), want half a partition at least", len(want), room, err)
		}
	}
	got, err := s.After(t.Context(), 0, 1000)
	if err != nil || len(got) != len(want) {
		t.Fatalf("after: got %d events, %v, want %d", len(got), err, len(want))
	}
	for i := range got {
		if got[i].ID != want[i].ID || got[i].Position != want[i].Position {
			t.Errorf("event %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestPartitions_AnotherProcessHasFilledThem_MoreAreMade(t *testing.T) {
	url, slow := partitioned(t, 10)
	if _, err := slow.Append(t.Context(), registration(t, 0)); err != nil {
		t.Fatal(err)
	}
	fast := open(t, patient(url))
	for i := range uint64(19) {
		if _, err := fast.Append(t.Context(), registration(t, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	batch := registration(t, 99)
	if out, err := slow.Append(t.Context(), batch); err != nil || out.Position != 5+95+5 {
		t.Errorf("append: got position %d, %v, want 105", out.Position, err)
	}
}

// touched runs a statement as the store would, and names the partitions that its plan reads and
// how.
func touched(t *testing.T, conn *pgx.Conn, statement string, args ...any) (plan string, partitions []string) {
	t.Helper()
	rows, err := conn.Query(t.Context(), "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) "+statement, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	plan = strings.Join(lines, "\n")
	partitions = regexp.MustCompile(`\bevents_\d{15}\b`).FindAllString(plan, -1)
	slices.Sort(partitions)
	return plan, slices.Compact(partitions)
}

func TestPartitions_AHundredOfThem_AStreamIsAnIndexLookUpInThoseThatHoldIt(t *testing.T) {
	url, s := partitioned(t, 500)
	old := registration(t, 0)
	if _, err := s.Append(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	// 10,000 tenants of 5 events fill a hundred partitions; the first tenant has events in the first
	// and in the last.
	batches := make([]events.Batch, 9999)
	for i := range batches {
		batches[i] = registration(t, uint64(i)+1)
	}
	for _, r := range s.AppendAll(t.Context(), batches) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	list, err := events.New(old.Stream, 5, events.Metadata{}, events.TenantRenamed{Name: "anew"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Append(t.Context(), events.Batch{Stream: old.Stream, Expected: 5, Events: list})
	if err != nil {
		t.Fatal(err)
	}
	for i := range batches[:120] { // so that it is no small table either
		batches[i] = registration(t, uint64(i)+20_000)
	}
	for _, r := range s.AppendAll(t.Context(), batches[:120]) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if got := ask(t, url, countPartitions); got < "101" || len(got) != 3 {
		t.Fatalf("partitions: got %s, want 101 at least", got)
	}
	exec(t, url, `ANALYZE`)

	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for name, c := range map[string]struct {
		statement string
		args      []any
		want      []string
	}{
		"runs of a stream": {postgres.SelectRuns, []any{old.Stream.String(), 0, 100}, nil},
		"events of a stream": {
			postgres.SelectEventsAt, []any{[]int64{1, 2, 3, 4, 5, int64(out.Position)}},
			[]string{"events_000000000000001", "events_000000000050001"},
		},
		"events after a position": {postgres.SelectAfter, []any{700, 720}, []string{"events_000000000000501"}},
	} {
		plan, partitions := touched(t, conn, c.statement, c.args...)
		if !slices.Equal(partitions, c.want) {
			t.Errorf("%s: got partitions %v, want %v:\n%s", name, partitions, c.want, plan)
		}
		if strings.Contains(plan, "Seq Scan") || !strings.Contains(plan, "Index") {
			t.Errorf("%s: not an index look-up:\n%s", name, plan)
		}
	}
	stream, err := s.Load(t.Context(), old.Stream, 0)
	if err != nil || len(stream) != 6 || stream[5].Position != out.Position {
		t.Errorf("load: got %d events, %v", len(stream), err)
	}
}
