package storetest

import (
	"errors"

	"github.com/tenantry/tenantry/events"
)

var dryRunContract = []contract{
	{"AppendsNothing", func(f *fixture) {
		f.create(database("main"), 1)
		b := keyed(tenant("acme"), 0, 3, key("k", 1))
		b.Take = hosts("a")
		b.Refer = to(database("main"), 1, 0)
		b.DryRun = true
		f.append(b)
		if got := f.head().Position; got != 1 {
			f.Errorf("head: got %d, want 1", got)
		}
		if got := f.load(b.Stream, 0); len(got) != 0 {
			f.Errorf("got %d events", len(got))
		}
		f.wantReferences(database("main"), 0)
		f.wantKey(*b.Key, false)
		// The hostname is free for another, and no position was used up.
		out := f.append(taking(tenant("other"), 0, hosts("a"), nil))
		if out.Position != 2 {
			f.Errorf("position after a dry run: got %d, want 2", out.Position)
		}
	}},
	{"SaysWhatWouldBecomeOfTheBatchWithPositionsOfZero", func(f *fixture) {
		f.create(tenant("acme"), 1)
		b := batch(tenant("acme"), 1, 2)
		b.DryRun = true
		out := f.append(b)
		if out.Stream != b.Stream || out.Version != 3 || out.Position != 0 || out.Replayed || len(out.Events) != 2 {
			f.Errorf("outcome: got %+v", out)
		}
		for i, e := range out.Events {
			if e.Position != 0 || e.Version != uint64(i)+2 || e.Type != events.TypeTenantRenamed {
				f.Errorf("event %d of the outcome: got %+v", i, e)
			}
		}
		b.DryRun = false
		f.append(b)
	}},
	{"DoesAllTheChecks", func(f *fixture) {
		for _, r := range f.refusals() {
			done := f.refusedWith(r.batch, r.want)
			r.batch.DryRun = true
			tried := f.refusedWith(r.batch, r.want)
			if done.Error() != tried.Error() {
				f.Errorf("%s: a dry run says %q, the real one %q", r.name, tried, done)
			}
		}
	}},
	{"OfAKnownKeyReturnsTheFirstOutcome", func(f *fixture) {
		b := keyed(tenant("acme"), 0, 2, key("k", 1))
		first := f.append(b)
		b.DryRun = true
		f.replayed(b, first)
	}},
	{"IsNotSeenByLaterBatches", func(f *fixture) {
		first, second := taking(tenant("a"), 0, hosts("h"), nil), taking(tenant("b"), 0, hosts("h"), nil)
		first.DryRun = true
		for i, r := range f.AppendAll(f.ctx(), []events.Batch{first, second, first}) {
			if wantErr := i == 2; wantErr != errors.Is(r.Err, events.ErrClaimed) {
				f.Errorf("result %d: got %+v", i, r)
			}
		}
		f.wantHolder(host("h"), tenant("b"))
	}},
}
