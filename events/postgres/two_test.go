package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/postgres"
)

// race runs n goroutines that begin together, and waits for them.
func race(n int, run func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			run(i)
		})
	}
	close(start)
	wg.Wait()
}

func tenant(tb testing.TB, name string) events.StreamID {
	tb.Helper()
	id, err := events.ParseTenantID("ten_" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return id.Stream()
}

func databaseID(tb testing.TB, name string) events.StreamID {
	tb.Helper()
	id, err := events.ParseDatabaseID("db_" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return id.Stream()
}

func host(tb testing.TB, name string) events.Hostname {
	tb.Helper()
	h, err := events.ParseHostname(name + ".example")
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// batch is one event on a stream that is at version.
func batch(tb testing.TB, id events.StreamID, version uint64, p events.Payload) events.Batch {
	tb.Helper()
	list, err := events.New(id, version, events.Metadata{Time: time.Now()}, p)
	if err != nil {
		tb.Fatal(err)
	}
	return events.Batch{Stream: id, Expected: version, Events: list}
}

// sound reads the whole log, and proves that it has no hole and no double.
func sound(t *testing.T, s *postgres.Store) []events.Event {
	t.Helper()
	var all []events.Event
	versions := make(map[events.StreamID]uint64)
	for {
		page, err := s.After(t.Context(), uint64(len(all)), 997)
		if err != nil {
			t.Fatalf("after %d: %v", len(all), err)
		}
		if len(page) == 0 {
			break
		}
		all = append(all, page...)
	}
	for i, e := range all {
		if e.Position != uint64(i)+1 {
			t.Fatalf("position %d: got %d", i+1, e.Position)
		}
		if versions[e.Stream]++; e.Version != versions[e.Stream] {
			t.Fatalf("position %d: %s at version %d, want %d", e.Position, e.Stream, e.Version, versions[e.Stream])
		}
	}
	head, err := s.Head(t.Context())
	if err != nil || head.Position != uint64(len(all)) {
		t.Errorf("head: got %d, %v, want %d", head.Position, err, len(all))
	}
	return all
}

// stores opens that many on one database, as that many processes would.
func stores(t *testing.T, n int) []*postgres.Store {
	t.Helper()
	url := database(t)
	out := make([]*postgres.Store, n)
	for i := range out {
		out[i] = open(t, patient(url))
	}
	return out
}

func TestAppend_TwoProcesses_FightForStreamsAndHostnamesAndLoseNothing(t *testing.T) {
	both := stores(t, 2)
	const writers, rounds = 12, 25
	names := []events.Hostname{host(t, "a"), host(t, "b"), host(t, "c")}
	var stored, conflicts, claimed atomic.Int64
	race(writers, func(w int) {
		s := both[w%2]
		id := tenant(t, fmt.Sprintf("t%d", w/2)) // one of each process
		for i := range rounds {
			h := names[(w+i)%len(names)]
			for done := false; !done; {
				stream, err := s.Load(t.Context(), id, 0)
				if err != nil {
					t.Errorf("load: %v", err)
					return
				}
				version := uint64(len(stream))
				held := false
				for _, e := range stream {
					switch p, err := e.Payload(); p := p.(type) {
					case events.HostnameAttached:
						held = held || p.Hostname == h
					case events.HostnameDetached:
						held = held && p.Hostname != h
					default:
						t.Errorf("payload: got %v, %v", p, err)
					}
				}
				b := batch(t, id, version, events.HostnameAttached{Hostname: h})
				b.Take = []events.Hostname{h}
				if held {
					b = batch(t, id, version, events.HostnameDetached{Hostname: h})
					b.Release = []events.Hostname{h}
				}
				switch _, err := s.Append(t.Context(), b); {
				case err == nil:
					stored.Add(1)
					done = true
				case errors.Is(err, events.ErrClaimed):
					claimed.Add(1)
					done = true
				case errors.Is(err, events.ErrConflict):
					conflicts.Add(1)
				default:
					t.Errorf("append: %v", err)
					return
				}
			}
		}
	})
	all := sound(t, both[0])
	if got := len(all); int64(got) != stored.Load() {
		t.Errorf("events in the log: got %d, answered %d", got, stored.Load())
	}
	holders := make(map[events.Hostname]events.StreamID)
	for _, e := range all {
		switch p, _ := e.Payload(); p := p.(type) {
		case events.HostnameAttached:
			if other := holders[p.Hostname]; !other.IsZero() {
				t.Errorf("position %d: %s takes %s, which %s holds", e.Position, e.Stream, p.Hostname, other)
			}
			holders[p.Hostname] = e.Stream
		case events.HostnameDetached:
			delete(holders, p.Hostname)
		}
	}
	if conflicts.Load() == 0 || claimed.Load() == 0 {
		t.Errorf("%d conflicts and %d claims were refused, so the test proved nothing", conflicts.Load(), claimed.Load())
	}
}

func TestAppend_TwoProcesses_SameKeyAtOnceIsStoredOnce(t *testing.T) {
	both := stores(t, 2)
	for round := range 40 {
		b := batch(t, tenant(t, fmt.Sprintf("t%d", round)), 0, events.TenantActivated{})
		b.Key = &events.Key{Key: fmt.Sprintf("k%d", round), Fingerprint: [32]byte{1}, Time: time.Now()}
		var firsts atomic.Int64
		race(4, func(w int) {
			out, err := both[w%2].Append(t.Context(), b)
			if err != nil || out.Version != 1 {
				t.Errorf("round %d: got %+v, %v", round, out, err)
			}
			if !out.Replayed {
				firsts.Add(1)
			}
		})
		if firsts.Load() != 1 {
			t.Fatalf("round %d: %d answers say that they are the first, want 1", round, firsts.Load())
		}
	}
	if got := len(sound(t, both[0])); got != 40 {
		t.Errorf("events in the log: got %d, want 40", got)
	}
}

func TestAppend_TwoProcesses_NoMoreRefererencesThanTheLimit(t *testing.T) {
	both := stores(t, 2)
	for round := range 15 {
		const limit = 5
		db := databaseID(t, fmt.Sprintf("d%d", round))
		if _, err := both[0].Append(t.Context(), batch(t, db, 0, events.DatabaseRetired{})); err != nil {
			t.Fatal(err)
		}
		var in atomic.Int64
		race(12, func(w int) {
			b := batch(t, tenant(t, fmt.Sprintf("t%d-%d", round, w)), 0, events.TenantActivated{})
			b.Refer = []events.Reference{{To: db, Version: 1, Limit: limit}}
			if _, err := both[w%2].Append(t.Context(), b); err == nil {
				in.Add(1)
			} else if !errors.Is(err, events.ErrFull) {
				t.Errorf("refer: %v", err)
			}
		})
		got, err := both[1].References(t.Context(), db)
		if err != nil || got != limit || in.Load() != limit {
			t.Fatalf("round %d: %d got in and %d are counted (%v), want %d", round, in.Load(), got, err, limit)
		}
	}
}

func TestAppend_TwoProcesses_CountersOfASharedDatabaseDoNotStandInEachOthersWay(t *testing.T) {
	both := stores(t, 2)
	db := databaseID(t, "shared")
	if _, err := both[0].Append(t.Context(), batch(t, db, 0, events.DatabaseRetired{})); err != nil {
		t.Fatal(err)
	}
	const each = 600
	race(2, func(w int) {
		batches := make([]events.Batch, each)
		for i := range batches {
			batches[i] = batch(t, tenant(t, fmt.Sprintf("t%d-%d", w, i)), 0, events.TenantActivated{})
			batches[i].Refer = []events.Reference{{To: db, Version: 1, Limit: 10 * each}}
		}
		for _, r := range both[w].AppendAll(t.Context(), batches) {
			if r.Err != nil {
				t.Errorf("append: %v", r.Err)
			}
		}
	})
	if got, err := both[1].References(t.Context(), db); err != nil || got != 2*each {
		t.Errorf("references: got %d, %v, want %d", got, err, 2*each)
	}
}

func TestWait_EventsOfAnotherProcess_WakeIt(t *testing.T) {
	both := stores(t, 2)
	race(2, func(w int) {
		for i := uint64(w); i < 40; i += 2 {
			if i > 0 {
				if err := both[w].Wait(t.Context(), i-1); err != nil {
					t.Errorf("wait: %v", err)
					return
				}
			}
			if _, err := both[w].Append(t.Context(), batch(t, tenant(t, "acme"), i, events.TenantActivated{})); err != nil {
				t.Errorf("append: %v", err)
				return
			}
		}
	})
}

// TestAppend_BackendsAreKilledAllTheTime_WhatWasAnsweredIsStoredOnceAndARetryWithTheKeyIsSafe
// cuts the connections of two stores again and again while they append.
func TestAppend_BackendsAreKilledAllTheTime_WhatWasAnsweredIsStoredOnceAndARetryWithTheKeyIsSafe(t *testing.T) {
	url := database(t)
	both := []*postgres.Store{open(t, patient(url)), open(t, patient(url))}
	const writers, each = 8, 40
	stop := make(chan struct{})
	var killer sync.WaitGroup
	var kills, unknown atomic.Int64
	killer.Go(func() {
		ctx := context.WithoutCancel(t.Context())
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(ctx)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
			}
			tag, err := conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
			if err != nil {
				t.Errorf("kill: %v", err)
				return
			}
			kills.Add(tag.RowsAffected())
		}
	})
	race(writers, func(w int) {
		id := tenant(t, fmt.Sprintf("t%d", w))
		for i := range uint64(each) {
			b := batch(t, id, i, events.TenantActivated{})
			b.Key = &events.Key{Key: fmt.Sprintf("k-%d-%d", w, i), Fingerprint: [32]byte{1}, Time: time.Now()}
			for {
				out, err := both[w%2].Append(t.Context(), b)
				if err == nil {
					if out.Version != i+1 {
						t.Errorf("version: got %d, want %d", out.Version, i+1)
					}
					break
				}
				switch {
				case errors.Is(err, postgres.ErrUnknownOutcome):
					unknown.Add(1)
				case errors.Is(err, events.ErrUnavailable):
				default:
					t.Errorf("append: %v", err)
					return
				}
			}
		}
	})
	close(stop)
	killer.Wait()
	if got := len(sound(t, both[0])); got != writers*each {
		t.Errorf("events in the log: got %d, want %d", got, writers*each)
	}
	t.Logf("%d connections were killed, %d times the outcome was unknown", kills.Load(), unknown.Load())
	if kills.Load() == 0 {
		t.Error("no connection was killed, so the test proved nothing")
	}
}

func TestMintStoreID_OfManyWhoKnowTheSameOneOneChangesIt(t *testing.T) {
	both := stores(t, 2)
	was, err := both[0].Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	race(8, func(w int) {
		if id, err := both[w%2].MintStoreID(t.Context(), was.StoreID, uuid.Nil); err != nil || id == was.StoreID {
			t.Errorf("mint: got %s, %v", id, err)
		}
	})
	now, err := both[0].Head(t.Context())
	if err != nil || now.StoreID == was.StoreID {
		t.Errorf("head: got %+v, %v", now, err)
	}
	if id, err := both[1].MintStoreID(t.Context(), was.StoreID, uuid.Nil); err != nil || id != now.StoreID {
		t.Errorf("mint with an identity of the past: got %s, %v, want %s", id, err, now.StoreID)
	}
}

func TestStoreID_IsAtOnceThatOfTheLastAppend(t *testing.T) {
	both := stores(t, 2)
	was, err := both[0].StoreID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if head, err := both[0].Head(t.Context()); err != nil || head.StoreID != was {
		t.Fatalf("head: got %+v, %v, want %s", head, err, was)
	}
	now, err := both[1].MintStoreID(t.Context(), was, uuid.Nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := both[0].Append(t.Context(), registration(t, 1)); err != nil {
		t.Fatal(err)
	}
	for i, s := range both {
		if id, err := s.StoreID(t.Context()); err != nil || id != now {
			t.Errorf("process %d: got %s, %v, want %s", i, id, err, now)
		}
	}
	if err := both[0].Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := both[0].StoreID(t.Context()); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("closed: got %v, want ErrUnavailable", err)
	}
}

func TestMintStoreID_WithOneThatIsLost_KnowsBothFromThenOn(t *testing.T) {
	s := stores(t, 1)[0]
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lost := uuid.New()
	if _, err := s.MintStoreID(t.Context(), uuid.New(), lost); err != nil {
		t.Fatal(err)
	}
	if was, err := s.WasStoreID(t.Context(), lost); err != nil || was {
		t.Errorf("noted by who does not know the identity that the store has: got %t, %v", was, err)
	}
	for range 2 { // it may be lost twice
		if head.StoreID, err = s.MintStoreID(t.Context(), head.StoreID, lost); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[uuid.UUID]bool{lost: true, head.StoreID: false, uuid.New(): false} {
		if was, err := s.WasStoreID(t.Context(), id); err != nil || was != want {
			t.Errorf("the store had %s: got %t, %v, want %t", id, was, err, want)
		}
	}
}
