package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tenantry/tenantry/events"
)

// taking is a batch of one event that takes and releases.
func taking(id events.StreamID, version uint64, take, release []events.Hostname) events.Batch {
	b := batch(id, version, 1)
	b.Take, b.Release = take, release
	return b
}

var claimContract = []contract{
	{"TakesHostnamesInTheSameTransaction", func(f *fixture) {
		f.append(taking(tenant("acme"), 0, hosts("a", "b"), nil))
		f.wantHolder(host("a"), tenant("acme"))
		f.wantHolder(host("b"), tenant("acme"))
		f.wantHolder(host("c"), events.StreamID{})
	}},
	{"ReleasesHostnamesInTheSameTransaction", func(f *fixture) {
		f.append(taking(tenant("acme"), 0, hosts("a", "b"), nil))
		f.append(taking(tenant("acme"), 1, nil, hosts("a")))
		f.wantHolder(host("a"), events.StreamID{})
		f.wantHolder(host("b"), tenant("acme"))
	}},
	{"TheErrorNamesHostnameAndHolder", func(f *fixture) {
		f.append(taking(tenant("acme"), 0, hosts("a", "b"), nil))
		err := f.refusedWith(taking(tenant("other"), 0, hosts("free", "b", "a"), nil), events.ErrClaimed)
		var claimed *events.ClaimedError
		if !errors.As(err, &claimed) {
			f.Fatalf("got %T, want a *events.ClaimedError", err)
		}
		if claimed.Hostname != host("b") || claimed.Holder != tenant("acme") {
			f.Errorf("got %+v, want the first hostname that is held, b.example, and its holder ten_acme", *claimed)
		}
	}},
	{"ARetryIsRefusedUntilTheHolderLetsItGo", func(f *fixture) {
		f.append(taking(tenant("acme"), 0, hosts("a"), nil))
		wanted := taking(tenant("other"), 0, hosts("a"), nil)
		f.refused(wanted, events.ErrClaimed)
		f.refused(wanted, events.ErrClaimed)
		f.append(taking(tenant("acme"), 1, nil, hosts("a")))
		f.append(wanted)
		f.wantHolder(host("a"), tenant("other"))
	}},
	{"ReleasingWhatAnotherHoldsIsAnError", func(f *fixture) {
		f.append(taking(tenant("acme"), 0, hosts("a"), nil))
		f.append(taking(tenant("other"), 0, hosts("b"), nil))
		f.refused(taking(tenant("other"), 1, nil, hosts("b", "a")), nil)
		f.wantHolder(host("b"), tenant("other"))
	}},
	{"ReleasingWhatNoOneHoldsIsAnError", func(f *fixture) {
		f.append(taking(tenant("acme"), 0, hosts("a"), nil))
		f.refused(taking(tenant("acme"), 1, nil, hosts("a", "b")), nil)
		f.refused(taking(tenant("acme"), 1, nil, hosts("a", "a")), nil) // not twice
		f.append(taking(tenant("acme"), 1, nil, hosts("a")))
		f.refused(taking(tenant("acme"), 2, nil, hosts("a")), nil) // nor once more
	}},
	{"OneThatTheHolderReleasesMayBeTakenAgainInTheSameBatch", func(f *fixture) {
		f.append(taking(tenant("acme"), 0, hosts("a", "b"), nil))
		f.append(taking(tenant("acme"), 1, hosts("a", "c"), hosts("a", "b")))
		f.wantHolder(host("a"), tenant("acme"))
		f.wantHolder(host("b"), events.StreamID{})
		f.wantHolder(host("c"), tenant("acme"))
	}},
	{"TakingWhatTheStreamHoldsItselfIsNoRefusal", func(f *fixture) {
		f.append(taking(tenant("acme"), 0, hosts("a"), nil))
		f.append(taking(tenant("acme"), 1, hosts("a", "a"), nil))
		f.wantHolder(host("a"), tenant("acme"))
		f.append(taking(tenant("acme"), 2, nil, hosts("a"))) // it is held once
		f.wantHolder(host("a"), events.StreamID{})
	}},
	{"OneOfSixteenWhoRaceForAHostnameGetsIt", func(f *fixture) {
		for round := range 25 {
			h := host(fmt.Sprintf("prize-%d", round))
			id := func(w int) events.StreamID { return tenant(fmt.Sprintf("r%d-%d", round, w)) }
			var winner atomic.Int64
			winner.Store(-1)
			race(writers, func(w int) {
				_, err := f.Append(f.ctx(), taking(id(w), 0, []events.Hostname{h}, nil))
				switch {
				case err == nil:
					if other := winner.Swap(int64(w)); other != -1 {
						f.Errorf("%s: both %s and %s got it", h, id(w), id(int(other)))
					}
				case !errors.Is(err, events.ErrClaimed):
					f.Errorf("take %s: %v", h, err)
				}
			})
			won := winner.Load()
			if won < 0 {
				f.Fatalf("%s: no one got it", h)
			}
			f.wantHolder(h, id(int(won)))
		}
		if got := len(f.sound()); got != 25 {
			f.Errorf("events in the log: got %d, want one a round", got)
		}
	}},
	{"AHostnameHasOneHolderAtATime_SixteenWritersTakingAndReleasing", func(f *fixture) {
		// Each takes what is free, and releases what it holds; the log must tell of one holder
		// at a time at each position.
		names := hosts("a", "b", "c")
		race(writers, func(w int) {
			id, version := tenant(fmt.Sprintf("t%d", w)), uint64(0)
			for i := range 20 {
				h := names[(w+i)%len(names)]
				take := events.Batch{Stream: id, Expected: version, Take: []events.Hostname{h}}
				take.Events = must(events.New(id, version, events.Metadata{Time: epoch}, events.HostnameAttached{Hostname: h}))
				switch _, err := f.Append(f.ctx(), take); {
				case errors.Is(err, events.ErrClaimed):
					continue
				case err != nil:
					f.Errorf("take %s: %v", h, err)
					return
				}
				version++
				free := events.Batch{Stream: id, Expected: version, Release: []events.Hostname{h}}
				free.Events = must(events.New(id, version, events.Metadata{Time: epoch}, events.HostnameDetached{Hostname: h}))
				if _, err := f.Append(f.ctx(), free); err != nil {
					f.Errorf("release %s: %v", h, err)
					return
				}
				version++
			}
		})
		holders := make(map[events.Hostname]events.StreamID)
		for _, e := range f.sound() {
			switch p := must(e.Payload()).(type) {
			case events.HostnameAttached:
				if other := holders[p.Hostname]; !other.IsZero() {
					f.Errorf("position %d: %s takes %s, which %s holds", e.Position, e.Stream, p.Hostname, other)
				}
				holders[p.Hostname] = e.Stream
			case events.HostnameDetached:
				delete(holders, p.Hostname)
			}
		}
	}},
}
