package events_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// typeCheck returns a function that compiles a function body, as far as types go, which may use this
// package. IDs of two kinds must not be confused at compile time, so that no test at run
// time can show it.
func typeCheck(t *testing.T) func(body string) error {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}", ".").Output()
	if err != nil {
		t.Fatalf("ask go for compiled packages: %v", err)
	}
	compiled := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		compiled[path] = file
	}
	files := token.NewFileSet()
	imports := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := compiled[path]
		if !ok || file == "" {
			return nil, fmt.Errorf("%s was not compiled", path)
		}
		return os.Open(file)
	})
	return func(body string) error {
		source := "package p\nimport \"github.com/tenantry/tenantry/events\"\n" +
			"func take(events.DatabaseID) {}\n" +
			"func _(ten events.TenantID, db events.DatabaseID, grp events.GroupID, stream events.StreamID, h events.Hostname) {\n" + body + "\n}\n"
		f, err := parser.ParseFile(files, "snippet.go", source, 0)
		if err != nil {
			t.Fatalf("the snippet does not parse: %v\n%s", err, source)
		}
		config := types.Config{Importer: imports}
		_, err = config.Check("p", files, []*ast.File{f}, nil)
		return err
	}
}

func TestID_OfOneKindIsNeverTakenForAnothersAtCompileTime(t *testing.T) {
	check := typeCheck(t)
	for _, body := range []string{
		`take(db)`,
		`var x events.DatabaseID = db; _ = x`,
		`_ = db == db`,
		`_ = events.Batch{Stream: ten.Stream(), Unrefer: []events.StreamID{db.Stream()}}`,
		`_ = events.DatabaseAssigned{Database: db}`,
		`_ = events.TenantRegistered{Group: grp}`,
		`_ = map[events.TenantID]int{ten: 1}`,
		`if id, ok := stream.Database(); ok { take(id) }`,
		`_ = h`,
	} {
		if err := check(body); err != nil {
			t.Errorf("%s: got %v, want it to compile", body, err)
		}
	}
	for _, c := range []struct{ body, want string }{
		{`take(ten)`, "cannot use ten"},
		{`take(grp)`, "cannot use grp"},
		{`take(stream)`, "cannot use stream"},
		{`take(events.DatabaseID(ten))`, "cannot convert ten"},
		{`take(events.DatabaseID(stream))`, "cannot convert stream"},
		{`take("db_a")`, `cannot use "db_a"`},
		{`take(events.DatabaseID("db_a"))`, `cannot convert "db_a"`},
		{`take(ten.Stream())`, "cannot use ten.Stream()"},
		{`var x events.DatabaseID = ten; _ = x`, "cannot use ten"},
		{`db = ten`, "cannot use ten"},
		{`grp = db`, "cannot use db"},
		{`_ = db == ten`, "mismatched types"},
		{`_ = events.DatabaseAssigned{Database: ten}`, "cannot use ten"},
		{`_ = events.TenantRegistered{Group: db}`, "cannot use db"},
		{`_ = map[events.TenantID]int{db: 1}`, "cannot use db"},
		{`_ = events.Batch{Stream: ten}`, "cannot use ten"},
		{`if id, ok := stream.Tenant(); ok { take(id) }`, "cannot use id"},
		{`var id events.DatabaseID; id, _ = events.ParseTenantID("ten_a"); _ = id`, "cannot use events.ParseTenantID"},
		{`h = events.Hostname("a.example")`, "cannot convert"},
		{`h = "a.example"`, "cannot use"},
		{`_ = events.Hostname{name: "A"}`, "name"},
		{`_ = events.DatabaseID{s: "ten_a"}`, "s"},
	} {
		err := check(c.body)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want it not to compile: …%s…", c.body, err, c.want)
		}
	}
}
