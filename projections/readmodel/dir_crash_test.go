package readmodel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// aDir has gen-0002 as the live generation and gen-0001 as the one before, each with files.
func aDir(t *testing.T) Dir {
	t.Helper()
	d := Dir(filepath.Join(t.TempDir(), "eu-west"))
	for _, name := range []string{"gen-0001", "gen-0002"} {
		fill(t, d, name)
		if err := d.SetCurrent(name); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// fill makes a generation of three files, the names of which are in the last.
func fill(t *testing.T, d Dir, name string) {
	t.Helper()
	if err := os.MkdirAll(d.Path(name), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(d.Path(name), file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// whole fails unless a generation has all its files.
func whole(t *testing.T, d Dir, name string) {
	t.Helper()
	for _, file := range []string{"a", "b", "c"} {
		if _, err := os.Stat(filepath.Join(d.Path(name), file)); err != nil {
			t.Errorf("%s is live, and not whole: %v", name, err)
		}
	}
}

func names(t *testing.T, d Dir) []string {
	t.Helper()
	entries, err := os.ReadDir(string(d))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// A replay builds gen-0003 and makes it the live one, and the next start tidies; the process is killed after
// each step of that.
func TestDir_KilledAfterAnyStep_TheNextStartFindsAWholeGeneration_AndLeavesNothingBehind(t *testing.T) {
	all := func(d Dir, after func(what string)) {
		do := func(what string, steps []step) {
			for i, s := range steps {
				if err := s(); err != nil {
					t.Fatalf("%s, step %d: %v", what, i+1, err)
				}
				after(fmt.Sprintf("%s, step %d", what, i+1))
			}
		}
		building, err := d.Building()
		if err != nil {
			t.Fatal(err)
		}
		after("the directory is made")
		fill(t, d, building)
		after("it is built")
		do("promote", d.promote(building, "gen-0003"))
		do("set current", d.setCurrent("gen-0003"))
		// Of what is removed any part may be gone.
		do("move away gen-0001", d.remove("gen-0001")[:2])
		if err := os.Remove(filepath.Join(d.Path("gen-0001"+suffixRemoved), "b")); err != nil {
			t.Fatal(err)
		}
		after("half of it is removed")
		do("remove gen-0001", d.remove("gen-0001"+suffixRemoved))
	}

	// Once to the end, to count the steps; then each of them is the last.
	steps := 0
	all(aDir(t), func(string) { steps++ })
	if steps < 12 {
		t.Fatalf("got %d steps: the test does not see them", steps)
	}
	for kill := 1; kill <= steps; kill++ {
		d := aDir(t)
		n := 0
		all(d, func(what string) {
			if n++; n != kill {
				return
			}
			before, err := d.Current()
			if err != nil {
				t.Fatalf("killed after %s: %v", what, err)
			}
			whole(t, d, before)
			crashed := Dir(filepath.Join(t.TempDir(), "eu-west"))
			if err := os.CopyFS(string(crashed), os.DirFS(string(d))); err != nil {
				t.Fatal(err)
			}
			// A replay that is still alive loses nothing of what it builds to a node that starts.
			unlock, err := crashed.ReplayLock()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := crashed.Tidy(); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"gen-0003", "gen-0003" + suffixBuilding} {
				_, was := os.Stat(d.Path(name))
				if _, err := os.Stat(crashed.Path(name)); (err == nil) != (was == nil) {
					t.Errorf("%s: while a replay runs %s was removed", what, name)
				}
			}
			if err := unlock(); err != nil {
				t.Fatal(err)
			}

			if _, err := crashed.Tidy(); err != nil {
				t.Fatal(err)
			}
			current, err := crashed.Current()
			if err != nil || current != before {
				t.Errorf("killed after %s: the live generation is %q, %v, want %q", what, current, err, before)
			}
			whole(t, crashed, current)
			previous, err := crashed.Previous()
			if before := map[string]string{"gen-0002": "gen-0001", "gen-0003": "gen-0002"}[current]; err != nil || previous != before {
				t.Errorf("killed after %s: %s is live, and before it was %q, %v, want %s", what, current, previous, err, before)
			}
			whole(t, crashed, previous)
			want := []string{pointerCurrent, pointerPrevious, replayLock, current, previous}
			got := names(t, crashed)
			slices.Sort(want)
			got = slices.DeleteFunc(got, func(s string) bool { return s == startsFile })
			if !slices.Equal(got, want) {
				t.Errorf("killed after %s: the directory has %v, want %v", what, got, want)
			}
			if next, err := crashed.Building(); err != nil {
				t.Errorf("killed after %s: the next build: %s, %v", what, next, err)
			}
		})
	}
}

// A file that takes the place of another may have been written in part.
func TestDir_KilledWhileItWritesAPointer_HasTheOneBefore(t *testing.T) {
	d := aDir(t)
	for _, content := range []string{"", "gen-", "gen-0001\n", pointerTo("gen-0001")} {
		for _, pointer := range []string{pointerCurrent, pointerPrevious} {
			if err := os.WriteFile(d.Path(pointer+suffixNew), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if current, err := d.Current(); err != nil || current != "gen-0002" {
			t.Errorf("current: got %q, %v", current, err)
		}
		if previous, err := d.Previous(); err != nil || previous != "gen-0001" {
			t.Errorf("previous: got %q, %v", previous, err)
		}
	}
	if removed, err := d.Tidy(); err != nil || len(removed) > 0 {
		t.Errorf("got %v, %v, want nothing removed", removed, err)
	}
	if got := names(t, d); slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, suffixNew) }) {
		t.Errorf("left over: %v", got)
	}
}

func TestDir_PreviousCanBecomeCurrentAgain(t *testing.T) {
	d := aDir(t)
	if err := d.SetCurrent("gen-0001"); err != nil {
		t.Fatal(err)
	}
	current, err := d.Current()
	previous, perr := d.Previous()
	if current != "gen-0001" || previous != "gen-0002" || err != nil || perr != nil {
		t.Errorf("got %q before it %q, %v, %v", current, previous, err, perr)
	}
	if err := d.Remove("gen-0002"); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Previous(); !errors.Is(err, ErrNoGeneration) {
		t.Errorf("previous is gone: got %q, %v", got, err)
	}
	for _, name := range []string{"current", "..", "", "gen-0001/a", "gen-1", "gen-0001.current"} {
		if err := d.Remove(name); err == nil {
			t.Errorf("%q was removed", name)
		}
		if _, err := d.Promote(name); err == nil {
			t.Errorf("%q was promoted", name)
		}
	}
	if err := d.Remove("gen-0007"); err != nil {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestDir_TwoReplays_TheSecondIsToldWhoTheFirstIs(t *testing.T) {
	d := aDir(t)
	unlock, err := d.ReplayLock()
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.ReplayLock()
	if !errors.Is(err, ErrReplaying) || !strings.Contains(err.Error(), fmt.Sprintf("process %d, since 20", os.Getpid())) {
		t.Errorf("got %v, want ErrReplaying with this process and the time", err)
	}
	if other, err := d.Lock(ByNode); err != nil {
		t.Errorf("the node's lock: %v", err)
	} else if err := other(); err != nil {
		t.Error(err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := d.ReplayLock()
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	if err := again(); err != nil {
		t.Error(err)
	}
}

func TestDir_BuildingsHaveNamesOfTheirOwn(t *testing.T) {
	d := aDir(t)
	for _, want := range []string{"gen-0003.building", "gen-0004.building"} {
		if got, err := d.Building(); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if got, err := d.Next(); err != nil || got != "gen-0005" {
		t.Errorf("next: got %q, %v, want gen-0005", got, err)
	}
	if err := os.WriteFile(d.Path(pointerCurrent), []byte(pointerTo("gen-0003.building")), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Current(); !errors.Is(err, ErrNoGeneration) {
		t.Errorf("a pointer to what is being built: got %q, %v, want ErrNoGeneration", got, err)
	}
}

func TestDir_CountsStartsInARowWithoutRest(t *testing.T) {
	d := aDir(t)
	start := func(generation string, want int) {
		t.Helper()
		if got, err := d.Started(generation); err != nil || got != want {
			t.Errorf("start on %s: got %d, %v, want %d", generation, got, err, want)
		}
	}
	start("gen-0002", 1)
	start("gen-0002", 2)
	start("gen-0002", 3)
	start("gen-0001", 1) // another one begins anew
	start("gen-0001", 2)
	if err := d.Settled("gen-0001"); err != nil {
		t.Fatal(err)
	}
	start("gen-0001", 1)
	for _, content := range []string{"", "gen-0001", "gen-0001 x\n", "gen-0001 -7\n", "\xff"} {
		if err := os.WriteFile(d.Path(startsFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		start("gen-0001", 1)
	}
	if err := os.Remove(d.Path(startsFile)); err != nil {
		t.Fatal(err)
	}
	if err := d.Settled("gen-0001"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(d.Path(startsFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a rest without a start was written down: %v", err)
	}
}
