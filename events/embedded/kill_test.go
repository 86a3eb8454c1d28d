package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/events/embedded"
)

const killRounds = 8

// TestKill_NineAtRandomMoments_LosesNothingThatWasAnswered kills a process with sixteen
// writers again and again. All that it had answered must be there, and no half of anything.
func TestKill_NineAtRandomMoments_LosesNothingThatWasAnswered(t *testing.T) {
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var storeID string
	answered := make(map[string]events.Outcome) // by key
	for round := range killRounds {
		lines := killed(t, dir, 1+random.IntN(600))
		for _, line := range lines {
			key, out := parseAnswer(t, line)
			answered[key] = out
		}
		s, err := embedded.Open(t.Context(), embedded.Config{Dir: dir, Logger: quiet()})
		if err != nil {
			t.Fatalf("round %d: open what was killed: %v", round, err)
		}
		head, err := s.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if id := head.StoreID.String(); storeID != "" && id != storeID {
			t.Errorf("round %d: identity: got %s, want %s", round, id, storeID)
		}
		storeID = head.StoreID.String()
		checkLog(t, s)
		for key, want := range answered {
			got, known, err := s.Recall(t.Context(), events.Key{Key: key, Fingerprint: [32]byte{1}})
			if err != nil || !known || got.Stream != want.Stream || got.Version != want.Version || got.Position != want.Position {
				t.Fatalf("round %d: %s was answered %+v: got %+v, %v, %v", round, key, want, got, known, err)
			}
		}
		t.Logf("round %d: %d answers, log ends at %d", round, len(lines), head.Position)
		if err := s.Close(); err != nil {
			t.Fatalf("round %d: close: %v", round, err)
		}
	}
}

// checkLog wants each batch whole: three events, of which the second's hostname is held.
func checkLog(t *testing.T, s *embedded.Store) {
	t.Helper()
	versions := make(map[events.StreamID]uint64)
	position := uint64(0)
	for {
		page, err := s.After(t.Context(), position, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			position++
			versions[e.Stream]++
			if e.Position != position || e.Version != versions[e.Stream] {
				t.Fatalf("position %d: got %s at version %d, position %d", position, e.Stream, e.Version, e.Position)
			}
			p, err := e.Payload()
			if err != nil {
				t.Fatal(err)
			}
			attached, ok := p.(events.HostnameAttached)
			if !ok {
				continue
			}
			probe, err := events.ParseTenantID("ten_probe")
			if err != nil {
				t.Fatal(err)
			}
			b := oneEvent(t, probe.Stream(), 0)
			b.Take, b.DryRun = []events.Hostname{attached.Hostname}, true
			if _, err := s.Append(t.Context(), b); err == nil || !strings.Contains(err.Error(), e.Stream.String()) {
				t.Fatalf("%s is attached to %s: got %v when another takes it", attached.Hostname, e.Stream, err)
			}
		}
	}
	for id, n := range versions {
		stream, err := s.Load(t.Context(), id, 0)
		if err != nil || uint64(len(stream)) != n || n%3 != 0 {
			t.Fatalf("%s: %d events in the log, %d in the stream, %v", id, n, len(stream), err)
		}
	}
}

func oneEvent(tb testing.TB, id events.StreamID, version uint64) events.Batch {
	tb.Helper()
	list, err := events.New(id, version, events.Metadata{Time: time.Now()}, events.TenantActivated{})
	if err != nil {
		tb.Fatal(err)
	}
	return events.Batch{Stream: id, Expected: version, Events: list}
}

// killed runs the writer until it has printed n answers, kills it, and returns all that it printed.
func killed(t *testing.T, dir string, n int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	read := bufio.NewReader(out)
	for {
		line, err := read.ReadString('\n')
		if err != nil {
			break // a line that is not whole was not answered
		}
		if lines = append(lines, strings.TrimSpace(line)); len(lines) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	if len(lines) < n {
		t.Fatalf("the writer ended by itself after %d answers: %v\n%s", len(lines), err, stderr.String())
	}
	return lines
}

func parseAnswer(t *testing.T, line string) (string, events.Outcome) {
	t.Helper()
	var key, stream string
	var out events.Outcome
	if _, err := fmt.Sscan(line, &key, &stream, &out.Version, &out.Position); err != nil {
		t.Fatalf("answer %q: %v", line, err)
	}
	id, err := events.ParseStreamID(stream)
	if err != nil {
		t.Fatal(err)
	}
	out.Stream = id
	return key, out
}

// write is the process that is killed: it appends until then, and prints what it was answered.
func write(dir string) error {
	ctx := context.Background()
	s, err := embedded.Open(ctx, embedded.Config{Dir: dir, Logger: quiet()})
	if err != nil {
		return err
	}
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	failed := make(chan error, 1)
	for w := range 16 {
		go func() {
			for n := 0; ; n++ {
				out, key, err := appendOne(ctx, s, head.Position, w, n)
				if err != nil {
					failed <- err
					return
				}
				mu.Lock()
				fmt.Println(key, out.Stream, out.Version, out.Position)
				mu.Unlock()
			}
		}()
	}
	return <-failed
}

// appendOne appends three events, now and then of some size, to one of four tenants of the writer.
func appendOne(ctx context.Context, s *embedded.Store, run uint64, w, n int) (events.Outcome, string, error) {
	id, err := events.ParseTenantID(fmt.Sprintf("ten_%d-%d", w, n%4))
	if err != nil {
		return events.Outcome{}, "", err
	}
	hostname, err := events.ParseHostname(fmt.Sprintf("h%d-%d-%d.example", run, w, n))
	if err != nil {
		return events.Outcome{}, "", err
	}
	stream, err := s.Load(ctx, id.Stream(), 0)
	if err != nil {
		return events.Outcome{}, "", err
	}
	size := 10
	if n%8 == 0 {
		size = 60 << 10
	}
	list, err := events.New(id.Stream(), uint64(len(stream)), events.Metadata{Time: time.Now()},
		events.ConfigSet{Key: "k", Value: []byte(`"` + strings.Repeat("x", size) + `"`)},
		events.HostnameAttached{Hostname: hostname},
		events.TenantActivated{},
	)
	if err != nil {
		return events.Outcome{}, "", err
	}
	key := fmt.Sprintf("%d-%d-%d", run, w, n)
	out, err := s.Append(ctx, events.Batch{
		Stream: id.Stream(), Expected: uint64(len(stream)), Events: list, Take: []events.Hostname{hostname},
		Key: &events.Key{Key: key, Fingerprint: [32]byte{1}, Time: time.Now()},
	})
	return out, key, err
}
