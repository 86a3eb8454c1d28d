package problem_test

import (
	"go/ast"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// RFC 9457: the title is the type's, and does not change from one occurrence to another. Each API
// has a table of its own, so that it lists only what it answers.
func TestProblemTitles_OfOneType_AreTheSameInBothAPIsAndInTheirDocuments(t *testing.T) {
	titles := make(map[string]string)
	where := make(map[string]string)
	same := func(name, title, in string) {
		t.Helper()
		if had, ok := titles[name]; ok && had != title {
			t.Errorf("%s is called %q in %s and %q in %s: call it the same", name, had, where[name], title, in)
		}
		titles[name], where[name] = title, in
	}
	shared := 0
	for _, dir := range []string{"../../commands/adminapi", "../../queryapi", "."} {
		for name, title := range titlesInCode(t, dir) {
			if _, ok := titles[name]; ok {
				shared++
			}
			same(name, title, dir)
		}
	}
	if shared < 8 {
		t.Fatalf("only %d types are in both APIs: the test does not read them right", shared)
	}
	example := regexp.MustCompile(`type: https://tenantry\.dev/problems/([a-z-]+)\n *title: ['"]?(.*?)['"]?\n`)
	for _, file := range []string{"../../schemas/admin.openapi.yaml", "../../schemas/query.openapi.yaml"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := example.FindAllStringSubmatch(string(b), -1)
		if len(found) == 0 {
			t.Errorf("%s has no example of a problem", file)
		}
		for _, m := range found {
			same(m[1], m[2], file)
		}
	}
}

// titlesInCode are the literals of a package that hold a status, a type and a title, in that order:
// {status, "type", "title"}, or the arguments of New.
func titlesInCode(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	inspectPackage(t, dir, func(_ string, n ast.Node) bool {
		var parts []ast.Expr
		switch n := n.(type) {
		case *ast.CompositeLit:
			parts = n.Elts
		case *ast.CallExpr:
			parts = n.Args
		}
		if len(parts) < 3 {
			return true
		}
		kind, isKind := text(parts[1])
		title, isTitle := text(parts[2])
		if isKind && isTitle && regexp.MustCompile(`^[a-z-]+$`).MatchString(kind) {
			out[kind] = title
		}
		return true
	})
	return out
}

func text(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}
