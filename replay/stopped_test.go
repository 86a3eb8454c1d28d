package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/events"
	"github.com/tenantry/tenantry/projections/readmodel"
)

// slowSource is one of which reading the log waits for its end.
type slowSource struct {
	*memorySource
	reading chan struct{} // closed when it is read
}

func (s *slowSource) Whole(ctx context.Context) (events.Whole, error) {
	close(s.reading)
	<-ctx.Done()
	return nil, ctx.Err()
}

func openIt(t *testing.T, dir readmodel.Dir, s Source) Region {
	t.Helper()
	r, err := Open(t.Context(), dir, "eu-west", s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return closedAfter(t, r)
}

func TestOpen_OfAStoppedRegion_GivesWayToANodeThatStarts(t *testing.T) {
	s := aCatalogue(t, 20, 41)
	dir := aStopped(t, s)
	r := openIt(t, dir, s)
	if _, err := dir.Lock(readmodel.ByNode); !errors.Is(err, readmodel.ErrHeldByReplay) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("a node that starts is told %v, want who has it", err)
	}
	source := &slowSource{memorySource: s, reading: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := Verify(ctx, VerifyConfig{Region: r, Source: source, Dir: t.TempDir()})
		ended <- err
	}()
	<-source.reading
	control(t, dir, aRegion(t), sessionIdle) // a node starts
	r.(*Stopped).watching.Wait()
	unlock, err := dir.Lock(readmodel.ByNode)
	if err != nil {
		t.Fatalf("the node does not get its directory: %v", err)
	}
	for what, err := range map[string]error{
		"adopt":    r.Adopt(t.Context(), "gen-0001"),
		"recount":  r.Recount(t.Context()),
		"rollback": func() error { _, err := r.Rollback(t.Context()); return err }(),
		"inspect":  func() error { _, err := r.Inspect(t.Context()); return err }(),
		"stays":    Stays(r),
	} {
		if !errors.Is(err, ErrGaveWay) {
			t.Errorf("%s: got %v, want ErrGaveWay", what, err)
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the comparison ended as if nothing were")
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

func TestOpened_WhereANodeStartsMeanwhile_BeginsAnewWithTheNode(t *testing.T) {
	s := aCatalogue(t, 20, 42)
	dir := aStopped(t, s)
	calls := 0
	err := opened(t.Context(), func(ctx context.Context) (Region, error) {
		return Open(ctx, dir, "eu-west", s, slog.New(slog.DiscardHandler))
	}, func(r Region) error {
		calls++
		if stopped, ok := r.(*Stopped); ok {
			control(t, dir, &startingNode{fakeRegion: aRegion(t)}, sessionIdle)
			stopped.watching.Wait()
			_, err := r.Inspect(t.Context())
			return err
		}
		info, err := r.Info(t.Context())
		if err == nil && (info.PID != 42 || info.Starting) {
			err = fmt.Errorf("got %+v, want the node, which has started", info)
		}
		return err
	})
	if err != nil || calls != 2 {
		t.Errorf("got %v after %d calls, want it done in the second", err, calls)
	}
}

// startingNode has not looked into its directory when it is asked first.
type startingNode struct {
	*fakeRegion
	asked atomic.Int32
}

func (n *startingNode) Info(ctx context.Context) (Info, error) {
	info, err := n.fakeRegion.Info(ctx)
	info.Starting = n.asked.Add(1) < 3
	return info, err
}

// readingSource reads its log before it gives it.
type readingSource struct{ *memorySource }

func (s readingSource) Whole(ctx context.Context) (events.Whole, error) {
	events.Reading(ctx)(5, 10)
	return s.memorySource.Whole(ctx)
}

func TestVerifyAndRebuild_OfASourceThatIsReadFirst_TellHowFarThatIs(t *testing.T) {
	s := readingSource{aCatalogue(t, 20, 43)}
	dir := aStopped(t, s.memorySource)
	for what, do := range map[string]func(told func(string, uint64, uint64)) error{
		"rebuild": func(told func(string, uint64, uint64)) error {
			cfg := rebuilding(dir, s)
			cfg.Progress = told
			_, err := Rebuild(t.Context(), cfg)
			return err
		},
		"verify": func(told func(string, uint64, uint64)) error {
			_, err := Verify(t.Context(), VerifyConfig{Region: openStopped(t, aStopped(t, s.memorySource), s), Source: s, Dir: t.TempDir(), Progress: told})
			return err
		},
	} {
		read := 0
		if err := do(func(stage string, done, total uint64) {
			if stage == "read the source" && done == 5 && total == 10 {
				read++
			}
		}); err != nil || read != 1 {
			t.Errorf("%s: %v, told %d times, want once", what, err, read)
		}
	}
}
