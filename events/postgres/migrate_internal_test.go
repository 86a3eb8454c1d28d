package postgres

import (
	"slices"
	"testing"
	"testing/fstest"
)

// The next migration, whatever it will be, must come on top of data: each version is tried
// from empty, one after the other, with one to come.
func TestMigrate_EachVersionComesOnTopOfTheOneBefore(t *testing.T) {
	files := fstest.MapFS{
		"migrations/00001_a.sql": {Data: []byte("-- +goose Up\nCREATE TABLE tenantry.a ();\n")},
		"migrations/00002_b.sql": {Data: []byte("-- +goose Up\nCREATE TABLE tenantry.b ();\n")},
		"migrations/00003_c.sql": {Data: []byte("-- +goose Up\nCREATE TABLE tenantry.c ();\n")},
	}
	for _, c := range []struct {
		version, target int64
		want            []string
	}{
		{0, 3, []string{"make the schema", "00001_a.sql", "00002_b.sql", "00003_c.sql"}},
		{1, 3, []string{"00002_b.sql", "00003_c.sql"}},
		{1, 2, []string{"00002_b.sql"}},
		{3, 3, nil},
	} {
		steps, err := pending(files, c.version, c.target)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range steps {
			got = append(got, s.Name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("from %d to %d: got %v, want %v", c.version, c.target, got, c.want)
		}
	}
}

func TestMigrations_AreNumberedWithoutAHole(t *testing.T) {
	next := int64(1)
	for _, name := range slices.Sorted(sourceNames(migrations)) {
		version, err := versionOf(name)
		if err != nil || version != next {
			t.Errorf("%s: got version %d, %v, want %d", name, version, err, next)
		}
		next++
	}
	if got := KnownSchema(); got != next-1 {
		t.Errorf("known schema: got %d, want %d", got, next-1)
	}
}
