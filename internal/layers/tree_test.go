package layers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"strconv"
	"strings"
)

// tree is what each package imports outside of its tests: package (relative to the module,
// "." for the root) -> import path -> a file that has it.
type tree map[string]map[string]string

// readTree reads the imports of every Go file that is not a test. It parses the files, since
// go list would leave out those for other platforms.
func readTree(module fs.FS) (tree, error) {
	t := tree{}
	err := fs.WalkDir(module, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(module, name)
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(module, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		if neverBuilt(file) {
			return nil
		}
		dir := path.Dir(name)
		if t[dir] == nil {
			t[dir] = map[string]string{}
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
			}
			t[dir][imported] = name
		}
		return nil
	})
	return t, err
}

// skipDir leaves out what the go command leaves out as well: hidden folders, testdata, and
// modules of their own.
func skipDir(module fs.FS, name string) error {
	if name == "." {
		return nil
	}
	base := path.Base(name)
	if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return fs.SkipDir
	}
	switch _, err := fs.Stat(module, path.Join(name, "go.mod")); {
	case err == nil:
		return fs.SkipDir
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return err
	}
}

// neverBuilt tells whether the file is a script that stands in the package's folder without
// being part of it (//go:build ignore).
func neverBuilt(file *ast.File) bool {
	for _, group := range file.Comments {
		if group.Pos() > file.Package {
			break
		}
		for _, line := range group.List {
			if expr, err := constraint.Parse(line.Text); err == nil {
				return !expr.Eval(func(tag string) bool { return tag != "ignore" })
			}
		}
	}
	return false
}

// graph is what each package, dependencies included, imports on this platform: import path
// -> import paths.
type graph map[string]pkg

type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// readGraph asks the go command. Packages that do not compile are in it as far as they go:
// the compiler reports those, not this test.
func readGraph(dir string) (graph, error) {
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports", "./...")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.Bytes())
	}
	g := graph{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return g, nil
		case err != nil:
			return nil, fmt.Errorf("output of go list: %w", err)
		}
		g[p.ImportPath] = p
	}
}

// chain is the shortest way of imports from a package to one that is unwanted, with both
// ends; nil where there is none.
func (g graph) chain(from string, unwanted func(pkg) bool) []string {
	cameFrom := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at != from && unwanted(g[at]) {
			var way []string
			for ; at != ""; at = cameFrom[at] {
				way = append([]string{at}, way...)
			}
			return way
		}
		for _, next := range g[at].Imports {
			if _, seen := cameFrom[next]; !seen {
				cameFrom[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}
