package layers

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/tenantry/tenantry"

func TestTable_EveryRowLooksDownAndSaysWhy(t *testing.T) {
	report(t, checkTable(table))
	for _, h := range homes {
		for _, p := range h.in {
			if _, ok := rowOf(table, p); !ok || h.why == "" {
				t.Errorf("the home of %s names %s, which has no row, or gives no reason", h.library, p)
			}
		}
	}
}

func TestTree_ImportsGoDownOnly(t *testing.T) {
	root := os.DirFS("../..")
	got, err := readTree(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(got["events"]) == 0 {
		t.Fatalf("read no imports of package events: the test looks at the wrong folder, or at none (%d packages read)", len(got))
	}
	report(t, checkTree(module, got, table, homes))
}

func TestTree_NoProgramLinksWhatIsForTestsOrTooMuch(t *testing.T) {
	got, err := readGraph("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := got[module+"/events"]; !ok {
		t.Fatalf("go list knows %d packages, and %s/events is not among them", len(got), module)
	}
	report(t, checkClosures(module, got, table, closures))
}

func report(t *testing.T, faults []string) {
	t.Helper()
	for _, f := range faults {
		t.Error(f)
	}
}

// What follows tests the checks themselves, on small trees with one fault each.

var (
	smallTable = []row{
		{path: "events", why: "the ground"},
		{path: "events/storetest", may: []string{"events"}, why: "a suite", forTests: true},
		{path: "commands", may: []string{"events"}, why: "a read model is behind"},
		{path: "projections", may: []string{"events"}, why: "the read side"},
		{path: "tests/...", may: []string{anything}, why: "everything", forTests: true},
	}
	smallHomes = []home{{library: "example.com/badger", in: []string{"projections"}, why: "one owner"}}
)

func TestCheckTree_NamesWhatIsWrongAndWhatToDo(t *testing.T) {
	cases := []struct {
		name   string
		pkg    string
		source string   // of its one file
		want   []string // in the one fault reported; none: no fault
	}{
		{"down is allowed", "commands", `import "m/events"`, nil},
		{"up is not", "events", `import "m/commands"`, []string{"events imports commands", "events/x.go", "the ground", "interface"}},
		{"sideways is not", "commands", `import "m/projections"`, []string{"commands imports projections", "a read model is behind"}},
		{"a package without a row", "cmd/new", ``, []string{"cmd/new has no row", "add one to internal/layers/table_test.go"}},
		{"a subpackage does not inherit its parent's row", "events/new", ``, []string{"events/new has no row"}},
		{"a row for all below", "tests/faults", `import "m/projections"; import "testing"`, nil},
		{"a library at home", "projections", `import "example.com/badger/v4"`, nil},
		{"a library away from home", "commands", `import "example.com/badger/v4/y"`, []string{"commands imports example.com/badger/v4/y", "at home in projections", "one owner"}},
		{"a library whose name only begins alike", "commands", `import "example.com/badgerlike"`, nil},
		{"a test library", "commands", `import "testing/fstest"`, []string{"commands imports testing/fstest", "is for tests", "_test.go"}},
		{"a package for tests", "commands", `import "m/events/storetest"`, []string{"commands imports events/storetest", "exists for tests"}},
		{"a package for tests may use both", "events/storetest", `import "testing"; import "example.com/badger"`, nil},
		{"a file for another platform counts", "events", "//go:build plan9\n" + `import "testing"`, []string{"events imports testing"}},
		{"a script in a package's folder does not", "events", "//go:build ignore\n" + `import "testing"`, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			build, imports, ok := strings.Cut(c.source, "\n")
			if !ok {
				build, imports = "", c.source
			}
			read, err := readTree(fstest.MapFS{
				"commands/ok.go":         {Data: []byte("package x")},
				"events/a_test.go":       {Data: []byte(`package x; import "m/commands"`)},
				"testdata/a.go":          {Data: []byte(`package x; import "m/commands"`)},
				".cache/tool/a.go":       {Data: []byte(`package x; import "m/commands"`)},
				"bench/nested/go.mod":    {Data: []byte(`module other`)},
				"bench/nested/a.go":      {Data: []byte(`package x; import "m/commands"`)},
				c.pkg + "/x.go":          {Data: []byte(build + "\n\npackage x\n" + imports)},
				c.pkg + "/testdata/y.go": {Data: []byte(`this is not Go`)},
			})
			if err != nil {
				t.Fatal(err)
			}
			expect(t, checkTree("m", read, smallTable, smallHomes), c.want)
		})
	}
}

func TestCheckTable_NamesWhatIsWrong(t *testing.T) {
	cases := []struct {
		name string
		rows []row
		want []string
	}{
		{"a row that looks up", []row{{path: "a", may: []string{"b"}, why: "x"}, {path: "b", why: "x"}}, []string{"row of a names b", "down only"}},
		{"a row that looks at itself", []row{{path: "a", may: []string{"a"}, why: "x"}}, []string{"row of a names a"}},
		{"two rows of one package", []row{{path: "a", why: "x"}, {path: "a", why: "y"}}, []string{"a has two rows"}},
		{"a row without a reason", []row{{path: "a"}}, []string{"row of a has no reason"}},
		{"rows in order", []row{{path: "a", why: "x"}, {path: "b", may: []string{"a"}, why: "x"}}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { expect(t, checkTable(c.rows), c.want) })
	}
}

func TestCheckClosures_ShowTheChainOfImports(t *testing.T) {
	list := func(pkgs ...pkg) graph {
		g := graph{"testing": {ImportPath: "testing", Standard: true}, "net": {ImportPath: "net", Standard: true}}
		for _, p := range pkgs {
			g[p.ImportPath] = p
		}
		return g
	}
	small := []closure{{path: "commands", may: []string{"example.com/light"}, why: "kept small"}}
	cases := []struct {
		name string
		g    graph
		want []string
	}{
		{"light and standard ones", list(
			pkg{ImportPath: "m/commands", Imports: []string{"net", "example.com/light/v2"}},
			pkg{ImportPath: "example.com/light/v2", Imports: []string{"net"}},
		), nil},
		{"a heavy one behind a light one", list(
			pkg{ImportPath: "m/commands", Imports: []string{"example.com/light"}},
			pkg{ImportPath: "example.com/light", Imports: []string{"example.com/heavy"}},
		), []string{"m/commands -> example.com/light -> example.com/heavy", "kept small"}},
		{"a test library behind a dependency", list(
			pkg{ImportPath: "m/events", Imports: []string{"example.com/dep"}},
			pkg{ImportPath: "example.com/dep", Imports: []string{"testing"}},
		), []string{"events links a library for tests", "m/events -> example.com/dep -> testing"}},
		{"a test library in a package for tests", list(
			pkg{ImportPath: "m/events/storetest", Imports: []string{"testing"}},
		), nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { expect(t, checkClosures("m", c.g, smallTable, small), c.want) })
	}
}

// expect wants no fault, or exactly one that has all these phrases in it.
func expect(t *testing.T, got, phrases []string) {
	t.Helper()
	if len(phrases) == 0 {
		if len(got) != 0 {
			t.Errorf("got %q, want no fault", got)
		}
		return
	}
	if len(got) != 1 {
		t.Fatalf("got %d faults %q, want one with %q", len(got), got, phrases)
	}
	for _, p := range phrases {
		if !strings.Contains(got[0], p) {
			t.Errorf("got %q, want %q in it", got[0], p)
		}
	}
}
