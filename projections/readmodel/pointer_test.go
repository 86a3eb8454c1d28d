package readmodel

import (
	"errors"
	"os"
	"slices"
	"testing"
)

func TestDir_AnyFlippedBitOfAPointer_MakesItNameNothing_AndNothingIsRemoved(t *testing.T) {
	for _, pointer := range []string{pointerCurrent, pointerPrevious} {
		d := aDir(t)
		good, err := os.ReadFile(d.Path(pointer))
		if err != nil {
			t.Fatal(err)
		}
		for bit := range 8 * len(good) {
			b := slices.Clone(good)
			b[bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(d.Path(pointer), b, 0o600); err != nil {
				t.Fatal(err)
			}
			if pointer == pointerPrevious {
				if got, err := d.Previous(); !errors.Is(err, ErrNoGeneration) {
					t.Errorf("%s is %q: before was %q, %v", pointer, b, got, err)
				}
			} else if got, err := d.Current(); !errors.Is(err, ErrNoGeneration) {
				t.Errorf("%s is %q: live is %q, %v", pointer, b, got, err)
			}
			if removed, err := d.Tidy(); err != nil || len(removed) > 0 {
				t.Fatalf("%s is %q: removed %v, %v", pointer, b, removed, err)
			}
			if got, err := d.Candidates(); err != nil || !slices.Equal(got, []string{"gen-0002", "gen-0001"}) {
				t.Errorf("%s is %q: to be tried are %v, %v", pointer, b, got, err)
			}
		}
	}
}

// A rollback has made the older one live: that it is not the newest must not bring back what was gone back from.
func TestDir_WithoutItsPointer_TriesTheOneBeforeLast(t *testing.T) {
	d := aDir(t)
	if err := d.SetCurrent("gen-0001"); err != nil {
		t.Fatal(err)
	}
	fill(t, d, "gen-0003.building")
	if err := os.Remove(d.Path(pointerCurrent)); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Candidates(); err != nil || !slices.Equal(got, []string{"gen-0001", "gen-0002"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := os.Remove(d.Path(pointerPrevious)); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Candidates(); err != nil || !slices.Equal(got, []string{"gen-0002", "gen-0001"}) {
		t.Errorf("without both: got %v, %v", got, err)
	}
}

func TestDir_WhatTakesThePlaceOfAGenerationThatCannotBeUsed_KeepsTheOneBefore(t *testing.T) {
	d := aDir(t)
	fill(t, d, "gen-0003")
	if err := d.Replace("gen-0003"); err != nil {
		t.Fatal(err)
	}
	if removed, err := d.Tidy(); err != nil || !slices.Equal(removed, []string{"gen-0002"}) {
		t.Errorf("removed %v, %v, want gen-0002", removed, err)
	}
	if got, err := d.Previous(); err != nil || got != "gen-0001" {
		t.Errorf("before it was %s, %v, want gen-0001", got, err)
	}
}

// It was deleted under a node, which has it open still.
func TestDir_TheNameOfAGenerationThatIsGone_IsNotUsedAgain(t *testing.T) {
	d := aDir(t)
	for _, name := range []string{"gen-0001", "gen-0002"} {
		if err := os.RemoveAll(d.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := d.Building(); err != nil || got != "gen-0003"+suffixBuilding {
		t.Errorf("got %s, %v", got, err)
	}
}
