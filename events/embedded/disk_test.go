package embedded_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
)

func TestDiskFull_AppendsAreRefusedUntilThereIsRoomAndNothingIsDamaged(t *testing.T) {
	dir := t.TempDir()
	var free atomic.Uint64
	free.Store(1 << 40)
	s := open(t, embedded.Config{Dir: dir, FreeSpace: func(string) (uint64, error) { return free.Load(), nil }})
	first := registration(t, 0)
	first.Key = &events.Key{Key: "k", Fingerprint: [32]byte{1}, Time: time.Now()}
	if _, err := s.Append(t.Context(), first); err != nil {
		t.Fatal(err)
	}

	free.Store(12 << 20)
	b := registration(t, 1)
	b.Key = &events.Key{Key: "l", Fingerprint: [32]byte{1}, Time: time.Now()}
	_, err := s.Append(t.Context(), b)
	if !errors.Is(err, events.ErrUnavailable) || !strings.Contains(err.Error(), "disk full") || !strings.Contains(err.Error(), dir) {
		t.Errorf("append: got %v, want ErrUnavailable that says disk full and where", err)
	}
	if err := s.Room(t.Context()); !errors.Is(err, events.ErrUnavailable) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("room: got %v, want ErrUnavailable that says what to do", err)
	}
	for i, r := range s.AppendAll(t.Context(), []events.Batch{b, registration(t, 2)}) {
		if !errors.Is(r.Err, events.ErrUnavailable) {
			t.Errorf("append all: result %d: got %+v", i, r)
		}
	}
	if n, err := s.DropKeys(t.Context(), time.Now().Add(time.Hour)); n != 0 || !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("drop keys: got %d, %v, want ErrUnavailable", n, err)
	}
	// What writes nothing is answered.
	if out, err := s.Append(t.Context(), first); err != nil || !out.Replayed {
		t.Errorf("replay: got %+v, %v", out, err)
	}
	if _, err := s.Append(t.Context(), registration(t, 0)); !errors.Is(err, events.ErrConflict) {
		t.Errorf("conflict: got %v", err)
	}
	dry := registration(t, 3)
	dry.DryRun = true
	if _, err := s.Append(t.Context(), dry); err != nil {
		t.Errorf("dry run: got %v", err)
	}
	if got, err := s.After(t.Context(), 0, 100); err != nil || len(got) != 5 {
		t.Errorf("after: got %d events, %v", len(got), err)
	}

	free.Store(1 << 40)
	if err := s.Room(t.Context()); err != nil {
		t.Errorf("room when there is room: %v", err)
	}
	out, err := s.Append(t.Context(), b)
	if err != nil || out.Replayed || out.Position != 10 {
		t.Errorf("append when there is room: got %+v, %v", out, err)
	}
}

func TestDiskFull_OpenSaysSoInOneLine(t *testing.T) {
	dir := t.TempDir()
	full := func(string) (uint64, error) { return 3 << 20, nil }
	wantRefusal(t, embedded.Config{Dir: dir, FreeSpace: full}, events.ErrUnavailable, "disk full", "make room")
	s := open(t, embedded.Config{Dir: dir})
	fill(t, s, 10)
	closeStore(t, s)
	wantRefusal(t, embedded.Config{Dir: dir, FreeSpace: full}, events.ErrUnavailable, "disk full")
	if got, err := open(t, embedded.Config{Dir: dir}).After(t.Context(), 0, 100); err != nil || len(got) != 50 {
		t.Errorf("after: got %d events, %v, want 50", len(got), err)
	}
}

func TestDiskFull_LessRoomOpensAndReadsThanAppends(t *testing.T) {
	dir := t.TempDir()
	free := func(string) (uint64, error) { return 40 << 20, nil }
	s := open(t, embedded.Config{Dir: dir, FreeSpace: free})
	if _, err := s.Append(t.Context(), registration(t, 0)); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("append: got %v, want ErrUnavailable", err)
	}
	if _, err := s.Head(t.Context()); err != nil {
		t.Errorf("head: %v", err)
	}
}

func TestDiskFull_FreeSpaceThatCannotBeAskedForIsUnavailable(t *testing.T) {
	broken := errors.New("stale file handle")
	var fail atomic.Bool
	s := open(t, embedded.Config{Dir: t.TempDir(), FreeSpace: func(string) (uint64, error) {
		if fail.Load() {
			return 0, broken
		}
		return 1 << 40, nil
	}})
	fail.Store(true)
	if _, err := s.Append(t.Context(), registration(t, 0)); !errors.Is(err, events.ErrUnavailable) || !errors.Is(err, broken) {
		t.Errorf("append: got %v, want ErrUnavailable with the cause", err)
	}
	fail.Store(false)
	if _, err := s.Append(t.Context(), registration(t, 0)); err != nil {
		t.Errorf("append when it can be asked for again: %v", err)
	}
}

// TestDiskFull_OnARealDisk fills a small file system with events that do not compress. A page
// that Badger cannot write would end this process with SIGBUS.
func TestDiskFull_OnARealDisk_RefusesInTimeAndGoesOnWhenThereIsRoom(t *testing.T) {
	disk := t.TempDir()
	mountSmallDisk(t, disk, 160<<20)
	dir := filepath.Join(disk, "store")
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 48<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, embedded.Config{Dir: dir})
	n := fillDisk(t, s, 0)
	if n == 0 {
		t.Fatal("nothing was appended before the disk was full")
	}
	for range 20 { // it stays so, whatever Badger still has to write
		if _, err := s.Append(t.Context(), incompressible(t, n)); !errors.Is(err, events.ErrUnavailable) {
			t.Fatalf("append to a full disk: got %v, want ErrUnavailable", err)
		}
	}
	wantAll(t, s, n)
	closeStore(t, s)
	s = open(t, embedded.Config{Dir: dir})
	wantAll(t, s, n)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	more := fillDisk(t, s, n)
	if more == n {
		t.Error("nothing was appended after there was room")
	}
	wantAll(t, s, more)
	closeStore(t, s)
	wantAll(t, open(t, embedded.Config{Dir: dir}), more)
}

func TestClose_OthersHaveFilledTheDisk_ClosesAndLetsTheDirectoryGo(t *testing.T) {
	disk := t.TempDir()
	mountSmallDisk(t, disk, 256<<20)
	dir := filepath.Join(disk, "store")
	s := open(t, embedded.Config{Dir: dir})
	const n = 80 // of 128 KiB each: most of a memtable
	for i := range n {
		if _, err := s.Append(t.Context(), incompressible(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	others := filepath.Join(disk, "others")
	fillRest(t, others)
	if _, err := s.Append(t.Context(), incompressible(t, n)); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("append to a full disk: got %v, want ErrUnavailable", err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("close on a full disk: %v", err)
	}
	if err := os.Remove(others); err != nil {
		t.Fatal(err)
	}
	wantAll(t, open(t, embedded.Config{Dir: dir}), n)
}

// fillRest writes a file until the disk has no room.
func fillRest(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err = nil; err == nil; {
		_, err = f.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
}

// fillDisk appends from the n-th tenant on until the disk is full, and returns the next one.
func fillDisk(t *testing.T, s *embedded.Store, n int) int {
	t.Helper()
	for ; ; n++ {
		_, err := s.Append(t.Context(), incompressible(t, n))
		if errors.Is(err, events.ErrUnavailable) {
			return n
		}
		if err != nil {
			t.Fatalf("append: %v", err)
		}
	}
}

func wantAll(t *testing.T, s *embedded.Store, n int) {
	t.Helper()
	position := uint64(0)
	for {
		page, err := s.After(t.Context(), position, 20)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		position += uint64(len(page))
	}
	if position != uint64(n) {
		t.Errorf("events in the log: got %d, answered %d", position, n)
	}
}

func incompressible(t *testing.T, n int) events.Batch {
	t.Helper()
	raw := make([]byte, 96<<10)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	id, err := events.ParseTenantID(fmt.Sprintf("ten_%d", n))
	if err != nil {
		t.Fatal(err)
	}
	list, err := events.New(id.Stream(), 0, events.Metadata{Time: time.Now()},
		events.ConfigSet{Key: "k", Value: []byte(`"` + base64.StdEncoding.EncodeToString(raw) + `"`)})
	if err != nil {
		t.Fatal(err)
	}
	return events.Batch{Stream: id.Stream(), Events: list}
}
