package readmodel_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tenantry/tenantry/projections/readmodel"
)

func TestDir_PointsToOneGenerationAndRemovesTheRest(t *testing.T) {
	d := readmodel.Dir(filepath.Join(t.TempDir(), "regions", "eu-west"))
	if _, err := d.Current(); !errors.Is(err, readmodel.ErrNoGeneration) {
		t.Errorf("new directory: got %v, want ErrNoGeneration", err)
	}
	for i, want := range []string{"gen-0001", "gen-0002", "gen-0003"} {
		got, err := d.Next()
		if err != nil || got != want {
			t.Fatalf("generation %d: got %q, %v, want %q", i, got, err, want)
		}
		if err := os.MkdirAll(d.Path(got), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.SetCurrent("gen-0002"); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Current(); err != nil || got != "gen-0002" {
		t.Errorf("current: got %q, %v, want gen-0002", got, err)
	}
	if err := d.Clean("gen-0002"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"gen-0001": false, "gen-0002": true, "gen-0003": false} {
		if _, err := os.Stat(d.Path(name)); (err == nil) != want {
			t.Errorf("%s is there: %t, want %t", name, err == nil, want)
		}
	}
}

func TestDir_PointerToNothingIsNoGeneration(t *testing.T) {
	for name, content := range map[string]string{"a generation that is gone": "gen-0007\n", "rubbish": "../../etc\n", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			d := readmodel.Dir(t.TempDir())
			if err := os.WriteFile(d.Path("current"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := d.Current(); !errors.Is(err, readmodel.ErrNoGeneration) {
				t.Errorf("got %q, %v, want ErrNoGeneration", got, err)
			}
		})
	}
}
