package layers

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestDependencies_EachDirectOneOfGoMod_HasItsLineInTheDocs(t *testing.T) {
	direct, all := required(read(t, "../../go.mod"))
	if len(direct) < 10 {
		t.Fatalf("got %d direct dependencies from go.mod: the test does not read it right", len(direct))
	}
	named := namedModules(read(t, "../../docs/dependencies.md"))
	for _, module := range direct {
		if !anyWithin(named, module) {
			t.Errorf("docs/dependencies.md has no line for %s: say in it what for, why this one, its licence and the runner-up", module)
		}
	}
	for _, path := range named {
		if !withinAny(path, all) {
			t.Errorf("docs/dependencies.md has a line for %s, which is not in go.mod: remove it", path)
		}
	}
}

func TestNamedModules_AreThePathsOfTheFirstColumn(t *testing.T) {
	got := namedModules("| module | for |\n|---|---|\n| github.com/a/b/v4, gopkg.in/c.v1 (MIT) | as github.com/x/y does |\n| golangci-lint 2 | `make lint` |\nSee github.com/p/q.\n")
	if strings.Join(got, " ") != "github.com/a/b/v4 gopkg.in/c.v1" {
		t.Errorf("got %q", got)
	}
	if !anyWithin([]string{"github.com/a/b/sub"}, "github.com/a/b") || anyWithin([]string{"github.com/a/bc"}, "github.com/a/b") {
		t.Error("a package stands for its module, and no other name does")
	}
}

// required are the modules that go.mod names: those that our code imports, and all.
func required(gomod string) (direct, all []string) {
	for line := range strings.Lines(gomod) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "v") || strings.Contains(line, "=>") {
			continue
		}
		all = append(all, fields[0])
		if !strings.Contains(line, "// indirect") {
			direct = append(direct, fields[0])
		}
	}
	return direct, all
}

// modulePath is an import path with a host, as it stands in a table.
var modulePath = regexp.MustCompile(`[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]+(/[A-Za-z0-9._~-]+)+`)

// namedModules are the import paths in the first column of the tables.
func namedModules(doc string) []string {
	var out []string
	for line := range strings.Lines(doc) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			out = append(out, modulePath.FindAllString(cells[1], -1)...)
		}
	}
	return out
}

// anyWithin tells whether a module, or a package in it, is among the paths.
func anyWithin(paths []string, module string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return within(p, module) })
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
