package problem_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Each API keeps its problems in a table of its own, and its page lists them for those who write
// clients. A type is for ever, so one that the page does not have is found here.
func TestProblemTypes_OfEachAPI_AreThoseThatItsPageLists(t *testing.T) {
	for page, pkg := range map[string]string{
		"../../docs/admin-api.md": "../../commands/adminapi",
		"../../docs/query-api.md": "../../queryapi",
	} {
		listed := listedTypes(t, page)
		made := typesInCode(t, pkg)
		if len(made) < 10 {
			t.Fatalf("got %d types from %s: the test does not read it right", len(made), pkg)
		}
		for name, status := range made {
			if _, ok := listed[name]; !ok {
				t.Errorf("%s has no row for %s (%d): say in it what it means and what to do", page, name, status)
			}
		}
		for name, status := range listed {
			switch is, ok := made[name]; {
			case !ok:
				t.Errorf("%s lists %s, which %s does not answer", page, name, pkg)
			case is != status:
				t.Errorf("%s says that %s is %d, and it is %d", page, name, status, is)
			}
		}
	}
}

// typeRow is a row of a table of types: `name`, status, meaning, what to do.
var typeRow = regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (\\d{3}) \\| [^|]+ \\| [^|]+ \\|$")

func listedTypes(t *testing.T, page string) map[string]int {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]int)
	for _, m := range typeRow.FindAllStringSubmatch(string(b), -1) {
		if _, twice := out[m[1]]; twice {
			t.Errorf("%s lists %s twice", page, m[1])
		}
		out[m[1]], _ = strconv.Atoi(m[2]) // digits, says the pattern
	}
	return out
}

// typesInCode are the literals of a package that begin with an http.Status and the name of a
// type, which is how both APIs write their kinds of problem.
func typesInCode(t *testing.T, dir string) map[string]int {
	t.Helper()
	out := make(map[string]int)
	inspectPackage(t, dir, func(name string, n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if status, kind, ok := kindLiteral(t, n); ok {
				out[kind] = status
			}
		case *ast.CallExpr:
			// A type written where it is answered would escape the table, and this test.
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && fmt.Sprint(sel.X) == "problem" && sel.Sel.Name == "New" {
				if _, literal := n.Args[1].(*ast.BasicLit); literal {
					t.Errorf("%s makes a problem without a kind of the package's table", name)
				}
			}
		}
		return true
	})
	return out
}

func kindLiteral(t *testing.T, n *ast.CompositeLit) (status int, kind string, ok bool) {
	t.Helper()
	if len(n.Elts) < 3 {
		return 0, "", false
	}
	sel, isStatus := n.Elts[0].(*ast.SelectorExpr)
	lit, isName := n.Elts[1].(*ast.BasicLit)
	if !isStatus || !isName || lit.Kind != token.STRING || fmt.Sprint(sel.X) != "http" {
		return 0, "", false
	}
	if status = statusByName(sel.Sel.Name); status == 0 {
		t.Fatalf("no status is called http.%s", sel.Sel.Name)
	}
	kind, err := strconv.Unquote(lit.Value)
	if err != nil {
		t.Fatal(err)
	}
	return status, kind, true
}

// statusByName finds the number of http.StatusNotFound by its name, which is its text.
func statusByName(name string) int {
	for status := 100; status < 600; status++ {
		text := strings.NewReplacer(" ", "", "-", "").Replace(http.StatusText(status))
		if text != "" && name == "Status"+text {
			return status
		}
	}
	return 0
}

// inspectPackage walks the syntax of a package's files, without its tests.
func inspectPackage(t *testing.T, dir string, visit func(file string, n ast.Node) bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool { return visit(name, n) })
	}
}
